"""The file of captured pictures: bounded, idempotent, erasable, shared by processes."""

import multiprocessing
import sqlite3

import numpy as np
import pytest

from services.runtime.captures import NO_DIGIT, ROW_BYTES, CaptureStore
from tests.support.captured import capture


@pytest.fixture
def store(tmp_path):
    store = CaptureStore(tmp_path)
    yield store
    store.close()


def test_what_was_kept_comes_back(store, rng):
    kept = capture(pixels=rng.integers(0, 256, (28, 28)).astype(np.uint8))
    store.add([kept], now_s=1000)

    assert store.doubtful(10) == [kept]
    assert store.doubtful(10)[0].pixels.shape == (28, 28)


def test_the_most_doubtful_come_first(store):
    store.add(
        [
            capture("sure", confidence=0.9),
            capture("unsure", confidence=0.4),
            capture("letter", confidence=0.9, is_digit=0.1),
        ],
        now_s=1000,
    )

    assert [each.request_id for each in store.doubtful(10)] == ["letter", "unsure", "sure"]


def test_a_label_can_be_given_again_and_is_counted_once(store):
    store.add([capture()], now_s=1000)

    assert store.label("a", 0, 7)
    assert store.label("a", 0, NO_DIGIT)
    assert [each.label for each in store.labelled()] == [NO_DIGIT]
    assert store.doubtful(10) == []
    assert store.counts() == (1, 1)


@pytest.mark.parametrize(("request_id", "position"), [("b", 0), ("a", 1)])
def test_what_was_not_kept_cannot_be_labelled(store, request_id, position):
    store.add([capture()], now_s=1000)

    assert not store.label(request_id, position, 3)


def test_the_same_image_twice_is_one_row_with_its_label(store):
    store.add([capture()], now_s=1000)
    store.label("a", 0, 3)
    store.add([capture()], now_s=1000)

    assert [each.label for each in store.labelled()] == [3]


def test_old_rows_go(tmp_path):
    store = CaptureStore(tmp_path, max_age_s=100)
    store.add([capture("old", at_s=1000)], now_s=1000)
    store.add([capture("new", at_s=1101)], now_s=1101)

    assert [each.request_id for each in store.doubtful(10)] == ["new"]


def test_the_file_stays_within_its_bound(tmp_path, rng):
    most = 200 * ROW_BYTES
    store = CaptureStore(tmp_path, max_bytes=most)
    for turn in range(20):
        pixels = rng.integers(0, 256, (28, 28)).astype(np.uint8)
        store.add([capture(f"{turn}-{n}", at_s=turn, pixels=pixels) for n in range(50)], now_s=turn)

    assert store.counts()[0] == 200
    assert store.path.stat().st_size < 1.5 * most


def test_an_erased_picture_is_in_no_file(tmp_path):
    store = CaptureStore(tmp_path)
    secret = np.frombuffer(b"secret picture! " * 49, np.uint8).reshape(28, 28)
    store.add([capture("mine", pixels=secret), capture("other")], now_s=1000)

    assert store.erase("mine") == 1
    assert [each.request_id for each in store.doubtful(10)] == ["other"]
    assert not any(b"secret picture!" in file.read_bytes() for file in tmp_path.iterdir())


def _write(folder, name):
    store = CaptureStore(folder)
    for turn in range(50):
        store.add([capture(name, turn)], now_s=1000)
    store.close()


def test_processes_write_beside_each_other(tmp_path):
    CaptureStore(tmp_path).close()
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(tmp_path, name)) for name in ("one", "two", "three")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)

    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert CaptureStore(tmp_path).counts() == (150, 0)


def test_a_folder_that_is_not_there_is_an_error_for_the_caller(tmp_path):
    with pytest.raises(sqlite3.Error):
        CaptureStore(tmp_path / "missing")
