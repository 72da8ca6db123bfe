"""Requests joined into batches, each caller given its own rows.

There is no batching thread. A request that finds a free slot leads: it takes the requests that wait, computes the
whole batch in its own thread and hands each caller its rows; then the slot goes to the oldest batch that is due. So a
lone request pays nothing for batching, and a batch grows exactly while the slots are busy.
"""

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from services.core.errors import DeadlineError, InvalidInputError, ServiceError
from services.model_server.engines.base import ComputeError
from services.model_server.metrics import ServerMetrics
from services.model_server.running.batching_parameters import BatchingParameters
from services.model_server.running.runners import Arrays
from services.model_server.signatures import Signature
from services.model_server.statuses import Code, StatusError
from services.model_server.versions.servable import Servable

TIMED_OUT = "Run() timeout exceeded while waiting in batching queue"


@dataclass(slots=True, eq=False)
class _Task:
    """One caller's rows, waiting. The lock is held until there is something for the caller to look at."""

    servable: Servable
    signature: Signature
    inputs: Arrays
    names: Sequence[str]
    rows: int
    deadline: float | None
    queued_at: float
    wake: threading.Lock = field(default_factory=threading.Lock)
    batch: "_Batch | None" = None  # None once it has been taken out of the queue
    to_lead: "_Batch | None" = None
    outputs: list[np.ndarray] | None = None
    error: ServiceError | None = None

    def __post_init__(self) -> None:
        self.wake.acquire()

    def nudge(self) -> None:
        """Wake the caller. Called with the scheduler's lock held, so never twice at once."""
        if self.wake.locked():
            self.wake.release()


@dataclass(slots=True, eq=False)
class _Batch:
    due_at: float
    tasks: list[_Task] = field(default_factory=list)
    rows: int = 0
    closed: bool = False  # it can take no more, so waiting longer is pointless


class BatchingRunner:
    """Joins rows of requests for the same signature and row shape."""

    def __init__(self, parameters: BatchingParameters, metrics: ServerMetrics) -> None:
        self._parameters = parameters
        self._metrics = metrics
        self._label = (parameters.thread_pool_name,)
        self._lock = threading.Lock()
        self._queues: dict[object, deque[_Batch]] = {}
        self._free_slots = parameters.num_batch_threads

    def run(
        self, servable: Servable, signature: Signature, inputs: Arrays, names: Sequence[str], *, deadline: float | None
    ) -> list[np.ndarray]:
        """Wait for a place in a batch, for at most until `deadline`."""
        rows = count_rows(inputs)
        if rows == 0:  # nothing to share a batch with
            return servable.engine.run(signature.key, inputs, names)
        limits = self._parameters
        if rows > limits.max_batch_size:
            raise InvalidInputError(f"Task size {rows} is larger than maximum input batch size {limits.max_batch_size}")
        self._metrics.input_batch_size.observe(self._label, rows)
        parts = [
            self._run_part(servable, signature, part, names, deadline)
            for part in _split(inputs, rows, limits.max_execution_batch_size)
        ]
        if len(parts) == 1:
            return parts[0]
        return [np.concatenate(pieces) for pieces in zip(*parts, strict=True)]

    def _run_part(
        self, servable: Servable, signature: Signature, inputs: Arrays, names: Sequence[str], deadline: float | None
    ) -> list[np.ndarray]:
        task = _Task(servable, signature, inputs, names, count_rows(inputs), deadline, time.monotonic())
        key = (id(servable), signature.key, *((name, array.shape[1:]) for name, array in sorted(inputs.items())))
        with self._lock:
            queue = self._enqueue(key, task)
        while True:
            if task.error is not None:
                raise task.error
            if task.outputs is not None:
                return task.outputs
            with self._lock:
                wait_s = self._look(queue, key, task)
            if task.to_lead is not None:
                self._lead(task.to_lead)
            elif task.error is None and task.outputs is None:
                task.wake.acquire(timeout=-1 if wait_s is None else wait_s)

    # ---- with the lock held

    def _enqueue(self, key: object, task: _Task) -> deque[_Batch]:
        limits = self._parameters
        queue = self._queues.setdefault(key, deque())
        room = limits.max_execution_batch_size
        if queue and not queue[-1].closed and queue[-1].rows + task.rows > room:
            queue[-1].closed = True
        if not queue or queue[-1].closed:
            if len(queue) >= limits.max_enqueued_batches:
                raise StatusError(
                    Code.UNAVAILABLE,
                    "The batch scheduling queue to which this task was submitted is full; task size is "
                    f"{task.rows} (num_enqueued_batches={len(queue)}, "
                    f"max_enqueued_batches={limits.max_enqueued_batches})",
                )
            queue.append(_Batch(due_at=task.queued_at + limits.batch_timeout_s))
        batch = queue[-1]
        batch.tasks.append(task)
        batch.rows += task.rows
        batch.closed = batch.rows >= room
        task.batch = batch
        if batch.closed and batch.tasks[0] is not task:
            batch.tasks[0].nudge()  # it waits for the batch to be due, and now it is
        return queue

    def _look(self, queue: deque[_Batch], key: object, task: _Task) -> float | None:
        """What this caller can do now: lead, give up, or wait for so many seconds (None: until nudged)."""
        batch, now = task.batch, time.monotonic()
        if batch is None:  # another request computes it, or hands it the lead
            return None
        if task.deadline is not None and now >= task.deadline:
            self._withdraw(queue, key, task, batch)
            return None
        waits = [] if task.deadline is None else [task.deadline - now]
        if batch.tasks[0] is task:
            if not batch.closed and now < batch.due_at:
                waits.append(batch.due_at - now)
            elif self._free_slots:
                self._take(queue, key, batch)
                return None
        return min(waits, default=None)

    def _withdraw(self, queue: deque[_Batch], key: object, task: _Task, batch: _Batch) -> None:
        batch.tasks.remove(task)
        batch.rows -= task.rows
        task.batch, task.error = None, DeadlineError(TIMED_OUT)
        if batch.tasks:
            batch.tasks[0].nudge()  # perhaps it is the one to keep the time now
        else:
            queue.remove(batch)
            self._forget_if_empty(queue, key)

    def _take(self, queue: deque[_Batch], key: object, batch: _Batch) -> None:
        """The batch leaves its queue; its first caller will compute it."""
        self._free_slots -= 1
        queue.remove(batch)
        self._forget_if_empty(queue, key)
        for task in batch.tasks:
            task.batch = None
        batch.tasks[0].to_lead = batch
        batch.tasks[0].nudge()

    def _forget_if_empty(self, queue: deque[_Batch], key: object) -> None:
        if not queue and self._queues.get(key) is queue:
            del self._queues[key]

    def _pass_on(self) -> None:
        """A slot is free: give it to the batch that has been due longest."""
        now = time.monotonic()
        due = [
            (batch.due_at, key, queue, batch)
            for key, queue in self._queues.items()
            for batch in (queue[0],)
            if batch.closed or now >= batch.due_at
        ]
        if due:
            _, key, queue, batch = min(due, key=lambda entry: entry[0])
            self._take(queue, key, batch)

    # ---- without it

    def _lead(self, batch: _Batch) -> None:
        now = time.monotonic()
        tasks = [task for task in batch.tasks if task.deadline is None or now < task.deadline]
        late = [task for task in batch.tasks if task not in tasks]
        outputs: list[list[np.ndarray]] = []
        error: ServiceError = ComputeError("the batch this request was part of failed")
        try:
            if tasks:
                outputs = self._compute(tasks)
        except ServiceError as exc:
            error = exc
        finally:  # on any outcome all waiting requests are woken and the slot is given back
            for task in late:
                task.error = DeadlineError(TIMED_OUT)
            for index, task in enumerate(tasks):
                if outputs:
                    task.outputs = outputs[index]
                else:
                    task.error = error
            with self._lock:
                for task in batch.tasks:
                    task.to_lead = None
                    task.nudge()
                self._free_slots += 1
                self._pass_on()

    def _compute(self, tasks: list[_Task]) -> list[list[np.ndarray]]:
        """The outputs of every task, in the tasks' order."""
        first = tasks[0]
        rows = sum(task.rows for task in tasks)
        size = self._parameters.padded_size(rows)
        now = time.monotonic()
        for task in tasks:
            self._metrics.queuing_latency.observe(self._label, 1e6 * (now - task.queued_at))
        self._metrics.processed_batch_size.observe(self._label, size)
        self._metrics.padding_size.observe(self._label, size - rows)
        self._metrics.batches.add(())
        names = list(dict.fromkeys(name for task in tasks for name in task.names))
        inputs = {name: _joined([task.inputs[name] for task in tasks], size - rows) for name in first.inputs}
        arrays = dict(zip(names, first.servable.engine.run(first.signature.key, inputs, names), strict=True))
        for array in arrays.values():
            if array.shape[:1] != (size,):
                raise StatusError(
                    Code.FAILED_PRECONDITION,
                    "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the "
                    "input tensors",
                )
        answers, start = [], 0
        for task in tasks:
            answers.append([arrays[name][start : start + task.rows] for name in task.names])
            start += task.rows
        return answers


def count_rows(inputs: Arrays) -> int:
    """The size every input shares in its first dimension."""
    sizes = {array.shape[:1] for array in inputs.values()}
    if () in sizes:
        raise InvalidInputError("Batching Run() input tensors must have at least one dimension")
    if len(sizes) != 1:
        raise InvalidInputError("Batching session Run() input tensors must have equal 0th-dimension size")
    return sizes.pop()[0]


def _split(inputs: Arrays, rows: int, limit: int) -> Iterator[Arrays]:
    if rows <= limit:
        yield inputs
        return
    for start in range(0, rows, limit):
        yield {name: array[start : start + limit] for name, array in inputs.items()}


def _joined(arrays: list[np.ndarray], padding: int) -> np.ndarray:
    if len(arrays) == 1 and not padding:
        return arrays[0]
    return np.concatenate([*arrays, *[arrays[0][:1]] * padding])
