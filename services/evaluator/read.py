"""A folder of pictures of numbers -> CSV: python -m services.evaluator.read FOLDER --out numbers.csv [--length 5] ...

One row for each picture: a number, or what was wrong with it. Rows are written as they come,
in the order of the pictures; the same command after Ctrl-C goes on where it was, and tries again what had failed.
FOLDER may be `-`: then a list of files is read from standard input, one a line.

Exit status: 0 every picture has a row; 2 a wrong setting, no pictures, or an output that cannot be written; 3 the
gateway failed, with the rows until then kept; 130 stopped.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal, TextIO

import orjson

from services.core.lines.number import MOST_DIGITS, length_of
from services.evaluator import command
from services.evaluator.client import GatewayClient, TimedAnswer, read_json
from services.evaluator.config import EvaluatorConfig
from services.evaluator.errors import DatasetError, GatewayError, ReportError
from services.evaluator.progress import Progress

TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".bmp": "image/bmp",
    ".gif": "image/gif",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
}
HOPELESS = (401, 403, 404, 405)  # the same answer awaits every picture


@dataclass(frozen=True, slots=True)
class PictureRow:
    """What became of one picture."""

    file: str
    number: str = ""
    confidence: str = ""
    accepted: str = ""
    alternatives: str = ""  # separated by spaces, likeliest first
    error: str = ""


def main(argv: Sequence[str] | None = None) -> int:
    """Read every picture; rows go to the output, progress to stderr."""
    about = "Read a folder of pictures of numbers into a CSV file."
    return command.run(
        _run, _add_arguments, module="services.evaluator.read", about=about, argv=argv, shared=("--url",)
    )


def _run(arguments: argparse.Namespace, config: EvaluatorConfig) -> int:
    folder, names = _pictures(arguments.folder)
    try:
        done = _kept(arguments.out)
    except OSError as exc:
        raise ReportError(f"cannot write {arguments.out}: {exc.strerror}") from exc
    left = [name for name in names if name not in done]
    client = GatewayClient(arguments.url, timeout_s=config.timeout_s, api_key=config.api_key)
    client.require_ready()
    query = {"include": "alternatives", "denoise": arguments.denoise}
    if arguments.length:
        query["length"] = arguments.length
    if arguments.min_confidence is not None:
        query["min_confidence"] = str(arguments.min_confidence)
    progress, accepted, failed = Progress(), 0, 0
    try:
        with _open(arguments.out, "a") as file:
            writer = csv.DictWriter(file, [each.name for each in fields(PictureRow)])
            if not file.tell():
                writer.writeheader()
            with progress.task("pictures", len(left), "pictures") as task:
                for row in _read_all(client, folder, left, query, arguments.in_flight):
                    writer.writerow(asdict(row))
                    file.flush()
                    accepted += row.accepted == "yes"
                    failed += bool(row.error)
                    task.advance(1)
    except OSError as exc:
        raise ReportError(f"cannot write {arguments.out}: {exc.strerror}") from exc
    kept = f", {len(names) - len(left)} were there already" if len(left) < len(names) else ""
    print(f"{arguments.out}: {len(left)} pictures read, {accepted} accepted, {failed} failed{kept}")
    return 0


def _add_arguments(parser: argparse.ArgumentParser, config: EvaluatorConfig) -> None:
    parser.add_argument("folder", type=_folder, help="folder of pictures, or - for a list of files on standard input")
    parser.add_argument("--out", type=Path, default=Path("numbers.csv"), help="the CSV file")
    parser.add_argument("--length", type=_length, help="how many digits a number has: 5, or 3-8")
    parser.add_argument("--denoise", choices=("always", "never", "auto"), default="auto", help="clean pictures first?")
    parser.add_argument(
        "--min-confidence", type=command.share, help="below it a number is not accepted, 0 to 1 (the gateway's own)"
    )
    parser.add_argument(
        "--in-flight", type=command.count, default=config.in_flight, metavar="N", help="pictures at once"
    )


def _folder(text: str) -> Path:
    if not text:  # as `make read` without FOLDER gives it; Path("") would be the working directory
        raise argparse.ArgumentTypeError("no folder is named (make read FOLDER=scans)")
    return Path(text)


def _length(text: str) -> str:
    """As the gateway reads it, which would refuse every picture for a wrong one."""
    if length_of(text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of digits from 1 to {MOST_DIGITS}, or 3-8")
    return text


def _pictures(folder: Path) -> tuple[Path, list[str]]:
    """The files, named as they will be in the CSV, and the folder those names start from."""
    if str(folder) == "-":
        lines = (os.fsdecode(line).strip() for line in sys.stdin.buffer)
        names = list(dict.fromkeys(line for line in lines if line))
        base = Path()
    elif folder.is_dir():
        found = (path for path in folder.rglob("*") if path.suffix.lower() in TYPES and path.is_file())
        names, base = sorted(path.relative_to(folder).as_posix() for path in found), folder
    else:
        raise DatasetError(f"{folder} is no folder; a list of files comes on standard input, with - for the folder")
    if not names:
        raise DatasetError(f"no pictures in {folder} ({', '.join(TYPES)})")
    return base, names


def _open(path: Path, mode: Literal["r", "w", "a"]) -> TextIO:
    """The CSV as text. Names of files are bytes: those that are not UTF-8 go through it as they are on the disk."""
    return path.open(mode, newline="", encoding="utf-8", errors="surrogateescape")


def _kept(out: Path) -> set[str]:
    """Pictures that have a good row already; rows with an error, and one that was cut short, are taken out."""
    if not out.is_file():
        return set()
    header = [each.name for each in fields(PictureRow)]
    with _open(out, "r") as file:
        rows = list(csv.reader(file))
    if rows and rows[0] != header:
        raise ReportError(f"{out} is no output of this command: its first line is not {','.join(header)}")
    good = [row for row in rows[1:] if len(row) == len(header) and not row[-1] and row[3]]
    rewritten = out.with_name(f"{out.name}.part")
    with _open(rewritten, "w") as file:
        csv.writer(file).writerows([header, *good])
    rewritten.replace(out)
    return {row[0] for row in good}


def _read_all(
    client: GatewayClient, folder: Path, names: Sequence[str], query: dict[str, str], in_flight: int
) -> Iterator[PictureRow]:
    """Rows in the order of the names, a bounded number of pictures at once."""
    waiting: deque[Future[PictureRow]] = deque()
    with ThreadPoolExecutor(in_flight) as pool:
        try:
            for name in names:
                waiting.append(pool.submit(_read, client, folder / name, name, query))
                if len(waiting) > 2 * in_flight:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _read(client: GatewayClient, path: Path, name: str, query: dict[str, str]) -> PictureRow:
    kind = TYPES.get(path.suffix.lower())
    if kind is None:
        return PictureRow(name, error=f"not a picture by its name ({', '.join(TYPES)})")
    try:
        body = path.read_bytes()
    except OSError as exc:
        return PictureRow(name, error=exc.strerror or str(exc))
    exchange = client.read_line(body, kind, **query)
    if exchange.status != 200:
        problem = _problem(exchange)
        if exchange.status in HOPELESS:
            raise GatewayError(f"the gateway at {client.url} answered {problem}")
        return PictureRow(name, error=problem)
    result = read_json(exchange, count=1)["results"][0]
    try:
        return PictureRow(
            file=name,
            number=result["number"],
            confidence=f"{result['confidence']:.4f}",
            accepted="yes" if result["accepted"] else "no",
            alternatives=" ".join(each["number"] for each in result["alternatives"]),
        )
    except (KeyError, TypeError) as exc:
        raise GatewayError(f"the answer is not what docs/API.md promises: {exchange.body[:300]!r}") from exc


def _problem(exchange: TimedAnswer) -> str:
    """The status and what the gateway says of it, on one line."""
    try:
        problem = orjson.loads(exchange.body)
        said = f"{problem['title']}: {problem['detail']}"
    except (orjson.JSONDecodeError, KeyError, TypeError):
        said = exchange.body[:100].decode(errors="replace")
    return f"{exchange.status} {' '.join(said.split())}"


if __name__ == "__main__":
    sys.exit(main())
