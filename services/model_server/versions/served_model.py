"""One model's versions: load what its policy wants, keep serving meanwhile, unload what is not needed any more.

A version is taken in before its predecessor leaves, and only once it has loaded and warmed up; one that fails is
retried, reported with its error, and never replaces one that works.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from services.core.errors import ServiceError
from services.model_server.engines.base import LoadError
from services.model_server.signatures import breaking_change
from services.model_server.statuses import Code, StatusError
from services.model_server.versions.servable import Servable
from services.model_server.versions.storage import find_versions, fingerprint, wanted_versions
from services.pb import tfserving_pb2 as pb

log = logging.getLogger(__name__)

State = pb.ModelVersionStatus.State
Loader = Callable[[str, int, Path], Servable]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often, and after how long, a failed load is tried again while its files stay as they are."""

    max_retries: int = 5
    interval_s: float = 60.0


@dataclass(slots=True)
class VersionRecord:
    """What is known of one version, kept after it is gone: unloaded is not unknown."""

    version: int
    state: pb.ModelVersionStatus.State = State.START
    error: str = ""
    servable: Servable | None = None
    attempts: int = 0
    retry_at: float = 0.0
    seen: object = None  # fingerprint of the files at the last failure

    @property
    def gave_up(self) -> bool:
        """No further attempt unless the files change."""
        return self.state == State.END and bool(self.error)


class ServedModel:
    """`reconcile` is called by one thread at a time; `acquire` and `statuses` by any number."""

    def __init__(
        self,
        config: pb.ModelConfig,
        load: Loader,
        retry: RetryPolicy,
        clock: Callable[[], float],
        *,
        allow_signature_change: bool = False,
    ) -> None:
        self.config = config
        self._allow_signature_change = allow_signature_change
        self.problem = ""  # why there may be no version at all
        self._load = load
        self._retry = retry
        self._clock = clock
        self._found: dict[int, Path] = {}
        self._records: dict[int, VersionRecord] = {}
        self._records_lock = threading.Lock()
        self._serving: dict[int, Servable] = {}  # replaced whole, never changed: readers need no lock

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def available(self) -> list[int]:
        """Versions a request can reach now, in rising order."""
        return sorted(self._serving)

    def knows(self, version: int) -> bool:
        """Has this version ever been wanted?"""
        return version in self._records

    def acquire(self, version: int | None) -> Servable:
        """The asked version, or the newest, with a place taken in it: the caller must `leave`."""
        while True:
            serving = self._serving
            servable = serving.get(max(serving, default=-1) if version is None else version)
            if servable is None:
                raise not_found(self.name, version)
            if servable.enter():
                return servable  # else: it was retired since we looked, and `_serving` is already another

    def statuses(self) -> list[pb.ModelVersionStatus]:
        """Every version ever seen, in rising order."""
        with self._records_lock:
            return [
                pb.ModelVersionStatus(
                    version=record.version,
                    state=record.state,
                    status=pb.StatusProto(
                        error_code=Code.UNKNOWN.value[0] if record.error else 0, error_message=record.error
                    ),
                )
                for _, record in sorted(self._records.items())
            ]

    def reconcile(self, *, scan: bool) -> None:
        """Bring what is loaded in line with what is wanted; look at the disk again when `scan` is set."""
        if scan:
            self._scan()
        wanted = wanted_versions(self.config.model_version_policy, self._found)
        for version in wanted:
            self._record(version)
        for version in reversed(wanted):
            self._load_if_due(version)
        due = set(wanted)
        if wanted and not self._serving and not self.config.model_version_policy.HasField("specific"):
            due |= self._fall_back(below=wanted[0])
        self._cancel_retries_but(due)
        if not wanted or any(version in self._serving for version in wanted):
            for version in self.available:
                if version not in wanted:
                    self._unload(version)

    def unload_all(self) -> None:
        """The model left the configuration."""
        for version in self.available:
            self._unload(version)

    def next_retry_at(self) -> float | None:
        """When a failed load is due again."""
        with self._records_lock:
            due = [r.retry_at for r in self._records.values() if r.state == State.LOADING and r.error]
        return min(due, default=None)

    def gave_up(self) -> bool:
        """Nothing is served, and no load will be tried again by itself."""
        with self._records_lock:
            return not self._serving and all(record.gave_up for record in self._records.values())

    def why_unavailable(self) -> str:
        """One line for an operator or a reload's answer."""
        with self._records_lock:
            errors = [f"version {r.version}: {r.error}" for _, r in sorted(self._records.items()) if r.error]
        return "; ".join(errors) or self.problem

    def _scan(self) -> None:
        base_path = Path(self.config.base_path)
        try:
            found = find_versions(base_path)
        except OSError as exc:  # gone for a moment, or for good: keep what is loaded
            self._complain(f"Could not find base path {base_path} for servable {self.name}: {exc.strerror}")
            return
        if not found:
            self._complain(
                f"No versions of servable {self.name} found under base path {base_path}: "
                f"a version is a folder whose name is a number, such as {base_path / '1'}"
            )
        elif not wanted_versions(self.config.model_version_policy, found):
            asked = ", ".join(map(str, self.config.model_version_policy.specific.versions)) or "none"
            there = ", ".join(map(str, sorted(found)))
            self._complain(
                f"No version of servable {self.name} that its version policy asks for ({asked}) found under base path "
                f"{base_path}: there is {there}"
            )
        else:
            self.problem = ""
        self._found = found

    def _complain(self, problem: str) -> None:
        if problem != self.problem:  # said once, not once a second
            log.warning(problem)
        self.problem = problem

    def _record(self, version: int) -> VersionRecord:
        with self._records_lock:
            return self._records.setdefault(version, VersionRecord(version))

    def _load_if_due(self, version: int) -> None:
        path = self._found[version]
        record = self._record(version)
        if record.servable is not None and record.servable.path == path:
            return
        if record.error:
            if fingerprint(path) != record.seen:  # it is still being copied, or was repaired
                record.attempts = 0
            elif record.gave_up or self._clock() < record.retry_at:
                return
        self._attempt(record, path)

    def _attempt(self, record: VersionRecord, path: Path) -> None:
        started = self._clock()
        before = fingerprint(path)
        if record.servable is None:
            record.state = State.LOADING
        try:
            servable = self._load(self.name, record.version, path)
            self._check_signatures(servable)
        except (LoadError, ServiceError) as exc:
            record.attempts += 1
            record.seen = before
            last = record.attempts > self._retry.max_retries
            record.error = str(exc)
            record.retry_at = self._clock() + self._retry.interval_s
            record.state = State.END if last else State.LOADING
            log.error(
                "version failed to load",
                extra={"model": self.name, "version": record.version, "attempt": record.attempts, "error": str(exc)},
            )
            return
        replaced, record.servable = record.servable, servable
        self._serving = {**self._serving, record.version: servable}
        record.state, record.error, record.attempts = State.AVAILABLE, "", 0
        if replaced is not None:
            replaced.retire(lambda: None)
        log.info(
            "version available",
            extra={
                "model": self.name,
                "version": record.version,
                "engine": servable.engine.name,
                "seconds": round(self._clock() - started, 3),
            },
        )

    def _check_signatures(self, servable: Servable) -> None:
        """A newer version has to answer all that its predecessor answers; an older one, a roll-back, may differ."""
        before = self._serving.get(max((v for v in self._serving if v <= servable.version), default=-1))
        if before is None or self._allow_signature_change:
            return
        if change := breaking_change(before.signatures, servable.signatures):
            raise LoadError(
                f"version {servable.version} does not answer what version {before.version}, which is served, answers: "
                f"{change} (--allow_signature_change takes it)"
            )

    def _fall_back(self, *, below: int) -> set[int]:
        """Every wanted version fails and nothing is served: the newest older one that loads is better than nothing.

        Returns the versions that were considered.
        """
        older = sorted((v for v in self._found if v < below), reverse=True)
        for version in older:
            self._load_if_due(version)
            if version in self._serving:
                log.warning("serving an older version", extra={"model": self.name, "version": version})
                break
        return set(older)

    def _cancel_retries_but(self, due: set[int]) -> None:
        """A failed version that is gone, or not wanted any more, is not retried; when it is wanted again, it is new."""
        with self._records_lock:
            for record in self._records.values():
                if record.state == State.LOADING and record.error and record.version not in due:
                    record.state, record.seen = State.END, None

    def _unload(self, version: int) -> None:
        record = self._record(version)
        servable, record.servable = record.servable, None
        self._serving = {v: s for v, s in self._serving.items() if v != version}
        record.state = State.UNLOADING

        def ended() -> None:
            record.state = State.END
            log.info("version unloaded", extra={"model": self.name, "version": version})

        if servable is not None:
            servable.retire(ended)


def not_found(name: str, version: int | None) -> StatusError:
    """TensorFlow Serving's words for a model or version that is not being served."""
    which = f"Latest({name})" if version is None else f"Specific({name}, {version})"
    return StatusError(Code.NOT_FOUND, f"Servable not found for request: {which}")
