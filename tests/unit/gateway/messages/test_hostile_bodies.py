"""Issue 15's bodies, by name: small ones that used to cost gigabytes and minutes, read as the gateway reads them."""

import asyncio
import gzip
import json
import struct
import time
import zlib

import cv2
import numpy as np
import pytest

from services.core.errors import InvalidInputError, TooLargeError
from services.gateway.api.intake import TASKS, Intake
from services.gateway.decoding.decoders import Decoders
from services.gateway.limits import Limits
from tests.fuzz.bodies_seeds import pictures

FORM = "multipart/form-data; boundary=x"


def form(files: list[bytes]) -> bytes:
    head = b'--x\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'
    return b"".join(head + data + b"\r\n" for data in files) + b"--x--\r\n"


def png_of_zeros(side: int, *, idat_length: int | None = None) -> bytes:
    def chunk(kind: bytes, content: bytes, length: int | None = None) -> bytes:
        size = struct.pack(">I", len(content) if length is None else length)
        return size + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes((side + 1) * side)), idat_length)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def read(body: bytes, content_type: str, *, budget_s: float = 60.0, encoding: str | None = None, **settings):
    """The images that the gateway would read."""

    async def use() -> np.ndarray:
        decoders = Decoders(TASKS, **settings)
        try:
            images, _ = await Intake(decoders, Limits()).recognize(
                body, content_type=content_type, encoding=encoding, query={}, until_s=time.monotonic() + budget_s
            )
            return images
        finally:
            await decoders.close()

    return asyncio.run(use())


def test_a_png_whose_idat_claims_four_gigabytes():
    data = png_of_zeros(28, idat_length=0xFFFFFF06)

    with pytest.raises(InvalidInputError, match="ends inside its chunk 'IDAT'"):
        read(data, "image/png")


def test_a_form_of_sixty_lossless_webp_of_25_megapixels():
    webp = cv2.imencode(".webp", np.zeros((5000, 5000, 3), np.uint8), [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes()

    with pytest.raises(TooLargeError, match=r"image \d of 60: the pictures of this request hold more pixels together"):
        read(form([webp] * 60), FORM)


def test_a_form_of_sixteen_png_bombs():
    with pytest.raises(TooLargeError, match=r"image \d of 16: the pictures of this request hold more pixels together"):
        read(form([png_of_zeros(5000)] * 16), FORM)


def test_thousands_of_json_images_take_little_memory():
    """At once they would be 63 MB of pointers and 188 MB of numbers."""
    row = "[" + ",".join(["0.5"] * 784) + "]"
    body = b'{"images": [' + ",".join([row] * 10_000).encode() + b"]}"

    images = read(body, "application/json", memory_bytes=224 * 1024 * 1024)

    assert images.shape == (10_000, 28, 28, 1)
    assert (images == np.float32(0.5)).all()


@pytest.mark.parametrize(
    "body",
    [
        b'{"images": [' + b"[]," * 3_000_000 + b"[]]}",
        b'{"images": [' + b'"a",' * 3_000_000 + b'"a"]}',
        b'{"images": [[' + b"[0]," * 2_000_000 + b"[0]]]}",
        b'{"images": [' + b"1," * 5_000_000 + b"1]}",
        b"[" * 5_000_000,
    ],
    ids=["empty lists", "strings", "lists of one", "numbers", "depth"],
)
def test_json_of_a_great_many_small_things(body):
    with pytest.raises(InvalidInputError):
        read(body, "application/json")


def test_a_large_list_is_read_as_a_small_one_is(rng):
    pixels = rng.integers(0, 256, (700, 28, 28), np.uint8)
    fractions = (pixels[:400] / 255).round(6)
    for images, scale in ((pixels, 255), (pixels.reshape(-1, 784), 255), (fractions, 1), (pixels // 255, 255)):
        text = json.dumps({"preprocess": "none", "scale": scale, "images": images.tolist(), "top_k": 1}, indent=None)
        read_images = read(text.encode(), "application/json")
        expected = images.reshape(-1, 28, 28, 1) / (1 if read_images.dtype == np.uint8 else scale)
        np.testing.assert_allclose(read_images, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("", ",1", "image 601 of 601: numbers of shape"),
        ("1,", "", "something else between them"),
        ("", "x", "not JSON"),
        (",", "", "not JSON"),
        ("", ",", "not JSON"),
        ("", "]]", "not JSON"),
        ("", ',{"a": 1}', "not 28 rows of 28 numbers"),
        ("", ',"text"', "image 1 of"),
    ],
)
def test_a_large_list_with_something_wrong_in_it_is_invalid(before, after, message):
    row = "[" + ",".join(["255"] * 784) + "]"
    body = '{"images": [' + before + ",".join([row] * 600) + after + "]}"

    with pytest.raises(InvalidInputError, match=message):
        read(body.encode(), "application/json")


def test_two_members_of_gzip_are_one_body():
    halves = [bytes(784), bytes([255]) * 784]

    images = read(b"".join(map(gzip.compress, halves)), "application/octet-stream", encoding="gzip")

    assert len(images) == 2


@pytest.mark.parametrize("name", ["png-animated", "webp-animated", "gif-animated", "tiff-pages"])
def test_of_many_frames_one_is_decoded(name):
    assert read(pictures()[name], "image/png").shape == (1, 28, 28, 1)


def test_a_photo_of_25_megapixels_is_read():
    photo = np.full((5000, 5000, 3), 230, np.uint8)
    cv2.line(photo, (1500, 1000), (3500, 1000), (20, 20, 20), 300)
    cv2.line(photo, (3500, 1000), (2200, 4200), (20, 20, 20), 300)

    images = read(cv2.imencode(".jpg", photo)[1].tobytes(), "image/jpeg")

    assert images.shape == (1, 28, 28, 1)
    assert images.max() > 0.5
