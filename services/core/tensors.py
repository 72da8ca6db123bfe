"""numpy arrays <-> TensorProto, both of TensorFlow Serving's encodings, with no copy where none is needed."""

import math
from functools import lru_cache

import numpy as np

from services.core.errors import InvalidInputError
from services.pb import tfserving_pb2 as pb

# dtype number -> (numpy dtype, the *_val field that may carry it)
_NUMERIC: dict[pb.DataType, tuple[np.dtype, str]] = {
    pb.DT_FLOAT: (np.dtype("<f4"), "float_val"),
    pb.DT_DOUBLE: (np.dtype("<f8"), "double_val"),
    pb.DT_INT32: (np.dtype("<i4"), "int_val"),
    pb.DT_UINT8: (np.dtype("u1"), "int_val"),
    pb.DT_INT16: (np.dtype("<i2"), "int_val"),
    pb.DT_INT8: (np.dtype("i1"), "int_val"),
    pb.DT_INT64: (np.dtype("<i8"), "int64_val"),
    pb.DT_BOOL: (np.dtype("?"), "bool_val"),
    pb.DT_UINT16: (np.dtype("<u2"), "int_val"),
    pb.DT_HALF: (np.dtype("<f2"), "half_val"),
    pb.DT_UINT32: (np.dtype("<u4"), "uint32_val"),
    pb.DT_UINT64: (np.dtype("<u8"), "uint64_val"),
}
_NUMBER_OF = {dtype: number for number, (dtype, _) in _NUMERIC.items()}
_PACKED_FIELD = {pb.DT_FLOAT: 5, pb.DT_DOUBLE: 6}  # the numbers of float_val and double_val
_LENGTH_DELIMITED = 2  # protobuf's wire type
_KEY, _VALUE = 1, 2  # the fields of a map's entry

# What one tensor may come to. A message carries at most 64 MiB, but one *_val element may stand for any shape.
MAX_TENSOR_BYTES = 64 * 1024 * 1024
_MAX_RANK = 32


def to_proto(array: np.ndarray, *, as_values: bool = False) -> pb.TensorProto:
    """One array as `tensor_content`, the encoding that costs a memcpy, or in its `*_val` field.

    Byte strings (arrays of dtype object or S) have only the second form.
    """
    if array.dtype.kind in "OS":
        proto = pb.TensorProto(dtype=pb.DT_STRING, string_val=array.ravel().tolist())
    elif not as_values:
        proto = pb.TensorProto(dtype=_NUMBER_OF[array.dtype], tensor_content=array.tobytes())
    else:
        proto = _with_values(array)
    shape = proto.tensor_shape  # set even for a scalar, so that rank 0 is said, not left out
    shape.SetInParent()
    for size in array.shape:
        shape.dim.add(size=size)
    return proto


def map_entry(field: int, key: str, array: np.ndarray, *, as_values: bool = False) -> tuple[bytes, bytes]:
    """`key: to_proto(array)` of the map that is `field` of a message: bytes that are joined to those of other fields.

    What protobuf would write, without its objects and with one copy of the numbers.
    """
    number = _NUMBER_OF.get(array.dtype)
    content = _PACKED_FIELD.get(number) if as_values and number else pb.TensorProto.TENSOR_CONTENT_FIELD_NUMBER
    if number is None or content is None or not array.size:
        tensor = to_proto(array, as_values=as_values).SerializeToString()
        return _announced(
            field, _announced(_KEY, key.encode()) + _length(_VALUE, len(tensor)), more=len(tensor)
        ), tensor
    return _before_numbers(field, key, number, content, array.shape, array.nbytes), array.tobytes()


def from_proto(proto: pb.TensorProto, *, as_tensorflow: bool = False) -> np.ndarray:
    """The array in `proto`; read-only over the message's own bytes when they came as `tensor_content`.

    With `as_tensorflow`, the number of `*_val` elements need not fit the shape: as TensorFlow reads them, the last one
    is repeated, those beyond the shape are dropped, and none at all means zeros.
    """
    if proto.dtype == pb.DT_STRING:
        return _strings(proto, as_tensorflow=as_tensorflow)
    if proto.dtype not in _NUMERIC:
        raise InvalidInputError(f"tensors of dtype {dtype_name(proto.dtype)} are not read here")
    dtype, field = _NUMERIC[proto.dtype]
    shape = shape_of(proto, itemsize=dtype.itemsize)
    count = math.prod(shape)
    if content := proto.tensor_content:
        if len(content) != count * dtype.itemsize:
            raise InvalidInputError(f"{len(content)} bytes do not fill a {dtype} tensor of shape {list(shape)}")
        return np.frombuffer(content, dtype).reshape(shape)
    values = getattr(proto, field)
    if as_tensorflow and len(values) not in (1, count):
        return _padded(_from_values(values[:count], dtype, field), count).reshape(shape)
    if len(values) == count:
        return _from_values(values, dtype, field).reshape(shape)
    if len(values) == 1:  # a single value fills the whole shape
        return np.broadcast_to(_from_values(values, dtype, field).reshape(()), shape)
    raise InvalidInputError(f"{len(values)} values do not fill a {dtype} tensor of shape {list(shape)}")


def shape_of(proto: pb.TensorProto, *, itemsize: int) -> tuple[int, ...]:
    """The shape a tensor claims, once it is known to be one that could be held."""
    shape = tuple([dim.size for dim in proto.tensor_shape.dim])
    if proto.tensor_shape.unknown_rank or min(shape, default=0) < 0:
        raise InvalidInputError(f"a tensor's shape must be known, not {list(shape)}")
    if len(shape) > _MAX_RANK:
        raise InvalidInputError(f"a tensor has at most {_MAX_RANK} dimensions, not {len(shape)}")
    # An empty tensor's other dimensions count too: numpy multiplies them before it looks at the zero.
    if math.prod(filter(None, shape)) * itemsize > MAX_TENSOR_BYTES:
        raise InvalidInputError(f"a tensor of shape {list(shape)} is larger than {MAX_TENSOR_BYTES} bytes")
    return shape


def packed(field: int, array: np.ndarray) -> bytes:
    """The bytes of a message whose repeated float or double field holds `array`, to be merged: 5 us for 64 images.

    A packed field is the array's own bytes with a length in front; the field's own `extend` takes 4 ms for them.
    """
    return _announced(field, array.tobytes())


def numpy_dtype(number: pb.DataType) -> np.dtype:
    """The numpy dtype of a DataType number; byte strings are objects."""
    return np.dtype(object) if number == pb.DT_STRING else _NUMERIC[number][0]


def dtype_number(dtype: np.dtype) -> pb.DataType:
    """The DataType number of a numpy dtype."""
    return pb.DT_STRING if dtype.kind in "OS" else _NUMBER_OF[dtype]


def dtype_name(number: pb.DataType) -> str:
    """`DT_FLOAT`, or the bare number of a type TensorFlow has added since."""
    return pb.DataType.Name(number) if number in pb.DataType.values() else str(number)


def _with_values(array: np.ndarray) -> pb.TensorProto:
    number = _NUMBER_OF[array.dtype]
    proto = pb.TensorProto(dtype=number)
    if number in _PACKED_FIELD:
        proto.MergeFromString(packed(_PACKED_FIELD[number], array))
        return proto
    flat = array.ravel().view("<u2") if number == pb.DT_HALF else array.ravel()
    getattr(proto, _NUMERIC[number][1]).extend(flat.tolist())
    return proto


@lru_cache(maxsize=1024)
def _before_numbers(
    field: int, key: str, number: pb.DataType, content: int, shape: tuple[int, ...], size: int
) -> bytes:
    tensor = pb.TensorProto(dtype=number)
    tensor.tensor_shape.SetInParent()
    for each in shape:
        tensor.tensor_shape.dim.add(size=each)
    head = tensor.SerializeToString() + _length(content, size)
    start = _announced(_KEY, key.encode()) + _length(_VALUE, len(head) + size) + head
    return _announced(field, start, more=size)


def _announced(field: int, data: bytes, *, more: int = 0) -> bytes:
    """A field of bytes, the last `more` of which will follow."""
    return _length(field, len(data) + more) + data


def _length(field: int, size: int) -> bytes:
    """What stands before the bytes of a field."""
    return _varint(field << 3 | _LENGTH_DELIMITED) + _varint(size)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _from_values(values: object, dtype: np.dtype, field: str) -> np.ndarray:
    wide = np.array(values)
    narrow = np.dtype("<u2") if field == "half_val" else dtype  # half_val holds bit patterns
    if wide.dtype.kind in "iu" and wide.size and narrow.kind in "iu" and wide.itemsize > narrow.itemsize:
        limits = np.iinfo(narrow)
        if wide.min() < limits.min or wide.max() > limits.max:
            raise InvalidInputError(f"{field} holds a number that does not fit {dtype}")
    return wide.astype(narrow, copy=False).view(dtype)


def _padded(numbers: np.ndarray, count: int) -> np.ndarray:
    """So many numbers: the last one repeated, or zeros where there is none."""
    if not len(numbers):
        return np.zeros(count, numbers.dtype)
    return np.concatenate((numbers, np.full(count - len(numbers), numbers[-1])))


def _strings(proto: pb.TensorProto, *, as_tensorflow: bool) -> np.ndarray:
    shape = shape_of(proto, itemsize=8)
    values = list(proto.string_val)
    if as_tensorflow:
        values = values[: math.prod(shape)]
        values += [values[-1] if values else b""] * (math.prod(shape) - len(values))
    if len(values) != math.prod(shape):
        raise InvalidInputError(f"{len(values)} strings do not fill a tensor of shape {list(shape)}")
    array = np.empty(len(values), object)
    array[:] = values
    return array.reshape(shape)
