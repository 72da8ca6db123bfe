"""Batches: rows never reach the wrong caller, limits hold, deadlines count, failures reach those they should."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from services.core.errors import ConfigError, DeadlineError, InvalidInputError
from services.model_server.engines.base import ComputeError, LoadError
from services.model_server.metrics import ServerMetrics
from services.model_server.running.batching import BatchingRunner
from services.model_server.running.batching_parameters import BatchingParameters
from services.model_server.running.per_model import PerModelRunner
from services.model_server.running.runners import DirectRunner
from services.model_server.signatures import Signature, TensorSpec
from services.model_server.statuses import Code, StatusError
from services.model_server.versions.servable import Servable
from services.pb import tfserving_pb2 as pb

WAIT_S = 10.0
SIGNATURE = Signature(
    key="serving_default",
    inputs={"x": TensorSpec("x:0", pb.DT_FLOAT, (-1, -1))},
    outputs={"y": TensorSpec("y:0", pb.DT_FLOAT, (-1, -1)), "z": TensorSpec("z:0", pb.DT_FLOAT, (-1,))},
    method_name="tensorflow/serving/predict",
    defaults={},
)


class ToyEngine:
    """y = 2x and z = row sums; remembers its batches, and can be held, slowed or made to fail."""

    name = "toy"

    def __init__(self):
        self.definitions, self.signature_keys = {}, frozenset({"serving_default"})
        self.batches = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self.inside = 0
        self.most_inside = 0
        self._lock = threading.Lock()

    def run(self, key, inputs, outputs):
        x = inputs["x"]
        with self._lock:
            self.batches.append(len(x))
            self.inside += 1
            self.most_inside = max(self.most_inside, self.inside)
        self.entered.release()
        self.gate.wait(WAIT_S)
        with self._lock:
            self.inside -= 1
        if np.isnan(x).any():
            raise ComputeError("not a number")
        return [{"y": 2 * x, "z": x.sum(axis=1)}[name] for name in outputs]


@pytest.fixture
def engine():
    return ToyEngine()


@pytest.fixture
def servable(engine):
    return Servable("m", 1, Path(), engine)


@pytest.fixture
def pool():
    with ThreadPoolExecutor(128) as executor:
        yield executor


def runner(**parameters):
    return BatchingRunner(BatchingParameters(**parameters), ServerMetrics())


def ask(batching, servable, x, names=("y",), deadline=None):
    return batching.run(servable, SIGNATURE, {"x": np.asarray(x, np.float32)}, list(names), deadline=deadline)


def rows(*tags):
    return [[tag, tag + 0.5] for tag in tags]


def hold(engine, pool, batching, servable):
    """One request inside the engine, which does not come out until the gate opens."""
    engine.gate.clear()
    future = pool.submit(ask, batching, servable, rows(0))
    assert engine.entered.acquire(timeout=WAIT_S)
    return future


def queued(batching, count):
    """Wait until `count` requests wait in queues."""
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        with batching._lock:
            waiting = sum(len(batch.tasks) for queue in batching._queues.values() for batch in queue)
        if waiting == count:
            return
        time.sleep(0.001)
    raise AssertionError(f"{waiting} requests wait, not {count}")


def test_a_lone_request_is_its_own_batch(engine, servable):
    (y,) = ask(runner(), servable, rows(1, 2))

    np.testing.assert_array_equal(y, 2 * np.float32(rows(1, 2)))
    assert engine.batches == [2]


def test_requests_that_wait_are_joined_and_get_their_own_rows(engine, servable, pool):
    batching = runner()
    first = hold(engine, pool, batching, servable)
    others = [pool.submit(ask, batching, servable, rows(*range(10 * n, 10 * n + n))) for n in range(1, 6)]
    queued(batching, 5)
    engine.gate.set()

    np.testing.assert_array_equal(first.result(WAIT_S)[0], 2 * np.float32(rows(0)))
    for n, future in enumerate(others, start=1):
        expected = 2 * np.float32(rows(*range(10 * n, 10 * n + n)))
        np.testing.assert_array_equal(future.result(WAIT_S)[0], expected)
    assert engine.batches == [1, 15]


@pytest.mark.parametrize("timeout_s", [0.0, 0.002])
def test_a_flood_of_tagged_rows_never_crosses(engine, servable, pool, timeout_s):
    batching = runner(max_batch_size=16, max_execution_batch_size=16, num_batch_threads=2, batch_timeout_s=timeout_s,
                      max_enqueued_batches=1000)  # fmt: skip

    def caller(number):
        rng = np.random.default_rng(number)
        for turn in range(20):
            tags = 1000 * number + 10 * turn + np.arange(rng.integers(1, 9))
            y, z = ask(batching, servable, rows(*tags), names=("y", "z"))
            np.testing.assert_array_equal(y, 2 * np.float32(rows(*tags)))
            np.testing.assert_array_equal(z, np.float32(rows(*tags)).sum(axis=1))
        return number

    assert sorted(pool.map(caller, range(64), timeout=60)) == list(range(64))
    assert max(engine.batches) <= 16
    assert engine.most_inside <= 2


def test_callers_may_want_different_outputs(engine, servable, pool):
    batching = runner()
    hold(engine, pool, batching, servable)
    y_only = pool.submit(ask, batching, servable, rows(1), ("y",))
    z_and_y = pool.submit(ask, batching, servable, rows(2), ("z", "y"))
    queued(batching, 2)
    engine.gate.set()

    assert [array.shape for array in y_only.result(WAIT_S)] == [(1, 2)]
    assert [array.shape for array in z_and_y.result(WAIT_S)] == [(1,), (1, 2)]


def test_rows_of_another_shape_are_another_batch(engine, servable, pool):
    batching = runner()
    hold(engine, pool, batching, servable)
    futures = [pool.submit(ask, batching, servable, [[1.0] * width]) for width in (2, 3, 2)]
    queued(batching, 3)
    engine.gate.set()

    assert [future.result(WAIT_S)[0].shape for future in futures] == [(1, 2), (1, 3), (1, 2)]
    assert sorted(engine.batches) == [1, 1, 2]


def test_a_full_queue_refuses_at_once(engine, servable, pool):
    batching = runner(max_batch_size=2, max_execution_batch_size=2, max_enqueued_batches=1)
    hold(engine, pool, batching, servable)
    waiting = pool.submit(ask, batching, servable, rows(1, 2))
    queued(batching, 1)

    with pytest.raises(StatusError) as caught:
        ask(batching, servable, rows(3))

    engine.gate.set()
    assert caught.value.code == Code.UNAVAILABLE
    assert str(caught.value).startswith("The batch scheduling queue to which this task was submitted is full")
    assert len(waiting.result(WAIT_S)[0]) == 2


def test_a_deadline_that_passes_in_the_queue_is_told_in_time(engine, servable, pool):
    batching = runner()
    hold(engine, pool, batching, servable)

    with pytest.raises(DeadlineError, match=r"Run\(\) timeout exceeded while waiting in batching queue"):
        ask(batching, servable, rows(1), deadline=time.monotonic() + 0.02)

    engine.gate.set()
    assert engine.batches == [1]


def test_the_others_of_a_batch_go_on_when_its_first_gives_up(engine, servable, pool):
    batching = runner()
    hold(engine, pool, batching, servable)
    first = pool.submit(ask, batching, servable, rows(1), ("y",), time.monotonic() + 0.05)
    queued(batching, 1)
    second = pool.submit(ask, batching, servable, rows(2))
    with pytest.raises(DeadlineError):
        first.result(WAIT_S)
    engine.gate.set()

    np.testing.assert_array_equal(second.result(WAIT_S)[0], 2 * np.float32(rows(2)))


def test_the_next_of_a_batch_keeps_its_timeout_when_the_first_gives_up(engine, servable, pool):
    batching = runner(batch_timeout_s=0.5)
    first = pool.submit(ask, batching, servable, rows(1), ("y",), time.monotonic() + 0.2)
    queued(batching, 1)
    second = pool.submit(ask, batching, servable, rows(2))
    with pytest.raises(DeadlineError):
        first.result(WAIT_S)

    np.testing.assert_array_equal(second.result(WAIT_S)[0], 2 * np.float32(rows(2)))
    assert engine.batches == [1]


def test_a_batch_waits_for_more_until_its_timeout(engine, servable, pool):
    batching = runner(batch_timeout_s=0.3, num_batch_threads=2)
    futures = [pool.submit(ask, batching, servable, rows(n)) for n in range(4)]

    assert all(len(future.result(WAIT_S)[0]) == 1 for future in futures)
    assert engine.batches == [4]


def test_a_full_batch_does_not_wait_for_its_timeout(engine, servable, pool):
    batching = runner(batch_timeout_s=60, max_batch_size=4, max_execution_batch_size=4)
    futures = [pool.submit(ask, batching, servable, rows(n)) for n in range(4)]

    assert all(len(future.result(WAIT_S)[0]) == 1 for future in futures)


def test_a_failure_reaches_everyone_in_the_batch_and_nobody_else(engine, servable, pool):
    batching = runner()
    first = hold(engine, pool, batching, servable)
    bad = pool.submit(ask, batching, servable, [[np.nan, 0]])
    beside = pool.submit(ask, batching, servable, rows(1))
    queued(batching, 2)
    engine.gate.set()

    for future in (bad, beside):
        with pytest.raises(ComputeError):
            future.result(WAIT_S)
    assert len(first.result(WAIT_S)[0]) == 1
    assert len(ask(batching, servable, rows(5))[0]) == 1  # the slot is free again


def test_an_engine_that_breaks_its_promise_still_frees_the_slot(engine, servable):
    batching = runner(num_batch_threads=1)
    engine.run = lambda *_: 1 / 0

    with pytest.raises(ZeroDivisionError):
        ask(batching, servable, rows(1))

    del engine.run
    assert len(ask(batching, servable, rows(1))[0]) == 1


def test_a_batch_is_padded_to_an_allowed_size_and_cut_back(engine, servable):
    batching = runner(max_batch_size=8, max_execution_batch_size=8, allowed_batch_sizes=(4, 8))

    (y,) = ask(batching, servable, rows(1, 2, 3, 4, 5))

    assert engine.batches == [8]
    assert len(y) == 5


def test_a_request_larger_than_a_batch_is_refused_unless_splitting_is_on(engine, servable):
    with pytest.raises(InvalidInputError, match="Task size 5 is larger than maximum input batch size 4"):
        ask(runner(max_batch_size=4, max_execution_batch_size=4), servable, rows(1, 2, 3, 4, 5))

    (y,) = ask(runner(max_batch_size=100, max_execution_batch_size=2), servable, rows(1, 2, 3, 4, 5))
    np.testing.assert_array_equal(y, 2 * np.float32(rows(1, 2, 3, 4, 5)))
    assert engine.batches == [2, 2, 1]


def test_no_rows_are_an_answer_without_rows(servable):
    (y,) = ask(runner(allowed_batch_sizes=(4, 1000)), servable, np.zeros((0, 2)))

    assert y.shape == (0, 2)


def test_without_batching_no_more_run_at_once_than_there_are_slots(engine, servable, pool):
    direct = DirectRunner(slots=2)
    engine.gate.clear()
    futures = [pool.submit(ask, direct, servable, rows(n)) for n in range(8)]
    assert engine.entered.acquire(timeout=WAIT_S)
    with pytest.raises(StatusError, match="before a thread was free") as caught:
        engine.entered.acquire(timeout=WAIT_S)
        ask(direct, servable, rows(9), deadline=time.monotonic() + 0.02)
    engine.gate.set()

    assert [len(future.result(WAIT_S)[0]) for future in futures] == [1] * 8
    assert engine.most_inside == 2
    assert caught.value.code == Code.DEADLINE_EXCEEDED


# ---- the parameters file


def per_model(common=None):
    return PerModelRunner(common or BatchingParameters(num_batch_threads=3), ServerMetrics(), DirectRunner(1))


def test_per_model_parameters_are_those_of_the_versions_own_file(engine, tmp_path):
    (tmp_path / "batching_params.pbtxt").write_text("max_batch_size { value: 2 } num_batch_threads { value: 9 }")
    batching, servable = per_model(), Servable("m", 1, tmp_path, engine)

    with pytest.raises(InvalidInputError, match="Task size 3 is larger than maximum input batch size 2"):
        ask(batching, servable, rows(1, 2, 3))
    assert ask(batching, servable, rows(1))[0].tolist() == [[2.0, 3.0]]
    assert batching._runners[servable]._parameters.num_batch_threads == 3


def test_per_model_a_version_without_a_file_is_not_batched(engine, tmp_path):
    batching, servable = per_model(BatchingParameters(max_batch_size=1)), Servable("m", 1, tmp_path, engine)

    assert ask(batching, servable, rows(1, 2))[0].tolist() == [[2.0, 3.0], [4.0, 5.0]]


def test_per_model_a_file_with_a_mistake_fails_the_load(tmp_path):
    (tmp_path / "batching_params.pbtxt").write_text("max_batch_sise { value: 2 }")

    with pytest.raises(LoadError, match="max_batch_sise"):
        per_model().check(tmp_path)


def test_defaults_are_tensorflow_servings():
    parameters = BatchingParameters.from_message(pb.BatchingParameters(), cpus=3)

    assert parameters == BatchingParameters(
        max_batch_size=1000, batch_timeout_s=0, max_enqueued_batches=10, num_batch_threads=3,
        allowed_batch_sizes=(), max_execution_batch_size=1000,
    )  # fmt: skip


def _message(**fields):
    message = pb.BatchingParameters(allowed_batch_sizes=fields.pop("allowed_batch_sizes", ()))
    for name, value in fields.items():
        if name == "pad_variable_length_inputs":
            message.pad_variable_length_inputs = value
        else:
            getattr(message, name).value = value
    return message


def test_splitting_sets_the_largest_batch_computed():
    message = _message(max_batch_size=100, enable_large_batch_splitting=True, max_execution_batch_size=32)

    parameters = BatchingParameters.from_message(message, cpus=1)

    assert (parameters.max_batch_size, parameters.max_execution_batch_size) == (100, 32)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"max_batch_size": 0}, "max_batch_size must be at least 1"),
        ({"num_batch_threads": 0}, "num_batch_threads must be at least 1"),
        ({"max_enqueued_batches": -1}, "max_enqueued_batches must be at least 1"),
        ({"batch_timeout_micros": -1}, "batch_timeout_micros must not be negative"),
        ({"max_batch_size": 8, "allowed_batch_sizes": [2, 4]}, "must rise and end with 8"),
        ({"max_batch_size": 8, "allowed_batch_sizes": [4, 2, 8]}, "must rise and end with 8"),
        ({"pad_variable_length_inputs": True}, "pad_variable_length_inputs is not supported"),
        (
            {"max_batch_size": 8, "enable_large_batch_splitting": True, "max_execution_batch_size": 9},
            "must not be larger than max_batch_size",
        ),
    ],
)
def test_parameters_that_make_no_sense_are_named(fields, complaint):
    with pytest.raises(ConfigError, match=complaint):
        BatchingParameters.from_message(_message(**fields), cpus=1)
