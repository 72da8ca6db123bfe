"""GIF: a screen, and blocks that are pictures on it. https://www.w3.org/Graphics/GIF/spec-gif89a.txt"""

from __future__ import annotations

import struct

from services.core.formats.header import ImageHeader, damaged

STARTS = (b"GIF87a", b"GIF89a")
MAX_BLOCKS = 1 << 18  # of up to 255 bytes

_NAME = "GIF"
_PICTURE, _EXTENSION, _END = 0x2C, 0x21, 0x3B
_CONTROL = 0xF9  # the extension that says which colour is transparent


def read(data: bytes) -> ImageHeader:
    """Walk to the end of the first picture; what follows is left out, as are comments and applications' blocks.

    It becomes a picture of its own: what it leaves free of its screen is transparent, which decoders show as black.
    """
    if len(data) < 13:
        raise damaged(_NAME, "it ends inside its header")
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + _palette_bytes(flags)
    kept = [data[10:at]]
    while True:
        kind = data[at] if at < len(data) else -1
        if kind == _EXTENSION:
            end = _end_of_blocks(data, at + 2)
            if data[at + 1] == _CONTROL:
                kept.append(data[at:end])
            at = end
        elif kind == _PICTURE:
            break
        else:
            raise damaged(_NAME, "no picture in it")
    if at + 11 > len(data):
        raise damaged(_NAME, "it ends inside a picture's header")
    left, top, across, down, flags = struct.unpack_from("<HHHHB", data, at + 1)
    if not across or not down or left + across > width or top + down > height:
        raise damaged(_NAME, f"a picture of {across} x {down} at {left}, {top} on a screen of {width} x {height}")
    end = _end_of_blocks(data, at + 11 + _palette_bytes(flags))
    size = struct.pack("<HH", across, down)
    kept = [data[:6], size, *kept, data[at : at + 1], bytes(4), size, data[at + 9 : end], bytes([_END])]
    return ImageHeader(
        format=_NAME,
        width=across,
        height=down,
        data=b"".join(kept),
        transparent=True,
        working_bytes=across * down,
    )


def _palette_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _end_of_blocks(data: bytes, at: int) -> int:
    """Where a row of blocks ends, each of which says its length first; the last is empty."""
    for _ in range(MAX_BLOCKS):
        if at >= len(data):
            break
        size = data[at]
        at += 1 + size
        if not size:
            return at
    raise damaged(_NAME, "it ends inside a block")
