"""Honest pictures in every form that common programs write, to start from: name -> bytes.

Made with Pillow and OpenCV, the same bytes each time.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

import cv2
import numpy as np
from PIL import Image, ImageDraw

SIDE = 28


def pictures() -> dict[str, bytes]:
    """Every form of one small picture, by a name that starts with the format's."""
    return dict(_pillow()) | dict(_opencv())


def lines() -> dict[str, bytes]:
    """Lines of digits in forms that scans and photos have."""
    paper = 255 - np.concatenate([np.asarray(digit(side)) for side in (28, 28, 28, 28)], axis=1)
    page = Image.fromarray(np.pad(paper, 24, constant_values=255))
    return {
        "png-line": _saved(page, "PNG"),
        "jpeg-line": _saved(page.convert("RGB").resize((640, 304)), "JPEG"),
        "tiff-line": _saved(page.convert("1"), "TIFF", compression="group4"),
        "webp-line": _saved(page.convert("RGB"), "WEBP"),
    }


def digit(side: int = SIDE) -> Image.Image:
    """A grey 7, white on black, with soft edges and some noise."""
    large = Image.new("L", (4 * side, 4 * side))
    draw = ImageDraw.Draw(large)
    points = [(int(x * 4 * side), int(y * 4 * side)) for x, y in ((0.25, 0.2), (0.75, 0.2), (0.45, 0.85))]
    draw.line(points, fill=255, width=max(2, side // 2))
    pixels = np.asarray(large.resize((side, side)), np.int16)
    noise = np.random.default_rng(7).normal(0, 20, pixels.shape)
    return Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))


def _pillow() -> Iterator[tuple[str, bytes]]:
    grey = digit()
    colour, clear = grey.convert("RGB"), grey.convert("RGBA")
    clear.putalpha(grey)
    palette, bits = grey.quantize(16), grey.convert("1")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) << 8)
    other = Image.fromarray(255 - np.asarray(grey))
    exif = Image.Exif()
    exif[274] = 6
    more = {"save_all": True, "append_images": [other, grey]}
    for mode, image in {
        "1": bits,
        "L": grey,
        "LA": clear.convert("LA"),
        "P": palette,
        "RGB": colour,
        "RGBA": clear,
    }.items():
        yield f"png-{mode}", _saved(image, "PNG")
    yield "png-16", _saved(deep, "PNG")
    yield "png-exif", _saved(grey, "PNG", exif=exif)
    yield "png-animated", _saved(grey, "PNG", **more)
    yield "png-transparent", _saved(palette, "PNG", transparency=0)
    yield "png-described", _saved(grey, "PNG", dpi=(300, 300), icc_profile=b"profile" * 9)
    for name, options in {
        "plain": {},
        "progressive": {"progressive": True},
        "restarts": {"restart_marker_blocks": 2},
        "444": {"subsampling": 0},
        "exif": {"exif": exif},
        "optimized": {"optimize": True, "quality": 95},
    }.items():
        yield f"jpeg-{name}", _saved(colour, "JPEG", **options)
    yield "jpeg-grey", _saved(grey, "JPEG")
    yield "jpeg-cmyk", _saved(colour.convert("CMYK"), "JPEG")
    yield "webp-lossy", _saved(colour, "WEBP")
    yield "webp-lossless", _saved(clear, "WEBP", lossless=True)
    yield "webp-alpha", _saved(clear, "WEBP")
    yield "webp-exif", _saved(colour, "WEBP", exif=exif)
    yield "webp-animated", _saved(clear, "WEBP", **more)
    for image in (bits, grey, palette, colour, clear):
        yield f"bmp-{image.mode}", _saved(image, "BMP")
    yield "gif-plain", _saved(palette, "GIF")
    yield "gif-interlaced", _saved(palette, "GIF", interlace=1)
    yield "gif-animated", _saved(palette, "GIF", **more)
    yield "gif-transparent", _saved(palette, "GIF", transparency=0, comment=b"a comment")
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        yield f"tiff-{compression}", _saved(colour if compression == "jpeg" else grey, "TIFF", compression=compression)
    yield "tiff-group4", _saved(bits, "TIFF", compression="group4")
    yield "tiff-rgba", _saved(clear, "TIFF")
    yield "tiff-16", _saved(deep, "TIFF")
    yield "tiff-pages", _saved(grey, "TIFF", **more)
    yield "tiff-float", _saved(Image.fromarray(np.asarray(grey, np.float32) / 255), "TIFF")


def _opencv() -> Iterator[tuple[str, bytes]]:
    colour = cv2.cvtColor(np.asarray(digit()), cv2.COLOR_GRAY2BGR)
    for extension in (".png", ".jpg", ".webp", ".bmp", ".gif", ".tiff"):
        yield f"{extension[1:]}-opencv", cv2.imencode(extension, colour)[1].tobytes()


def _saved(image: Image.Image, format_name: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()
