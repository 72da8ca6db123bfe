"""What is read on the event loop and what in a decoder process: the same arrays come out, and the same refusals."""

import asyncio
import gzip
import io
import json
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pytest

from services.core.errors import DeadlineError, InvalidInputError, TooLargeError, UnsupportedMediaError
from services.core.preprocessing import to_unit
from services.gateway.api.intake import TASKS, Intake
from services.gateway.decoding.decoders import Decoders
from services.gateway.decoding.frames import Frame
from services.gateway.limits import Limits

ROOT = Path(__file__).parents[4]


class NoDecoders(Decoders):
    """Fails a test that should need none."""

    async def run(self, *args, **kwargs) -> Frame:
        raise AssertionError("this was to be read on the event loop")


async def recognize(decoders: Decoders, body: bytes, content_type: str, *, encoding=None, budget_s=60.0, **limits):
    intake = Intake(decoders, Limits(**limits))
    try:
        return await intake.recognize(
            body, content_type=content_type, encoding=encoding, query={}, until_s=time.monotonic() + budget_s
        )
    finally:
        await decoders.close()


def small(body: bytes, content_type: str, **more):
    return asyncio.run(recognize(NoDecoders(TASKS), body, content_type, **more))


def large(body: bytes, content_type: str, **more):
    return asyncio.run(recognize(Decoders(TASKS), body, content_type, **more))


def encoded(picture: np.ndarray, extension: str = ".png") -> bytes:
    return cv2.imencode(extension, picture)[1].tobytes()


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.fixture
def pictures(rng) -> np.ndarray:
    return rng.integers(0, 100, (3, 28, 28), np.uint8)


def test_many_raw_pictures_are_read_on_the_event_loop_unless_one_needs_treatment(rng):
    pictures = rng.integers(0, 100, (256, 28, 28), np.uint8)
    turned = pictures.copy()
    turned[77] = 255
    turned[77, 8:20, 12:16] = 0  # ink on paper

    images, _ = small(pictures.tobytes(), "application/octet-stream")
    treated, _ = large(turned.tobytes(), "application/octet-stream")

    np.testing.assert_array_equal(images[..., 0], pictures)
    assert treated[77, 14, 14] > 0.9 > 0.1 > treated[77, 0].max()
    np.testing.assert_allclose(np.delete(treated, 77, 0)[..., 0], np.delete(pictures, 77, 0) / 255, atol=1e-6)
    with pytest.raises(AssertionError, match="event loop"):
        small(turned.tobytes(), "application/octet-stream")
    with pytest.raises(AssertionError, match="event loop"):
        small(np.concatenate((pictures, pictures[:1])).tobytes(), "application/octet-stream")
    with pytest.raises(InvalidInputError, match="not a whole number"):
        small(pictures.tobytes()[1:], "application/octet-stream")
    with pytest.raises(TooLargeError, match="at most 255"):
        small(pictures.tobytes(), "application/octet-stream", max_images=255)


def test_small_bodies_are_read_on_the_event_loop(pictures):
    one = encoded(pictures[0])
    bodies = {
        "image/png": one,
        "application/json": json.dumps({"images": pictures.tolist()}).encode(),
        "application/octet-stream": pictures.tobytes(),
        "application/x-npy": npy(pictures),
        "multipart/form-data; boundary=x": b'--x\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n'
        + one
        + b"\r\n--x--\r\n",
    }
    for content_type, body in bodies.items():
        images, _ = small(body, content_type)
        np.testing.assert_array_equal(to_unit(images)[0], small(one, "image/png")[0][0])


def test_a_decoder_process_reads_the_same(pictures):
    for content_type, body in {
        "application/json": json.dumps({"images": pictures.tolist()}).encode(),
        "application/x-npy": npy(pictures),
    }.items():
        padded = body if content_type != "application/json" else body + b" " * 20_000
        images, options = large(padded, content_type)
        expected, expected_options = small(body, content_type)
        np.testing.assert_array_equal(images, expected)
        assert images.dtype == expected.dtype
        assert asdict(options) == asdict(expected_options)


@pytest.mark.parametrize("body", [b"", b"%PDF-1.7", b"text"])
def test_what_is_no_image_needs_no_decoder_to_be_refused(body):
    with pytest.raises(InvalidInputError, match=r"0 bytes|not a PNG"):
        small(body, "image/png")


@pytest.mark.parametrize("extension", [".jpg", ".webp", ".bmp", ".gif", ".tiff"])
def test_other_formats_are_never_decoded_on_the_event_loop(extension, pictures):
    body = encoded(cv2.cvtColor(pictures[0], cv2.COLOR_GRAY2BGR), extension)

    with pytest.raises(AssertionError, match="event loop"):
        small(body, "image/png")
    images, _ = large(body, "image/png")
    assert images.shape == (1, 28, 28, 1)


def test_one_small_picture_of_a_line_is_read_on_the_event_loop():
    picture = np.zeros((48, 200), np.uint8)
    cv2.putText(picture, "40718", (12, 38), cv2.FONT_HERSHEY_SIMPLEX, 1.1, 255, 3, cv2.LINE_AA)

    async def read(decoders: Decoders, body: bytes):
        try:
            intake = Intake(decoders, Limits())
            return await intake.read(
                body, content_type="image/png", encoding=None, query={}, until_s=time.monotonic() + 60
            )
        finally:
            await decoders.close()

    (strip,), _ = asyncio.run(read(NoDecoders(TASKS), encoded(picture)))
    (same,), _ = asyncio.run(read(Decoders(TASKS), encoded(picture) + bytes(20_000)))

    assert strip is not None and same is not None
    np.testing.assert_array_equal(strip.image, same.image)
    with pytest.raises(AssertionError, match="event loop"):
        asyncio.run(read(NoDecoders(TASKS), encoded(np.pad(picture, ((0, 0), (0, 57))))))


def test_gzip_is_undone_in_either_place(pictures):
    images = np.tile(pictures, (10, 1, 1))

    few, _ = small(gzip.compress(pictures.tobytes()), "application/octet-stream", encoding="gzip")
    many, _ = large(gzip.compress(images.tobytes()), "application/octet-stream", encoding="gzip")

    assert (len(few), len(many)) == (3, 30)
    with pytest.raises(UnsupportedMediaError, match="Content-Encoding 'br'"):
        small(b"x", "application/octet-stream", encoding="br")


def test_the_same_is_refused_in_either_place(pictures):
    for read, padding in ((small, b""), (large, b" " * 20_000)):
        with pytest.raises(InvalidInputError, match='list of "images"'):
            read(b"[]" + padding, "application/json")
        with pytest.raises(TooLargeError, match="3 images; at most 2"):
            read(json.dumps({"images": pictures.tolist()}).encode() + padding, "application/json", max_images=2)


def test_the_deadline_covers_decoding():
    body = encoded(np.zeros((3000, 3000), np.uint8), ".webp")
    form = b"".join(
        b'--x\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n' + body + b"\r\n" for _ in range(500)
    )
    started = time.monotonic()

    with pytest.raises(DeadlineError):
        large(
            form + b"--x--\r\n",
            "multipart/form-data; boundary=x",
            budget_s=1.0,
            max_request_pixels=10**10,
            max_decoded_bytes=10**11,
        )
    assert time.monotonic() - started < 5


def test_a_decoder_process_imports_no_grpc_and_no_flask():
    code = f"import sys, services.gateway.decoding.process, {TASKS}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert not {"grpc", "google.protobuf", "flask", "granian", "prometheus_client"} & set(loaded.split())
    assert "cv2" in loaded.split()
