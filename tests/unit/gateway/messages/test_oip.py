"""Open Inference Protocol messages: both forms of tensors, and headers that do not fit what follows them."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.core.errors import InvalidInputError
from services.gateway.messages.oip import read_infer_request, write_infer_response


def request(entry: dict | None = None, **more: object) -> dict:
    tensor = {"name": "images", "shape": [2, 28, 28, 1], "datatype": "FP32", "data": [0.25] * 1568}
    return {"inputs": [{**tensor, **(entry or {})}], **more}


def read(value: object, tensors: bytes = b"", length: str | None = None):
    header = json.dumps(value).encode()
    if tensors and length is None:
        length = str(len(header))
    return read_infer_request(header + tensors, length, max_depth=8)


def binary(array: np.ndarray, datatype: str = "FP32", **more: object) -> tuple[dict, bytes]:
    entry = {"datatype": datatype, "shape": list(array.shape), "parameters": {"binary_data_size": array.nbytes}, **more}
    value = request(entry)
    value["inputs"][0].pop("data", None)
    return value, array.tobytes()


@pytest.fixture
def images(rng) -> np.ndarray:
    return rng.random((2, 28, 28, 1), np.float32)


def test_numbers_may_be_flat_or_nested(images):
    for data in (images.ravel().tolist(), images.tolist(), images[..., 0].tolist()):
        np.testing.assert_array_equal(read(request({"data": data})).images, images)


@pytest.mark.parametrize("shape", [(2, 28, 28, 1), (2, 28, 28), (2, 784)])
def test_binary_tensors_are_read_without_a_copy(shape, images):
    asked = read(*binary(images.reshape(shape)))

    np.testing.assert_array_equal(asked.images, images)
    assert not asked.images.flags.owndata


@pytest.mark.parametrize("as_binary", [True, False])
def test_uint8_is_scaled(as_binary):
    pixels = np.full((1, 28, 28, 1), 51, np.uint8)
    sent = (
        binary(pixels, "UINT8")
        if as_binary
        else (request({"datatype": "UINT8", "shape": [1, 784], "data": [51] * 784}),)
    )

    np.testing.assert_allclose(read(*sent).images, 0.2)


def test_wishes_are_read(images):
    asked = read(
        request(
            id="a",
            parameters={"binary_data_output": True, "denoise": "auto"},
            outputs=[{"name": "digit", "parameters": {"binary_data": False}}, {"name": "probabilities"}],
        )
    )

    assert (asked.id, asked.outputs, asked.binary, asked.binary_by_default) == (
        "a",
        ("digit", "probabilities"),
        {"digit": False},
        True,
    )
    assert asked.parameters["denoise"] == "auto"


@pytest.mark.parametrize("value", [request(), request(outputs=[]), request(outputs=None)])
def test_without_outputs_all_are_wanted(value):
    assert read(value).outputs is None


def test_a_reply_holds_numbers_then_tensors_in_the_order_asked(images):
    asked = read(
        request(id="x", outputs=[{"name": "b", "parameters": {"binary_data": True}}, {"name": "a"}, {"name": "c"}])
    )
    asked_for = {"a": np.array([3, 4]), "b": images, "c": np.float32([[0.5]])}

    body, length = write_infer_response(asked, asked_for, model="m", version="7", parameters={"degraded": False})

    reply = json.loads(body[:length])
    assert {key: reply[key] for key in ("model_name", "model_version", "id", "parameters")} == {
        "model_name": "m",
        "model_version": "7",
        "id": "x",
        "parameters": {"degraded": False},
    }
    assert reply["outputs"] == [
        {"name": "b", "shape": [2, 28, 28, 1], "datatype": "FP32", "parameters": {"binary_data_size": 6272}},
        {"name": "a", "shape": [2], "datatype": "INT64", "data": [3, 4]},
        {"name": "c", "shape": [1, 1], "datatype": "FP32", "data": [0.5]},
    ]
    np.testing.assert_array_equal(np.frombuffer(body[length:], "<f4"), images.ravel())


def test_a_reply_of_numbers_alone_is_json(images):
    body, length = write_infer_response(read(request()), {"a": np.array([1])}, model="m", version="1", parameters={})

    assert length is None
    assert json.loads(body) == {
        "model_name": "m",
        "model_version": "1",
        "outputs": [{"name": "a", "shape": [1], "datatype": "INT64", "data": [1]}],
    }


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "JSON object"),
        ({}, "inputs is a list of one tensor"),
        ({"inputs": [1]}, "inputs is a list of one tensor"),
        ({"inputs": request()["inputs"] * 2}, "inputs is a list of one tensor"),
        (request({"name": "image"}), "no input is called 'image'"),
        (request({"datatype": "FP64"}), "datatype 'FP64': images is FP32 or UINT8"),
        (request({"datatype": []}), "datatype"),
        (request({"shape": "x"}), "shape 'x'"),
        (request({"shape": []}), "shape"),
        (request({"shape": [2.0, 784]}), "shape"),
        (request({"shape": [-1, 784]}), "shape"),
        (request({"shape": [True, 784]}), "shape"),
        (request({"shape": [0, 784]}), "n at least 1"),
        (request({"shape": [2, 28, 27, 1]}), r"images is \[n, 28, 28, 1\]"),
        (request({"shape": [1, 784]}), "not a list of the 784"),
        (request({"shape": [2**62, 784]}), "shape"),
        (request({"data": None}), "not a list"),
        (request({"data": {}}), "not a list"),
        (request({"data": ["0"] * 1568}), "not a list"),
        (request({"data": [[0], [0, 1]]}), "not a list"),
        (request({"data": [1e39] * 1568}), "not finite"),
        (request({"data": [10**400] * 1568}), "not JSON"),
        (request({"datatype": "UINT8", "data": [0.5] * 1568}), "not a list"),
        (request({"datatype": "UINT8", "data": [256] * 1568}), "UINT8 data from 256 to 256"),
        (request({"parameters": []}), "not an object"),
        (request({"parameters": {"binary_data_size": 4}}), "either data or"),
        (request(id=7), "id is a string"),
        (request(parameters=[]), "parameters: not an object"),
        (request(parameters={"binary_data_output": 1}), "binary_data_output is true or false"),
        (request(outputs={"name": "digit"}), "outputs is a list"),
        (request(outputs=[{}]), "outputs is a list"),
        (request(outputs=[{"name": "digit"}] * 2), "asked for twice"),
        (
            request(outputs=[{"name": "digit", "parameters": {"shared_memory_region": "x"}}]),
            "'shared_memory_region' is not supported",
        ),
        (
            request(outputs=[{"name": "digit", "parameters": {"classification": "3"}}]),
            "'3' is not a number of classes",
        ),
        (request(outputs=[{"name": "digit", "parameters": {"binary_data": "yes"}}]), "binary_data is true or false"),
    ],
)
def test_what_is_wrong_is_said(value, message):
    with pytest.raises(InvalidInputError, match=message):
        read(value)


@pytest.mark.parametrize("length", ["", "-1", "x", "1e3", "²", "9" * 13, "99999999"])
def test_a_length_that_does_not_fit_is_invalid(length, images):
    with pytest.raises(InvalidInputError, match="Inference-Header-Content-Length"):
        read(*binary(images), length=length)


def test_a_length_that_cuts_the_json_is_invalid(images):
    with pytest.raises(InvalidInputError, match="not JSON"):
        read(*binary(images), length="20")


@pytest.mark.parametrize("size", [6271, 6273, 0, -6272, 6272.0, "6272", True, 2**70])
def test_a_binary_size_that_does_not_fit_is_invalid(size, images):
    value, tensors = binary(images, parameters={"binary_data_size": size})

    with pytest.raises(InvalidInputError, match="binary_data_size"):
        read(value, tensors)


def test_a_shape_that_does_not_fit_the_bytes_is_invalid(images):
    value, tensors = binary(images, shape=[3, 28, 28, 1])

    with pytest.raises(InvalidInputError, match="make 9408 bytes"):
        read(value, tensors)


def test_bytes_that_belong_to_no_tensor_are_invalid():
    with pytest.raises(InvalidInputError, match="4 bytes follow the JSON, but no input has a binary_data_size"):
        read(request(), b"1234")


@pytest.mark.parametrize("value", [3e38, -3e38, 1.1e6])
def test_pixels_so_large_that_models_overflow_are_invalid(value, images):
    """Issue 15.6: finite 3e38 was answered 502, blaming the model."""
    images[0, 0, 0] = value

    with pytest.raises(InvalidInputError, match="they lie within"):
        read(*binary(images))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_invalid(value, images):
    images[0, 0, 0] = value

    with pytest.raises(InvalidInputError, match="not finite"):
        read(*binary(images))


@settings(max_examples=150, deadline=None)
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False)
        | st.sampled_from(["images", "FP32", "", "x"]),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["name", "shape", "datatype", "data", "parameters", "inputs", "outputs"]), inner
            )
        ),
        max_leaves=12,
    ),
    st.binary(max_size=20),
    st.none() | st.integers(0, 100).map(str),
)
def test_no_message_gets_past_as_another_error(value, tensors, length):
    for message in (value, {"inputs": value}, {"inputs": [value]}, {"inputs": request()["inputs"], "outputs": value}):
        try:
            read(message, tensors, length)
        except InvalidInputError:
            continue
        assert "outputs" in message
