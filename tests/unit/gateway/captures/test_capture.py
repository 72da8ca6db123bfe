"""Which pictures are kept, and that trouble with the file costs captures alone."""

import asyncio
import sqlite3
import threading

import numpy as np
import pytest

from services.core.errors import OverloadedError
from services.gateway.captures import capture as module
from services.gateway.captures.capture import Captures, open_in
from services.gateway.metrics import Metrics
from services.gateway.reading.chain import Reading
from services.runtime.captures import CaptureStore


def reading(*confidences):
    count = len(confidences)
    scores = np.zeros((count, 10), np.float32)
    scores[:, 3] = confidences
    return Reading(
        digits=np.full(count, 3), scores=scores, confidences=np.array(confidences, np.float32), pictures=(),
        applied=np.ones(count, bool), denoiser_version=2, classifier_version=2,
    )  # fmt: skip


def images(count):
    return np.full((count, 28, 28, 1), 0.5, np.float32)


def started(tmp_path, *, share=0.0, open_store=None):
    metrics = Metrics()
    opened = open_store or (lambda: open_in(tmp_path / "kept", max_bytes=10**6, max_age_s=1e9))
    return Captures(opened, share=share, min_confidence=0.6, metrics=metrics), metrics


def counted(metrics, outcome):
    return metrics.registry.get_sample_value("cleardigits_captures_total", {"outcome": outcome}) or 0


def test_rejected_pictures_are_kept_as_the_models_got_them(tmp_path):
    captures, metrics = started(tmp_path)
    captures.offer("r", images(3), reading(0.9, 0.4, 0.5))
    asyncio.run(captures.close())
    kept = CaptureStore(tmp_path / "kept").doubtful(10)

    assert [(each.position, each.accepted, each.classifier) for each in kept] == [(1, False, 2), (2, False, 2)]
    assert set(kept[0].picture) == {128}
    assert counted(metrics, "kept") == 2


@pytest.mark.parametrize(("share", "kept"), [(0.0, 0), (1.0, 5)])
def test_of_accepted_pictures_a_share_is_kept(tmp_path, share, kept):
    captures, metrics = started(tmp_path, share=share)
    captures.offer("r", images(5), reading(*[0.99] * 5))
    asyncio.run(captures.close())

    assert counted(metrics, "kept") == kept


def test_one_large_request_keeps_a_bounded_number(tmp_path):
    captures, metrics = started(tmp_path)
    captures.offer("r", images(1000), reading(*[0.1] * 1000))
    asyncio.run(captures.close())

    assert counted(metrics, "kept") == module.MOST_OF_A_REQUEST


def test_a_label_finds_the_capture_that_was_offered_just_before(tmp_path):
    captures, _ = started(tmp_path)

    async def offer_and_label():
        captures.offer("r", images(1), reading(0.2))
        found = await captures.label("r", 0, 7), await captures.label("r", 1, 7)
        await captures.close()
        return found

    assert asyncio.run(offer_and_label()) == (True, False)


def test_a_label_finds_a_capture_that_another_worker_is_about_to_write(tmp_path):
    ours, _ = started(tmp_path)
    theirs, _ = started(tmp_path)

    async def label_and_offer():
        labelling = asyncio.ensure_future(ours.label("r", 0, 7))
        await asyncio.sleep(0)  # the label is on its way before the picture
        theirs.offer("r", images(1), reading(0.2))
        found = await labelling
        await asyncio.gather(ours.close(), theirs.close())
        return found

    assert asyncio.run(label_and_offer())
    assert [each.label for each in CaptureStore(tmp_path / "kept").labelled()] == [7]


def test_a_full_disk_costs_captures_and_no_request(tmp_path):
    class Full:
        def add(self, captures, *, now_s):
            raise sqlite3.OperationalError("database or disk is full")

        def close(self):
            pass

    captures, metrics = started(tmp_path, open_store=Full)
    captures.offer("r", images(1), reading(0.2))
    asyncio.run(captures.close())

    assert counted(metrics, "failed") == 1


def test_a_locked_file_refuses_feedback_for_now(tmp_path):
    def locked():
        raise sqlite3.OperationalError("database is locked")

    captures, _ = started(tmp_path, open_store=locked)

    async def label():
        try:
            with pytest.raises(OverloadedError):
                await captures.label("r", 0, 7)
        finally:
            await captures.close()

    asyncio.run(label())


def test_a_full_queue_drops_captures_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "QUEUE_JOBS", 1)
    go_on = threading.Event()

    def slow():
        go_on.wait(30)
        return open_in(tmp_path / "kept", max_bytes=10**6, max_age_s=1e9)

    captures, metrics = started(tmp_path, open_store=slow)
    for turn in range(10):
        captures.offer(str(turn), images(1), reading(0.2))
    dropped = counted(metrics, "dropped")
    go_on.set()
    asyncio.run(captures.close())

    assert dropped >= 8
    assert dropped + counted(metrics, "kept") == 10


def test_a_folder_that_cannot_be_made_is_a_failure_of_captures(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(sqlite3.Error):
        open_in(tmp_path / "file" / "below", max_bytes=10**6, max_age_s=1e9)
