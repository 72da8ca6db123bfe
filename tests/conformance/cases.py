"""The table of the conformance kit: what is asked, what TensorFlow Serving answers, and what our server answers.

A case is marked by what is known of it: SEEN, the real server 2.20 was asked; SOURCE, read in its source; where `ours`
is set, our server answers otherwise on purpose, and `why` says so. Words are compared exactly, or up to `...`; None:
the words are the engine's or the library's own, and only the code is compared.
"""

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from google.protobuf.message import Message

from services.core.tensors import to_proto
from services.pb import tfserving_pb2 as pb

IMAGE = np.zeros((1, 28, 28, 1), np.float32)


class Known(Enum):
    """How a row is known."""

    SEEN = "seen on the real server"
    SOURCE = "from its source"


@dataclass(frozen=True)
class Outcome:
    """A code (a gRPC name or an HTTP status) and words: all of them, their beginning with `...`, or any with None."""

    code: str | int
    words: str | None = None

    def fits(self, code: str | int, words: str) -> bool:
        if code != self.code:
            return False
        if self.words is None:
            return True
        head, dots, _ = self.words.partition("...")
        return words.startswith(head) if dots else words == self.words


@dataclass(frozen=True)
class Case:
    """One row."""

    name: str
    ask: Any  # a Grpc or a Rest
    theirs: Outcome
    ours: Outcome | None = None  # None: as theirs
    why: str = ""
    known: Known = Known.SEEN


@dataclass(frozen=True)
class Grpc:
    """A unary call: the method's path after the package, and the request as a message or as bytes."""

    method: str
    request: Callable[[], Message | bytes]
    package: str = "tensorflow.serving"


@dataclass(frozen=True)
class Rest:
    """An HTTP request; a body that is not bytes is sent as JSON."""

    method: str
    path: str
    body: Any = None
    headers: tuple[tuple[str, str], ...] = ()


def predict(images: np.ndarray | None = None, *, alias: str = "images", version: int | None = None) -> Grpc:
    """Predict of the denoiser."""

    def request() -> Message:
        message = pb.PredictRequest(model_spec=pb.ModelSpec(name="denoiser"))
        if version is not None:
            message.model_spec.version.value = version
        message.inputs[alias].CopyFrom(to_proto(IMAGE if images is None else images))
        return message

    return Grpc("PredictionService/Predict", request)


def tensor(shape: list[int], *, dtype: int = pb.DT_FLOAT, unknown_rank: bool = False, **fields: Any) -> Grpc:
    """Predict with one tensor made field by field."""

    def request() -> Message:
        message = pb.PredictRequest(model_spec=pb.ModelSpec(name="denoiser"))
        proto = message.inputs["images"]
        proto.dtype, proto.tensor_shape.unknown_rank = dtype, unknown_rank
        for size in shape:
            proto.tensor_shape.dim.add(size=size)
        proto.MergeFrom(pb.TensorProto(**fields))
        return message

    return Grpc("PredictionService/Predict", request)


def examples(method: str, request_class: Any) -> Grpc:
    """Classify or Regress with one empty tf.Example."""
    sent = pb.Input(example_list=pb.Input.ExampleList(examples=[b""]))
    return Grpc(
        f"PredictionService/{method}",
        lambda: request_class(model_spec=pb.ModelSpec(name="denoiser"), input=sent),
    )


def status(version: int) -> Grpc:
    """GetModelStatus of one version."""

    def request() -> Message:
        message = pb.GetModelStatusRequest(model_spec=pb.ModelSpec(name="denoiser"))
        message.model_spec.version.value = version
        return message

    return Grpc("ModelService/GetModelStatus", request)


def _platform() -> Message:
    entry = pb.ModelConfig(name="denoiser", base_path="/models/denoiser", model_platform="onnx")
    return pb.ReloadConfigRequest(
        config=pb.ModelServerConfig(model_config_list=pb.ModelConfigList(config=[entry])),
    )


INVALID, OK = "INVALID_ARGUMENT", Outcome("OK")
UNPARSED = Outcome(INVALID, "tensor parsing error: images")
ENGINE = Outcome(INVALID)  # the graph's own words
LATEST = "version 0 is the latest where no version 0 exists: ovmsclient sends it by default"
BOUNDED = "a tensor above 64 MiB is refused before it is allocated"

GRPC = [
    Case("one image", predict(), OK),
    Case("a batch of no rows", predict(IMAGE[:0]), Outcome("DEADLINE_EXCEEDED"), OK, "no rows in, no rows out; there, with batching on, such a call hangs to its deadline"),
    *(Case(f"images of shape {list(shape)}", predict(np.zeros(shape, np.float32)), ENGINE)
      for shape in ((28, 28), (1, 28, 28), (1, 784), (1, 28, 28, 3), (1, 29, 28, 1), (), (1, 5), (1, 1, 28, 28, 1))),
    Case("bytes beyond the shape", tensor([1, 28, 28, 1], tensor_content=bytes(3140)), UNPARSED),
    Case("bytes short of the shape", tensor([1, 28, 28, 1], tensor_content=bytes(3135)), UNPARSED),
    Case("values short of the shape", tensor([1, 28, 28, 1], float_val=[0.5] * 100), OK),
    Case("values beyond the shape", tensor([1, 28, 28, 1], float_val=[0.5] * 800), OK),
    Case("no values", tensor([1, 28, 28, 1]), OK),
    Case("values in another type's field", tensor([1, 28, 28, 1], int_val=[1] * 784), OK),
    Case("a negative size", tensor([-1, 28, 28, 1], float_val=[0.5]), UNPARSED),
    Case("an unknown rank", tensor([], unknown_rank=True, float_val=[0.5]), ENGINE),
    Case("no type", tensor([1, 28, 28, 1], dtype=0, float_val=[0.5]), UNPARSED),
    Case("a huge shape", tensor([100_000, 28, 28, 1], float_val=[0.5]), Outcome(INVALID, "Task size 100000 is larger than maximum input batch size 1024"), UNPARSED, BOUNDED),
    Case("a shape that overflows", tensor([2**62, 28, 28, 1], float_val=[0.5]), UNPARSED),
    Case("another input's name", predict(alias="pictures"), Outcome(INVALID, "Signature input alias: images(feed name: serving_default_images:0) not found in request and no default value provided. Inputs expected to be in the request {pictures}, or default input alias set: {...")),
    Case("version 0", predict(version=0), Outcome("NOT_FOUND", "Servable not found for request: Specific(denoiser, 0)"), OK, LATEST),
    Case("status of version 0", status(0), Outcome("NOT_FOUND", "Could not find version 0 of model denoiser"), OK, LATEST),
    Case("status of a version that never was", status(99), Outcome("NOT_FOUND", "Could not find version 99 of model denoiser")),
    Case("Classify on a predict signature", examples("Classify", pb.ClassificationRequest), Outcome(INVALID, "No classification inputs found in SignatureDef: inputs {\n  key: \"images\"\n...")),
    Case("Regress on a predict signature", examples("Regress", pb.RegressionRequest), Outcome(INVALID, "No regression inputs found in SignatureDef: inputs {\n  key: \"images\"\n...")),
    Case("Classify with an unknown signature", Grpc("PredictionService/Classify", lambda: pb.ClassificationRequest(model_spec=pb.ModelSpec(name="denoiser", signature_name="nope"))), Outcome(INVALID, "No signature was found with the name: nope"), known=Known.SOURCE),
    Case("MultiInference of nothing", Grpc("PredictionService/MultiInference", pb.MultiInferenceRequest), Outcome(INVALID, "ModelSpec has no name specified.")),
    *(Case(f"/{path}", Grpc(path, lambda: b""), Outcome("UNIMPLEMENTED"))
      for path in ("PredictionService/Nope", "SessionService/SessionRun", "PredictionService/PredictStreamed")),
    Case("health, not asked for by flag", Grpc("Health/Check", lambda: b"", "grpc.health.v1"), Outcome("UNIMPLEMENTED")),
    Case("bytes that are no PredictRequest", Grpc("PredictionService/Predict", lambda: b"\xff\xff\xff"), Outcome("INTERNAL")),
    Case("a reload that changes a platform", Grpc("ModelService/HandleReloadConfigRequest", _platform), Outcome(INVALID, "Illegal to change a model's platform. For model denoiser platform was tensorflow and new platform requested is onnx")),
]  # fmt: skip

ROWS = IMAGE.tolist()
PATH, CALL = "/v1/models/denoiser", "/v1/models/denoiser:predict"
NOT_FOUND_PAGE = "<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n</BODY></HTML>\n"
FLOAT = "is not of expected type: float"


def refused(words: str | None, code: int = 400) -> Outcome:
    """`{"error": words}`."""
    return Outcome(code, words)


def malformed(method: str, path: str) -> Case:
    return Case(f"{method} {path}", Rest(method, path), refused(f"Malformed request: {method} {path}"))


def post(name: str, body: Any, words: str | None, **options: Any) -> Case:
    return Case(name, Rest("POST", CALL, body), refused(words), **options)


REST = [
    Case("status", Rest("GET", PATH), Outcome(200, '{\n "model_version_status": [\n  {\n   "version": "...')),
    Case("status of one version", Rest("GET", f"{PATH}/versions/1"), Outcome(200, '{\n "model_version_status": [\n  {\n   "version": "1",\n   "state": "AVAILABLE",\n   "status": {\n    "error_code": "OK",\n    "error_message": ""\n   }\n  }\n ]\n}\n')),
    Case("status by a label that is none", Rest("GET", f"{PATH}/labels/x"), Outcome(200, '{\n "model_version_status": [\n...')),
    Case("metadata", Rest("GET", f"{PATH}/metadata"), Outcome(200, '{\n"model_spec":{\n "name": "denoiser",\n "version": "...')),
    Case("metadata of one version", Rest("GET", f"{PATH}/versions/1/metadata"), Outcome(200, '{\n"model_spec":{\n "name": "denoiser",\n "version": "1",\n "signature_name": ""\n}\n,\n"metadata": {"signature_def": {\n "signature_def": {\n...')),
    Case("status of a version that never was", Rest("GET", f"{PATH}/versions/99"), refused("Could not find version 99 of model denoiser", 404)),
    Case("status of another model", Rest("GET", "/v1/models/nobody"), refused("Could not find any versions of model nobody", 404)),
    Case("metadata of another model", Rest("GET", "/v1/models/nobody/metadata"), refused("Servable not found for request: Latest(nobody)", 404)),
    Case("no model", Rest("GET", "/v1/models"), refused("Missing model name in request.")),
    *(malformed("GET", path) for path in (f"{PATH}/", f"{PATH}/versions/x", "/v1/models/", CALL)),
    malformed("DELETE", PATH),
    malformed("PUT", PATH),
    malformed("POST", PATH),
    malformed("POST", f"{PATH}:guess"),
    Case("a verb in capitals", Rest("POST", "/V1/Models/denoiser:PREDICT", {"instances": ROWS}), refused("Malformed request: POST /V1/Models/denoiser:PREDICT")),
    Case("a query on a call", Rest("POST", f"{CALL}?x=1", {"instances": ROWS}), refused(f"Malformed request: POST {CALL}?x=1")),
    Case("a query on a status", Rest("GET", f"{PATH}?x=1"), refused("Could not find any versions of model denoiser?x=1", 404)),
    *(Case(f"GET {path}", Rest("GET", path), Outcome(404, NOT_FOUND_PAGE)) for path in ("/", "/v1", "/elsewhere", "/v2/health/ready")),
    Case("POST //v1/models/denoiser:predict", Rest("POST", f"/{CALL}", {"instances": ROWS}), Outcome(404, NOT_FOUND_PAGE)),
    Case("a preflight without CORS", Rest("OPTIONS", CALL, headers=(("Origin", "http://elsewhere.example"),)), Outcome(200, "")),
    Case("rows", Rest("POST", CALL, {"instances": ROWS}), Outcome(200)),
    Case("a column", Rest("POST", CALL, {"inputs": ROWS}), Outcome(200)),
    Case("a named column", Rest("POST", CALL, {"inputs": {"images": ROWS}}), Outcome(200)),
    Case("named rows", Rest("POST", CALL, {"instances": [{"images": ROWS[0]}]}), Outcome(200)),
    Case("a signature by name", Rest("POST", CALL, {"signature_name": "serving_default", "instances": ROWS}), Outcome(200)),
    Case("an empty signature name", Rest("POST", CALL, {"signature_name": "", "instances": ROWS}), Outcome(200)),
    Case("one version", Rest("POST", f"{PATH}/versions/1:predict", {"instances": ROWS}), Outcome(200)),
    Case("an encoded letter in the name", Rest("POST", "/v1/models/den%6Fiser:predict", {"instances": ROWS}), Outcome(200)),
    Case("another content type", Rest("POST", CALL, {"instances": ROWS}, (("Content-Type", "text/plain"),)), Outcome(200)),
    Case("gzip welcome in the answer", Rest("POST", CALL, {"instances": ROWS}, (("Accept-Encoding", "gzip"),)), Outcome(200)),
    post("an unknown signature", {"signature_name": "x", "instances": ROWS}, 'Serving signature name: "x" not found in signature def'),
    Case("an unknown version", Rest("POST", f"{PATH}/versions/9:predict", {"instances": ROWS}), refused("Servable not found for request: Specific(denoiser, 9)", 404)),
    Case("an unknown label", Rest("POST", f"{PATH}/labels/z:predict", {"instances": ROWS}), refused("Unrecognized servable version label: z")),
    post("an empty body", b"", "JSON Parse error: The document is empty"),
    post("a body cut off", b"{", "JSON Parse error: Missing a name for object member. at offset: 1"),
    post("neither key", {}, "Missing 'inputs' or 'instances' key"),
    post("no rows", {"instances": []}, "JSON Value: {\n    \"instances\": []\n} No values in 'instances' array"),
    post("a number for rows", {"instances": 1}, "JSON Value: {\n    \"instances\": 1\n} Expecting 'instances' to be an list/array"),
    post("rows of another shape", {"instances": [[1, 2]]}, None),
    post("a column of another shape", {"inputs": [[1, 2, 3]]}, None),
    Case("an empty column", Rest("POST", CALL, {"inputs": []}), Outcome("ReadTimeout"), refused(None), "there, with batching on, no answer comes"),
    post("null for a column", {"inputs": None}, f"JSON Value: null Type: Null {FLOAT}"),
    post("base64 for numbers", {"instances": [{"b64": "AAAA"}]}, "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: {\n    \"b64\": \"AAAA\"\n} Type: Object is not of expected type: float"),
    post("both keys", {"instances": ROWS, "inputs": ROWS}, 'JSON Value: {\n    "instances": [[[[0.0], [0.0], [0.0],...'),
    post("NaN of another shape", b'{"instances":[NaN]}', None),
    post("a number too large", b'{"instances":[1e999]}', "JSON Parse error: Number too big to be stored in double. at offset: 14"),
    Case("a gzip body", Rest("POST", CALL, gzip.compress(json.dumps({"instances": ROWS}).encode()), (("Content-Encoding", "gzip"),)), Outcome(200)),
    Case("a body that is not gzip", Rest("POST", CALL, b"notgzip", (("Content-Encoding", "gzip"),)), refused("JSON Parse error: The document is empty")),
    *(Case(f":{verb} on a predict signature", Rest("POST", f"{PATH}:{verb}", {"examples": [{"x": 1}]}), refused(f'No {kind} inputs found in SignatureDef: inputs {{\n  key: "images"\n...'))
      for verb, kind in (("classify", "classification"), ("regress", "regression"))),
    post("lists 20,000 deep", b'{"instances":' + b"[" * 20_000 + b"]" * 20_000 + b"}", "tensor parsing error: images", ours=refused("JSON Parse error: Terminate parsing due to values that are nested too deep."), why="our parser stops at 1,000 levels; 50,000 end the real server's process"),
    post("a column with another name", {"inputs": {"z": ROWS}}, "Missing named input: images in 'inputs' object."),
    post("rows with another name", {"instances": [{"z": ROWS[0]}]}, "Failed to process element: 0 key: z of 'instances' list. Error: INVALID_ARGUMENT: JSON object: does not have named input: z"),
    post("text among numbers", b'{"instances": [[[[0.1,"a"]]]]}', f"Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: \"a\" Type: String {FLOAT}"),
    post("true for a number", b'{"instances": [[[[true]]]]}', f"Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: true Type: True {FLOAT}"),
    post("ragged rows", b'{"instances": [[1],[1,2]]}', "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting tensor size: 1 but got: 2"),
    post("bytes that are no text", b"\xff\xfe", "JSON Parse error: Invalid value. at offset: 0"),
    post("a comma too many", b'{"instances": [1],} ', "JSON Parse error: Missing a name for object member. at offset: 18"),
    post("a key twice", b'{"instances":[1],"instances":[2]}', None),
    post("a comment", b'/*c*/{"instances":[1]}', "JSON Parse error: Invalid value. at offset: 0"),
]  # fmt: skip


@dataclass(frozen=True)
class Behaviour:
    """What no single request shows: the test that shows it, or what the difference is."""

    name: str
    theirs: str
    ours: str  # "the same", or what differs
    test: str  # a test of ours, as file::name
    known: Known = Known.SEEN


PROCESS = "tests/integration/test_model_server_process.py"
BEHAVIOURS = [
    Behaviour("flags", "48", "the same; those without a meaning are named in one log line", "tests/unit/model_server/test_flags.py::test_every_flag_of_tensorflow_model_server_is_accepted"),
    Behaviour("an unknown flag", "is printed, and the server goes on", "an error that names the nearest flag", "tests/unit/model_server/test_flags.py::test_an_unknown_flag_is_told_its_nearest_neighbour"),
    Behaviour("calls beyond --grpc_max_threads", "RESOURCE_EXHAUSTED", "wait for their turn within their deadline", "tests/integration/test_model_server_robustness.py::test_probes_do_not_wait_behind_predictions"),
    Behaviour("--enable_serialization_as_tensor_content", "breaks REST :predict", "harmless", "tests/integration/test_model_server_robustness.py::test_answers_in_content_are_asked_for_by_flag"),
    Behaviour("a version that fails", "LOADING without an error while it is retried; may hold up all others", "LOADING with the error; holds up nothing", f"{PROCESS}::test_no_cpu_is_used_while_idle_after_a_bad_version_came_and_went"),
    Behaviour("SIGTERM", "ends it at once; as process 1 it is ignored", "says NOT_SERVING, drains, ends", f"{PROCESS}::test_sigterm_lets_calls_in_progress_finish"),
    Behaviour("a call of a wrong shape beside others in a batch", "fails its batch mates", "only calls of one row shape share a batch", "tests/unit/model_server/running/test_batching.py::test_rows_of_another_shape_are_another_batch"),
    Behaviour("gRPC reflection", "served", "the same", "tests/contract/test_reflection.py::test_it_lists_the_services_and_describes_their_messages"),
    Behaviour("a version whose files differ from its model card", "is served", "fails to load", "tests/unit/model_server/versions/test_loading.py::test_a_version_whose_files_differ_from_its_card_fails_before_it_is_served", Known.SOURCE),
    Behaviour("a newer version with another signature", "is served", "fails to load; the served one stays", f"{PROCESS}::test_a_classifier_under_the_denoisers_name_does_not_replace_it", Known.SOURCE),
]  # fmt: skip
