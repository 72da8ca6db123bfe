"""The model server's REST interface: TensorFlow Serving's paths, bodies, codes and words."""

import base64
import gzip
import json
import math

import numpy as np
import pytest
import requests
from onnx import TensorProto, helper

from tests.support.model_server import CALL_S, model_server, write_onnx, write_scale_model


@pytest.fixture(scope="module")
def rest(tmp_path_factory):
    """`rest(method, path, body)` against a server of four toy models; bodies are JSON unless they are bytes."""
    folder = tmp_path_factory.mktemp("models")
    write_scale_model(folder / "scale", 3)
    write_onnx(
        folder / "sum",
        1,
        [helper.make_node("Add", ["a", "b"], ["total"])],
        [],
        [("a", [None]), ("b", [None])],
        [("total", [None])],
    )
    integers = [helper.make_node("Identity", ["x"], ["y"])]
    write_onnx(folder / "integers", 1, integers, [], [("x", [None])], [("y", [None])], kind=TensorProto.INT32)
    text = [helper.make_node("Identity", ["t"], ["text"]), helper.make_node("Identity", ["t"], ["raw_bytes"])]
    write_onnx(
        folder / "text",
        1,
        text,
        [],
        [("t", [None])],
        [("text", [None]), ("raw_bytes", [None])],
        kind=TensorProto.STRING,
    )
    config = folder / "models.config"
    more = {"scale": 'version_labels { key: "stable" value: 3 }'}
    entries = "".join(
        f'config {{ name: "{name}" base_path: "{folder / name}" model_platform: "tensorflow" {more.get(name, "")} }}\n'
        for name in ("scale", "sum", "integers", "text")
    )
    config.write_text(f"model_config_list {{ {entries} }}")
    with model_server(model_config_file=str(config)) as running:

        def ask(method, path, body=None, **headers):
            data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
            return requests.request(method, running.rest + path, data=data, headers=headers, timeout=CALL_S)

        yield ask


def _predict(rest, body, model="scale", **headers):
    return rest("POST", f"/v1/models/{model}:predict", body, **headers)


# ---- predict, both forms


def test_rows_with_several_outputs_come_back_as_objects(rest):
    answer = _predict(rest, {"instances": [[1, 2], [3, 4.5]]})

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json() == {"predictions": [{"y": [2.0, 4.0], "sum": 3.0}, {"y": [6.0, 9.0], "sum": 7.5}]}


def test_columns_with_several_outputs_come_back_as_one_object(rest):
    assert _predict(rest, {"inputs": [[1, 2]]}).json() == {"outputs": {"y": [[2.0, 4.0]], "sum": [3.0]}}


def test_one_output_comes_back_bare(rest):
    assert _predict(rest, {"instances": [1, 2]}, "integers").json() == {"predictions": [1, 2]}
    assert _predict(rest, {"inputs": [1, 2]}, "integers").json() == {"outputs": [1, 2]}


def test_several_inputs_come_as_objects(rest):
    rows = {"instances": [{"a": 1, "b": 2}, {"a": 3, "b": 4}]}
    columns = {"inputs": {"a": [1, 3], "b": [2, 4]}}

    assert _predict(rest, rows, "sum").json() == {"predictions": [3.0, 7.0]}
    assert _predict(rest, columns, "sum").json() == {"outputs": [3.0, 7.0]}


def test_a_single_input_may_be_named_too(rest):
    assert _predict(rest, {"instances": [{"x": 5}]}, "integers").json() == {"predictions": [5]}
    assert _predict(rest, {"inputs": {"x": [5]}}, "integers").json() == {"outputs": [5]}


def test_whole_floats_keep_their_point(rest):
    assert b"[2.0,4.0]" in _predict(rest, {"inputs": [[1, 2]]}).content.replace(b" ", b"")


def test_float32_is_written_in_its_shortest_form(rest):
    assert _predict(rest, {"inputs": [[0.1, 0.2]]}).json()["outputs"]["y"] == [[0.2, 0.4]]


def test_nan_and_infinity_go_in_and_out(rest):
    answer = _predict(rest, b'{"inputs": [[NaN, Infinity], [-Infinity, 1]]}')

    assert b"NaN" in answer.content
    assert b"-Infinity" in answer.content
    values = np.array(json.loads(answer.content)["outputs"]["y"])
    assert math.isnan(values[0][0])
    assert values[1].tolist() == [-math.inf, 2.0]


def test_bytes_travel_as_base64(rest):
    sent = base64.b64encode(b"sieben").decode()

    answer = _predict(rest, {"instances": [{"b64": sent}, "acht"]}, "text").json()

    assert answer["predictions"] == [
        {"text": "sieben", "raw_bytes": {"b64": sent}},
        {"text": "acht", "raw_bytes": {"b64": base64.b64encode(b"acht").decode()}},
    ]


def test_a_gzip_body_is_read(rest):
    body = gzip.compress(json.dumps({"inputs": [[1, 2]]}).encode())

    assert _predict(rest, body, **{"Content-Encoding": "gzip"}).status_code == 200


@pytest.mark.parametrize("path", ["", "/versions/3", "/labels/stable"])
def test_version_and_label_paths(rest, path):
    answer = rest("POST", f"/v1/models/scale{path}:predict", {"inputs": [[1, 2]]})

    assert answer.json()["outputs"]["sum"] == [3.0]


def test_paths_are_matched_without_case_and_decoded(rest):
    assert rest("POST", "/V1/Models/s%63ale:predict", {"inputs": [[1, 2]]}).status_code == 200
    assert rest("POST", "/v1/models/scale:PREDICT", {"inputs": [[1, 2]]}).status_code == 400


# ---- what is refused, and how

MALFORMED = "Malformed request: "
BAD_PREDICT = {
    "empty body": (b"", "JSON Parse error: The document is empty"),
    "no JSON": (b"{", "JSON Parse error: "),
    "no object": ([1], "JSON Value: [1] Is not object"),
    "odd signature name": (
        {"signature_name": 1, "inputs": 1},
        'JSON Value: {\n    "signature_name": 1,\n    "inputs": 1\n} not formatted correctly. '
        "'signature_name' key must be a string value.",
    ),
    "unknown signature": (
        {"signature_name": "polish", "inputs": [[1, 2]]},
        'Serving signature name: "polish" not found in signature def',
    ),
    "neither key": ({}, "Missing 'inputs' or 'instances' key"),
    "both keys": (
        {"inputs": [[1, 2]], "instances": [[1, 2]]},
        'JSON Value: {\n    "inputs": [[1, 2]],\n    "instances": [[1, 2]]\n} Not formatted correctly expecting '
        "only one of 'inputs' or 'instances' keys to exist ",
    ),
    "no list": (
        {"instances": 1},
        "JSON Value: {\n    \"instances\": 1\n} Expecting 'instances' to be an list/array",
    ),
    "no rows": ({"instances": []}, "JSON Value: {\n    \"instances\": []\n} No values in 'instances' array"),
    "mixed rows": (
        {"instances": [[1, 2], {"x": [1, 2]}]},
        "Expecting value/list but got object at item 1 of input list",
    ),
    "wrong keys": (
        {"instances": [{"z": [1, 2]}]},
        "Failed to process element: 0 key: z of 'instances' list. Error: INVALID_ARGUMENT: JSON object: does not have "
        "named input: z",
    ),
    "rows of different shapes": (
        {"instances": [[1, 2], [1, 2, 3]]},
        "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting tensor size: 2 "
        "but got: 3",
    ),
    "text for a number": (
        {"instances": [[1, 2], [1, "2"]]},
        "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: JSON Value: \"2\" Type: String is "
        "not of expected type: float",
    ),
    "true for a number": (
        {"inputs": [[1, True]]},
        "JSON Value: true Type: True is not of expected type: float",
    ),
    "null": ({"inputs": [[1, None]]}, "JSON Value: null Type: Null is not of expected type: float"),
    "value above a list": (
        {"inputs": [[1, 2], 3]},
        "JSON Value: 3 found at incorrect level: 2 in the JSON DOM. Expected at level: 2",
    ),
    "ragged": ({"inputs": [[1, 2], [3]]}, "Encountered list at unexpected size: 1 at level: 1 expected size: 2"),
    "missing named input": ({"inputs": {"z": 1}}, "Missing named input: x in 'inputs' object."),
    "wrong shape": ({"inputs": [[1, 2, 3]]}, "Got invalid dimensions for input: x"),
}


@pytest.mark.parametrize("case", BAD_PREDICT)
def test_a_body_that_does_not_fit_is_a_400_in_their_words(rest, case):
    body, message = BAD_PREDICT[case]

    answer = _predict(rest, body)

    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/json"
    assert list(answer.json()) == ["error"]
    assert answer.json()["error"].startswith(message)


def test_whole_numbers_stay_whole(rest):
    answer = _predict(rest, {"inputs": [1.0]}, "integers")

    assert answer.status_code == 400
    assert answer.json()["error"] == "JSON Value: 1.0 Type: Number is not of expected type: int32"


def test_a_plain_list_for_several_inputs_is_a_400(rest):
    assert _predict(rest, {"inputs": [1]}, "sum").json()["error"].startswith("inputs is a plain value/list")
    assert _predict(rest, {"instances": [1]}, "sum").json()["error"].startswith("instances is a plain list")


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/v1/models", 400, "Missing model name in request."),
        ("GET", "/v1/models/nobody", 404, "Could not find any versions of model nobody"),
        ("GET", "/v1/models/scale/versions/9", 404, "Could not find version 9 of model scale"),
        ("GET", "/v1/models/nobody/metadata", 404, "Servable not found for request: Latest(nobody)"),
        ("POST", "/v1/models/nobody:predict", 404, "Servable not found for request: Latest(nobody)"),
        ("POST", "/v1/models/scale/versions/9:predict", 404, "Servable not found for request: Specific(scale, 9)"),
        ("POST", "/v1/models/scale/labels/new:predict", 400, "Unrecognized servable version label: new"),
        ("POST", f"/v1/models/scale/versions/{2**70}:predict", 400, "Failed to convert version: "),
        ("POST", "/v1/models/scale:guess", 400, MALFORMED + "POST /v1/models/scale:guess"),
        ("GET", "/v1/models/scale:predict", 400, MALFORMED + "GET /v1/models/scale:predict"),
        ("GET", "/v1/models/a/b", 400, MALFORMED + "GET /v1/models/a/b"),
        ("DELETE", "/v1/models/scale", 400, MALFORMED + "DELETE /v1/models/scale"),
        ("POST", "/v1/models/scale:classify", 400, "No classification inputs found in SignatureDef: inputs {"),
    ],
)
def test_paths_that_lead_nowhere(rest, method, path, status, message):
    body = {"instances": [[1, 2]], "examples": [{"a": 1}]}

    answer = rest(method, path, body if method == "POST" else None)

    assert answer.status_code == status
    assert answer.json()["error"].startswith(message)


def test_cors_is_off_unless_asked_for(rest):
    answer = rest("OPTIONS", "/v1/models/scale:predict", Origin="http://elsewhere.example")

    assert answer.status_code == 200
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_cors_headers_when_asked_for(tmp_path):
    write_scale_model(tmp_path / "scale", 1)

    flags = {"model_name": "scale", "model_base_path": str(tmp_path / "scale"), "rest_api_enable_cors_support": True}
    with model_server(**flags) as running:
        url, origin = f"{running.rest}/v1/models/scale:predict", {"Origin": "http://elsewhere.example"}
        before = requests.options(url, headers=origin, timeout=CALL_S)
        answer = requests.post(url, json={"inputs": [[1, 2]]}, headers=origin, timeout=CALL_S)

    assert before.status_code == 200
    assert before.headers["Access-Control-Allow-Methods"] == "POST, GET"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


def test_outside_v1_is_a_plain_404(rest):
    answer = rest("GET", "/elsewhere")

    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "text/html"


def test_a_body_that_is_not_gzip_is_an_empty_one(rest):
    answer = _predict(rest, b"{}", **{"Content-Encoding": "gzip"})

    assert answer.status_code == 400
    assert answer.json()["error"] == "JSON Parse error: The document is empty"


def test_a_gzip_bomb_is_refused_before_it_is_unpacked(rest):
    answer = _predict(rest, gzip.compress(bytes(80 * 1024 * 1024)), **{"Content-Encoding": "gzip"})

    assert answer.status_code == 400
    assert "once unpacked" in answer.json()["error"]


@pytest.mark.parametrize("depth", [33, 500, 1_000, 1_100, 100_000])
def test_deep_nesting_is_a_400(rest, depth):
    """50,000 levels end TensorFlow Serving's process."""
    for key in ("inputs", "instances"):
        answer = _predict(rest, b'{"%b": ' % key.encode() + b"[" * depth + b"]" * depth + b"}")

        assert answer.status_code == 400
        assert answer.json()["error"] in (
            "tensor parsing error: x",
            "JSON Parse error: Terminate parsing due to values that are nested too deep.",
        )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "Missing a name for object member. at offset: 1"),
        (b"\xff\xfe", "Invalid value. at offset: 0"),
        (b'{"instances": [1],} ', "Missing a name for object member. at offset: 18"),
        (b'/*c*/{"instances":[1]}', "Invalid value. at offset: 0"),
        (b'{"instances":[1e999]}', "Number too big to be stored in double. at offset: 14"),
        (b'{"instances":[1e400]}', "Number too big to be stored in double. at offset: 14"),
    ],
)
def test_what_is_no_json_is_told_in_their_parsers_words(rest, body, message):
    answer = _predict(rest, body)

    assert answer.status_code == 400
    assert answer.json()["error"] == f"JSON Parse error: {message}"


def test_base64_needs_no_padding_and_carries_bytes_that_are_no_text(rest):
    assert _predict(rest, {"instances": [{"b64": "YQ"}]}, "text").json()["predictions"][0]["text"] == "a"
    refused = _predict(rest, {"instances": [{"b64": "/w=="}]}, "text")

    assert refused.status_code == 400  # the toy model gives them back, which ONNX Runtime does as text only
    assert refused.json()["error"] == "the model answered with bytes that are not UTF-8 text"


@pytest.mark.parametrize("word", ["Inf", "Infinity"])
def test_infinity_has_two_spellings(rest, word):
    answer = _predict(rest, b'{"inputs": [[%b, -%b]]}' % (word.encode(), word.encode()))

    assert json.loads(answer.content)["outputs"]["y"] == [[math.inf, -math.inf]]


def test_a_complaint_shows_the_beginning_of_a_large_value(rest):
    """As seen: {"instances": [[[[0.0], ... of both keys, cut after some 256 bytes."""
    rows = [[[[0.0]] * 28] * 28]
    answer = _predict(rest, {"instances": rows, "inputs": rows})

    head = 'JSON Value: {\n    "instances": [[[[0.0], [0.0], [0.0]'
    assert answer.json()["error"].startswith(head)
    assert len(answer.json()["error"]) < 400


def test_errors_are_laid_out_as_there(rest):
    answer = rest("GET", "/v1/models/nobody")

    assert answer.text == '{\n    "error": "Could not find any versions of model nobody"\n}'


def test_a_query_belongs_to_the_path_as_there(rest):
    assert rest("GET", "/v1/models/scale?x=1").json() == {"error": "Could not find any versions of model scale?x=1"}
    assert rest("POST", "/v1/models/scale:predict?x=1", {}).json() == {
        "error": "Malformed request: POST /v1/models/scale:predict?x=1"
    }


# ---- status and metadata


def test_status_json_is_theirs(rest):
    assert rest("GET", "/v1/models/scale").text == (
        '{\n "model_version_status": [\n  {\n   "version": "3",\n   "state": "AVAILABLE",\n   "status": {\n'
        '    "error_code": "OK",\n    "error_message": ""\n   }\n  }\n ]\n}\n'
    )
    assert rest("GET", "/v1/models/scale").json() == {
        "model_version_status": [
            {"version": "3", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        ]
    }


def test_metadata_json_is_theirs(rest):
    document = rest("GET", "/v1/models/scale/versions/3/metadata").json()

    assert document["model_spec"] == {"name": "scale", "signature_name": "", "version": "3"}
    signature = document["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["method_name"] == "tensorflow/serving/predict"
    assert signature["inputs"]["x"] == {
        "dtype": "DT_FLOAT",
        "name": "x:0",
        "tensor_shape": {"dim": [{"size": "-1", "name": ""}, {"size": "2", "name": ""}], "unknown_rank": False},
    }


def test_metrics_are_off_unless_configured(rest):
    assert rest("GET", "/monitoring/prometheus/metrics").status_code == 404
