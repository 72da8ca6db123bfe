"""The REST interface as a WSGI application: TensorFlow Serving's paths, bodies, error JSON and metrics page."""

import re
import time
import zlib
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

from services.core.errors import InvalidInputError, ServiceError, TooLargeError
from services.model_server import metrics as metrics_module
from services.model_server.calls.examples import Examples
from services.model_server.calls.model_service import get_model_status
from services.model_server.calls.prediction import SIGNATURE_DEF, PredictionCalls
from services.model_server.interfaces.json_examples import classification_results, read_examples, regression_results
from services.model_server.interfaces.json_tensors import read_tensors, write_tensors
from services.model_server.interfaces.json_text import error_body, parse_object, status_body
from services.model_server.metrics import ServerMetrics
from services.model_server.signatures import DEFAULT_KEY, check_types
from services.model_server.statuses import HTTP_CODES, Code, code_of
from services.model_server.versions.repository import ModelRepository
from services.pb import tfserving_pb2 as pb

_CALL = re.compile(
    r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?:(classify|regress|predict)", re.IGNORECASE
)
_LOOK = re.compile(r"/v1/models(?:/([^/:]+))?(?:/versions/(\d+)|/labels/([^/:]+))?(/metadata)?", re.IGNORECASE)
_JSON = ("Content-Type", "application/json")
_CORS = [
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Methods", "POST, GET"),
    ("Access-Control-Allow-Headers", "Content-Type"),
]
_NOT_FOUND = b"<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n</BODY></HTML>\n"
_MAX_INT64 = 2**63 - 1
_PHRASES = {status.value: status.phrase for status in HTTPStatus}

Headers = list[tuple[str, str]]
Answer = tuple[int, Headers, bytes]


class RestApi:
    """Callable as a WSGI application; holds nothing of a request."""

    def __init__(
        self,
        prediction: PredictionCalls,
        examples: Examples,
        models: ModelRepository,
        metrics: ServerMetrics,
        *,
        metrics_path: str | None,
        timeout_s: float,
        max_body_bytes: int,
        cors: bool = False,
    ) -> None:
        self._prediction = prediction
        self._examples = examples
        self._models = models
        self._metrics = metrics
        self._metrics_path = metrics_path
        self._timeout_s = timeout_s
        self._max_body_bytes = max_body_bytes
        self._headers = [_JSON, *(_CORS if cors else [])]

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        status, headers, body = self._answer(environ)
        start_response(f"{status} {_PHRASES.get(status, 'Unknown')}", [*headers, ("Content-Length", str(len(body)))])
        return [body]

    def _answer(self, environ: dict[str, Any]) -> Answer:
        method, path = environ["REQUEST_METHOD"], _raw_path(environ)
        if path.partition("?")[0] == self._metrics_path and method == "GET":
            return 200, [("Content-Type", metrics_module.CONTENT_TYPE)], self._metrics.expose()
        if not path.lower().startswith("/v1/"):
            return 404, [("Content-Type", "text/html")], _NOT_FOUND
        if method == "OPTIONS" and environ.get("HTTP_ORIGIN", "").startswith(("http://", "https://")):
            return 200, self._headers, b""  # a browser asks before it calls; the headers are its answer
        try:
            return 200, self._headers, self._route(method, path, environ)
        except ServiceError as exc:
            return HTTP_CODES[code_of(exc)], self._headers, error_body(str(exc))

    def _route(self, method: str, path: str, environ: dict[str, Any]) -> bytes:
        if method == "POST" and (match := _CALL.fullmatch(path)) and match[4] in _CALLS:
            name, version, label, verb = match.groups()
            body = _read_body(environ, self._max_body_bytes)
            return self._call(verb, _spec(name, version, label), body)
        if method == "GET" and (match := _LOOK.fullmatch(path)):
            name, version, label, metadata = match.groups()
            if name is None:
                raise InvalidInputError("Missing model name in request.")
            look = self._metadata if metadata == "/metadata" else self._status
            return look(_spec(name, version, label))
        raise InvalidInputError(f"Malformed request: {method} {path}")

    def _call(self, verb: str, spec: pb.ModelSpec, body: bytes) -> bytes:
        started = time.perf_counter()
        deadline = time.monotonic() + self._timeout_s
        try:
            answer = _CALLS[verb](self, spec, body, deadline)
        except ServiceError as exc:
            self._metrics.request_count.add((self._models.known_name(spec.name), code_of(exc).name))
            raise
        self._metrics.request_count.add((spec.name, "OK"))
        self._metrics.request_latency.observe((spec.name, "", "REST"), 1e6 * (time.perf_counter() - started))
        return answer

    def _predict(self, spec: pb.ModelSpec, body: bytes, deadline: float) -> bytes:
        document = parse_object(body)
        with self._models.acquire(spec) as servable:
            key = document.get("signature_name") or DEFAULT_KEY
            signature = servable.signatures.get(key)
            if signature is None:
                raise InvalidInputError(f'Serving signature name: "{key}" not found in signature def')
            inputs, rows = read_tensors(document, signature)
            check_types(signature, inputs)
            names = list(signature.outputs)
            arrays = self._prediction.run(servable, signature, inputs, names, deadline=deadline)
        return write_tensors(dict(zip(names, arrays, strict=True)), rows=rows)

    def _classify(self, spec: pb.ModelSpec, body: bytes, deadline: float) -> bytes:
        request = _examples_request(pb.ClassificationRequest, spec, body)
        response = self._examples.classify(request, deadline=deadline)
        return classification_results(response.result)

    def _regress(self, spec: pb.ModelSpec, body: bytes, deadline: float) -> bytes:
        request = _examples_request(pb.RegressionRequest, spec, body)
        response = self._examples.regress(request, deadline=deadline)
        return regression_results(response.result)

    def _status(self, spec: pb.ModelSpec) -> bytes:
        response = get_model_status(self._models, pb.GetModelStatusRequest(model_spec=spec))
        entries = [
            {
                "version": str(entry.version),
                "state": pb.ModelVersionStatus.State.Name(entry.state),
                "status": {
                    "error_code": _code_name(entry.status.error_code),
                    "error_message": entry.status.error_message,
                },
            }
            for entry in response.model_version_status
        ]
        return status_body({"model_version_status": entries})

    def _metadata(self, spec: pb.ModelSpec) -> bytes:
        from google.protobuf.json_format import MessageToDict  # a probe's path, not a caller's: loaded when first asked

        def plain(message: Any) -> Any:
            return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)

        response = self._prediction.metadata(
            pb.GetModelMetadataRequest(model_spec=spec, metadata_field=[SIGNATURE_DEF])
        )
        signatures = pb.SignatureDefMap.FromString(response.metadata[SIGNATURE_DEF].value)
        return b'{\n"model_spec":%b,\n"metadata": {"signature_def": %b}\n}\n' % (
            status_body(plain(response.model_spec)),
            status_body(plain(signatures)),
        )


_CALLS = {"predict": RestApi._predict, "classify": RestApi._classify, "regress": RestApi._regress}


def _examples_request(message_class: type, spec: pb.ModelSpec, body: bytes) -> Any:
    document = parse_object(body)
    spec.signature_name = document.get("signature_name", "")
    return message_class(model_spec=spec, input=read_examples(document))


def _raw_path(environ: dict[str, Any]) -> str:
    """The path as it came, with its query, still percent-encoded: a name may hold an encoded character, not a slash."""
    return str(environ["REQUEST_URI"])


def _spec(name: str, version: str | None, label: str | None) -> pb.ModelSpec:
    spec = pb.ModelSpec(name=_decoded(name))
    if version is not None:
        if int(version) > _MAX_INT64:
            raise InvalidInputError(f"Failed to convert version: {version} to numeric.")
        spec.version.value = int(version)
    elif label is not None:
        spec.version_label = _decoded(label)
    return spec


def _decoded(text: str) -> str:
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError as exc:
        raise InvalidInputError(f"Failed to decode model name:{unquote(text)}") from exc


def _read_body(environ: dict[str, Any], limit: int) -> bytes:
    body = environ["wsgi.input"].read()
    if environ.get("HTTP_CONTENT_ENCODING", "").lower() != "gzip":
        return body
    inflater = zlib.decompressobj(wbits=31)  # gzip
    try:
        plain = inflater.decompress(body, limit)
    except zlib.error:  # TensorFlow Serving takes a body that it cannot unpack for an empty one
        return b""
    if inflater.unconsumed_tail:
        raise TooLargeError(f"the body holds more than {limit} bytes once unpacked")
    return plain if inflater.eof else b""


def _code_name(number: int) -> str:
    return next((code.name for code in Code if code.value[0] == number), str(number))
