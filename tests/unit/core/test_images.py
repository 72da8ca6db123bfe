"""Codecs by table and round trip; orientation, transparency, sizes, and files that are not what they say."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.core.errors import InvalidInputError, TooLargeError
from services.core.images import decode, encode_png

LOSSLESS = {".png": [], ".webp": [cv2.IMWRITE_WEBP_QUALITY, 101], ".bmp": [], ".tiff": []}
LOSSY = {".jpg": [cv2.IMWRITE_JPEG_QUALITY, 100], ".gif": []}
MAX_PIXELS = 1_000_000


def picture(channels: int = 1) -> np.ndarray:
    """20 x 30, bright top left, half bright top right, dark below: no two turns of it look alike."""
    grey = np.zeros((20, 30), np.uint8)
    grey[:8, :10], grey[:8, 20:] = 240, 120
    return grey if channels == 1 else np.repeat(grey[..., None], channels, axis=2)


def encoded(image: np.ndarray, extension: str = ".png") -> bytes:
    return cv2.imencode(extension, image, {**LOSSLESS, **LOSSY}[extension])[1].tobytes()


def grey_of(image: np.ndarray) -> np.ndarray:
    return image if image.ndim == 2 else image[..., 0]


@pytest.mark.parametrize("extension", LOSSLESS)
def test_a_lossless_round_trip_changes_nothing(extension):
    decoded = decode(encoded(picture(), extension), max_pixels=MAX_PIXELS)

    np.testing.assert_array_equal(grey_of(decoded), picture())


@pytest.mark.parametrize("extension", LOSSY)
def test_a_lossy_round_trip_changes_little(extension):
    decoded = decode(encoded(picture(3), extension), max_pixels=MAX_PIXELS)

    assert np.abs(grey_of(decoded).astype(int) - picture()).mean() < 10  # OpenCV writes GIFs of few colours, dithered


def test_grey_stays_grey_without_a_copy_to_colour():
    assert decode(encoded(picture()), max_pixels=MAX_PIXELS).shape == (20, 30)


def test_16_bit_keeps_its_upper_byte():
    decoded = decode(encoded(picture().astype(np.uint16) << 8), max_pixels=MAX_PIXELS)

    np.testing.assert_array_equal(decoded, picture())


@pytest.mark.parametrize("extension", [".png", ".webp"])
def test_transparency_is_kept(extension):
    image = picture(4)
    image[..., 3] = 128

    decoded = decode(encoded(image, extension), max_pixels=MAX_PIXELS)

    assert decoded.shape == (20, 30, 4)
    assert (decoded[..., 3] == 128).all()


def test_transparent_tiff_lies_on_white_paper():
    image = np.zeros((4, 4, 4), np.uint8)  # black ink, transparent but for one row
    image[1, :, 3] = 255

    decoded = decode(encoded(image, ".tiff"), max_pixels=MAX_PIXELS)

    assert grey_of(decoded).tolist() == [[255] * 4, [0] * 4, [255] * 4, [255] * 4]


def test_float_tiff_is_read_from_0_to_1():
    decoded = decode(encoded(picture().astype(np.float32) / 255, ".tiff"), max_pixels=MAX_PIXELS)

    np.testing.assert_array_equal(decoded, picture())


def test_tiff_of_other_samples_is_invalid():
    with pytest.raises(InvalidInputError, match="float64"):
        decode(encoded(picture().astype(np.float64), ".tiff"), max_pixels=MAX_PIXELS)


def test_a_gif_smaller_than_its_screen_is_a_picture_of_its_own():
    """As ImageMagick's -trim leaves it: browsers show nothing around it, a decoder of the whole screen shows black."""
    plain = encoded(picture(3), ".gif")
    frame = plain.index(b"\x2c\0\0\0\0")
    apart = plain[:6] + struct.pack("<HH", 90, 70) + plain[10:frame] + b"\x2c\5\0\7\0" + plain[frame + 5 :]

    np.testing.assert_array_equal(decode(apart, max_pixels=MAX_PIXELS), decode(plain, max_pixels=MAX_PIXELS))


def test_of_an_animation_the_first_frame_is_read():
    animation = cv2.Animation()
    animation.frames = [picture(3), np.zeros_like(picture(3))]
    animation.durations = np.array([100, 100], np.int32)
    _, data = cv2.imencodeanimation(".gif", animation)

    decoded = decode(data.tobytes(), max_pixels=MAX_PIXELS)

    assert grey_of(decoded)[2, 2] > 200


# What a camera held so stores for `picture()` upright, by EXIF orientation
STORED = {
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.T,
    6: lambda image: np.rot90(image, 1),
    7: lambda image: image[::-1, ::-1].T,
    8: lambda image: np.rot90(image, -1),
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp"])
def test_exif_orientation_is_undone(extension, orientation):
    exif = b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHH", 274, 3, 1, orientation, 0) + b"\0\0\0\0"
    stored = np.ascontiguousarray(STORED[orientation](picture()))
    block = np.frombuffer(exif, np.uint8).reshape(1, -1)
    _, data = cv2.imencodeWithMetadata(
        extension, np.repeat(stored[..., None], 3, axis=2), [cv2.IMAGE_METADATA_EXIF], [block]
    )

    decoded = decode(data.tobytes(), max_pixels=MAX_PIXELS)

    assert decoded.shape[:2] == (20, 30)
    assert np.abs(grey_of(decoded).astype(int) - picture()).mean() < 15


def test_rubbish_for_exif_means_upright():
    block = np.frombuffer(b"II*\0\xff\xff\xff\xff", np.uint8).reshape(1, -1)
    _, data = cv2.imencodeWithMetadata(".png", picture(3), [cv2.IMAGE_METADATA_EXIF], [block])

    assert decode(data.tobytes(), max_pixels=MAX_PIXELS).shape == (20, 30, 3)


@pytest.mark.parametrize("extension", [*LOSSLESS, *LOSSY])
def test_size_is_checked_before_decoding(extension):
    data = encoded(picture(3), extension)

    with pytest.raises(TooLargeError, match="30 x 20 pixels; at most 599 pixels"):
        decode(data, max_pixels=599)
    assert decode(data, max_pixels=600).shape[:2] == (20, 30)


def bomb() -> bytes:
    """A PNG of 60,000 x 60,000 zeros: 3.6 gigabytes in a few bytes of header and data."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def test_a_decompression_bomb_is_too_large():
    with pytest.raises(TooLargeError, match="60000 x 60000"):
        decode(bomb(), max_pixels=25_000_000)


def test_a_tiff_tile_much_larger_than_the_picture_is_refused():
    entries = [(256, 3, 28), (257, 3, 28), (322, 4, 1 << 20), (323, 4, 1 << 20), (324, 4, 8), (325, 4, 8)]
    directory = struct.pack("<H", len(entries)) + b"".join(
        struct.pack("<HHII", tag, kind, 1, v) for tag, kind, v in entries
    )

    with pytest.raises(InvalidInputError, match="tiles of 1048576 x 1048576 pixels in a picture of 28 x 28"):
        decode(b"II*\0\x08\0\0\0" + directory + bytes(4), max_pixels=25_000_000)


def test_a_jpeg_of_endless_scans_is_refused():
    data = encoded(picture(), ".jpg")
    scan = data[data.index(b"\xff\xda") : -2]

    assert decode(data[:-2] + scan + b"\xff\xd9", max_pixels=MAX_PIXELS).shape == (20, 30)
    with pytest.raises(InvalidInputError, match="more than 100 scans"):
        decode(data[:-2] + 200 * scan + b"\xff\xd9", max_pixels=MAX_PIXELS)


@pytest.mark.parametrize("extension", [*LOSSLESS, *LOSSY])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.97])
def test_a_truncated_file_is_invalid(extension, share, rng):
    data = encoded(rng.integers(0, 256, (28, 28, 3), np.uint8), extension)

    with pytest.raises(InvalidInputError):
        decode(data[: int(share * len(data))], max_pixels=MAX_PIXELS)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "0 bytes"),
        (b"hello, world", "not a PNG, JPEG, WebP, BMP, GIF or TIFF: it starts with 68 65 6c 6c"),
        (b"%PDF-1.7 not a picture", "GIF or TIFF: PDF is not read"),
        (b"\0\0\0\x1cftypheic\0\0\0\0mif1heic", "HEIC is not read: save it as JPEG or PNG"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1heic", "HEIC is not read"),
        (b"\0\0\0\x20ftypavif\0\0\0\0avifmif1", "AVIF is not read"),
        (b"II+\0\x08\0\0\0", "BigTIFF is not read: save it as PNG"),
        (b"P5\n28 28\n255\n", "PBM, PGM and PPM are not read: save it as PNG"),
        (b'<?xml version="1.0"?><svg/>', "SVG and HTML are not read"),
        (b"\n<!DOCTYPE html>", "SVG and HTML are not read"),
        (b"iVBORw0KGgoAAAANSUhEUgAAABw", "base64 is read from JSON"),
        (b"\x93NUMPY\1\0v\0", "an .npy file is a body of its own, of type application/x-npy"),
        (b"\x1f\x8b\x08\0\0\0\0\0", "gzip needs the header Content-Encoding: gzip"),
        (b"RIFF\x10\0\0\0WAVEfmt ", "not a PNG"),
        (b"\x89PNG\r\n\x1a\n", "no IHDR"),
        (b"\xff\xd8\xff\xd9", "no frame header"),
        (b"\xff\xd8\x00\x00", "no marker"),
        (b"II*\0\x08\0\0\0\0\0", "no width and height"),
        (b"RIFF\x0c\0\0\0WEBPXXXX\0\0\0\0", "no image chunk"),
        (b"BM\0\0", "ends inside its header"),
    ],
)
def test_what_is_wrong_is_said(data, message):
    with pytest.raises(InvalidInputError, match=message):
        decode(data, max_pixels=MAX_PIXELS)


def test_a_tiff_that_opencv_does_not_know_is_not_called_damaged():
    """Grey of 4 bits: libtiff and OpenCV know 4 bits of palettes alone."""
    pixels, directory = bytes(14 * 28), 8 + 14 * 28
    tags = {256: 28, 257: 28, 258: 4, 259: 1, 262: 1, 273: 8, 277: 1, 278: 28, 279: len(pixels)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    data = b"II*\0" + struct.pack("<I", directory) + pixels + struct.pack("<H", len(tags)) + entries + bytes(4)

    with pytest.raises(InvalidInputError, match="a TIFF that is damaged or of a rare kind: save it as PNG"):
        decode(data, max_pixels=MAX_PIXELS)


def test_a_float_image_becomes_a_grey_png_of_8_bits():
    image = np.linspace(-0.2, 1.2, 784, dtype=np.float32).reshape(28, 28, 1)

    decoded = decode(encode_png(image), max_pixels=784)

    np.testing.assert_array_equal(decoded, np.rint(np.clip(image[..., 0], 0, 1) * 255))


STARTS = (
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",
    b"RIFF____WEBPVP8L",
    b"BM",
    b"GIF89a",
    b"II*\0\x08\0\0\0",
    b"MM\0*\0\0\0\x08",
)
FILES = [encoded(picture(3), extension) for extension in (*LOSSLESS, *LOSSY)]


def decodes_or_is_refused(data: bytes) -> None:
    try:
        image = decode(data, max_pixels=100_000)
    except InvalidInputError:
        return
    assert image.dtype == np.uint8
    assert image.ndim == 2 or image.shape[2] in (3, 4)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(STARTS), st.binary(max_size=200))
def test_no_bytes_get_past_the_decoder_as_another_error(start, rest):
    decodes_or_is_refused(start + rest)


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(FILES), st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=8))
def test_no_damaged_file_gets_past_the_decoder_as_another_error(data, changes):
    damaged = bytearray(data)
    for place, value in changes:
        damaged[place % len(damaged)] = value

    decodes_or_is_refused(bytes(damaged))
