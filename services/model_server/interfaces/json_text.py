"""JSON as TensorFlow Serving reads and writes it: its parser's complaints, its layout, its numbers. Pure."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
import rapidjson

from services.core.errors import InvalidInputError

_SHOWN_BYTES = 256  # of a value in a complaint, as there


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`; NaN, Infinity, Inf and their negatives are numbers here."""
    if not body:
        raise InvalidInputError("JSON Parse error: The document is empty")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = _parse_as_there(body)
    if not isinstance(document, dict):
        raise InvalidInputError(f"JSON Value: {shown(document)} Is not object")
    if not isinstance(document.get("signature_name", ""), str):
        raise InvalidInputError(
            f"JSON Value: {shown(document)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return document


def _parse_as_there(body: bytes) -> Any:
    """RapidJSON is TensorFlow Serving's parser: it takes what orjson does not, and refuses in the same words."""
    try:
        return rapidjson.loads(body, number_mode=rapidjson.NM_NAN)
    except rapidjson.JSONDecodeError as exc:
        where, _, reason = str(exc).removeprefix("Parse error at offset ").partition(": ")
        raise InvalidInputError(f"JSON Parse error: {reason} at offset: {where}") from exc
    except UnicodeDecodeError as exc:
        raise InvalidInputError(f"JSON Parse error: Invalid value. at offset: {exc.start}") from exc
    except RecursionError as exc:
        raise InvalidInputError("JSON Parse error: Terminate parsing due to values that are nested too deep.") from exc


def shown(value: Any) -> str:
    """The beginning of a value as RapidJSON's pretty writer lays it out, arrays on one line."""
    text = ""
    for token in _tokens(value, "\n"):
        if len(text.encode()) >= _SHOWN_BYTES:  # a value may be 64 MiB
            break
        text += token
    return text


def type_name(value: Any) -> str:
    """RapidJSON's name for a value's type."""
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


def error_body(message: str) -> bytes:
    """`{"error": message}` as there."""
    return b'{\n    "error": ' + orjson.dumps(message.encode(errors="replace").decode()) + b"\n}"


def status_body(document: Any) -> bytes:
    """A message in the layout of protobuf's own JSON printer."""
    return json.dumps(document, indent=1, ensure_ascii=False).encode() + b"\n"


def results_body(rows: list[str]) -> bytes:
    """What Classify and Regress answer, from values already written."""
    return b'{\n    "results": ' + f"[{', '.join(rows)}]".encode() + b"\n}"


def decimal(value: np.float32 | float) -> str:
    """A float32 in six digits where they are enough, else in nine; whole numbers keep a point."""
    number = np.float32(value)
    if np.isnan(number):
        return "NaN"
    if np.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    text = f"{number:.6g}"
    if np.float32(text) != number:
        text = f"{number:.9g}"
    return text if "." in text or "e" in text else text + ".0"


def _tokens(value: Any, newline: str) -> Iterator[str]:
    match value:
        case dict():
            yield "{"
            deeper = newline + "    "
            for index, (key, item) in enumerate(value.items()):
                yield f"{',' if index else ''}{deeper}{json.dumps(key, ensure_ascii=False)}"
                yield from _prefixed(": ", _tokens(item, deeper))
            yield newline + "}" if value else "}"
        case list():
            yield "["
            for index, item in enumerate(value):
                yield from _prefixed(", " if index else "", _tokens(item, newline))
            yield "]"
        case _:
            yield json.dumps(value, ensure_ascii=False)


def _prefixed(prefix: str, tokens: Iterator[str]) -> Iterator[str]:
    yield prefix + next(tokens)
    yield from tokens
