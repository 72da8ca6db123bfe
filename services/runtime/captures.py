"""Captured pictures with their answers and corrections, in one SQLite file: written by gateways, read by the evaluator.

A row is one image as the models got it (28x28, 8 bits), what was answered, and the true label once it was given.
Several processes may write at once (WAL). The file is bounded: the oldest rows go when there are too many or they are
too old, and what is deleted is overwritten.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FILE = "captures.db"
NO_DIGIT = -1  # a label: the picture shows no single digit
SIDE_PX = 28
BUSY_S = 1.0  # the longest wait for another process that writes
ROW_BYTES = 1100  # of the file, for one row with its index entries: measured with 10,000 rows

_SCHEMA = """
CREATE TABLE IF NOT EXISTS captures (
    request_id TEXT NOT NULL,
    position INTEGER NOT NULL,
    at_s REAL NOT NULL,
    picture BLOB NOT NULL,
    digit INTEGER NOT NULL,
    confidence REAL NOT NULL,
    is_digit REAL,
    accepted INTEGER NOT NULL,
    denoiser INTEGER,
    classifier INTEGER NOT NULL,
    label INTEGER,
    PRIMARY KEY (request_id, position)
);
CREATE INDEX IF NOT EXISTS by_age ON captures (at_s);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """One image of one request, and what was answered."""

    request_id: str
    position: int  # of the image in its request
    at_s: float  # seconds since 1970
    picture: bytes  # 28 x 28 pixels, white digit on black
    digit: int
    confidence: float
    is_digit: float | None
    accepted: bool
    denoiser: int | None  # version; None: it was not used
    classifier: int
    label: int | None = None  # 0 to 9, or NO_DIGIT; None: not labelled

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The picture as an array (28, 28)."""
        return np.frombuffer(self.picture, np.uint8).reshape(SIDE_PX, SIDE_PX)


class CaptureStore:
    """The file. Every method opens and ends its own transaction; sqlite3.Error passes through to the caller."""

    def __init__(self, folder: Path, *, max_bytes: int = 100_000_000, max_age_s: float = 30 * 86400.0) -> None:
        self.path = folder / FILE
        self._max_rows = max(1, max_bytes // ROW_BYTES)
        self._max_age_s = max_age_s
        self._database = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        self._database.execute("PRAGMA secure_delete=ON")
        self._database.executescript(_SCHEMA)

    def add(self, captures: Iterable[Capture], *, now_s: float) -> None:
        """Keep these, and let go of what is too old or too much. A row that exists already stays as it is."""
        with self._transaction() as database:
            marks = ", ".join("?" * 11)
            database.executemany(f"INSERT OR IGNORE INTO captures VALUES ({marks})", map(astuple, captures))
            database.execute("DELETE FROM captures WHERE at_s < ?", (now_s - self._max_age_s,))
            database.execute(
                "DELETE FROM captures WHERE rowid IN (SELECT rowid FROM captures ORDER BY at_s DESC LIMIT -1 OFFSET ?)",
                (self._max_rows,),
            )

    def label(self, request_id: str, position: int, label: int) -> bool:
        """Set the true label of one image; False when it was not kept. Setting it again changes it."""
        with self._transaction() as database:
            changed = database.execute(
                "UPDATE captures SET label = ? WHERE request_id = ? AND position = ?", (label, request_id, position)
            )
            return changed.rowcount > 0

    def erase(self, request_id: str) -> int:
        """Delete everything of one request, its pictures overwritten; how many rows there were."""
        with self._transaction() as database:
            deleted = database.execute("DELETE FROM captures WHERE request_id = ?", (request_id,)).rowcount
        self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the log holds pages as they were
        return deleted

    def doubtful(self, limit: int) -> list[Capture]:
        """Images without a label, the most doubtful first."""
        return self._select("WHERE label IS NULL ORDER BY coalesce(is_digit, 1) * confidence LIMIT ?", limit)

    def labelled(self) -> list[Capture]:
        """Images with a label, in the order they came."""
        return self._select("WHERE label IS NOT NULL ORDER BY at_s, request_id, position")

    def counts(self) -> tuple[int, int]:
        """Rows, and how many of them are labelled."""
        rows, labelled = self._database.execute("SELECT count(*), count(label) FROM captures").fetchone()
        return rows, labelled

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def _select(self, condition: str, *values: object) -> list[Capture]:
        names = ", ".join(Capture.__dataclass_fields__)
        rows = self._database.execute(f"SELECT {names} FROM captures {condition}", values)
        return [_capture(row) for row in rows]

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield self._database
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")


def _capture(row: tuple[object, ...]) -> Capture:
    values = dict(zip(Capture.__dataclass_fields__, row, strict=True))
    return Capture(**{**values, "accepted": bool(values["accepted"])})  # type: ignore[arg-type]  # columns of the schema
