"""Request bodies of every kind -> one batch of images (n, 28, 28, 1), and the options the body itself carried."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import Any, TypeVar

import numpy as np
import orjson
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser
from werkzeug.http import parse_options_header

from services.core import images, json_lists, pixels
from services.core.budget import Budget
from services.core.errors import InvalidInputError, TooLargeError, UnsupportedMediaError
from services.core.image_headers import advice_on, is_image, read_header
from services.core.json_lists import Cut
from services.core.preprocessing import to_be_treated, to_digit, to_digits
from services.gateway.limits import Limits
from services.gateway.messages.options import DEFAULTS, NAMES, Options

IMAGE_TYPES = ("image/png", "image/jpeg", "image/webp", "image/bmp", "image/gif", "image/tiff")
_SYNONYMS = frozenset(
    ("image/*", "image/jpg", "image/x-ms-bmp", "image/x-bmp", "image/tif", "image/x-png", "image/apng")
)
_ALL_IMAGE_TYPES = frozenset(IMAGE_TYPES) | _SYNONYMS
_OCTETS = "application/octet-stream"
_ANY_BYTES = frozenset(("", _OCTETS))  # what clients say that are given a file and no type

LARGE_JSON_BYTES = 1024 * 1024
PART_IMAGES = 256  # parsed at once of a large body
MAX_JSON_LISTS = 1_000_000  # parsed at once
MAX_JSON_STRINGS = 50_000

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_DATA_URL = re.compile(r"data:[^,]*;base64,", re.IGNORECASE)  # with a type and parameters, or without


Decode = Callable[[bytes], np.ndarray]  # an encoded picture -> its pixels
Names = tuple[str, ...]  # options that a body may carry
T = TypeVar("T")


def read_request(
    body: bytes,
    content_type: str | None,
    *,
    query: Mapping[str, str],
    limits: Limits,
    budget: Budget | None = None,
    decode: Decode | None = None,
) -> tuple[np.ndarray, Options]:
    """The images in `body`, (n, 28, 28, 1), and what is asked for them; the query wins over the body.

    The budget is for all pictures of the request together. `decode` takes the place of `images.decode`, for a caller
    that may not wait.
    """
    budget, decode = decoding(limits, budget, decode)
    kind = _kind(content_type)
    if kind in _ALL_IMAGE_TYPES:
        options = DEFAULTS.updated(query)
        return to_digit(decode(body), preprocess=options.preprocess)[None], options
    given, pictures = read_body(body, content_type, limits, names=NAMES)
    options = DEFAULTS.updated(given).updated(query)
    if isinstance(pictures, np.ndarray):
        budget.check_time()
        return to_digits(pictures, preprocess=options.preprocess), options

    def digit(item: object) -> np.ndarray:
        budget.check_time()
        return to_digit(decode(pictures.read(item)), preprocess=options.preprocess)

    return np.stack(read_each(pictures.items, digit)), options


def read_raw(
    body: bytes, content_type: str | None, *, query: Mapping[str, str], limits: Limits
) -> tuple[np.ndarray, Options] | None:
    """`read_request` for raw bytes, one a pixel, of pictures that need no treatment; None for all other bodies."""
    if _kind(content_type) != _OCTETS or _is_file(body):
        return None
    pictures = _counted(pixels.from_bytes(body), limits)
    options = DEFAULTS.updated(query)
    return None if len(to_be_treated(pictures, preprocess=options.preprocess)) else (pictures[..., np.newaxis], options)


def decoding(limits: Limits, budget: Budget | None, decode: Decode | None) -> tuple[Budget, Decode]:
    """What is given, or else what the limits say and `images.decode`."""
    budget = limits.budget() if budget is None else budget
    return budget, decode or partial(images.decode, max_pixels=limits.max_pixels, budget=budget)


def read_body(body: bytes, content_type: str | None, limits: Limits, *, names: Names) -> Body:
    """The options of `names` that the body itself carries, and its pictures."""
    kind = _kind(content_type)
    if kind in _ALL_IMAGE_TYPES or (kind in _ANY_BYTES and _is_file(body)):
        return {}, Encoded([body], bytes)
    if kind not in _READERS:
        raise _unsupported(kind)
    return _READERS[kind](body, content_type or "", limits, names)


def check_type(content_type: str | None) -> None:
    """Refuse a body by its Content-Type, before it is read; without one it may still be a picture."""
    kind = _kind(content_type)
    if kind and kind not in _ALL_IMAGE_TYPES and kind not in _READERS:
        raise _unsupported(kind)


def parse_json(body: bytes, *, max_depth: int) -> object:
    """A JSON value nested at most `max_depth` deep, of no more strings and lists than images may need."""
    lists = body.count(b"[") + body.count(b"{")
    if lists > MAX_JSON_LISTS or body.count(b'"') > 2 * MAX_JSON_STRINGS:  # each takes 20 times its text
        raise TooLargeError(f"JSON of more than {MAX_JSON_LISTS:,} lists or {MAX_JSON_STRINGS:,} strings")
    if lists > max_depth:  # else it cannot be too deep
        brackets = np.frombuffer(_STRING.sub(b"", body).translate(None, _NO_BRACKETS), np.uint8)
        opening = (brackets == ord("[")) | (brackets == ord("{"))
        depth = int(np.cumsum(np.where(opening, 1, -1)).max(initial=0))
        if depth > max_depth:
            raise InvalidInputError(f"JSON nested {depth} deep; at most {max_depth}")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise InvalidInputError(f"not JSON: {exc}") from exc


def parse_images(body: bytes, key: str, *, max_depth: int) -> tuple[object, Cut | None]:
    """`parse_json`; a long list of images under `key` is left out, to be parsed a part at a time."""
    cut = json_lists.cut(body, key, size=PART_IMAGES) if len(body) > LARGE_JSON_BYTES else None
    if cut is not None:
        value = parse_json(cut.rest, max_depth=max_depth)
        if isinstance(value, dict) and value.get(key) == []:  # else the key came twice
            return value, cut
    return parse_json(body, max_depth=max_depth), None


def images_of(cut: Cut, *, max_depth: int, budget: Budget | None = None, scale: int | None = None) -> np.ndarray:
    """The raw pictures (n, 28, 28) in a list that `parse_images` left out."""

    def parse(text: bytes) -> object:
        if budget is not None:
            budget.check_time()
        return parse_json(text, max_depth=max_depth - 1)

    return pixels.from_parts(cut.lists(parse), count=cut.count, scale=scale)


# Options in the body, and its pictures: raw pixels, or what encoded ones are to be read from, one at a time.
Body = tuple[Mapping[str, object], "np.ndarray | Encoded"]


@dataclass(frozen=True, slots=True)
class Encoded:
    """Encoded pictures of a body, none decoded yet."""

    items: Sequence[object]
    read: Callable[[Any], bytes]  # an item -> a file


def _read_json(body: bytes, content_type: str, limits: Limits, names: Names) -> Body:
    value, cut = parse_images(body, "images", max_depth=limits.max_json_depth)
    if not isinstance(value, dict) or not isinstance(value.get("images"), list):
        raise InvalidInputError('a JSON body is an object with a list of "images"')
    entries = value["images"]
    unknown = value.keys() - {"images", "scale", *names}
    if unknown:
        raise InvalidInputError(
            f"no key is called {sorted(unknown)[0]!r:.40}; there are images, scale, {', '.join(names)}"
        )
    scale = value.get("scale")
    if scale is not None and (isinstance(scale, bool) or scale not in pixels.SCALES):
        raise InvalidInputError(f"scale={scale!r:.40}: it is 255 or 1")
    given = {name: value[name] for name in names if name in value}
    if cut is not None:
        _check_count(cut.count, limits)
        return given, images_of(cut, max_depth=limits.max_json_depth, scale=scale)
    _check_count(len(entries), limits)
    if any(isinstance(entry, str) for entry in entries):
        return given, Encoded(entries, from_base64)
    return given, pixels.from_lists(entries, scale=scale)


def _read_multipart(body: bytes, content_type: str, limits: Limits, names: Names) -> Body:
    _, parameters = parse_options_header(content_type)
    if not parameters.get("boundary"):
        raise InvalidInputError(
            "multipart/form-data without a boundary: leave this Content-Type to the client, which adds one"
        )
    parser = FormDataParser(
        stream_factory=lambda *_args, **_kwargs: BytesIO(), max_form_parts=limits.max_images + len(names), silent=False
    )
    try:
        _, form, files = parser.parse(BytesIO(body), "multipart/form-data", len(body), parameters)
    except RequestEntityTooLarge as exc:
        raise TooLargeError(
            f"more parts than {limits.max_images} images and their options, or a text field too long"
        ) from exc
    except (ValueError, UnicodeError) as exc:
        raise InvalidInputError(f"damaged multipart/form-data: {str(exc)[:100]}") from exc
    read = [(upload.filename, upload.stream.read()) for _, many in files.lists() for upload in many]
    uploads = [file for name, file in read if name or file]  # browsers send a field without a choice as nothing
    if not uploads:
        raise InvalidInputError("no images in the request; a file's part of a form has a filename")
    _check_count(len(uploads), limits)
    return {name: ",".join(values) for name, values in form.lists()}, Encoded(uploads, bytes)


def _read_octets(body: bytes, content_type: str, limits: Limits, names: Names) -> Body:
    return {}, _counted(pixels.from_bytes(body), limits)


def _read_npy(body: bytes, content_type: str, limits: Limits, names: Names) -> Body:
    return {}, _counted(pixels.from_npy(body), limits)


_READERS: dict[str, Callable[[bytes, str, Limits, Names], Body]] = {
    "multipart/form-data": _read_multipart,
    "application/json": _read_json,
    _OCTETS: _read_octets,
    "application/x-npy": _read_npy,
}


def read_each(items: Sequence[Any], read: Callable[[Any], T]) -> list[T]:
    """`read` every item; what goes wrong says with which."""
    done = []
    for index, item in enumerate(items):
        try:
            done.append(read(item))
        except InvalidInputError as exc:
            if len(items) == 1:
                raise
            raise type(exc)(f"{pixels.which(index, len(items))}: {exc}") from exc
    return done


def from_base64(entry: object) -> bytes:
    """A picture in JSON as the file it is; base64 may be broken into lines, as MIME has it."""
    if not isinstance(entry, str):
        raise InvalidInputError("not a base64 string, though another image is one: send one kind in a request")
    start = _DATA_URL.match(entry)
    text = entry[start.end() if start else 0 :].replace("\n", "").replace("\r", "")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise InvalidInputError(f"not base64 (A-Z a-z 0-9 + / and =), nor a data URL of it: {exc}") from exc


def _counted(pictures: np.ndarray, limits: Limits) -> np.ndarray:
    _check_count(len(pictures), limits)
    return pictures


def _check_count(count: int, limits: Limits) -> None:
    if not count:
        raise InvalidInputError("no images in the request")
    if count > limits.max_images:
        raise TooLargeError(f"{count} images; at most {limits.max_images} in one request")


def _kind(content_type: str | None) -> str:
    return (content_type or "").partition(";")[0].strip().lower()


def _is_file(body: bytes) -> bool:
    """Whether bytes of no particular type are a file, though raw pixels may begin like one."""
    if len(body) % pixels.PIXELS:
        return is_image(body) or advice_on(body) is not None
    if not is_image(body):
        return False
    try:
        read_header(body)
    except InvalidInputError:
        return False
    return True


def _unsupported(kind: str) -> UnsupportedMediaError:
    said = f"a body of type {kind[:60]}" if kind else "no Content-Type, and no picture"
    return UnsupportedMediaError(f"{said}; bodies are {', '.join(IMAGE_TYPES)}, {', '.join(_READERS)}")
