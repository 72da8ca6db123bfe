"""Clients that others wrote, and pictures that people take, against the chain with the shipped models."""

import json
import socket
from pathlib import Path

import cv2
import numpy as np
import pytest
import requests
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from services.core.preprocessing import to_digit
from tests.support.drawings import on_canvas, on_paper
from tests.support.photographs import drawn, photographed, printed

DIGITS = np.arange(10)
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def address(home) -> str:
    return home.url.removeprefix("http://")


@pytest.fixture(scope="module")
def client(address):
    with triton.InferenceServerClient(address) as client:
        yield client


@pytest.fixture(scope="module")
def number() -> np.ndarray:
    """A file that shows 244947, as a tensor of BYTES."""
    return np.array([(ROOT / "docs/samples/number-244947-form.png").read_bytes()], np.object_)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """The ten digits, as the models know them."""
    return np.stack([to_digit(on_canvas(digit)) for digit in DIGITS])


def tensor(images: np.ndarray, datatype: str = "FP32", *, binary: bool = True) -> triton.InferInput:
    made = triton.InferInput("images", images.shape, datatype)
    made.set_data_from_numpy(images, binary_data=binary)
    return made


def test_triton_client_finds_everything_in_place(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.get_server_metadata()["extensions"] == [
        "binary_tensor_data",
        "classification",
        "model_configuration",
        "statistics",
    ]
    for model in ("digits", "denoiser", "classifier", "numbers"):
        assert client.is_model_ready(model)
        assert client.get_model_metadata(model)["inputs"][0]["name"] == ("pictures" if model == "numbers" else "images")
    assert not client.is_model_ready("other")


@pytest.mark.parametrize("binary_out", [True, False])
@pytest.mark.parametrize("binary_in", [True, False])
def test_triton_client_reads_digits(client, images, binary_in, binary_out):
    names = ("probabilities", "digit", "denoised")
    wanted = [triton.InferRequestedOutput(name, binary_data=binary_out) for name in names]

    result = client.infer("digits", [tensor(images, binary=binary_in)], outputs=wanted, request_id="ten")

    assert result.get_response()["id"] == "ten"
    np.testing.assert_array_equal(result.as_numpy("digit"), DIGITS)
    np.testing.assert_array_equal(result.as_numpy("probabilities").argmax(axis=1), DIGITS)
    assert result.as_numpy("denoised").shape == images.shape


def test_triton_client_names_no_outputs_and_gets_all(client, images):
    result = client.infer("digits", [tensor(images)])

    np.testing.assert_array_equal(result.as_numpy("digit"), DIGITS)


@pytest.mark.parametrize("out", [None, "gzip", "deflate"])
@pytest.mark.parametrize("into", [None, "gzip", "deflate"])
def test_triton_client_compresses(client, images, into, out):
    result = client.infer(
        "denoiser", [tensor(images)], request_compression_algorithm=into, response_compression_algorithm=out
    )

    np.testing.assert_allclose(result.as_numpy("denoised"), images, atol=0.8)
    assert result.as_numpy("denoised").shape == images.shape


def test_triton_client_sends_uint8_and_many_at_once(client, images):
    pixels = np.rint(255 * np.tile(images, (100, 1, 1, 1))).astype(np.uint8)

    result = client.infer("digits", [tensor(pixels, "UINT8")], headers={"Request-Timeout-Ms": "20000"})

    np.testing.assert_array_equal(result.as_numpy("digit"), np.tile(DIGITS, 100))


def test_triton_client_finds_what_perf_analyzer_asks_first(client, images):
    config = client.get_model_config("digits")
    before = client.get_inference_statistics("digits")["model_stats"][0]
    client.infer("digits", [tensor(images)])
    after = client.get_inference_statistics("digits")["model_stats"][0]

    assert config["max_batch_size"] >= len(images)
    assert [part["dims"] for part in config["input"]] == [[28, 28, 1]]
    assert after["inference_count"] >= before["inference_count"] + len(images)
    assert len(client.get_inference_statistics()["model_stats"]) == 4


def test_perf_analyzer_presses_numbers(client, number):
    """It sends (n, 1) as the configuration says, and finds the version it pressed by calls that were queued."""
    config = client.get_model_config("numbers")
    before = client.get_inference_statistics("numbers")["model_stats"][0]
    pictures = triton.InferInput("pictures", [1, *config["input"][0]["dims"]], "BYTES")
    pictures.set_data_from_numpy(number[:, None])
    result = client.infer("numbers", [pictures], parameters={"length": "3-8"}, priority=1, timeout=10**6)
    after = client.get_inference_statistics("numbers", "1")["model_stats"][0]

    assert result.as_numpy("number").tolist() == [b"244947"]
    assert client.get_model_metadata("numbers")["inputs"][0]["shape"] == [-1, *config["input"][0]["dims"]]
    assert after["version"] == "1"
    for stage in ("queue", "compute_input", "compute_infer", "compute_output"):
        assert after["inference_stats"][stage]["count"] > before["inference_stats"][stage]["count"]


@pytest.mark.parametrize("binary", [True, False])
def test_triton_client_is_told_the_best_classes(client, images, binary):
    wanted = [triton.InferRequestedOutput("probabilities", binary_data=binary, class_count=3)]

    labels = client.infer("digits", [tensor(images)], outputs=wanted).as_numpy("probabilities")

    assert labels.shape == (len(images), 3)
    best = [label if isinstance(label, str) else label.decode() for label in labels[:, 0]]
    assert [int(label.split(":")[1]) for label in best] == DIGITS.tolist()


def test_kserve_v1_client_is_told_that_the_server_is_live_and_the_model_ready(home):
    """`is_server_live(url, headers={"Accept": "application/json"})` asks for the page's address."""
    alive = requests.get(f"{home.url}/", headers={"Accept": "application/json"}, timeout=5)
    model = requests.get(f"{home.url}/v1/models/digits", headers={"Accept": "*/*"}, timeout=5)

    assert alive.json() == {"status": "alive"}
    assert model.json()["ready"] is True


def test_what_fetches_a_preview_of_a_link_gets_the_page(home):
    """It names no type, as KServe's client and curl, and may ask for the first 32 KiB alone."""
    for headers in ({"Accept": "*/*"}, {"Accept": "*/*", "Range": "bytes=0-32768"}):
        answer = requests.get(f"{home.url}/", headers=headers, timeout=5)

        assert answer.headers["content-type"].startswith("text/html")
        assert 'property="og:image"' in answer.text[:32768]


def test_chain_and_its_halves_agree(client, images):
    denoised = client.infer("denoiser", [tensor(images)]).as_numpy("denoised")
    [version] = client.get_model_metadata("classifier")["versions"]
    halves = client.infer("classifier", [tensor(denoised)], model_version=version).as_numpy("probabilities")

    whole = client.infer("digits", [tensor(images)]).as_numpy("probabilities")

    np.testing.assert_allclose(whole, halves, atol=1e-5)


def test_triton_client_understands_refusals(client, images):
    with pytest.raises(InferenceServerException, match="no model is called other"):
        client.infer("other", [tensor(images)])
    with pytest.raises(InferenceServerException, match="no output is called"):
        client.infer("digits", [tensor(images)], outputs=[triton.InferRequestedOutput("scores")])
    with pytest.raises(InferenceServerException, match=r"images is \[n, 28, 28, 1\]"):
        client.infer("digits", [tensor(images[:, :27])])


@pytest.mark.parametrize("length", ["0", "-5", "1e9", "99999999999", "17", "\xb2"])
def test_malformed_lengths_are_answered_and_leave_the_server_well(home, images, length):
    body = b'{"inputs": []}' + images.tobytes()

    answer = requests.post(
        f"{home.url}/v2/models/digits/infer", data=body, headers={"Inference-Header-Content-Length": length}, timeout=5
    )

    assert answer.status_code == 400
    assert answer.json()["error"]


def test_a_length_said_twice_is_answered(address):
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(
            b"POST /v2/models/digits/infer HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n"
            b"Inference-Header-Content-Length: 1\r\nInference-Header-Content-Length: 2\r\n\r\n{}"
        )
        answer = connection.makefile("rb").read()

    assert answer.startswith(b"HTTP/1.1 400")


def test_tensorflow_serving_form_reads_digits(home, images):
    answer = requests.post(f"{home.url}/v1/models/digits:predict", json={"instances": images.tolist()}, timeout=5)

    assert [row["digit"] for row in answer.json()["predictions"]] == DIGITS.tolist()


def recognized(url: str, encoded: list[bytes], **query: str) -> list[int]:
    answer = requests.post(
        f"{url}/v1/recognize",
        params=query,
        files=[("picture", (f"{index}", data)) for index, data in enumerate(encoded)],
        headers={"Request-Timeout-Ms": "20000"},  # ten photos on a busy machine
        timeout=30,
    )
    assert answer.status_code == 200, answer.text
    return [result["digit"] for result in answer.json()["results"]]


def encoded(pictures: list[np.ndarray], extension: str, *options: int) -> list[bytes]:
    if extension == ".gif":  # OpenCV writes no grey GIF
        pictures = [cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR) for picture in pictures]
    return [cv2.imencode(extension, picture, options)[1].tobytes() for picture in pictures]


@pytest.mark.parametrize("denoise", ["always", "never", "auto"])
@pytest.mark.parametrize("extension", [".png", ".jpg", ".webp", ".bmp", ".gif", ".tiff"])
def test_drawings_on_a_canvas_come_out_right(home, extension, denoise):
    pictures = [on_canvas(digit) for digit in DIGITS]

    assert recognized(home.url, encoded(pictures, extension), denoise=denoise) == DIGITS.tolist()


@pytest.mark.parametrize(
    "photo",
    [
        {},
        {"height": 110, "top": 0.1, "left": 0.9},
        {"height": 300, "left": 0.4},
        {"ruled": True},
        {"height": 400, "pen": 0.12},
    ],
    ids=["plain", "small in a corner", "across the shadow's edge", "ruled paper", "thick marker"],
)
def test_photos_of_pen_on_paper_come_out_right(home, photo, rng):
    pictures = [on_paper(digit, rng, **photo) for digit in DIGITS]

    assert recognized(home.url, encoded(pictures, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 75)) == DIGITS.tolist()


def test_photographs_of_pen_and_print_are_read(home, rng):
    """Any size, margin, light and JPEG quality, unseen fonts; `make bench-pictures` has the rates."""
    shown = np.tile(DIGITS, 4)
    photographs = [photographed((drawn, printed)[index % 2](int(digit), rng), rng) for index, digit in enumerate(shown)]

    read = np.concatenate([recognized(home.url, photographs[at : at + 10]) for at in range(0, len(shown), 10)])

    assert np.count_nonzero(read == shown) >= 39


def test_a_photo_taken_sideways_comes_out_right(home, rng):
    exif = bytes.fromhex("49492a0008000000 0100 1201 0300 01000000 06000000 00000000")  # orientation 6: turn right
    sideways = [np.rot90(on_paper(digit, rng)) for digit in DIGITS]
    photos = [
        cv2.imencodeWithMetadata(".jpg", np.ascontiguousarray(photo), [cv2.IMAGE_METADATA_EXIF], [_row(exif)])[
            1
        ].tobytes()
        for photo in sideways
    ]

    assert recognized(home.url, photos) == DIGITS.tolist()


def _row(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.uint8).reshape(1, -1)


def test_one_picture_costs_the_same_answer_in_every_protocol(home, client, images):
    for digit in DIGITS:
        picture = np.rint(255 * images[digit, ..., 0]).astype(np.uint8)
        body = {"images": [picture.tolist()], "include": ["probabilities"]}
        ours = requests.post(f"{home.url}/v1/recognize", data=json.dumps(body), headers=JSON, timeout=5).json()
        theirs = client.infer("digits", [tensor((picture / np.float32(255))[None, ..., None])]).as_numpy(
            "probabilities"
        )

        np.testing.assert_allclose(ours["results"][0]["probabilities"], theirs[0], atol=1e-4)


JSON = {"Content-Type": "application/json"}
