"""Label captured pictures in the browser: python -m services.evaluator.corrections CAPTURES [--export FILE]

CAPTURES is the gateway's CLEARDIGITS_GATEWAY_CAPTURE_DIR. `--export` writes corrections.npz and ends; `--erase` deletes
what was kept of one request and ends; without either the review page is served until Ctrl-C.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path

from services.evaluator import command
from services.evaluator.config import EvaluatorConfig
from services.evaluator.corrections import export
from services.evaluator.corrections.server import review_server
from services.evaluator.errors import DatasetError
from services.runtime.captures import FILE, CaptureStore


def main(argv: Sequence[str] | None = None) -> int:
    """Serve, export or erase; exit status 0, or that of what went wrong."""
    about = "Label what the gateway captured, the most doubtful first."
    return command.run(_run, _add_arguments, module="services.evaluator.corrections", about=about, argv=argv, shared=())


def _run(arguments: argparse.Namespace, config: EvaluatorConfig) -> int:
    if not (arguments.captures / FILE).is_file():
        raise DatasetError(f"{arguments.captures} holds no {FILE}: is it the gateway's CAPTURE_DIR, and was it asked?")
    try:
        store = CaptureStore(arguments.captures, max_age_s=float("inf"))  # the gateway decides what goes
    except sqlite3.Error as exc:
        raise DatasetError(f"cannot read {arguments.captures / FILE}: {exc}") from exc
    try:
        if arguments.erase:
            print(f"erased {store.erase(arguments.erase)} pictures of request {arguments.erase}")
        elif arguments.export:
            labelled = store.labelled()
            if not labelled:
                raise DatasetError(
                    f"{arguments.captures / FILE} holds no labelled pictures: there is nothing to export"
                )
            data = export.npz(labelled)
            arguments.export.write_bytes(data)
            print(f"{arguments.export}: {len(labelled)} labelled pictures, sha256:{export.digest(data)[:16]}")
        else:
            _serve(store, arguments.port)
    except (sqlite3.Error, OSError) as exc:
        raise DatasetError(f"corrections: {exc}") from exc
    finally:
        store.close()
    return 0


def _serve(store: CaptureStore, port: int) -> None:
    server = review_server(store, port)
    rows, labelled = store.counts()
    print(
        f"{rows} pictures, {labelled} of them labelled: http://127.0.0.1:{server.server_port}   (Ctrl-C ends it)",
        flush=True,
    )
    try:
        server.serve_forever()
    finally:
        server.server_close()


def _add_arguments(parser: argparse.ArgumentParser, config: EvaluatorConfig) -> None:
    parser.add_argument("captures", type=Path, help="the folder that the gateway captures into")
    parser.add_argument("--port", type=command.port, default=8090, help="of the review page, on 127.0.0.1")
    parser.add_argument("--export", type=Path, metavar="FILE", help="write the labelled pictures as npz and end")
    parser.add_argument("--erase", metavar="REQUEST_ID", help="delete what was kept of this request and end")


if __name__ == "__main__":
    sys.exit(main())
