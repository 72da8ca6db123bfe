"""Warm-up: replay the requests a version brings along, before a caller waits for its first answer."""

import logging
import struct
import time
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.message import DecodeError

from services.core.errors import ServiceError
from services.model_server.engines.base import LoadError
from services.model_server.metrics import ServerMetrics
from services.model_server.signatures import EXAMPLES, pick, read_filter, read_inputs, serialized_examples
from services.model_server.versions.servable import Servable
from services.pb import tfserving_pb2 as pb

log = logging.getLogger(__name__)

FILE_NAME = Path("assets.extra", "tf_serving_warmup_requests")
MAX_RECORDS = 1000

_HEADER = struct.Struct("<QI")  # length, checksum of the length
_FOOTER_BYTES = 4  # checksum of the data


def read_records(path: Path) -> Iterator[bytes]:
    """The records of a TFRecord file. Lengths are checked, checksums are not."""
    with path.open("rb") as file:
        size = path.stat().st_size
        while header := file.read(_HEADER.size):
            if len(header) < _HEADER.size:
                raise LoadError(f"{path} ends within a record")
            length, _ = _HEADER.unpack(header)
            if length + _FOOTER_BYTES > size - file.tell():
                raise LoadError(f"{path} ends within a record")
            yield file.read(length)
            file.seek(_FOOTER_BYTES, 1)


def replay(servable: Servable, metrics: ServerMetrics, *, iterations: int) -> None:
    """Answer every recorded request; one that fails fails the load, for it would fail for clients too."""
    path = servable.path / FILE_NAME
    if not path.is_file():
        return
    started = time.perf_counter()
    label = str(servable.path)
    try:
        for count, record in enumerate(read_records(path), start=1):
            if count > MAX_RECORDS:
                raise LoadError(f"{path} holds more than {MAX_RECORDS} warm-up requests")
            for _ in range(iterations):
                _replay_one(servable, pb.PredictionLog.FromString(record))
            metrics.warmup_records_read.add((label, "OK"))
    except (ServiceError, DecodeError) as exc:
        metrics.warmup_records_read.add((label, "INVALID_ARGUMENT"))
        raise LoadError(f"warm-up request {count} of {path}: {exc}") from exc
    metrics.model_warmup_latency.observe((label, "OK"), 1e6 * (time.perf_counter() - started))


def _replay_one(servable: Servable, entry: pb.PredictionLog) -> None:
    match entry.WhichOneof("log_type"):
        case "predict_log":
            request = entry.predict_log.request
            signature = pick(servable.signatures, request.model_spec.signature_name)
            inputs = read_inputs(signature, request.inputs)
            servable.engine.run(signature.key, inputs, read_filter(signature, request.output_filter))
        case "classify_log":
            _replay_examples(servable, entry.classify_log.request.model_spec, entry.classify_log.request.input)
        case "regress_log":
            _replay_examples(servable, entry.regress_log.request.model_spec, entry.regress_log.request.input)
        case "multi_inference_log":
            for task in entry.multi_inference_log.request.tasks:
                _replay_examples(servable, task.model_spec, entry.multi_inference_log.request.input)
        case kind:
            log.warning("warm-up request left out", extra={"kind": kind})


def _replay_examples(servable: Servable, spec: pb.ModelSpec, sent: pb.Input) -> None:
    signature = pick(servable.signatures, spec.signature_name)
    if set(signature.inputs) != {EXAMPLES}:
        raise LoadError(f"signature {signature.key} does not take tf.Examples")
    servable.engine.run(signature.key, {EXAMPLES: serialized_examples(sent)}, list(signature.outputs))
