"""TensorFlow Serving's REST bodies <-> arrays: row form (`instances`) and column form (`inputs`). Pure."""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from services.core.errors import InvalidInputError
from services.core.tensors import dtype_name, numpy_dtype
from services.model_server.signatures import Signature, TensorSpec

_SHOWN_CHARS = 256


def parse_body(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`; NaN, Infinity and -Infinity are numbers here."""
    if not body:
        raise InvalidInputError("JSON Parse error: The document is empty")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = _parse_with_nan(body)
    if not isinstance(document, dict):
        raise InvalidInputError(f"JSON Value: {_shown(document)} Is not object")
    if not isinstance(document.get("signature_name", ""), str):
        raise InvalidInputError(
            f"JSON Value: {_shown(document)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return document


def read_tensors(document: Mapping[str, Any], signature: Signature) -> tuple[dict[str, np.ndarray], bool]:
    """The request's arrays, and whether they came in row form."""
    if "instances" in document and "inputs" in document:
        raise InvalidInputError(
            f"JSON Value: {_shown(document)} Not formatted correctly expecting only one of 'inputs' or 'instances' "
            f"keys to exist "
        )
    if "instances" in document:
        instances = document["instances"]
        if not isinstance(instances, list):
            raise InvalidInputError(f"JSON Value: {_shown(document)} Expecting 'instances' to be an list/array")
        if not instances:
            raise InvalidInputError(f"JSON Value: {_shown(document)} No values in 'instances' array")
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
        raise InvalidInputError(f"outputs have different batch sizes: { {n: s[0] for n, s in sizes.items()} }")
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
        if named and set(instance) != names:
            raise InvalidInputError(
                f"Failed to process element: {index} of 'instances' list. JSON object: {_shown(instance)} "
                f"keys must be equal to: {','.join(sorted(names))}"
            )
    if not named:
        name, spec = next(iter(signature.inputs.items()))
        return {name: _stack(instances, spec, key="")}
    return {
        name: _stack([instance[name] for instance in instances], spec, key=name)
        for name, spec in signature.inputs.items()
    }


def _stack(rows: list[Any], spec: TensorSpec, *, key: str) -> np.ndarray:
    """All rows as one tensor: the whole at once, and only when that fails row by row, to say which one is wrong."""
    try:
        return _array(rows, spec)
    except InvalidInputError:
        first = None
        for index, row in enumerate(rows):
            where = f"Failed to process element: {index}{f' key: {key}' if key else ''} of 'instances' list."
            try:
                shape = _array(row, spec).shape
            except InvalidInputError as exc:
                raise InvalidInputError(f"{where} Error: INVALID_ARGUMENT: {exc}") from exc
            if first is not None and shape != first:
                raise InvalidInputError(
                    f"{where} Error: INVALID_ARGUMENT: Expecting shape {_brackets(first)} but got: {_brackets(shape)}"
                ) from None
            first = shape
        raise


def _read_columns(inputs: Any, signature: Signature) -> dict[str, np.ndarray]:
    if not _is_named(inputs):
        if len(signature.inputs) > 1:
            raise InvalidInputError(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        name, spec = next(iter(signature.inputs.items()))
        return {name: _array(inputs, spec)}
    for name in signature.inputs:
        if name not in inputs:
            raise InvalidInputError(f"Missing named input: {name} in 'inputs' object.")
    return {name: _array(inputs[name], spec) for name, spec in signature.inputs.items()}


def _array(value: Any, spec: TensorSpec) -> np.ndarray:
    """One tensor. numpy would turn true into 1.0 and "7" into 7.0: the leaves are looked at first."""
    dtype = numpy_dtype(spec.dtype)
    shape, leaves = _flatten(value)
    if dtype.kind == "O":
        strings = np.empty(len(leaves), object)
        strings[:] = [_bytes(leaf) for leaf in leaves]
        return strings.reshape(shape)
    allowed = {"f": (int, float), "i": (int,), "u": (int,), "b": (bool,)}[dtype.kind]
    for kind in set(map(type, leaves)):
        if kind not in allowed:
            wrong = next(leaf for leaf in leaves if type(leaf) is kind)
            raise InvalidInputError(
                f"JSON Value: {_shown(wrong)} Type: {_json_type(wrong)} is not of expected type: "
                f"{dtype_name(spec.dtype).removeprefix('DT_').lower()}"
            )
    try:
        with np.errstate(over="ignore"):  # 1e39 is infinity to a float32, as it is to TensorFlow Serving
            return np.array(leaves, dtype).reshape(shape)
    except OverflowError as exc:
        raise InvalidInputError(f"a number does not fit {dtype}: {exc}") from exc


def _flatten(value: Any) -> tuple[list[int], list[Any]]:
    """Shape and leaves of nested lists, one level at a time; every list of a level has the same length."""
    shape: list[int] = []
    level = [value]
    while level and isinstance(level[0], list):
        size = len(level[0])
        for item in level:
            if not isinstance(item, list):
                raise InvalidInputError(
                    f"JSON Value: {_shown(item)} found at incorrect level: {len(shape) + 1} in the JSON DOM. "
                    f"Expected at level: {len(shape) + 2}"
                )
            if len(item) != size:
                raise InvalidInputError(
                    f"Encountered list at unexpected size: {len(item)} at level: {len(shape)} expected size: {size}"
                )
        shape.append(size)
        level = [leaf for item in level for leaf in item]
    for item in level:
        if isinstance(item, list):
            raise InvalidInputError(f"Encountered list at unexpected level: {len(shape)} expected < {len(shape)}")
    return shape, level


def _bytes(leaf: Any) -> bytes:
    if isinstance(leaf, str):
        return leaf.encode()
    if _is_base64(leaf):
        try:
            return base64.b64decode(leaf["b64"], validate=True)
        except binascii.Error as exc:
            raise InvalidInputError("Unable to base64 decode") from exc
    if isinstance(leaf, dict):
        raise InvalidInputError(f"JSON Value: {_shown(leaf)} not formatted correctly for base64 data")
    raise InvalidInputError(f"JSON Value: {_shown(leaf)} Type: {_json_type(leaf)} is not of expected type: string")


def _parse_with_nan(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise InvalidInputError(f"JSON Parse error: {exc}") from exc


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and not _is_base64(value)


def _is_base64(value: Any) -> bool:
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


# ---- words


def _shown(value: Any) -> str:
    shown = ""
    for piece in json.JSONEncoder(default=str).iterencode(value):  # stops early: the value may be 64 MiB
        shown += piece
        if len(shown) >= _SHOWN_CHARS:
            return shown[:_SHOWN_CHARS]
    return shown


def _brackets(shape: tuple[int, ...]) -> str:
    return f"[{','.join(map(str, shape))}]"


def _json_type(value: Any) -> str:
    match value:
        case None:
            return "Null"
        case bool():
            return str(value)
        case int() | float():
            return "Number"
        case str():
            return "String"
        case list():
            return "Array"
    return "Object"
