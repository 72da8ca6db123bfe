"""Bodies of every kind, damaged by someone who knows the format: seeded, so that a finding can be made again.

`mutated(rng)` gives one body: a request's content type, its headers and its bytes. Half of the damage is done by
knowledge of the format (lengths, sizes, checksums put right again), half is blind.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import random
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from tests.fuzz.bodies_seeds import digit, lines, pictures

_PICTURES = pictures() | lines()
_NAMES = sorted(_PICTURES)
_MOST_BYTES = 1 << 20
_EDGES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_TYPES = {"jpeg": "jpeg", "jpg": "jpeg", "png": "png", "webp": "webp", "bmp": "bmp", "gif": "gif", "tiff": "tiff"}


@dataclass(frozen=True, slots=True)
class Body:
    """A request's body and what its headers say of it."""

    kind: str  # what was damaged, for the report
    data: bytes
    content_type: str
    headers: dict[str, str] = field(default_factory=dict)
    path: str = "/v1/recognize"


def mutated(rng: random.Random) -> Body:
    """One damaged body of any kind."""
    body = rng.choice(_MAKERS)(rng)
    if rng.random() < 0.12:
        return _compressed(body, rng)
    return body


def picture(rng: random.Random) -> tuple[str, bytes]:
    """The name of a damaged picture, and its bytes."""
    name = rng.choice(_NAMES)
    data = _PICTURES[name]
    format_name = name.partition("-")[0]
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
        data = rng.choice((blind, _OF_FORMAT.get(format_name, blind)))(data, rng)
    return name, data[:_MOST_BYTES]  # damage that repeats may be repeated


def blind(data: bytes, rng: random.Random) -> bytes:
    """Bytes flipped, cut, repeated, or numbers put in that stand at the edge of their type."""
    damaged = bytearray(data)
    if not damaged:
        return data
    at = rng.randrange(len(damaged))
    match rng.randrange(7):
        case 0:
            damaged[at] = rng.randrange(256)
        case 1:
            damaged[at] ^= 1 << rng.randrange(8)
        case 2:
            del damaged[at:]
        case 3:
            del damaged[at : at + rng.randrange(1, 9)]
        case 4:
            damaged[at:at] = damaged[at : at + rng.randrange(1, 64)] * rng.choice((1, 2, 50))
        case 5:
            size, order = rng.choice(((1, "little"), (2, "little"), (2, "big"), (4, "little"), (4, "big")))
            edge = rng.choice(_EDGES) & ((1 << 8 * size) - 1)
            damaged[at : at + size] = edge.to_bytes(size, order)
        case 6:
            damaged += rng.randbytes(rng.randrange(1, 40))
    return bytes(damaged)


def _png(data: bytes, rng: random.Random) -> bytes:
    """A chunk changed in its length, kind or content, left out, doubled or moved; its checksum mostly right."""
    chunks, at = [], 8
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4])
        chunks.append([data[at + 4 : at + 8], data[at + 8 : at + 8 + size], None])
        at += 12 + size
    if not chunks:
        return data
    chunk = rng.choice(chunks)
    match rng.randrange(8):
        case 0:
            chunk[2] = rng.choice(_EDGES)
        case 1:
            chunk[0] = rng.choice((b"IDAT", b"PLTE", b"tRNS", b"acTL", b"fcTL", b"eXIf", b"iCCP", b"zTXt", b"XXXX"))
        case 2:
            chunk[1] = blind(chunk[1], rng)
        case 3:
            chunks.remove(chunk)
        case 4:
            chunks.insert(rng.randrange(len(chunks)), list(chunk))
        case 5:
            rng.shuffle(chunks)
        case 6:
            sizes = [rng.choice((0, 1, 27, 28, 64, 65, 5000, 5001, 65535, 1 << 31)) for _ in range(2)]
            shape = rng.choice((8, 16, 1, 3)), rng.choice((0, 2, 3, 4, 6, 5)), 0, 0, rng.choice((0, 0, 1, 2))
            chunks[0][1] = struct.pack(">IIBBBBB", *sizes, *shape)
        case 7:
            lines = bytes(
                rng.choice((0, 1, 2, 3, 4, 5, 255)) if i % 29 == 0 else rng.randrange(256) for i in range(812)
            )
            chunk[0], chunk[1] = b"IDAT", zlib.compress(lines[: rng.choice((811, 812, 400))], rng.randrange(10))
    return data[:8] + b"".join(_chunk(*each, rng) for each in chunks)


def _chunk(kind: bytes, content: bytes, length: int | None, rng: random.Random) -> bytes:
    size = struct.pack(">I", (len(content) if length is None else length) & 0xFFFFFFFF)
    checksum = zlib.crc32(kind + content) if rng.random() < 0.95 else 0
    return size + kind + content + struct.pack(">I", checksum)


def _jpeg(data: bytes, rng: random.Random) -> bytes:
    """A segment's length, a size, a marker, or a scan repeated."""
    places = [at for at in range(len(data) - 4) if data[at] == 0xFF and data[at + 1] not in (0, 0xFF)]
    at = rng.choice(places) if places else 0
    match rng.randrange(5):
        case 0:
            return data[: at + 2] + struct.pack(">H", rng.choice(_EDGES) & 0xFFFF) + data[at + 4 :]
        case 1:
            return data[: at + 1] + bytes([rng.randrange(0xC0, 0x100)]) + data[at + 2 :]
        case 2:
            frame = next((place for place in places if data[place + 1] in (0xC0, 0xC2)), at)
            size = struct.pack(">HH", *(rng.choice((0, 1, 27, 29, 5000, 65535)) for _ in range(2)))
            return data[: frame + 5] + size + data[frame + 9 :]
        case 3:
            scan = next((place for place in places if data[place + 1] == 0xDA), at)
            return data[:-2] + data[scan:-2] * rng.choice((1, 5, 99, 100, 150)) + data[-2:]
        case _:
            return data[:at] + data[at : at + rng.randrange(2, 40)] * 2 + data[at:]


def _webp(data: bytes, rng: random.Random) -> bytes:
    """A chunk's size or kind, or a canvas and an image that differ; the file's own length put right half the time."""
    damaged = bytearray(data)
    kinds = (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"EXIF")
    places = [at for kind in kinds for at in [data.find(kind)] if at > 0] or [12]
    at = rng.choice(places)
    match rng.randrange(4):
        case 0:
            damaged[at + 4 : at + 8] = struct.pack("<I", rng.choice(_EDGES))
        case 1:
            damaged[at : at + 4] = rng.choice(kinds)
        case 2:
            inside = at + 8 + rng.randrange(16)
            damaged[inside : inside + 2] = struct.pack("<H", rng.choice(_EDGES) & 0xFFFF)
        case 3:
            damaged[at:at] = damaged[at : at + rng.randrange(8, 64)]
    if rng.random() < 0.5:
        damaged[4:8] = struct.pack("<I", max(0, len(damaged) - 8))
    return bytes(damaged)


def _header(places: tuple[tuple[int, str], ...]) -> Callable[[bytes, random.Random], bytes]:
    """Damage to the numbers at known places."""

    def damage(data: bytes, rng: random.Random) -> bytes:
        at, form = rng.choice(places)
        number = struct.pack(form, rng.choice(_EDGES) & ((1 << 8 * struct.calcsize(form)) - 1))
        return data[:at] + number + data[at + len(number) :]

    return damage


_bmp = _header(
    ((2, "<I"), (10, "<I"), (14, "<I"), (18, "<I"), (22, "<I"), (26, "<H"), (28, "<H"), (30, "<I"), (46, "<I"))
)
_gif = _header(((6, "<H"), (8, "<H"), (10, "<B"), (11, "<B")))


def _tiff(data: bytes, rng: random.Random) -> bytes:
    """One entry of the directory changed."""
    order = "<" if data[:2] == b"II" else ">"
    if len(data) < 8:
        return data
    (start,) = struct.unpack_from(order + "I", data, 4)
    if start + 2 > len(data):
        return data
    (count,) = struct.unpack_from(order + "H", data, start)
    at = start + 2 + 12 * rng.randrange(max(1, count))
    place, form = rng.choice(((0, "H"), (2, "H"), (4, "I"), (8, "I"), (8, "H")))
    number = struct.pack(
        order + form, rng.choice((*_EDGES, *range(10), 28, 784)) & ((1 << 8 * struct.calcsize(form)) - 1)
    )
    return data[: at + place] + number + data[at + place + len(number) :]


_OF_FORMAT = {"png": _png, "jpeg": _jpeg, "jpg": _jpeg, "webp": _webp, "bmp": _bmp, "gif": _gif, "tiff": _tiff}


def _one_picture(rng: random.Random) -> Body:
    name, data = picture(rng)
    return Body(name, data, f"image/{_TYPES[name.partition('-')[0]]}")


def _raw(rng: random.Random) -> Body:
    count = rng.choice((0, 1, 2, 9, 300))
    data = np.asarray(digit()).tobytes() * count
    return Body("raw", blind(data, rng) if rng.random() < 0.5 else data, "application/octet-stream")


def _npy(rng: random.Random) -> Body:
    buffer = io.BytesIO()
    dtype = rng.choice((np.uint8, np.float32, np.float64, np.int64))
    shape = rng.choice(((784,), (2, 28, 28), (1, 28, 28, 1), (3, 784), (0, 784), (28, 27)))
    np.save(
        buffer, np.asarray(np.random.default_rng(rng.randrange(1000)).random(shape) * rng.choice((1, 2, 255)), dtype)
    )
    data = buffer.getvalue()
    if rng.random() < 0.5:
        end = data.index(b"\n")
        words = rng.choice(
            (b"True", b"(", b")", b"-1", b"9223372036854775808", b"[", b"'", b"1e3", b"{}", b",,", b"\xb2")
        )
        place = rng.randrange(10, end)
        head = data[10:place] + words + data[place + rng.randrange(9) : end]
        data = data[:8] + struct.pack("<H", len(head) & 0xFFFF) + head + data[end:]
    return Body("npy", blind(data, rng) if rng.random() < 0.5 else data, "application/x-npy")


def _json(rng: random.Random) -> Body:
    entries: list[object] = [_entry(rng) for _ in range(rng.choice((0, 1, 1, 2, 5, 40)))]
    value: dict[str, object] = {"images": entries}
    for key in ("scale", "denoise", "include", "top_k", "preprocess", "other"):
        if rng.random() < 0.1:
            value[key] = rng.choice(
                (1, 255, "auto", "never", ["denoised"], 3, None, -1, {}, True, 10**30, "mnist", "none")
            )
    data = json.dumps(value).encode() if rng.random() < 0.97 else b"[" * rng.choice((7, 9, 5000)) + b"1"
    return Body("json", blind(data, rng) if rng.random() < 0.4 else data, "application/json")


def _entry(rng: random.Random) -> object:
    pixels = np.asarray(digit())
    match rng.randrange(9):
        case 0:
            return pixels.tolist()
        case 1:
            return pixels.ravel().tolist()
        case 2:
            return (pixels / rng.choice((255, 100, 1e-300))).tolist()
        case 3 | 4:
            return base64.b64encode(picture(rng)[1]).decode()
        case 5:
            return "data:image/png;base64," + base64.b64encode(picture(rng)[1]).decode()[: rng.randrange(2000)]
        case 6:
            return rng.choice(
                (None, True, 5, -1.5, "", "é", {}, [], [[]], [None] * 784, [[1] * 28] * 27, [2**63] * 784)
            )
        case 7:
            return pixels[..., None].tolist()
        case _:
            return [rng.choice((0, 1, 255, 256, -1, 0.5, 1e308, 2**63))] * 784


def _form(rng: random.Random) -> Body:
    parts = []
    for index in range(rng.choice((0, 1, 2, 3, 12))):
        name, data = picture(rng)
        parts.append(
            f'--edge\r\nContent-Disposition: form-data; name="f{index}"; filename="{name}"\r\n\r\n'.encode() + data
        )
    for name in ("denoise", "top_k", "include"):
        if rng.random() < 0.2:
            value = rng.choice((b"auto", b"3", b"denoised", b"\xff", b"", b"x" * 600_000))
            parts.append(b'--edge\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b' % (name.encode(), value))
    data = b"\r\n".join([*parts, b"--edge--\r\n"])
    boundary = "edge" if rng.random() < 0.95 else rng.choice(("", "other", "e" * 300, "e\u00e9"))
    return Body("form", blind(data, rng) if rng.random() < 0.5 else data, f"multipart/form-data; boundary={boundary}")


def _infer(rng: random.Random) -> Body:
    with np.errstate(over="ignore"):  # infinity is wanted
        pixels = np.asarray(digit(), np.float32)[None, ..., None] / rng.choice((255, 1, 1e-38))
    entry: dict[str, object] = {"name": "images", "shape": list(pixels.shape), "datatype": "FP32"}
    tensors = b""
    if rng.random() < 0.5:
        tensors = pixels.astype("<f4").tobytes()
        entry["parameters"] = {"binary_data_size": len(tensors)}
    else:
        entry["data"] = [min(float(number), 1e39) for number in pixels.ravel()]
    if rng.random() < 0.4:
        key = rng.choice(("name", "shape", "datatype", "data", "parameters"))
        entry[key] = rng.choice(
            (None, [], [2**62, 784], [-1], "UINT8", "BYTES", {}, [[1]], {"binary_data_size": 2**40}, 3e38)
        )
    header = json.dumps(
        {"inputs": [entry] * rng.choice((1, 1, 1, 2)), "outputs": rng.choice((None, [], [{"name": "digit"}]))}
    ).encode()
    data = header + tensors
    headers = {"Inference-Header-Content-Length": str(len(header) + rng.choice((0, 0, 0, 1, -1)))} if tensors else {}
    if rng.random() < 0.3:
        data = blind(data, rng)
    return Body(
        "infer", data, "application/octet-stream", headers, f"/v2/models/{rng.choice(('digits', 'denoiser'))}/infer"
    )


def _predict(rng: random.Random) -> Body:
    images = [_entry(rng) for _ in range(rng.choice((0, 1, 3)))]
    value = rng.choice(
        (
            {"instances": images},
            {"instances": [{"images": image} for image in images]},
            {"inputs": images},
            {"inputs": {"images": images}},
            {"instances": images, "inputs": images},
            {"signature_name": rng.choice(("serving_default", "x", 5, None)), "instances": images},
        )
    )
    data = json.dumps(value).encode()
    return Body(
        "predict", blind(data, rng) if rng.random() < 0.3 else data, "application/json", {}, "/v1/models/digits:predict"
    )


def _read(rng: random.Random) -> Body:
    """What /v1/read takes: pictures in all the ways that /v1/recognize takes them, arrays of any size, its options."""
    body = rng.choice((_one_picture, _one_picture, _form, _json, _lines))(rng)
    return replace(body, path="/v1/read")


def _lines(rng: random.Random) -> Body:
    """Arrays of awkward sizes, and options of lines."""
    height, width = (rng.choice((0, 1, 3, 28, 60, 400)) for _ in range(2))
    value: dict[str, object] = {"images": [[[rng.choice((0, 128, 255, 300, -1))] * width] * height]}
    for key, values in _LINE_OPTIONS.items():
        if rng.random() < 0.3:
            value[key] = rng.choice(values)
    return Body("lines", json.dumps(value).encode(), "application/json")


_LINE_OPTIONS: dict[str, tuple[object, ...]] = {
    "length": (5, "3-8", "8-3", 0, "1-40", True, "9" * 400, None, 10**30),
    "include": (["boxes"], ["alternatives", "input", "denoised"], "boxes", [{}], {}),
    "min_confidence": (0, 1, 0.5, -1, 2, "0.5", True, None, 1e308),
    "denoise": ("auto", "never", 7),
}


def _numbers(rng: random.Random) -> Body:
    """Model `numbers` of the Open Inference Protocol: pictures as BYTES, in JSON or after it."""
    files = [picture(rng)[1] for _ in range(rng.choice((0, 1, 1, 2, 5)))]
    entry: dict[str, object] = {"name": "pictures", "shape": [len(files)], "datatype": "BYTES"}
    tensors = b""
    if rng.random() < 0.5:
        sizes = [len(data) if rng.random() < 0.95 else rng.choice(_EDGES) for data in files]
        tensors = b"".join(struct.pack("<I", size) + data for size, data in zip(sizes, files, strict=True))
        entry["parameters"] = {"binary_data_size": len(tensors)}
    else:
        entry["data"] = [base64.b64encode(data).decode() for data in files]
    if rng.random() < 0.3:
        key = rng.choice(("name", "shape", "datatype", "data", "parameters"))
        entry[key] = rng.choice((None, [], [2**62], [-1], [len(files), 1], "FP32", {}, [[1]], [True], 3e38))
    value: dict[str, object] = {"inputs": [entry] * rng.choice((1, 1, 1, 2)), "id": rng.choice(("x", "\0", 5, None))}
    if rng.random() < 0.4:
        options = {key: rng.choice(values) for key, values in _LINE_OPTIONS.items() if rng.random() < 0.5}
        value["parameters"] = options | {"binary_data_output": rng.choice((True, False, 1))}
    if rng.random() < 0.4:
        names = rng.sample(("number", "confidence", "accepted", "digit"), 2)
        value["outputs"] = [{"name": name, "parameters": {"binary_data": rng.choice((True, None))}} for name in names]
    header = json.dumps(value).encode()
    data = header + tensors
    headers = {"Inference-Header-Content-Length": str(len(header) + rng.choice((0, 0, 0, 1, -1)))} if tensors else {}
    if rng.random() < 0.3:
        data = blind(data, rng)
    return Body("numbers", data[:_MOST_BYTES], "application/octet-stream", headers, "/v2/models/numbers/infer")


def _feedback(rng: random.Random) -> Body:
    """The true label of a picture that may have been kept."""
    value: dict[str, object] = {
        "request_id": rng.choice(("fuzz-1", "fuzz-2", "", "x" * 3000, "\0", "\ud800", 5, None)),
        "index": rng.choice((0, 0, 1, 63, 64, -1, 10**30, True, 1e308, "0")),
        "label": rng.choice((7, 0, 9, None, 10, -1, True, "7", [])),
    }
    if rng.random() < 0.1:
        value[rng.choice(("other", "index"))] = rng.choice((1, {}))
    data = json.dumps(value).encode()
    return Body("feedback", blind(data, rng) if rng.random() < 0.3 else data, "application/json", {}, "/v1/feedback")


def _compressed(body: Body, rng: random.Random) -> Body:
    """gzip or deflate, whole or damaged, of one member or more, or of emptiness."""
    data, name = body.data, rng.choice(("gzip", "gzip", "deflate", "x-gzip", "br", "identity", "gzip, gzip"))
    packed = (
        zlib.compress(data) if name == "deflate" else data if name in ("br", "identity") else gzip.compress(data, 1)
    )
    match rng.randrange(6):
        case 0:
            packed += gzip.compress(data[:100], 1) * rng.choice((1, 70))
        case 1:
            packed += b"rubbish"
        case 2:
            packed = blind(packed, rng)
        case 3 if rng.random() < 0.2:
            packed = gzip.compress(bytes(rng.choice((1_000_000, 5_000_000))), 9)
        case _:
            pass
    return Body(
        f"{name} of {body.kind}", packed, body.content_type, {**body.headers, "Content-Encoding": name}, body.path
    )


_MAKERS = (_one_picture,) * 10 + (
    _form, _form, _json, _json, _json, _npy, _npy, _raw, _infer, _infer, _predict,
    _read, _read, _read, _read, _numbers, _numbers, _feedback,
)  # fmt: skip
