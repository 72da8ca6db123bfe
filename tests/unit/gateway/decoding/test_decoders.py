"""Decoder processes: bounded, killed at the deadline, replaced; what goes wrong in one costs one request."""

import asyncio
import errno
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from services.core.errors import DeadlineError, InvalidInputError, OverloadedError, TooLargeError
from services.gateway.decoding.decoders import DecoderFailedError, Decoders
from services.gateway.decoding.frames import Frame

TASKS = "tests.support.decoder_tasks"
ROOT = Path(__file__).parents[4]


def soon(seconds: float = 60.0) -> float:
    return time.monotonic() + seconds


async def with_decoders(use, **settings):
    decoders = Decoders(TASKS, **settings)
    try:
        return await use(decoders)
    finally:
        await decoders.close()


def run(use, **settings):
    """`use` decoders, then end them."""
    return asyncio.run(with_decoders(use, **settings))


async def pid_of(decoders: Decoders) -> int:
    return (await decoders.run("echo", [], until_s=soon())).head["pid"]


def test_bytes_and_arrays_come_back_as_they_went(rng):
    parts = [b"", bytes(1_000_000), rng.random((3, 28, 28, 1), np.float32), np.empty((0, 5), np.uint8), np.arange(3)]

    answer = run(lambda decoders: decoders.run("echo", parts, {"name": ["é", 1]}, until_s=soon(50)))

    assert answer.head["arguments"] == {"name": ["é", 1]}
    assert 0 < answer.head["remaining_s"] <= 50
    for sent, received in zip(parts, answer.parts, strict=True):
        if isinstance(sent, bytes):
            assert bytes(received) == sent
        else:
            assert received.dtype == sent.dtype
            np.testing.assert_array_equal(received, sent)


def test_a_task_past_its_deadline_is_killed_and_its_process_replaced():
    async def use(decoders: Decoders) -> None:
        before = await pid_of(decoders)
        started = time.monotonic()
        with pytest.raises(DeadlineError):
            await decoders.run("spin", [], until_s=time.monotonic() + 0.2)
        assert time.monotonic() - started < 2
        assert await pid_of(decoders) != before
        assert not Path(f"/proc/{before}").exists()

    run(use, processes=1)


def test_a_cancelled_task_is_killed_too():
    async def use(decoders: Decoders) -> None:
        before = await pid_of(decoders)
        task = asyncio.create_task(decoders.run("spin", [], until_s=soon()))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await pid_of(decoders) != before

    run(use, processes=1)


@pytest.mark.parametrize(
    ("task", "error", "message"),
    [
        ("crash", InvalidInputError, "crash"),
        ("killed", OverloadedError, "killed"),
        ("mistaken", DecoderFailedError, "KeyError: 'a mistake of ours'"),
        ("invalid", InvalidInputError, "image 2 of 3: a damaged PNG"),
        ("too-large", TooLargeError, "3 images; at most 2"),
    ],
)
def test_what_goes_wrong_costs_one_request(task, error, message):
    async def use(decoders: Decoders) -> None:
        for _ in range(3):
            with pytest.raises(error, match=message):
                await decoders.run(task, [], until_s=soon())
            await pid_of(decoders)

    run(use, processes=1)


def test_a_limit_of_memory_that_the_operator_set_is_kept():
    """`ulimit -v`: only root may go beyond it, and everybody else's decoders ended before their first task."""
    code = """
import asyncio, resource, time
from services.gateway.decoding.decoders import Decoders
limit = 2 << 30
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
async def use():
    decoders = Decoders("tests.support.decoder_tasks", memory_bytes=limit)
    print((await decoders.run("limit", [], until_s=time.monotonic() + 60)).head["bytes"] == limit)
    await decoders.close()
asyncio.run(use())
"""
    finished = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)

    assert (finished.stdout, finished.stderr) == ("True\n", "")


def test_a_task_that_wants_more_memory_than_it_may_is_too_large():
    async def use(decoders: Decoders) -> None:
        assert (await decoders.run("hungry", [], {"bytes": 20 << 20}, until_s=soon())).head["size"] == 20 << 20
        with pytest.raises(TooLargeError, match="memory"):
            await decoders.run("hungry", [], {"bytes": 80 << 20}, until_s=soon())

    run(use, memory_bytes=64 << 20)


def test_more_tasks_than_may_wait_are_refused_at_once():
    async def use(decoders: Decoders) -> None:
        await decoders.start()
        tasks = [asyncio.create_task(decoders.run("spin", [], until_s=time.monotonic() + 0.5)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError):
            await decoders.run("echo", [], until_s=soon())
        assert all(isinstance(end, DeadlineError) for end in await asyncio.gather(*tasks, return_exceptions=True))
        await pid_of(decoders)

    run(use, processes=1, waiting=2)


def test_large_tasks_leave_one_process_to_small_ones():
    async def use(decoders: Decoders) -> None:
        await decoders.start()
        large = [
            asyncio.create_task(decoders.run("spin", [bytes(200_000)], until_s=time.monotonic() + 3)) for _ in range(4)
        ]
        await asyncio.sleep(0.1)
        await decoders.run("echo", [], until_s=time.monotonic() + 2)
        assert not any(task.done() for task in large)
        await asyncio.gather(*large, return_exceptions=True)

    run(use, processes=2)


def test_what_is_large_is_done_by_one_process_at_a_time():
    async def use(decoders: Decoders) -> None:
        many = [decoders.run("alone", [], {"seconds": 0.1}, until_s=soon()) for _ in range(4)]
        times = sorted((answer.head["began"], answer.head["ended"]) for answer in await asyncio.gather(*many))
        assert all(ended <= began for (_, ended), (began, _) in pairwise(times))

    run(use, processes=3)


def test_a_process_that_is_killed_gives_up_its_turn():
    async def use(decoders: Decoders) -> None:
        with pytest.raises(DeadlineError):
            await decoders.run("alone", [], {"seconds": 60}, until_s=time.monotonic() + 0.3)
        await decoders.run("alone", [], {"seconds": 0}, until_s=soon())

    run(use)


def test_tasks_at_the_same_time_are_not_mixed_up(rng):
    async def use(decoders: Decoders) -> None:
        sizes = rng.integers(0, 3000, 60).tolist()
        answers = await asyncio.gather(*(decoders.run("echo", [bytes(n)], {"n": n}, until_s=soon()) for n in sizes))
        assert [(len(answer.parts[0]), answer.head["arguments"]["n"]) for answer in answers] == [(n, n) for n in sizes]

    run(use)


def test_when_the_parent_of_all_dies_nobody_notices():
    async def use(decoders: Decoders) -> None:
        before = await pid_of(decoders)
        os.kill(decoders._parent._process.pid, signal.SIGKILL)
        assert await pid_of(decoders) != before

    run(use)


def test_a_process_is_replaced_although_descriptors_were_short_for_a_while():
    async def use(decoders: Decoders) -> None:
        before = await pid_of(decoders)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("services.gateway.decoding.decoders.socket.socketpair", out_of_descriptors)
            with pytest.raises(InvalidInputError):
                await decoders.run("crash", [], until_s=soon())
            with pytest.raises(DeadlineError):
                await decoders.run("echo", [], until_s=time.monotonic() + 0.3)
        assert await pid_of(decoders) != before

    run(use, processes=1)


def out_of_descriptors():
    raise OSError(errno.EMFILE, "Too many open files")


def test_signals_for_the_whole_group_end_no_work():
    async def use(decoders: Decoders) -> None:
        before = await pid_of(decoders)
        for pid in (before, decoders._parent._process.pid):
            os.kill(pid, signal.SIGTERM)
            os.kill(pid, signal.SIGINT)
        assert await pid_of(decoders) == before

    run(use, processes=1)


@pytest.mark.parametrize("beginning", ["", "decoders.fork()"])
def test_nothing_outlives_a_gateway_that_was_killed(beginning):
    code = f"""
import asyncio, time
from services.gateway.decoding.decoders import Decoders
decoders = Decoders({TASKS!r})
{beginning}
async def main():
    answer = await decoders.run("echo", [], until_s=time.monotonic() + 20)
    print(answer.head["pid"], decoders._parent._process.pid, flush=True)
    await decoders.run("spin", [], until_s=time.monotonic() + 60)
asyncio.run(main())
"""
    gateway = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    pids = gateway.stdout.readline().split()
    gateway.kill()
    gateway.communicate()
    ends = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < ends:
        time.sleep(0.02)

    assert len(pids) == 2
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_forked_parent_keeps_nothing_open_and_is_replaced_when_it_dies():
    code = f"""
import asyncio, os, signal, socket, time
from services.gateway.decoding.decoders import Decoders
decoders = Decoders({TASKS!r})
port = socket.create_server(("127.0.0.1", 0))
decoders.fork()
async def main():
    ends = time.monotonic() + 20
    await decoders.run("echo", [], until_s=ends)
    forked = decoders._parent._process.pid
    print(*(os.readlink(f"/proc/{{forked}}/fd/{{n}}") for n in os.listdir(f"/proc/{{forked}}/fd")), sep=",")
    os.kill(forked, signal.SIGKILL)
    os.waitid(os.P_PID, forked, os.WEXITED | os.WNOWAIT)  # its decoders are killed before it can be waited for
    await decoders.run("echo", [], until_s=ends)
    print(decoders._parent._process.pid != forked, os.path.exists(f"/proc/{{forked}}"))
    await decoders.close()
asyncio.run(main())
"""
    finished = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    opened, replaced = finished.stdout.splitlines()

    assert sorted(each.partition(":")[0] for each in opened.split(",")) == [*["/dev/null"] * 3, "/memfd", "socket"]
    assert replaced == "True False"


def test_what_libraries_write_about_damaged_files_reaches_no_log(capfd):
    run(lambda decoders: decoders.run("noisy", [], until_s=soon()))

    assert capfd.readouterr() == ("", "")


def test_an_answer_larger_than_any_may_be_is_refused():
    async def use(decoders: Decoders) -> Frame:
        return await decoders.run("echo", [bytes(2_000_000)], until_s=soon())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("services.gateway.decoding.decoders.MOST_ANSWER_BYTES", 1_000_000)
        with pytest.raises(InvalidInputError):
            run(use)
