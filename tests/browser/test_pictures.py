"""Files: chosen, pasted, dropped, unreadable."""

import base64
from collections.abc import Callable, Sequence
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import expect

SEVEN = [(90, 70), (220, 66), (150, 240)]


LETTER_K = [[(100, 60), (100, 240)], [(200, 60), (104, 150), (205, 240)]]
TWO_SEVENS = [[(x * 0.45, y * 0.8) for x, y in SEVEN], [(130 + x * 0.45, y * 0.8) for x, y in SEVEN]]


def photo(kind: str = "PNG", size: int = 300, strokes: Sequence[Sequence[tuple[float, float]]] = (SEVEN,)) -> bytes:
    """A seven in dark ink on light paper, as a camera sees it: not square, not white, not black."""
    paper = Image.new("RGB", (size + 60, size), (233, 229, 220))
    for stroke in strokes:
        points = [(x * size / 300, y * size / 300) for x, y in stroke]
        ImageDraw.Draw(paper).line(points, (30, 34, 60), size // 14, "curve")
    out = BytesIO()
    paper.save(out, kind)
    return out.getvalue()


HAND_OVER = """([name, type, data, event]) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, { type }));
  const options = { bubbles: true, cancelable: true };
  document.body.dispatchEvent(
    event === "paste"
      ? new ClipboardEvent("paste", { ...options, clipboardData: transfer })
      : new DragEvent(event, { ...options, dataTransfer: transfer }));
}"""


def choose(demo, name: str, kind: str, data: bytes) -> None:
    demo.file.set_input_files({"name": name, "mimeType": kind, "buffer": data})


def paste(demo, name: str, kind: str, data: bytes) -> None:
    demo.page.evaluate(HAND_OVER, [name, kind, base64.b64encode(data).decode(), "paste"])


def drop(demo, name: str, kind: str, data: bytes) -> None:
    for event in ("dragover", "drop"):
        demo.page.evaluate(HAND_OVER, [name, kind, base64.b64encode(data).decode(), event])


@pytest.mark.parametrize("hand_over", [choose, paste, drop])
def test_a_picture_handed_over_is_read(demo, hand_over: Callable):
    demo.set_level(0)

    hand_over(demo, "seven.png", "image/png", photo())
    demo.wait_for_answer()
    assert demo.digits()[0] == "7"
    assert demo.pixels("clean")[0].max() < 30  # the paper has become black


@pytest.mark.parametrize(("strokes", "said"), [(LETTER_K, " sure"), (TWO_SEVENS, "2 digits")], ids=["a letter", "two"])
def test_what_is_no_digit_is_rejected_visibly(demo, strokes, said):
    """A K was "8, 40.7 % sure", and nothing said that it is none."""
    demo.set_level(0)
    expect(demo.side_with).to_have_attribute("data-accepted", "true")

    choose(demo, "other.png", "image/png", photo(strokes=strokes))

    expect(demo.side_with).to_have_attribute("data-accepted", "false")
    expect(demo.confidence_with).to_contain_text(said)
    assert demo.confidence_with.evaluate("one => getComputedStyle(one, '::before').content") == '"Rejected"'


@pytest.mark.parametrize(
    ("kind", "media_type"),
    [
        ("JPEG", "image/jpeg"),
        ("WEBP", "image/webp"),
        ("BMP", "image/bmp"),
        ("GIF", "image/gif"),
        ("TIFF", "image/tiff"),
    ],
)
def test_common_picture_files_are_read(demo, kind, media_type):
    """TIFF too, which Chromium itself cannot show."""
    demo.set_level(0)

    choose(demo, f"seven.{kind.lower()}", media_type, photo(kind))
    demo.wait_for_answer()
    assert demo.digits()[0] == "7"


def test_a_kind_only_the_browser_knows_is_sent_as_png(demo):
    """The gateway does not read AVIF; Chromium does."""
    demo.set_level(0)

    choose(demo, "seven.avif", "image/avif", photo("AVIF"))
    demo.wait_for_answer()
    assert demo.digits()[0] == "7"


def test_a_photograph_larger_than_the_gateway_takes_is_made_smaller(demo):
    demo.set_level(0)

    choose(demo, "large.jpg", "image/jpeg", photo("JPEG", size=5200))
    demo.wait_for_answer()
    assert demo.digits()[0] == "7"


def test_a_28x28_picture_stays_as_it_is(demo):
    pixels = np.zeros((28, 28), np.uint8)
    pixels[4:24, 13:16] = 255
    out = BytesIO()
    Image.fromarray(pixels).save(out, "PNG")

    choose(demo, "one.png", "image/png", out.getvalue())
    demo.wait_for_answer()
    assert (demo.pixels("clean") == pixels).all()


@pytest.mark.parametrize(
    ("name", "kind", "data"),
    [("notes.txt", "text/plain", b"seven"), ("cut.png", "image/png", photo()[:300])],
    ids=["no-picture", "damaged"],
)
def test_a_file_that_cannot_be_read_leaves_the_drawing_and_its_answer(demo, name, kind, data):
    demo.draw(5)
    before = demo.digits(), demo.pixels("clean"), demo.pixels("denoised"), drawn_on(demo)

    choose(demo, name, kind, data)
    expect(demo.notice_text).to_have_text("This file cannot be read as a picture.")
    expect(demo.notice_detail).not_to_be_empty()
    after = demo.digits(), demo.pixels("clean"), demo.pixels("denoised"), drawn_on(demo)
    assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))
    expect(demo.undo).to_be_enabled()
    demo.take_sample(3)
    expect(demo.notice).to_be_hidden()
    assert demo.forgive() == 1  # the refusal itself, status 422


def drawn_on(demo) -> str:
    return demo.canvas.evaluate("canvas => canvas.toDataURL()")


def test_undo_after_a_picture_brings_the_drawing_back(demo):
    demo.set_level(0)
    demo.draw(1)
    drawing = drawn_on(demo)
    choose(demo, "seven.png", "image/png", photo())
    expect(demo.digit_with).to_have_text("7")

    demo.undo.click()
    demo.wait_for_answer()
    assert demo.digits()[0] == "1"
    assert drawn_on(demo) == drawing


def test_drawing_over_a_picture_starts_afresh(demo):
    demo.set_level(0)
    choose(demo, "seven.png", "image/png", photo())
    demo.wait_for_answer()

    demo.draw(1)
    assert demo.digits()[0] == "1"
    expect(demo.undo).to_be_enabled()
