"""A request against a signature: defaults, unknown shapes, and what does not fit."""

import numpy as np
import pytest

from services.core.errors import InvalidInputError
from services.core.tensors import to_proto
from services.model_server.signatures import (
    breaking_change,
    from_definition,
    pick,
    read_filter,
    read_inputs,
    serialized_examples,
)
from services.model_server.statuses import StatusError
from services.pb import tfserving_pb2 as pb


def info(*shape, dtype=pb.DT_FLOAT):
    tensor = pb.TensorInfo(name="feed:0", dtype=dtype)
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    return tensor


UNKNOWN_RANK = pb.TensorInfo(dtype=pb.DT_FLOAT, tensor_shape=pb.TensorShapeProto(unknown_rank=True))


def signature(inputs, defaults=None):
    return from_definition(
        "serving_default", pb.SignatureDef(inputs=inputs, outputs={"y": info(-1)}, defaults=defaults)
    )


def protos(**arrays):
    return {name: to_proto(np.float32(array)) for name, array in arrays.items()}


def test_a_missing_input_takes_its_default():
    two = signature({"x": info(-1), "scale": info()}, {"scale": to_proto(np.float32(3))})

    arrays = read_inputs(two, protos(x=[1, 2]))

    assert arrays["x"].tolist() == [1.0, 2.0]
    assert arrays["scale"] == 3.0


def test_a_default_gives_way_to_what_was_sent():
    two = signature({"x": info(-1), "scale": info()}, {"scale": to_proto(np.float32(3))})

    assert read_inputs(two, protos(x=[1, 2], scale=5))["scale"] == 5.0


@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4)])
def test_unknown_rank_takes_any_shape(shape):
    arrays = read_inputs(signature({"x": UNKNOWN_RANK}), protos(x=np.ones(shape)))

    assert arrays["x"].shape == shape


@pytest.mark.parametrize("shape", [(), (2,), (2, 3), (2, 2, 2)])
def test_whether_a_shape_fits_is_left_to_the_engine(shape):
    assert read_inputs(signature({"x": info(-1, 2)}), protos(x=np.ones(shape)))["x"].shape == shape


@pytest.mark.parametrize(
    ("values", "expected"),
    [([], [0, 0, 0]), ([5], [5, 5, 5]), ([5, 6], [5, 6, 6]), ([5, 6, 7, 8], [5, 6, 7])],
)
def test_values_too_few_or_too_many_are_read_as_tensorflow_reads_them(values, expected):
    tensor = pb.TensorProto(dtype=pb.DT_FLOAT, float_val=values)
    tensor.tensor_shape.dim.add(size=3)

    assert read_inputs(signature({"x": info(-1)}), {"x": tensor})["x"].tolist() == expected


def test_an_output_filter_keeps_its_order_and_none_means_all():
    definition = pb.SignatureDef(inputs={"x": info(-1)}, outputs={"a": info(-1), "b": info(-1)})
    both = from_definition("serving_default", definition)

    assert read_filter(both, ["b", "a"]) == ["b", "a"]
    assert read_filter(both, []) == ["a", "b"]


def test_no_name_means_serving_default():
    one = signature({"x": info(-1)})

    assert pick({"serving_default": one}, "") is one
    with pytest.raises(StatusError, match='Serving signature key "serving_default" not found'):
        pick({}, "")


def one(inputs, outputs):
    return {"serving_default": from_definition("serving_default", pb.SignatureDef(inputs=inputs, outputs=outputs))}


DENOISER = one({"images": info(-1, 28, 28, 1)}, {"denoised": info(-1, 28, 28, 1)})
CLASSIFIER = one({"images": info(-1, 28, 28, 1)}, {"probabilities": info(-1, 10)})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (DENOISER, DENOISER),
        (DENOISER, one({"images": info(-1, -1, -1, 1)}, {"denoised": info(-1, -1, -1, 1)})),
        (CLASSIFIER, one({"images": info(-1, 28, 28, 1)}, {"probabilities": info(-1, 10), "is_digit": info(-1)})),
        (CLASSIFIER, one({"images": UNKNOWN_RANK}, {"probabilities": info(-1, 10)})),
        ({}, DENOISER),
    ],
)
def test_a_newer_version_may_take_and_give_more(old, new):
    assert breaking_change(old, new) is None


@pytest.mark.parametrize(
    ("old", "new", "change"),
    [
        (DENOISER, CLASSIFIER, "serving_default has no output denoised"),
        (DENOISER, {}, "signature serving_default is gone"),
        (
            CLASSIFIER,
            one({"x": info(-1, 28, 28, 1)}, {"probabilities": info(-1, 10)}),
            "serving_default takes ['x'] in place of ['images']",
        ),
        (
            CLASSIFIER,
            one({"images": info(-1, 32, 32, 1)}, {"probabilities": info(-1, 10)}),
            "serving_default's input images has shape [?,32,32,1], not [?,28,28,1]",
        ),
        (
            CLASSIFIER,
            one({"images": info(-1, 28, 28, 1)}, {"probabilities": info(-1, 10, dtype=pb.DT_DOUBLE)}),
            "serving_default's output probabilities is DT_DOUBLE, not DT_FLOAT",
        ),
    ],
)
def test_what_would_break_a_client_is_named(old, new, change):
    assert breaking_change(old, new) == change


def test_a_context_counts_once_for_each_example():
    """30 MB of context for a million examples, a message of 32 MB, would be 30 TB."""
    shared = pb.Input.ExampleListWithContext(context=bytes(1_000_000), examples=[b""] * 100)

    with pytest.raises(InvalidInputError, match="examples with their context are 100000000 bytes"):
        serialized_examples(pb.Input(example_list_with_context=shared))
