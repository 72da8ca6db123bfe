"""What serving costs: our model server beside the same engine in-process and a server that computes nothing.

    make bench-model-server

One run, one machine, one model: Predict calls of 1, 8, 64 and 512 images from 1, 16 and 64 clients at
  noop      a gRPC server of the same making with the same messages, which answers with its input,
  serving   the model server,
  batching  the model server with --enable_batching, at most 128 rows computed at once.
Clients share the machine with the servers, so the ratios say more than the figures; the in-process figure is the better
of one taken before and one after. Start time and memory come last.
"""

import argparse
import asyncio
import os
import platform
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np

from services.core.model_digest import newest, pair
from services.core.tensors import to_proto
from services.model_server.engines.choice import EngineOptions, load_engine
from services.pb import tfserving_pb2 as pb
from tests.support.stack import Child, free_port

ROOT = Path(__file__).parents[2]
BATCHING = Path(__file__).with_name("batching.config")
METHOD = "/tensorflow.serving.PredictionService/Predict"
BATCHES, CLIENTS = (1, 8, 64, 512), (1, 16, 64)
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
CHANNELS = 4  # connections the clients share


@dataclass(frozen=True)
class Figure:
    """One cell of the table."""

    calls_s: float
    p50_ms: float
    p99_ms: float


def main(argv: list[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="denoiser", help="name of a model under models/")
    parser.add_argument("--seconds", type=float, default=1.5, help="for each cell of the table (default: 1.5)")
    parser.add_argument("--output", type=Path, default=ROOT / "docs/benchmarks/model_server.md")
    options = parser.parse_args(argv)
    folder = ROOT / "models" / options.model / str(newest(ROOT / "models" / options.model))

    lines = [f"Model `{options.model}`; {pair(ROOT / 'models')}; {_machine()}, {options.seconds} s a cell.", ""]
    lines[0] += f" Load average before: {os.getloadavg()[0]:.1f}."
    first = {rows: _in_process(folder, rows, options.seconds) for rows in BATCHES}
    tables = {}
    resident = {}
    with _noop() as target:
        tables["noop"] = _table(target, options.model, options.seconds)
    batching = ["--enable_batching", f"--batching_parameters_file={BATCHING}"]
    for name, flags in (("serving", []), ("batching", batching)):
        with _serving(options.model, folder.parent, flags) as (target, child, start_s):
            idle = _memory_mb(child.pid)
            tables[name] = _table(target, options.model, options.seconds)
            resident[name] = (start_s, idle, _memory_mb(child.pid))
    again = {rows: _in_process(folder, rows, options.seconds) for rows in BATCHES}
    in_process = {rows: max(first[rows], again[rows], key=lambda figure: figure.calls_s) for rows in BATCHES}
    lines += _markdown(in_process, tables, resident)
    text = "\n".join(lines) + "\n"
    print(text)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(f"<!-- written by `make bench-model-server` -->\n# Model server\n\n{text}")
    return 0


# ---- what is measured


def _in_process(folder: Path, rows: int, seconds: float) -> Figure:
    engine = load_engine(folder, EngineOptions())
    signature = engine.definitions["serving_default"]
    (alias,), outputs = signature.inputs, list(signature.outputs)
    images = np.random.default_rng(1).random((rows, 28, 28, 1), np.float32)
    for _ in range(3):
        engine.run("serving_default", {alias: images}, outputs)
    times = []
    end = time.perf_counter() + seconds
    while (started := time.perf_counter()) < end:
        engine.run("serving_default", {alias: images}, outputs)
        times.append(time.perf_counter() - started)
    return _figure(times, sum(times))


def _table(target: str, model: str, seconds: float) -> dict[tuple[int, int], Figure]:
    return {
        (rows, clients): asyncio.run(_load(target, _request(model, rows), clients, seconds))
        for rows in BATCHES
        for clients in CLIENTS
        if rows * clients <= 8192  # more only measures memory
    }


async def _load(target: str, request: bytes, clients: int, seconds: float) -> Figure:
    """`clients` callers, each asking again as soon as it has its answer."""
    channels = [
        grpc.aio.insecure_channel(target, options=[*OPTIONS, ("grpc.use_local_subchannel_pool", 1)])
        for _ in range(min(clients, CHANNELS))
    ]
    calls = [channel.unary_unary(METHOD) for channel in channels]  # bytes in, bytes out: the client's own cost is least
    await asyncio.gather(*(call(request, wait_for_ready=True) for call in calls))
    times: list[float] = []
    end = time.perf_counter() + seconds

    async def client(number: int) -> None:
        call = calls[number % len(calls)]
        while (started := time.perf_counter()) < end:
            await call(request)
            times.append(time.perf_counter() - started)

    started = time.perf_counter()
    await asyncio.gather(*(client(number) for number in range(clients)))
    elapsed = time.perf_counter() - started
    await asyncio.gather(*(channel.close() for channel in channels))
    return _figure(times, elapsed)


def _figure(times: list[float], elapsed: float) -> Figure:
    p50, p99 = np.percentile(times, [50, 99])
    return Figure(len(times) / elapsed, 1e3 * p50, 1e3 * p99)


def _request(model: str, rows: int) -> bytes:
    request = pb.PredictRequest(model_spec=pb.ModelSpec(name=model))
    request.inputs["images"].CopyFrom(to_proto(np.random.default_rng(1).random((rows, 28, 28, 1), np.float32)))
    return request.SerializeToString()


# ---- the servers


@contextmanager
def _noop() -> Iterator[str]:
    with _child(["tests.bench.noop_server", str(port := free_port())]) as child:
        _wait_for_port(child, port)
        yield f"127.0.0.1:{port}"


@contextmanager
def _serving(model: str, base: Path, flags: list[str]) -> Iterator[tuple[str, Child, float]]:
    port = free_port()
    arguments = [f"--port={port}", "--host=127.0.0.1", f"--model_name={model}", f"--model_base_path={base}"]
    started = time.perf_counter()
    with _child(["services.model_server", *arguments, "--enable_serialization_as_tensor_content", *flags]) as child:
        _wait_for_port(child, port)  # it opens its port when the model is AVAILABLE
        yield f"127.0.0.1:{port}", child, time.perf_counter() - started


@contextmanager
def _child(arguments: list[str]) -> Iterator[Child]:
    child = Child(arguments[0], arguments)
    child.start()
    try:
        yield child
    finally:
        child.close()


def _wait_for_port(child: Child, port: int) -> None:
    while child.running():
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.005)
    raise SystemExit(child.output())


def _memory_mb(pid: int) -> tuple[float, float]:
    """Resident and proportional set size."""
    fields = dict(line.split()[:2] for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return int(fields["Rss:"]) / 1024, int(fields["Pss:"]) / 1024


# ---- the words


def _machine() -> str:
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.processor(),
    )
    return f"{os.cpu_count()} cores ({model}), Python {platform.python_version()}, grpcio {grpc.__version__}"


def _markdown(in_process: dict, tables: dict, resident: dict) -> list[str]:
    lines = ["| images a call | clients | in-process images/s | " + " | ".join(_columns(tables)) + " |"]
    lines.append("| ---: | ---: | ---: |" + " ---: |" * len(_columns(tables)))
    for rows, clients in tables["noop"]:
        own = f"{rows * in_process[rows].calls_s:,.0f}" if clients == 1 else ""
        cells = [_cell(table[rows, clients]) for table in tables.values()]
        lines.append(f"| {rows} | {clients} | {own} | {' | '.join(cells)} |")
    noop, serving, batching = tables["noop"], tables["serving"], tables["batching"]
    one = 1e3 / in_process[1].calls_s
    bulk = max(serving[512, clients].calls_s for clients in CLIENTS if (512, clients) in serving)
    lines += [
        "",
        f"- Batch-512 Predict from 1 client: {_ratio(serving[512, 1].calls_s, in_process[512].calls_s)} of one "
        f"in-process thread's images/s; from several clients {_ratio(bulk, in_process[512].calls_s)}.",
        f"- Batch-1 p50: {serving[1, 1].p50_ms:.2f} ms; no-op p50 {noop[1, 1].p50_ms:.2f} + in-process {one:.2f} "
        f"= {noop[1, 1].p50_ms + one:.2f} ms.",
        f"- 64 clients, one image a call: {serving[1, 64].calls_s:,.0f} calls/s, with batching "
        f"{batching[1, 64].calls_s:,.0f} ({batching[1, 64].calls_s / serving[1, 64].calls_s:.2f} x); "
        f"the no-op server, which computes nothing, {noop[1, 64].calls_s:,.0f}.",
    ]
    for name, (start_s, idle, after) in resident.items():
        lines.append(
            f"- {name}: start to AVAILABLE {start_s:.2f} s; memory RSS/PSS {idle[0]:.0f}/{idle[1]:.0f} MB with the "
            f"model loaded, {after[0]:.0f}/{after[1]:.0f} MB after the load above."
        )
    return lines


def _columns(tables: dict) -> list[str]:
    return [f"{name} calls/s (p50, p99 ms)" for name in tables]


def _cell(figure: Figure) -> str:
    return f"{figure.calls_s:,.0f} ({figure.p50_ms:.2f}, {figure.p99_ms:.2f})"


def _ratio(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %"


if __name__ == "__main__":
    sys.exit(main())
