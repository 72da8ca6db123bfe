"""Which engine should serve the pair? ONNX Runtime, LiteRT and TensorFlow on the shipped models.

    make bench-engines

Each engine runs in a process of its own, with one thread and with two: time to import and load, time of a call, memory,
and what its packages take on disk.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import numpy as np

from services.core.model_digest import newest, pair

ROOT = Path(__file__).parents[2]
BATCHES = (1, 8, 64, 512)
MODELS = ("denoiser", "classifier")
PACKAGES = {"onnx": "onnxruntime", "litert": "ai-edge-litert", "tensorflow": "tensorflow"}
NAMES = {"onnx": "ONNX Runtime", "litert": "LiteRT (XNNPACK)", "tensorflow": "TensorFlow"}
LOADERS = {
    "onnx": ("services.model_server.engines.onnx", "OnnxEngine"),
    "litert": ("services.model_server.engines.litert", "LiteRTEngine"),
    "tensorflow": ("services.model_server.engines.tensorflow", "TensorFlowEngine"),
}


def main(argv: list[str] | None = None) -> int:
    """Measure every engine in children, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=0.7, help="for each batch size (default: 0.7)")
    parser.add_argument("--output", type=Path, default=ROOT / "docs/benchmarks/engines.md")
    parser.add_argument("--child", nargs=2, metavar=("ENGINE", "THREADS"), help="measure one engine and print JSON")
    options = parser.parse_args(argv)
    if options.child:
        print(json.dumps(_measure(options.child[0], int(options.child[1]), options.seconds)))
        return 0
    results = []
    for engine in LOADERS:
        for threads in (1, 2):
            command = [sys.executable, "-m", "tests.bench.engines", "--seconds", str(options.seconds)]
            done = subprocess.run(
                [*command, "--child", engine, str(threads)], cwd=ROOT, capture_output=True, text=True, check=True
            )
            results.append(json.loads(done.stdout.splitlines()[-1]))
    text = _markdown(results)
    print(text)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(text)
    return 0


def _measure(engine: str, threads: int, seconds: float) -> dict:
    started = time.perf_counter()
    module, name = LOADERS[engine]
    engine_class = getattr(__import__(module, fromlist=[name]), name)
    imported = time.perf_counter()
    if engine == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    loaded = {
        model: engine_class(ROOT / "models" / model / str(newest(ROOT / "models" / model)), threads=threads)
        for model in MODELS
    }
    ready = time.perf_counter()
    calls = {}
    for model, instance in loaded.items():
        outputs = list(instance.definitions["serving_default"].outputs)
        for rows in BATCHES:
            images = np.random.default_rng(1).random((rows, 28, 28, 1), np.float32)
            calls[f"{model} {rows}"] = _median_us(
                lambda i=instance, x=images, o=outputs: i.run("serving_default", {"images": x}, o), seconds
            )
    return {
        "engine": engine,
        "threads": threads,
        "import_s": imported - started,
        "load_s": ready - imported,
        "resident_mb": _resident_mb(),
        "installed_mb": _installed_mb(PACKAGES[engine]),
        "version": metadata.version(PACKAGES[engine]),
        "calls_us": calls,
    }


def _median_us(call: object, seconds: float) -> float:
    for _ in range(2):
        call()
    times = []
    end = time.perf_counter() + seconds
    while (started := time.perf_counter()) < end:
        call()
        times.append(time.perf_counter() - started)
    return 1e6 * float(np.median(times))


def _resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def _installed_mb(package: str) -> float:
    files = metadata.files(package) or []
    return sum(path.stat().st_size for file in files if (path := Path(file.locate())).is_file()) / 2**20


def _markdown(results: list[dict]) -> str:
    lines = [
        "<!-- written by `make bench-engines` -->",
        "# Engines",
        "",
        "The shipped pair on three engines: microseconds for a call of so many images (median), both models together.",
        f"{pair(ROOT / 'models')}; "
        f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, load average {os.getloadavg()[0]:.1f} at the end; "
        "each row is a process of its own, with a warm page cache.",
        "",
        "| engine | threads | " + " | ".join(f"{rows} image{'s' * (rows > 1)}" for rows in BATCHES)
        + " | images/s at 64 | import + load | resident | package on disk |",
        "| --- | ---: |" + " ---: |" * (len(BATCHES) + 4),
    ]  # fmt: skip
    for result in results:
        both = [sum(result["calls_us"][f"{model} {rows}"] for model in MODELS) for rows in BATCHES]
        lines.append(
            f"| {NAMES[result['engine']]} {result['version']} | {result['threads']} | "
            + " | ".join(f"{value:,.0f}" for value in both)
            + f" | {64e6 / both[BATCHES.index(64)]:,.0f} | {result['import_s'] + result['load_s']:.2f} s"
            + f" | {result['resident_mb']:.0f} MB | {result['installed_mb']:.0f} MB |"
        )
    lines += [
        "",
        "The model server ships with ONNX Runtime and gives each call one thread, so that calls run side by side on",
        "the cores. The other two engines are chosen by `--prefer_tflite_model` and by a folder without `model.onnx`;",
        "the threads of a call by `--tensorflow_intra_op_parallelism`.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
