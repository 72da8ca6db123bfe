"""TensorProto codecs: a round trip for every dtype, both encodings, and the ways a tensor can be wrong."""

import tracemalloc

import numpy as np
import pytest

from services.core.errors import InvalidInputError
from services.core.tensors import from_proto, map_entry, to_proto
from services.pb import tfserving_pb2 as pb

DTYPES = ["f4", "f8", "i4", "u1", "i2", "i1", "i8", "?", "u2", "f2", "u4", "u8"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (3,), (2, 28, 28, 1), (0, 28, 28, 1)])
def test_round_trip(dtype, shape, rng):
    array = (rng.random(shape) * 2).astype(dtype)

    back = from_proto(pb.TensorProto.FromString(to_proto(array).SerializeToString()))

    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (3,), (2, 28, 28, 1), (0, 28, 28, 1)])
def test_round_trip_in_the_value_fields(dtype, shape, rng):
    array = (rng.random(shape) * 2).astype(dtype)

    proto = to_proto(array, as_values=True)
    back = from_proto(pb.TensorProto.FromString(proto.SerializeToString()))

    assert not proto.tensor_content
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize("as_values", [False, True])
@pytest.mark.parametrize("dtype", [*DTYPES, "S3"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 28, 28, 1), (0, 28, 28, 1)])
def test_an_entry_of_a_map_is_what_protobuf_writes(shape, dtype, as_values, rng):
    array = (rng.random(shape) * 2).astype(dtype)
    message = pb.PredictRequest(output_filter=["y"])
    message.inputs["images"].CopyFrom(to_proto(array, as_values=as_values))

    entry = b"".join(map_entry(pb.PredictRequest.INPUTS_FIELD_NUMBER, "images", array, as_values=as_values))

    assert entry + pb.PredictRequest(output_filter=["y"]).SerializeToString() == message.SerializeToString()


def test_byte_strings_make_the_round_trip():
    array = np.array([[b"seven", b"\xff\x00"], [b"", b"x"]], object)

    back = from_proto(pb.TensorProto.FromString(to_proto(array).SerializeToString()))

    assert back.dtype == object
    np.testing.assert_array_equal(back, array)


def test_a_single_value_fills_a_large_shape_without_filling_memory():
    array = from_proto(_shaped([1024, 1024, 16], dtype=pb.DT_FLOAT, float_val=[3.0]))

    assert array.shape == (1024, 1024, 16)
    assert array.strides == (0, 0, 0)


def _shaped(shape, **fields):
    proto = pb.TensorProto(**fields)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


@pytest.mark.parametrize(
    ("proto", "expected"),
    [
        (_shaped([2], dtype=pb.DT_FLOAT, float_val=[0.5, 1.0]), np.array([0.5, 1.0], "f4")),
        (_shaped([2], dtype=pb.DT_UINT8, int_val=[7, 255]), np.array([7, 255], "u1")),
        (_shaped([2], dtype=pb.DT_INT64, int64_val=[7, -1]), np.array([7, -1], "i8")),
        (_shaped([2], dtype=pb.DT_BOOL, bool_val=[True, False]), np.array([True, False])),
        (_shaped([1], dtype=pb.DT_HALF, half_val=[0x3C00]), np.array([1.0], "f2")),
        (_shaped([2, 2], dtype=pb.DT_FLOAT, float_val=[3.0]), np.full((2, 2), 3.0, "f4")),
    ],
)
def test_values_of_a_field(proto, expected):
    array = from_proto(proto)

    assert array.dtype == expected.dtype
    np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize(
    "proto",
    [
        _shaped([2], dtype=pb.DT_FLOAT, tensor_content=b"1234567"),
        _shaped([3], dtype=pb.DT_FLOAT, float_val=[1.0, 2.0]),
        _shaped([2], dtype=pb.DT_FLOAT),
        _shaped([-1], dtype=pb.DT_FLOAT, float_val=[1.0]),
        _shaped([2], dtype=pb.DT_STRING, string_val=[b"x"]),
        _shaped([1], dtype=pb.DT_BFLOAT16, half_val=[0]),
        _shaped([1], dtype=pb.DT_HALF, half_val=[1 << 20]),
        _shaped([1], dtype=pb.DT_UINT8, int_val=[300]),
        _shaped([1], dtype=pb.DT_INT8, int_val=[-129]),
        _shaped([1]),
        _shaped([2**40, 2**40], dtype=pb.DT_FLOAT, tensor_content=b"1234"),
        _shaped([2**40], dtype=pb.DT_FLOAT, float_val=[1.0]),
        _shaped([2**62, 2**62, 2**62], dtype=pb.DT_FLOAT, float_val=[1.0]),
        _shaped([0, 2**62, 2**62], dtype=pb.DT_FLOAT),
        _shaped([1] * 300, dtype=pb.DT_FLOAT, float_val=[1.0]),
    ],
)
def test_a_tensor_that_does_not_add_up_is_invalid_input(proto):
    with pytest.raises(InvalidInputError):
        from_proto(proto)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("given", "read"), [([], [0, 0, 0]), ([1, 0], [1, 0, 0]), ([1, 0, 1, 1], [1, 0, 1])])
def test_as_tensorflow_the_last_value_is_repeated_and_those_beyond_the_shape_are_dropped(dtype, given, read):
    proto = to_proto(np.array(given, dtype), as_values=True)
    proto.tensor_shape.dim[0].size = 3
    array = from_proto(proto, as_tensorflow=True)

    assert array.dtype == np.dtype(dtype)
    assert array.tolist() == read


def test_two_values_fill_a_large_shape_with_little_more_than_its_memory():
    """Two floats for 64 MB took 320 MB on the way, in Python's lists."""
    proto = pb.TensorProto(dtype=pb.DT_FLOAT, float_val=[1, 2])
    proto.tensor_shape.dim.add(size=2_000_000)
    tracemalloc.start()
    try:
        array = from_proto(proto, as_tensorflow=True)
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert array[[0, 1, -1]].tolist() == [1, 2, 2]
    assert most_bytes < 2.5 * array.nbytes


def test_content_is_read_without_a_copy():
    array = from_proto(to_proto(np.arange(4, dtype="f4")))

    assert not array.flags.owndata
    assert not array.flags.writeable
