"""POST /v1/read behind both hosts, with a classifier that reads bars."""

import base64
import io
import json
from contextlib import contextmanager

import cv2
import numpy as np
import pytest

from services.core.errors import ModelUnavailableError
from services.core.images import encode_png
from services.gateway.config import GatewayConfig
from services.gateway.gateway import Gateway
from services.gateway.reading.line_reader import WIDTHS_PX
from tests.support.bars import bar_classifier, line, png
from tests.support.fakes import FakeModel, fake_denoiser
from tests.support.hosts import HOSTS, running

PNG = {"content-type": "image/png"}
JSON = {"content-type": "application/json"}


@contextmanager
def gateway(kind="http", *, denoiser=None, classifier=None, **settings):
    made = Gateway(
        GatewayConfig(**settings), denoiser=denoiser or fake_denoiser(), classifier=classifier or bar_classifier()
    )
    with running(kind, made) as host:
        yield host


def ask(query="", *, body=None, headers=PNG, **options):
    with gateway(**options) as host:
        patient = headers | {"request-timeout-ms": "30000"}  # starting a decoder process takes a while
        reply = host.ask(f"/v1/read{query}", body=png("40718") if body is None else body, headers=patient)
    return reply.status, json.loads(reply.body)


@pytest.mark.parametrize("kind", HOSTS)
def test_a_line_is_read_as_a_string_with_its_digits(kind):
    status, answer = ask(kind=kind)

    assert status == 200
    assert answer["count"] == 1
    result = answer["results"][0]
    assert result["number"] == "40718"
    assert result["accepted"] is True
    assert result["denoise"] == "applied"
    assert [each["digit"] for each in result["digits"]] == [4, 0, 7, 1, 8]
    assert result["confidence"] == pytest.approx(0.98, abs=0.01)
    assert set(answer["timings_ms"]) == {"decode", "denoise", "segment", "classify", "total"}
    assert answer["models"] == {
        "denoiser": {"name": "denoiser", "version": 1},
        "classifier": {"name": "classifier", "version": 1},
    }


def test_leading_zeros_are_kept():
    assert ask(body=png("007"))[1]["results"][0]["number"] == "007"


def test_boxes_are_in_pixels_of_the_picture_that_was_sent():
    picture = cv2.resize(line("47"), None, fx=5, fy=5, interpolation=cv2.INTER_NEAREST)
    body = cv2.imencode(".png", 255 - picture)[1].tobytes()

    _, answer = ask("?include=boxes", body=body)

    boxes = [digit["box"] for digit in answer["results"][0]["digits"]]
    assert answer["results"][0]["number"] == "47"
    assert boxes == [
        {"x": 50, "y": 50, "width": 35, "height": 100},
        {"x": 135, "y": 50, "width": 50, "height": 100},
    ]


def test_alternatives_and_pictures_come_when_asked_for():
    _, plain = ask()
    _, answer = ask("?include=alternatives,denoised,input")

    assert not {"alternatives", "denoised", "input"} & plain["results"][0].keys()
    result = answer["results"][0]
    assert all(set(each) == {"number", "probability"} for each in result["alternatives"])
    assert len(result["alternatives"]) == 3
    strip = cv2.imdecode(np.frombuffer(base64.b64decode(result["denoised"].split(",")[1]), np.uint8), 0)
    assert strip.shape[0] == 28
    assert strip.shape[1] % 4 == 0


def test_a_length_forces_the_count_of_digits():
    _, answer = ask("?length=3", body=png("44"))
    assert answer["results"][0] | {"denoise": ""} == {
        "index": 0, "number": "", "confidence": 0.0, "accepted": False, "denoise": "", "lines": 1, "digits": [],
    }  # fmt: skip
    assert ask("?length=1-3", body=png("44"))[1]["results"][0]["number"] == "44"


@pytest.mark.parametrize("value", [0, 255])
def test_paper_alone_is_the_empty_number(value):
    body = cv2.imencode(".png", np.full((40, 120), value, np.uint8))[1].tobytes()
    classifier = bar_classifier()

    status, answer = ask(body=body, classifier=classifier)

    assert status == 200
    assert answer["results"][0]["number"] == ""
    assert answer["results"][0]["accepted"] is False
    assert answer["models"] == {"denoiser": None, "classifier": None}
    assert classifier.sizes == []


def test_below_min_confidence_a_number_is_told_but_not_accepted():
    assert ask("?min_confidence=0.995")[1]["results"][0] | {"digits": []} == {
        "index": 0, "number": "40718", "confidence": pytest.approx(0.98, abs=0.01), "accepted": False,
        "denoise": "applied", "lines": 1, "digits": [],
    }  # fmt: skip
    assert ask(min_line_confidence=0.995)[1]["results"][0]["accepted"] is False
    assert ask("?min_confidence=0.5", min_line_confidence=0.995)[1]["results"][0]["accepted"] is True


def test_a_second_line_is_reported_and_nothing_accepted():
    both = np.vstack([line("4071", height=36), line("4071", height=36)])
    _, answer = ask(body=cv2.imencode(".png", both)[1].tobytes())

    result = answer["results"][0]
    assert result["lines"] == 2
    assert result["accepted"] is False
    assert "2 lines" in result["hint"]


def test_every_piece_of_a_line_goes_through_the_classifier_in_one_batch():
    classifier = bar_classifier()
    ask(body=png("40718", gap_px=3), classifier=classifier)

    assert len(classifier.sizes) == 1
    assert classifier.sizes[0] > 5, "neighbours together were candidates too"


def test_strips_have_the_height_the_denoiser_takes_and_few_widths():
    shapes = []
    denoiser = FakeModel(lambda images: shapes.append(images.shape) or images, name="denoiser")
    numbers = ["1", "11", "40718", "00000000"]
    documents = {"images": [base64.b64encode(png(number)).decode() for number in numbers]}

    _, answer = ask(body=json.dumps(documents).encode(), headers=JSON, denoiser=denoiser)

    assert [result["number"] for result in answer["results"]] == numbers
    assert all(shape[1] == 28 and shape[2] in WIDTHS_PX and shape[3] == 1 for shape in shapes)


def test_lines_of_one_width_share_calls_of_the_denoiser():
    denoiser = fake_denoiser(takes_s=0.05)
    documents = {"images": [base64.b64encode(png("4071")).decode()] * 12}

    ask(body=json.dumps(documents).encode(), headers=JSON, denoiser=denoiser, batches_in_flight=1)

    assert sum(denoiser.sizes) == 12
    assert len(denoiser.sizes) <= 3


def test_options_may_stand_in_the_json_body():
    document = {
        "images": [base64.b64encode(png("44")).decode()],
        "length": "2",
        "include": ["boxes"],
        "denoise": "never",
    }

    _, answer = ask(body=json.dumps(document).encode(), headers=JSON)

    assert answer["results"][0]["denoise"] == "skipped"
    assert "box" in answer["results"][0]["digits"][0]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("?length=0", "length=0"),
        ("?length=8-3", "length=8-3"),
        ("?length=five", "length=five"),
        ("?length=41", "length=41"),
        ("?min_confidence=2", "min_confidence=2"),
        ("?min_confidence=nan", "min_confidence=nan"),
        ("?include=probabilities", "include=probabilities"),
        ("?top_k=3", "top_k"),
    ],
)
def test_a_wrong_option_is_named(query, said):
    status, problem = ask(query)

    assert status == 422
    assert said in problem["detail"]


def test_more_lines_than_a_request_may_hold_are_refused():
    body = io.BytesIO()
    np.save(body, np.zeros((1001, 28, 28), np.uint8))

    status, problem = ask(body=body.getvalue(), headers={"content-type": "application/x-npy"})

    assert status == 413
    assert "1000" in problem["detail"]


def test_a_large_photo_is_read_in_a_decoder_process():
    photo = cv2.resize(255 - line("4071"), None, fx=12, fy=12, interpolation=cv2.INTER_CUBIC)
    body = cv2.imencode(".jpg", photo)[1].tobytes()

    status, answer = ask(body=body, headers={"content-type": "image/jpeg"})

    assert status == 200
    assert len(answer["results"][0]["number"]) == 4


def test_without_a_denoiser_a_line_is_read_as_it_is_where_that_is_allowed():
    down = ModelUnavailableError("denoiser cannot be reached")

    status, problem = ask(denoiser=fake_denoiser(failure=down))
    assert status == 503, problem

    status, answer = ask(denoiser=fake_denoiser(failure=down), on_denoiser_failure="classify")
    assert status == 200
    assert answer["degraded"] is True
    assert answer["results"][0]["number"] == "40718"
    assert answer["results"][0]["denoise"] == "skipped"


def test_a_denoiser_that_may_be_missing_gets_half_of_the_time_so_that_the_classifier_has_the_rest():
    may, must = fake_denoiser(), fake_denoiser()

    ask(denoiser=may, on_denoiser_failure="classify")
    ask(denoiser=must)

    assert 10 < may.left_s[0] < 15 < must.left_s[0] < 30


def test_numbers_are_counted():
    with gateway() as host:
        host.ask("/v1/read", body=png("407"), headers=PNG)
        host.ask("/v1/read?min_confidence=1", body=png("407"), headers=PNG)
        text = host.ask("/metrics", method="GET").body.decode()

    assert 'cleardigits_numbers_total{accepted="true"} 1.0' in text
    assert 'cleardigits_numbers_total{accepted="false"} 1.0' in text
    assert "cleardigits_line_pieces_count 2.0" in text
    assert 'cleardigits_stage_seconds_count{stage="segment"} 2.0' in text
    assert 'cleardigits_digits_total{digit="4"} 0.0' in text, "candidates are no digits that were read"


def recognized(query="", *, body):
    with gateway(denoiser=fake_denoiser()) as host:
        reply = host.ask(f"/v1/recognize{query}", body=body, headers=PNG)
    return json.loads(reply.body)["results"][0]


def _digit(*lefts):
    picture = np.zeros((28, 28, 1), np.float32)
    for left in lefts:
        picture[4:24, left : left + 5] = 1
    return encode_png(picture)


def test_recognize_says_whether_it_is_a_digit_and_accepts_it():
    result = recognized(body=_digit(12))

    assert (result["is_digit"], result["accepted"]) == (pytest.approx(0.99), True)
    assert "hint" not in result
    assert recognized("?min_confidence=0.999", body=_digit(12))["accepted"] is False


def test_recognize_points_two_digits_to_read():
    result = recognized(body=_digit(6, 17))

    assert result["accepted"] is False
    assert result["hint"] == "2 digits: use /v1/read"
