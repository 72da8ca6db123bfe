"""TensorFlow Serving's REST bodies <-> arrays: row form (`instances`) and column form (`inputs`). Pure."""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
import orjson

from services.core.errors import InvalidInputError
from services.core.tensors import dtype_name, numpy_dtype
from services.model_server.interfaces.json_text import shown, type_name
from services.model_server.signatures import Signature, TensorSpec

_MAX_RANK = 32  # more than any graph takes, and less than Python's recursion


def read_tensors(document: Mapping[str, Any], signature: Signature) -> tuple[dict[str, np.ndarray], bool]:
    """The request's arrays, and whether they came in row form."""
    if "instances" in document and "inputs" in document:
        raise InvalidInputError(
            f"JSON Value: {shown(document)} Not formatted correctly expecting only one of 'inputs' or 'instances' "
            f"keys to exist "
        )
    if "instances" in document:
        instances = document["instances"]
        if not isinstance(instances, list):
            raise InvalidInputError(f"JSON Value: {shown(document)} Expecting 'instances' to be an list/array")
        if not instances:
            raise InvalidInputError(f"JSON Value: {shown(document)} No values in 'instances' array")
        return _read_rows(instances, signature), True
    if "inputs" in document:
        return _read_columns(document["inputs"], signature), False
    raise InvalidInputError("Missing 'inputs' or 'instances' key")


def write_tensors(arrays: Mapping[str, np.ndarray], *, rows: bool) -> bytes:
    """`{"predictions": ...}` for a request in row form, `{"outputs": ...}` for one in column form."""
    values = {name: _Values(name, array) for name, array in arrays.items()}
    if not rows:
        single = len(values) == 1
        return _dump({"outputs": next(iter(values.values())).whole() if single else _each(values)})
    sizes = {name: array.shape[:1] for name, array in arrays.items()}
    if () in sizes.values():
        name = next(name for name, size in sizes.items() if not size)
        raise InvalidInputError(f"Tensor name: {name} has no shape information ")
    if len(set(sizes.values())) > 1:
        (_, expected), *others = ((name, size[0]) for name, size in sizes.items())
        name, size = next((name, size) for name, size in others if size != expected)
        raise InvalidInputError(f"Tensor name: {name} has inconsistent batch size: {size} expecting: {expected}")
    if len(values) == 1:
        return _dump({"predictions": next(iter(values.values())).whole()})
    columns = _each(values)
    count = next(iter(sizes.values()))[0]
    return _dump({"predictions": [{name: column[i] for name, column in columns.items()} for i in range(count)]})


# ---- reading


def _read_rows(instances: list[Any], signature: Signature) -> dict[str, np.ndarray]:
    named = _is_named(instances[0])
    names = set(signature.inputs)
    if not named and len(names) > 1:
        raise InvalidInputError(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    for index, instance in enumerate(instances):
        if _is_named(instance) != named:
            raise InvalidInputError(
                f"Expecting object but got list at item {index} of input list"
                if named
                else f"Expecting value/list but got object at item {index} of input list"
            )
        if not named:
            continue
        for unknown in (key for key in instance if key not in names):
            raise InvalidInputError(
                f"Failed to process element: {index} key: {unknown} of 'instances' list. Error: INVALID_ARGUMENT: "
                f"JSON object: does not have named input: {unknown}"
            )
        if set(instance) != names:
            raise InvalidInputError(
                f"Failed to process element: {index} of 'instances' list. JSON object: {shown(instance)} "
                f"keys must be equal to: {','.join(sorted(names))}"
            )
    if not named:
        name, spec = next(iter(signature.inputs.items()))
        return {name: _stack(instances, spec, name=name, key="")}
    return {
        name: _stack([instance[name] for instance in instances], spec, name=name, key=f" key: {name}")
        for name, spec in signature.inputs.items()
    }


def _stack(rows: list[Any], spec: TensorSpec, *, name: str, key: str) -> np.ndarray:
    """All rows as one tensor: the whole at once, and only when that fails row by row, to say which one is wrong."""
    try:
        return _array(rows, spec, name)
    except InvalidInputError:
        first: np.ndarray | None = None
        for index, row in enumerate(rows):
            where = f"Failed to process element: {index}{key} of 'instances' list. Error: INVALID_ARGUMENT:"
            try:
                array = _array(row, spec, name)
            except InvalidInputError as exc:
                raise InvalidInputError(str(exc) if _too_deep(row) else f"{where} {exc}") from exc
            first = array if first is None else first
            if array.size != first.size:
                raise InvalidInputError(f"{where} Expecting tensor size: {first.size} but got: {array.size}") from None
            if array.shape != first.shape:
                raise InvalidInputError(
                    f"{where} Expecting shape {_brackets(first.shape)} but got: {_brackets(array.shape)}"
                ) from None
        raise


def _read_columns(inputs: Any, signature: Signature) -> dict[str, np.ndarray]:
    if not _is_named(inputs):
        if len(signature.inputs) > 1:
            raise InvalidInputError(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        name, spec = next(iter(signature.inputs.items()))
        return {name: _array(inputs, spec, name)}
    for name in signature.inputs:
        if name not in inputs:
            raise InvalidInputError(f"Missing named input: {name} in 'inputs' object.")
    return {name: _array(inputs[name], spec, name) for name, spec in signature.inputs.items()}


def _array(value: Any, spec: TensorSpec, name: str) -> np.ndarray:
    """One tensor. numpy would turn true into 1.0 and "7" into 7.0: the leaves are looked at first."""
    dtype = numpy_dtype(spec.dtype)
    if _too_deep(value):
        raise InvalidInputError(f"tensor parsing error: {name}")
    shape = _dense_shape(value)
    leaves = _leaves(value, shape)
    if leaves is None:
        _explain(value, 0, shape, dtype, spec)
    if dtype.kind == "O":
        strings = np.empty(len(leaves), object)
        strings[:] = [_bytes(leaf) for leaf in leaves]
        return strings.reshape(shape)
    allowed = _ALLOWED[dtype.kind]
    for kind in set(map(type, leaves)):
        if kind not in allowed:
            _check_leaf(next(leaf for leaf in leaves if type(leaf) is kind), dtype, spec)
    try:
        with np.errstate(over="ignore"):  # 1e39 is infinity to a float32, as it is to TensorFlow Serving
            return np.array(leaves, dtype).reshape(shape)
    except OverflowError:
        limits = np.iinfo(dtype)
        wide = next(leaf for leaf in leaves if not limits.min <= leaf <= limits.max)
        raise InvalidInputError(_type_error(wide, spec)) from None


_ALLOWED: dict[str, tuple[type, ...]] = {"f": (int, float), "i": (int,), "u": (int,), "b": (bool,)}


def _too_deep(value: Any) -> bool:
    for _ in range(_MAX_RANK):
        if not isinstance(value, list) or not value:
            return False
        value = value[0]
    return isinstance(value, list)


def _dense_shape(value: Any) -> list[int]:
    """The sizes along the first elements, which all others have to match."""
    shape: list[int] = []
    while isinstance(value, list):
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return shape


def _leaves(value: Any, shape: list[int]) -> list[Any] | None:
    """The values of nested lists, one level at a time; None where they do not have that shape."""
    level = [value]
    for size in shape:
        if not all(isinstance(item, list) and len(item) == size for item in level):
            return None
        level = [leaf for item in level for leaf in item]
    return None if any(isinstance(item, list) for item in level) else level


def _explain(value: Any, level: int, shape: list[int], dtype: np.dtype, spec: TensorSpec) -> NoReturn:
    """Say what is wrong where TensorFlow Serving would notice it first."""
    _walk(value, level, shape, dtype, spec)
    raise InvalidInputError("the lists of a tensor must have one shape")


def _walk(value: Any, level: int, shape: list[int], dtype: np.dtype, spec: TensorSpec) -> None:
    if not isinstance(value, list):
        if level != len(shape):
            raise InvalidInputError(
                f"JSON Value: {shown(value)} found at incorrect level: {level + 1} in the JSON DOM. "
                f"Expected at level: {len(shape)}"
            )
        _check_leaf(value, dtype, spec)
        return
    if level >= len(shape):
        raise InvalidInputError(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise InvalidInputError(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
        )
    for item in value:
        _walk(item, level + 1, shape, dtype, spec)


def _check_leaf(leaf: Any, dtype: np.dtype, spec: TensorSpec) -> None:
    if dtype.kind == "O":
        _bytes(leaf)
    elif type(leaf) not in _ALLOWED[dtype.kind]:
        raise InvalidInputError(_type_error(leaf, spec))


def _type_error(leaf: Any, spec: TensorSpec) -> str:
    wanted = dtype_name(spec.dtype).removeprefix("DT_").lower()
    return f"JSON Value: {shown(leaf)} Type: {type_name(leaf)} is not of expected type: {wanted}"


def _bytes(leaf: Any) -> bytes:
    if isinstance(leaf, str):
        return leaf.encode(errors="surrogatepass")
    if is_base64(leaf):
        return decode_base64(leaf["b64"])
    if isinstance(leaf, dict):
        raise InvalidInputError(f"JSON Value: {shown(leaf)} not formatted correctly for base64 data")
    raise InvalidInputError(f"JSON Value: {shown(leaf)} Type: {type_name(leaf)} is not of expected type: string")


def decode_base64(text: str) -> bytes:
    """Padded or not, as there."""
    bare = text.rstrip("=")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except (binascii.Error, ValueError) as exc:
        raise InvalidInputError("Unable to base64 decode") from exc


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and not is_base64(value)


def is_base64(value: Any) -> bool:
    """`{"b64": "..."}`, which stands for bytes."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


# ---- writing


class _Values:
    """An output as orjson wants it: numbers stay an array, bytes become text or base64."""

    def __init__(self, name: str, array: np.ndarray) -> None:
        self._name = name
        self._array = array

    def whole(self) -> Any:
        if self._array.dtype.kind != "O":
            return self._array if self._array.ndim else self._array.item()
        as_base64 = self._name.endswith("_bytes")
        return _nested(self._array.tolist(), as_base64=as_base64)


def _each(values: Mapping[str, _Values]) -> dict[str, Any]:
    return {name: value.whole() for name, value in values.items()}


def _nested(value: Any, *, as_base64: bool) -> Any:
    if isinstance(value, list):
        return [_nested(item, as_base64=as_base64) for item in value]
    if as_base64:
        return {"b64": base64.b64encode(value).decode()}
    return value.decode(errors="replace")


def _dump(document: Any) -> bytes:
    if _has_nonfinite(document):
        return json.dumps(_as_lists(document)).encode()  # the only writer of NaN and Infinity
    return orjson.dumps(document, default=_as_lists, option=orjson.OPT_SERIALIZE_NUMPY)


def _has_nonfinite(value: Any) -> bool:
    match value:
        case np.ndarray() | np.generic() | float():
            return np.asarray(value).dtype.kind == "f" and not np.isfinite(value).all()
        case dict():
            return any(map(_has_nonfinite, value.values()))
        case list():
            return any(map(_has_nonfinite, value))
    return False


def _as_lists(value: Any) -> Any:
    match value:
        case np.ndarray() | np.generic():
            return value.tolist()
        case dict():
            return {key: _as_lists(item) for key, item in value.items()}
        case list():
            return [_as_lists(item) for item in value]
    return value


def _brackets(shape: tuple[int, ...]) -> str:
    return f"[{','.join(map(str, shape))}]"
