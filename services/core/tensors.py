"""numpy arrays <-> TensorProto, both of TensorFlow Serving's encodings, with no copy where none is needed."""

import math

import numpy as np

from services.core.errors import InvalidInputError
from services.pb import tfserving_pb2 as pb

# dtype number -> (numpy dtype, the *_val field that may carry it)
_NUMERIC: dict[int, tuple[np.dtype, str]] = {
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


def to_proto(array: np.ndarray) -> pb.TensorProto:
    """One numeric array as `tensor_content`: the encoding that costs a memcpy."""
    proto = pb.TensorProto(dtype=_NUMBER_OF[array.dtype], tensor_content=array.tobytes())
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


def from_proto(proto: pb.TensorProto) -> np.ndarray:
    """The array in `proto`; read-only over the message's own bytes when they came as `tensor_content`."""
    if proto.dtype not in _NUMERIC:
        raise InvalidInputError(f"tensors of dtype {_dtype_name(proto.dtype)} are not read here")
    dtype, field = _NUMERIC[proto.dtype]
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    if proto.tensor_shape.unknown_rank or any(size < 0 for size in shape):
        raise InvalidInputError(f"a tensor's shape must be known, not {list(shape)}")
    count = math.prod(shape)
    if proto.tensor_content:
        if len(proto.tensor_content) != count * dtype.itemsize:
            raise InvalidInputError(
                f"{len(proto.tensor_content)} bytes do not fill a {dtype} tensor of shape {list(shape)}"
            )
        return np.frombuffer(proto.tensor_content, dtype).reshape(shape)
    values = getattr(proto, field)
    if len(values) == count:
        flat = _from_values(values, dtype, field)
    elif len(values) == 1:  # a single value fills the whole shape
        flat = np.broadcast_to(_from_values(values, dtype, field), (count,))
    else:
        raise InvalidInputError(f"{len(values)} values do not fill a {dtype} tensor of shape {list(shape)}")
    return flat.reshape(shape)


def _from_values(values: object, dtype: np.dtype, field: str) -> np.ndarray:
    if field == "half_val":  # bit patterns
        return np.array(values, dtype="<u2").view(dtype)
    return np.array(values).astype(dtype)


def _dtype_name(number: int) -> str:
    return pb.DataType.Name(number) if number in pb.DataType.values() else str(number)
