"""Every kind of body, every picture format at every size, and what cannot be read, in every home of the chain."""

import base64
import gzip
import io
import json
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
import pytest
import requests
import yaml

from services.core.preprocessing import to_digit
from tests.support.drawings import coverage, on_canvas, on_paper, placed
from tests.support.stack import ROOT

DIGITS = list(range(10))
FORMATS = {"png": "png", "jpeg": "jpg", "webp": "webp", "bmp": "bmp", "gif": "gif", "tiff": "tiff"}  # and extension
SIZES = [28, 280, 600, 1000, 2000, 3000]
PATIENT = {"Request-Timeout-Ms": "20000"}  # a large picture on a busy machine

Body = tuple[str, bytes]  # content type, bytes


def encoded(picture: np.ndarray, kind: str) -> bytes:
    if kind == "gif":  # OpenCV writes no grey GIF
        picture = cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
    written, data = cv2.imencode(f".{FORMATS[kind]}", picture)
    assert written
    return data.tobytes()


def samples() -> list[bytes]:
    """Ten noisy digits as the repository ships them: PNGs of 28 x 28."""
    return [(ROOT / f"docs/samples/noisy-{digit}.png").read_bytes() for digit in DIGITS]


def pixels() -> np.ndarray:
    """The same as uint8 (10, 28, 28)."""
    return np.stack([cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE) for data in samples()])


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def posted(url: str, body: Body, headers: Mapping[str, str] = {}) -> requests.Response:
    kind, data = body
    return requests.post(
        f"{url}/v1/recognize", data=data, headers={"Content-Type": kind, **PATIENT, **headers}, timeout=30
    )


def read(answer: requests.Response) -> list[int]:
    assert answer.status_code == 200, answer.text
    return [result["digit"] for result in answer.json()["results"]]


def json_of(images: list[Any], **options: Any) -> Body:
    return "application/json", json.dumps({"images": images, **options}).encode()


def text_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


BODIES: dict[str, Callable[[], Body]] = {
    "JSON, rows of numbers": lambda: json_of(pixels().tolist()),
    "JSON, 784 numbers": lambda: json_of(pixels().reshape(10, 784).tolist(), scale=255),
    "JSON, numbers to 1": lambda: json_of((pixels() / 255).tolist(), scale=1),
    "JSON, base64": lambda: json_of([text_of(data) for data in samples()]),
    "JSON, data URLs": lambda: json_of([f"data:image/png;base64,{text_of(data)}" for data in samples()]),
    "raw bytes": lambda: ("application/octet-stream", pixels().tobytes()),
    "npy, uint8": lambda: ("application/x-npy", npy(pixels())),
    "npy, float32 with a channel": lambda: ("application/x-npy", npy((pixels() / np.float32(255))[..., None])),
    "npy, float32 flat": lambda: ("application/x-npy", npy((pixels() / np.float32(255)).reshape(10, 784))),
}
COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}


@pytest.mark.parametrize("name", BODIES)
def test_ten_noisy_digits_are_read_in_one_body(home, name):
    assert read(posted(home.url, BODIES[name]())) == DIGITS


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("name", ["JSON, rows of numbers", "raw bytes", "npy, uint8"])
def test_a_compressed_body_reads_the_same(home, name, compression):
    kind, data = BODIES[name]()

    answer = posted(home.url, (kind, COMPRESSIONS[compression](data)), {"Content-Encoding": compression})

    assert read(answer) == DIGITS


def test_ten_files_of_a_form_are_read_in_their_order(home):
    files = [("picture", (f"{digit}.png", data)) for digit, data in enumerate(samples())]

    assert read(requests.post(f"{home.url}/v1/recognize", files=files, headers=PATIENT, timeout=30)) == DIGITS


@pytest.mark.parametrize("kind", FORMATS)
def test_a_noisy_digit_is_read_in_every_format(home, kind):
    assert read(posted(home.url, (f"image/{kind}", encoded(pixels()[7], kind)))) == [7]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_is_read_without_a_type(home, kind):
    """As `requests.post(url, data=file)` and Node's fetch send it."""
    data = encoded(pixels()[7], kind)

    assert read(requests.post(f"{home.url}/v1/recognize", data=data, headers=PATIENT, timeout=30)) == [7]
    assert read(posted(home.url, ("application/octet-stream", data))) == [7]


def test_every_kind_of_body_that_the_interface_names_is_tried_here(home):
    document = yaml.safe_load(requests.get(f"{home.url}/openapi.yaml", timeout=10).text)
    named = set(document["paths"]["/v1/recognize"]["post"]["requestBody"]["content"])

    tried = {body()[0] for body in BODIES.values()} | {f"image/{kind}" for kind in FORMATS} | {"multipart/form-data"}
    assert named <= tried


def drawn(digit: int, size: int) -> np.ndarray:
    """A digit in black on white, two thirds of the picture high; at 28 pixels the white-on-black crop of it."""
    if size == 28:
        return np.rint(255 * to_digit(on_canvas(digit))[..., 0]).astype(np.uint8)
    ink = placed(coverage(digit, height=2 * size // 3, pen=0.09), (size, size))
    return np.rint(255 * (1 - ink)).astype(np.uint8)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", FORMATS)
def test_a_drawn_digit_is_read_at_every_size(home, kind, size):
    """In containers all of these but 28 answered 500 once: a part of NumPy was missing there."""
    digit = (SIZES.index(size) + 3 * list(FORMATS).index(kind)) % 10

    assert read(posted(home.url, (f"image/{kind}", encoded(drawn(digit, size), kind)))) == [digit]


@pytest.mark.parametrize("size", SIZES[1:])
def test_white_on_black_is_read_as_black_on_white(home, size):
    digit = SIZES.index(size)

    assert read(posted(home.url, ("image/png", encoded(255 - drawn(digit, size), "png")))) == [digit]


def test_a_photo_of_pen_on_paper_is_read(home, rng):
    photos = [cv2.imencode(".jpg", on_paper(digit, rng))[1].tobytes() for digit in DIGITS]
    files = [("photo", (f"{digit}.jpg", data)) for digit, data in enumerate(photos)]

    assert read(requests.post(f"{home.url}/v1/recognize", files=files, headers=PATIENT, timeout=30)) == DIGITS


def test_a_damaged_picture_is_a_problem_that_says_so(home):
    damaged = samples()[3][:200]
    answer = posted(home.url, ("image/png", damaged))

    assert (answer.status_code, answer.headers["Content-Type"]) == (422, "application/problem+json")
    assert answer.json()["type"] == "/problems/invalid-input"


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("GET", "/v1/recognize", 405)])
def test_what_is_not_there_is_a_problem(home, method, path, status):
    answer = requests.request(method, f"{home.url}{path}", timeout=10)

    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json")


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.yaml", "/healthz", "/readyz", "/metrics"])
def test_pages_and_probes_are_there(home, path):
    assert requests.get(f"{home.url}{path}", timeout=10).status_code == 200


def test_the_docs_page_shows_the_address_it_came_from(home):
    assert f"curl {home.url}/healthz" in requests.get(f"{home.url}/docs", timeout=10).text
