"""The walk over an encoded image: honest files of every kind pass and lose nothing; files that lie are refused."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from services.core.budget import Budget
from services.core.errors import InvalidInputError, TooLargeError
from services.core.image_headers import read_header
from services.core.images import decode
from services.core.preprocessing import to_grey
from tests.fuzz.bodies_seeds import SIDE, digit, pictures

PICTURES = pictures()
MAX_PIXELS = 1_000_000


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(*chunks: bytes, size: tuple[int, int] = (28, 28), colour: int = 0, depth: int = 8) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


PIXELS = chunk(b"IDAT", zlib.compress(bytes(29 * 28)))


@pytest.mark.parametrize("name", PICTURES)
def test_honest_files_lose_nothing(name):
    """Pillow, which sees the whole file, reads the same pixels."""
    decoded = to_grey(decode(PICTURES[name], max_pixels=MAX_PIXELS))

    header = read_header(PICTURES[name])
    assert (header.width, header.height) == (SIDE, SIDE)
    assert len(header.data) <= len(PICTURES[name])
    other = ImageOps.exif_transpose(Image.open(io.BytesIO(PICTURES[name])))
    if other.mode in ("I;16", "F"):
        expected = np.asarray(digit())
    else:
        paper = Image.new("RGBA", other.size, "white")
        expected = np.asarray(Image.alpha_composite(paper, other.convert("RGBA")).convert("L"))
    assert np.abs(decoded.astype(int) - expected).max() <= (12 if name == "gif-opencv" else 2)


@pytest.mark.parametrize("name", ["png-animated", "webp-animated", "gif-animated", "png-described", "jpeg-exif"])
def test_a_decoder_sees_no_more_than_the_first_picture(name):
    header = read_header(PICTURES[name])

    assert len(header.data) < len(PICTURES[name])
    assert read_header(header.data + b"what follows the end").data == header.data or name.startswith("webp")
    assert getattr(Image.open(io.BytesIO(header.data)), "n_frames", 1) == 1


def test_a_tiff_of_many_pages_shows_one():
    header = read_header(PICTURES["tiff-pages"])

    assert Image.open(io.BytesIO(PICTURES["tiff-pages"])).n_frames == 3
    assert Image.open(io.BytesIO(header.data)).n_frames == 1


def test_an_idat_length_of_four_gigabytes_is_refused():
    """Issue 15.1: 683 bytes made OpenCV touch 4 GB and burn 5.5 s."""
    data = bytearray(PICTURES["png-L"])
    at = data.index(b"IDAT")
    data[at - 4 : at] = b"\xff\xff\xff\x06"

    with pytest.raises(InvalidInputError, match="ends inside its chunk 'IDAT', of 4294967046 bytes"):
        decode(bytes(data), max_pixels=MAX_PIXELS)


@pytest.mark.parametrize("name", PICTURES)
def test_every_end_is_noticed(name):
    """Every strict beginning of a file is refused, unless what is cut off is not needed for the first picture."""
    data = PICTURES[name]
    whole = to_grey(decode(data, max_pixels=MAX_PIXELS))
    for end in {*range(0, len(data), 7), *range(max(0, len(data) - 12), len(data))}:
        try:
            decoded = to_grey(decode(data[:end], max_pixels=MAX_PIXELS))
        except InvalidInputError:
            continue
        np.testing.assert_array_equal(decoded, whole)


LIES = {
    "PNG: IHDR of another length": png(PIXELS).replace(b"\0\0\0\x0dIHDR", b"\0\0\0\x0cIHDR"),
    "PNG: a depth that does not exist": png(PIXELS, depth=3),
    "PNG: a colour type that does not exist": png(PIXELS, colour=5),
    "PNG: no pixels": png(size=(28, 28)),
    "PNG: no width": png(PIXELS, size=(0, 28)),
    "PNG: a palette of its own absence": png(PIXELS, colour=3),
    "PNG: an unknown chunk that matters": png(chunk(b"XDAT", b""), PIXELS),
    "PNG: more pixels than data": png(PIXELS, size=(900, 900)),
    "PNG: a hundred thousand chunks": png(chunk(b"tEXt", b"") * 100_000, PIXELS),
    "JPEG: a segment beyond the end": b"\xff\xd8\xff\xe0\xff\xff" + bytes(20),
    "JPEG: a segment shorter than its length": b"\xff\xd8\xff\xe0\0\1" + bytes(20),
    "JPEG: a frame of twelve bits": PICTURES["jpeg-plain"].replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"),
    "JPEG: an arithmetic frame": PICTURES["jpeg-plain"].replace(b"\xff\xc0\0\x11", b"\xff\xc9\0\x11"),
    "JPEG: no height": PICTURES["jpeg-plain"].replace(b"\xff\xc0\0\x11\x08\0\x1c", b"\xff\xc0\0\x11\x08\0\0"),
    "JPEG: no end": PICTURES["jpeg-plain"][:-2],
    "JPEG: two frames": PICTURES["jpeg-plain"].replace(
        b"\xff\xda", b"\xff\xc0\0\x0b\x08\0\x1c\0\x1c\1\1\x11\0\xff\xda", 1
    ),
    "WebP: larger than the file": PICTURES["webp-lossy"][:4] + b"\xff\xff\xff\0" + PICTURES["webp-lossy"][8:],
    "WebP: an image larger than its canvas": PICTURES["webp-alpha"].replace(
        b"\x9d\x01\x2a\x1c\0", b"\x9d\x01\x2a\xff\x3f"
    ),
    "WebP: a canvas larger than its image": PICTURES["webp-exif"].replace(b"\x1b\0\0\x1b\0\0", b"\xff\xff\0\xff\xff\0"),
    "BMP: more rows than bytes": PICTURES["bmp-L"][:18] + struct.pack("<ii", 900, 900) + PICTURES["bmp-L"][26:],
    "BMP: negative width": PICTURES["bmp-L"][:18] + struct.pack("<i", -28) + PICTURES["bmp-L"][22:],
    "BMP: a header that does not exist": PICTURES["bmp-L"][:14] + struct.pack("<I", 41) + PICTURES["bmp-L"][18:],
    "GIF: a picture beyond the screen": PICTURES["gif-plain"][:6]
    + struct.pack("<HH", 20, 28)
    + PICTURES["gif-plain"][10:],
    "GIF: no picture": PICTURES["gif-plain"][:13] + b";",
}


@pytest.mark.parametrize("name", LIES)
def test_what_cannot_be_true_is_refused(name):
    with pytest.raises(InvalidInputError):
        decode(LIES[name], max_pixels=MAX_PIXELS)


def tiff(**changed: tuple[int, ...]) -> bytes:
    """A plain grey TIFF with tags changed; longer values follow the pixels."""
    tags = {"width": (256, 28), "height": (257, 28), "bits": (258, 8), "compression": (259, 1), "colour": (262, 1)}
    tags |= {"strips": (273, 8), "samples": (277, 1), "rows": (278, 28), "sizes": (279, 784)}
    values = {number: (value,) for number, value in tags.values()}
    values |= {tags[name][0]: numbers for name, numbers in changed.items()}
    entries, more, at = b"", b"", 8 + 784 + 2 + 12 * len(values) + 4
    for number, numbers in sorted(values.items()):
        content = struct.pack(f"<{len(numbers)}I", *numbers)
        if len(numbers) > 1:
            more, content = more + content, struct.pack("<I", at + len(more))
        entries += struct.pack("<HHI", number, 4, len(numbers)) + content
    return b"II*\0" + struct.pack("<I", 792) + bytes(784) + struct.pack("<H", len(values)) + entries + bytes(4) + more


@pytest.mark.parametrize(
    "changed",
    [
        {"strips": (1 << 31,)},
        {"sizes": (1 << 31,)},
        {"sizes": (0,)},
        {"rows": (0,)},
        {"rows": (1,)},
        {"width": (0,)},
        {"width": (28, 28)},
        {"samples": (65535,)},
        {"bits": (65535,)},
        {"bits": (8, 9)},
        {"compression": (6,)},
        {"strips": (8, 8), "sizes": (784, 784)},
    ],
    ids=str,
)
def test_a_tiff_whose_pieces_lie_elsewhere_is_refused(changed):
    assert decode(tiff(), max_pixels=MAX_PIXELS).shape == (28, 28)
    with pytest.raises(InvalidInputError):
        decode(tiff(**changed), max_pixels=MAX_PIXELS)


def test_pieces_that_are_the_same_bytes_are_bounded_by_the_pixels_they_claim():
    data = tiff(height=(28 * 60_000,), rows=(28,), strips=(8,) * 60_000, sizes=(784,) * 60_000)

    with pytest.raises(TooLargeError):
        decode(data, max_pixels=25_000_000)


def test_pictures_of_a_request_share_a_budget():
    budget = Budget(pixels=3 * 784)
    for _ in range(3):
        decode(PICTURES["png-L"], max_pixels=MAX_PIXELS, budget=budget)

    with pytest.raises(TooLargeError, match="more pixels together"):
        decode(PICTURES["png-L"], max_pixels=MAX_PIXELS, budget=budget)


@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp", ".bmp"])
def test_a_large_picture_is_decoded_to_grey_and_still_turned_upright(extension, rng):
    grey = cv2.resize(np.asarray(digit()), (1600, 1200), interpolation=cv2.INTER_CUBIC)
    picture = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)

    decoded = decode(cv2.imencode(extension, picture)[1].tobytes(), max_pixels=25_000_000)

    assert decoded.shape == (1200, 1600)
    assert np.abs(decoded.astype(int) - grey).mean() < 3


def test_a_photo_of_a_phone_is_decoded_at_a_part_of_its_size():
    grey = cv2.resize(np.asarray(digit()), (6000, 4000), interpolation=cv2.INTER_LINEAR)
    data = cv2.imencode(".jpg", cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR))[1].tobytes()
    budget = Budget(decoded_bytes=10_000_000)

    decoded = decode(data, max_pixels=25_000_000, budget=budget)

    assert decoded.shape == (1000, 1500)
    smaller = cv2.resize(grey, (1500, 1000), interpolation=cv2.INTER_AREA)
    assert np.abs(decoded.astype(int) - smaller).mean() < 2


def test_what_decoding_costs_is_counted_before_it_begins():
    """A progressive JPEG is held as coefficients, lossless WebP as ARGB, for any result."""
    large = np.zeros((3000, 3000, 4), np.uint8)
    costs = {}
    for name, extension, image, options in [
        ("jpeg", ".jpg", large[..., :3], []),
        ("progressive", ".jpg", large[..., :3], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
        ("webp", ".webp", large, [cv2.IMWRITE_WEBP_QUALITY, 101]),
        ("png", ".png", large, []),
    ]:
        budget = Budget(decoded_bytes=10**9)
        decode(cv2.imencode(extension, image, options)[1].tobytes(), max_pixels=25_000_000, budget=budget)
        costs[name] = (10**9 - budget.decoded_bytes) / 9e6

    assert costs["jpeg"] < 1
    assert 3 <= costs["progressive"] < 4
    assert costs["webp"] >= 8
    assert costs["png"] >= 8
