"""Request bodies of every kind: the same pictures come out of each, and limits and mistakes are named."""

import base64
import io
import json
import zlib

import cv2
import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.core.errors import InvalidInputError, TooLargeError, UnsupportedMediaError
from services.core.preprocessing import to_unit
from services.gateway.limits import Limits
from services.gateway.messages.bodies import parse_json, read_request
from services.gateway.messages.options import Options
from tests.support.drawings import on_canvas

LIMITS = Limits()


@pytest.fixture
def pictures() -> np.ndarray:
    """Three digits as 28x28 uint8."""
    return np.stack([255 - cv2.resize(on_canvas(digit), (28, 28), interpolation=cv2.INTER_AREA) for digit in (2, 7, 4)])


def png(picture: np.ndarray) -> bytes:
    return cv2.imencode(".png", picture)[1].tobytes()


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def form(files: list[bytes], fields: dict[str, str] | None = None) -> bytes:
    parts = [
        f'--edge\r\nContent-Disposition: form-data; name="f{i}"; filename="{i}.png"\r\n\r\n'.encode() + data + b"\r\n"
        for i, data in enumerate(files)
    ]
    parts += [
        f'--edge\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in (fields or {}).items()
    ]
    return b"".join(parts) + b"--edge--\r\n"


FORM = "multipart/form-data; boundary=edge"


def read(body: bytes, content_type: str | None, limits: Limits = LIMITS, **query: str) -> tuple[np.ndarray, Options]:
    return read_request(body, content_type, query=query, limits=limits)


def as_base64(picture: np.ndarray) -> str:
    return base64.b64encode(png(picture)).decode()


@pytest.mark.parametrize(
    ("content_type", "write"),
    [
        ("application/json", lambda p: json.dumps({"images": p.tolist()}).encode()),
        ("application/json; charset=utf-8", lambda p: json.dumps({"images": p.reshape(-1, 784).tolist()}).encode()),
        ("Application/JSON", lambda p: json.dumps({"images": (p / 255).tolist()}).encode()),
        ("application/json", lambda p: json.dumps({"images": list(map(as_base64, p))}).encode()),
        (
            "application/json",
            lambda p: json.dumps({"images": ["data:image/png;base64," + as_base64(one) for one in p]}).encode(),
        ),
        ("application/octet-stream", lambda p: p.tobytes()),
        ("application/x-npy", npy),
        ("application/x-npy", lambda p: npy((p / 255).astype(np.float32))),
        (FORM, lambda p: form([png(one) for one in p])),
    ],
    ids=["rows", "flat", "fractions", "base64", "data URLs", "bytes", "npy uint8", "npy float32", "form"],
)
def test_every_kind_of_body_holds_the_same_pictures(content_type, write, pictures):
    images, options = read(write(pictures), content_type)

    assert to_unit(images).dtype == np.float32
    np.testing.assert_allclose(to_unit(images)[..., 0], pictures / 255, atol=1e-7)
    assert options == Options()


@pytest.mark.parametrize("content_type", ["image/png", "image/jpeg", "image/webp", "image/x-ms-bmp", "image/*"])
def test_a_picture_is_told_by_its_bytes(content_type, pictures):
    images, _ = read(png(pictures[0]), content_type)

    np.testing.assert_allclose(images[0, ..., 0], pictures[0] / 255, atol=1e-7)


@pytest.mark.parametrize("extension", [".png", ".jpg", ".webp", ".bmp", ".tiff"])
@pytest.mark.parametrize("content_type", [None, "", "application/octet-stream"])
def test_a_file_needs_no_type_of_its_own(content_type, extension, pictures):
    file = cv2.imencode(extension, pictures[1])[1].tobytes()

    np.testing.assert_array_equal(read(file, content_type)[0], read(file, "image/png")[0])


@pytest.mark.parametrize("content_type", [None, "application/octet-stream"])
def test_a_file_of_another_kind_needs_no_type_to_be_told_what_to_do(content_type):
    heic = b"\0\0\0\x1cftypheic" + bytes(1000)

    with pytest.raises(InvalidInputError, match="HEIC is not read: save it as JPEG or PNG"):
        read(heic, content_type)
    assert len(read(heic + bytes(2 * 784 - len(heic)), "application/octet-stream")[0]) == 2


def test_a_file_of_as_many_bytes_as_raw_pixels_is_a_file(pictures):
    file = png(pictures[0])
    filled = file[:33] + _chunk(b"teXt", bytes(-(len(file) + 12) % 784)) + file[33:]
    assert len(filled) % 784 == 0

    images, _ = read(filled, "application/octet-stream")

    np.testing.assert_allclose(to_unit(images)[0, ..., 0], pictures[0] / 255, atol=1e-7)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


@pytest.mark.parametrize("start", [b"BM", b"\xff\xd8\xff", b"GIF8", b"II*\0"])
def test_raw_pixels_that_begin_like_a_file_are_pixels(start, rng):
    raw = start + rng.integers(0, 256, 784 - len(start), np.uint8).tobytes()

    images, _ = read(raw, "application/octet-stream", preprocess="none")

    assert to_unit(images).shape == (1, 28, 28, 1)


def test_pictures_of_a_form_may_differ_in_size_and_share_a_field(pictures):
    body = form([png(pictures[0]), png(on_canvas(7))]).replace(b'name="f1"', b'name="f0"')

    images, _ = read(body, FORM)

    assert images.shape == (2, 28, 28, 1)


def test_a_field_of_a_form_in_which_no_file_was_chosen_is_passed_over(pictures):
    body = form([b"", png(pictures[1])]).replace(b'filename="0.png"', b'filename=""')

    images, _ = read(body, FORM)

    np.testing.assert_allclose(images[..., 0], pictures[1:2] / 255, atol=1e-7)
    with pytest.raises(InvalidInputError, match="an empty image"):
        read(form([b"", png(pictures[1])]), FORM)


def test_a_picture_without_a_filename_is_told_that_it_needs_one(pictures):
    """As Node's form-data and axios send a Buffer unless they are given a name for it."""
    body = form([png(pictures[0])]).replace(b'; filename="0.png"', b"")

    with pytest.raises(InvalidInputError, match="no images in the request; a file's part of a form has a filename"):
        read(body, FORM)


def test_options_come_from_the_query(pictures):
    assert read(png(pictures[0]), "image/png", top_k="2")[1] == Options(top_k=2)


@pytest.mark.parametrize("kind", ["json", "form"])
def test_the_query_wins_over_the_body(kind, pictures):
    wishes = {"denoise": "never", "preprocess": "none", "include": "input"}
    if kind == "json":
        body, content_type = json.dumps({"images": pictures.tolist(), **wishes}).encode(), "application/json"
    else:
        body, content_type = form([png(pictures[0])], wishes), FORM

    _, options = read(body, content_type, denoise="auto")

    assert options == Options(denoise="auto", preprocess="none", include=frozenset({"input"}))


@pytest.mark.parametrize(
    "write",
    [
        lambda file: base64.encodebytes(file).decode(),  # as Ruby, Perl and Android do unless told otherwise
        lambda file: base64.encodebytes(file).decode().replace("\n", "\r\n"),
        lambda file: "data:image/png;charset=utf-8;base64," + base64.b64encode(file).decode(),
        lambda file: "DATA:;name=7.png;BASE64," + base64.b64encode(file).decode(),
    ],
    ids=["lines", "lines of MIME", "data URL with a parameter", "data URL in capitals"],
)
def test_base64_is_read_as_other_languages_write_it(write, pictures):
    images, _ = read(json.dumps({"images": [write(png(pictures[0]))]}).encode(), "application/json")

    np.testing.assert_allclose(images[0, ..., 0], pictures[0] / 255, atol=1e-7)


@pytest.mark.parametrize("text", ["aGk_", "aGVsbG8", "digits/7.png", "https://example.com/7.png", "data:,7"])
def test_what_is_no_base64_is_told_what_it_is(text):
    with pytest.raises(InvalidInputError, match=r"not base64 \(A-Z a-z 0-9 \+ / and =\), nor a data URL of it"):
        read(json.dumps({"images": [text]}).encode(), "application/json")


def test_a_field_that_comes_twice_is_a_list(pictures):
    field = '--edge\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'
    fields = "".join(field.format("include", each) for each in ("input", "denoised"))
    choices = "".join(field.format("top_k", each) for each in (1, 2))

    _, options = read(fields.encode() + form([png(pictures[0])]), FORM)

    assert options == Options(include=frozenset({"input", "denoised"}))
    with pytest.raises(InvalidInputError, match="top_k=1,2: it is a number from 0 to 10"):
        read(choices.encode() + form([png(pictures[0])]), FORM)


def test_a_picture_of_many_is_named(pictures):
    images = [as_base64(pictures[0]), as_base64(pictures[1])[:40], as_base64(pictures[2])]

    with pytest.raises(InvalidInputError, match=r"^image 2 of 3: a damaged PNG"):
        read(json.dumps({"images": images}).encode(), "application/json")
    with pytest.raises(InvalidInputError, match=r"^image 3 of 3: not a PNG"):
        read(form([png(pictures[0]), png(pictures[1]), b"text"]), FORM)
    with pytest.raises(InvalidInputError, match=r"^image 2 of 2: 280 x 280 pixels; with preprocess=none"):
        read(form([png(pictures[0]), png(on_canvas(1))]), FORM, preprocess="none")


@pytest.mark.parametrize("limit", ["images", "pixels"])
def test_limits_name_themselves(limit, pictures):
    limits = Limits(max_images=2) if limit == "images" else Limits(max_pixels=700)
    too_much = "3 images; at most 2" if limit == "images" else "28 x 28 pixels; at most 700"
    bodies = {FORM: form([png(one) for one in pictures]), "application/json": None}
    bodies["application/json"] = json.dumps({"images": list(map(as_base64, pictures))}).encode()
    if limit == "images":
        bodies |= {"application/octet-stream": pictures.tobytes(), "application/x-npy": npy(pictures)}
    for content_type, body in bodies.items():
        with pytest.raises(TooLargeError, match=too_much):
            read(body, content_type, limits)


def test_more_parts_than_images_are_too_large(pictures):
    body = form([b"x"] * 50)

    with pytest.raises(TooLargeError, match="more parts than 3 images"):
        read(body, FORM, Limits(max_images=3))


@pytest.mark.parametrize("content_type", [None, "", "text/plain", "application/x-www-form-urlencoded", "image/svg+xml"])
def test_other_kinds_of_body_are_unsupported(content_type):
    with pytest.raises(UnsupportedMediaError, match=r"bodies are image/png, .*application/x-npy"):
        read(b"x", content_type)


@pytest.mark.parametrize(
    ("body", "content_type", "message"),
    [
        (b"", "application/json", "not JSON"),
        (b"[]", "application/json", 'list of "images"'),
        (b'{"images": {}}', "application/json", 'list of "images"'),
        (b'{"images": []}', "application/json", "no images"),
        (b'{"images": [1], "image": 2}', "application/json", "no key is called 'image'"),
        (b'{"images": [1], "scale": 2}', "application/json", "scale=2: it is 255 or 1"),
        (b'{"images": [1], "scale": true}', "application/json", "scale=True"),
        (b'{"images": ["?"]}', "application/json", "not base64"),
        ('{"images": ["\u00fc"]}'.encode(), "application/json", "not base64"),
        (b'{"images": ["", 3]}', "application/json", "image 1 of 2: an empty image"),
        (b'{"images": [3, ""]}', "application/json", "image 1 of 2: not a base64 string"),
        (b'{"images": [NaN]}', "application/json", "not JSON"),
        (b'{"images": ["\xff"]}', "application/json", "not JSON"),
        (b"", "application/octet-stream", "0 bytes"),
        (b"", "image/png", "0 bytes"),
        (b"", "application/x-npy", "not an .npy"),
        (b"", "multipart/form-data", "without a boundary: leave this Content-Type to the client"),
        (b"", FORM, "damaged multipart"),
        (b"--edge--\r\n", FORM, "no images"),
        (b"--edge\r\n\r\nx\r\n--edge--\r\n", FORM, "damaged multipart"),
    ],
)
def test_what_is_wrong_with_a_body_is_said(body, content_type, message):
    with pytest.raises(InvalidInputError, match=message):
        read(body, content_type)


def test_a_form_field_that_is_no_option_is_named(pictures):
    with pytest.raises(InvalidInputError, match="no option is called colour"):
        read(form([png(pictures[0])], {"colour": "red"}), FORM)


@pytest.mark.parametrize("depth", [9, 100, 200_000])
def test_deep_json_is_refused_before_it_is_parsed(depth):
    with pytest.raises(InvalidInputError, match=f"nested {depth} deep; at most 8"):
        parse_json(b"[" * depth + b"]" * depth, max_depth=8)


def test_depth_counts_no_brackets_in_strings_and_no_siblings():
    value = {"a": "[[[[[[[[[[[[", 'b"\\': ["]]]]", "\\", {"c{{{{{": [[[[[1]]]]]}] * 3}

    assert parse_json(orjson.dumps(value), max_depth=8) == value
    with pytest.raises(InvalidInputError, match="nested 8 deep"):
        parse_json(orjson.dumps(value), max_depth=7)


def test_closing_brackets_in_strings_hide_no_depth():
    with pytest.raises(InvalidInputError, match="nested 20 deep"):
        parse_json(b'["]]]]]]]]",' * 20 + b"1" + b"]" * 20, max_depth=8)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
BODIES = st.fixed_dictionaries(
    {"images": JSON_VALUES},
    optional=dict.fromkeys(("scale", "denoise", "include", "top_k", "preprocess"), JSON_VALUES),
)


@settings(max_examples=200, deadline=None)
@given(BODIES)
def test_no_json_gets_past_as_another_error(value):
    with pytest.raises(InvalidInputError):
        read(json.dumps(value).encode(), "application/json")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(["application/json", FORM, "application/x-npy", "image/png"]))
def test_no_bytes_get_past_as_another_error(body, content_type):
    with pytest.raises(InvalidInputError):
        read(body, content_type)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), max_size=5))
def test_no_damaged_form_gets_past_as_another_error(changes):
    body = bytearray(form([png(np.zeros((28, 28), np.uint8))], {"denoise": "never"}))
    for place, value in changes:
        body[place % len(body)] = value
    try:
        images, _ = read(bytes(body), FORM)
    except InvalidInputError:
        return
    assert images.shape == (1, 28, 28, 1)
