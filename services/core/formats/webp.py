"""WebP: chunks in a RIFF file. https://developers.google.com/speed/webp/docs/riff_container"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from services.core.formats.exif import exif_orientation
from services.core.formats.header import MAX_PIECES, ImageHeader, damaged

STARTS = b"RIFF"

_NAME = "WebP"
_ALPHA, _ANIMATED = 0x10, 0x02  # flags of VP8X
_FRAME_BYTES = 16  # before the chunks of an animation's frame


def read(data: bytes) -> ImageHeader:
    """Walk the chunks; of an animation the first frame is left, as a picture of its own."""
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise damaged(_NAME, f"{len(data)} bytes where it promises {end}")
    chunks = dict[bytes, bytes]()
    for name, content in _chunks(data[12:end]):
        chunks.setdefault(name, content)  # of an animation's frames the first
    canvas = _canvas(chunks[b"VP8X"]) if b"VP8X" in chunks else None
    exif = chunks.get(b"EXIF")
    if b"ANMF" in chunks:
        frame = chunks[b"ANMF"]
        if canvas is None or len(frame) < _FRAME_BYTES:
            raise damaged(_NAME, "a frame without a canvas")
        left, top, canvas = 2 * _three(frame, 0), 2 * _three(frame, 3), (canvas[0], canvas[1])
        size = _three(frame, 6) + 1, _three(frame, 9) + 1
        if left + size[0] > canvas[0] or top + size[1] > canvas[1]:
            raise damaged(_NAME, "a frame that is larger than its canvas")
        canvas = size
        chunks = dict(_chunks(frame[_FRAME_BYTES:]))
    kind = next((each for each in (b"VP8 ", b"VP8L") if each in chunks), b"")
    if not kind:
        raise damaged(_NAME, "no image chunk")
    width, height, alpha = _lossless(chunks[kind]) if kind == b"VP8L" else _lossy(chunks[kind])
    if canvas not in (None, (width, height)):
        raise damaged(_NAME, f"an image of {width} x {height} pixels on a canvas of {canvas}")
    kept = [(kind, chunks[kind])]
    if kind == b"VP8 " and b"ALPH" in chunks:
        alpha = True
        flags = struct.pack("<II", _ALPHA, width - 1)[:7] + struct.pack("<I", height - 1)[:3]
        kept = [(b"VP8X", flags), (b"ALPH", chunks[b"ALPH"]), *kept]
    return ImageHeader(
        format=_NAME,
        width=width,
        height=height,
        data=_file(kept),
        transparent=alpha,
        working_bytes=4 * width * height if kind == b"VP8L" or alpha else 0,
        orientation=exif_orientation(exif) if exif else 1,
    )


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    for _ in range(MAX_PIECES):
        if at == len(data):
            return
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if at + 8 + size > len(data):
            raise damaged(_NAME, f"it ends inside its chunk {kind.decode('latin-1')!r}, of {size} bytes")
        yield kind, data[at + 8 : at + 8 + size]
        at = min(at + 8 + size + size % 2, len(data))  # an even number of bytes, but for the last
    raise damaged(_NAME, f"more than {MAX_PIECES} chunks")


def _file(chunks: list[tuple[bytes, bytes]]) -> bytes:
    parts = [b"WEBP"]
    for kind, content in chunks:
        parts += [kind, len(content).to_bytes(4, "little"), content, bytes(len(content) % 2)]
    return b"".join((b"RIFF", sum(map(len, parts)).to_bytes(4, "little"), *parts))


def _canvas(content: bytes) -> tuple[int, int]:
    if len(content) < 10:
        raise damaged(_NAME, "it ends inside its header")
    return _three(content, 4) + 1, _three(content, 7) + 1


def _lossy(content: bytes) -> tuple[int, int, bool]:
    if content[3:6] != b"\x9d\x01\x2a" or len(content) < 10 or content[0] & 1:
        raise damaged(_NAME, "no key frame in its image chunk")
    width, height = struct.unpack_from("<HH", content, 6)
    return width & 0x3FFF, height & 0x3FFF, False


def _lossless(content: bytes) -> tuple[int, int, bool]:
    if content[:1] != b"\x2f" or len(content) < 5:
        raise damaged(_NAME, "no signature in its image chunk")
    (bits,) = struct.unpack_from("<I", content, 1)
    return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bool(bits >> 28 & 1)


def _three(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 3], "little")
