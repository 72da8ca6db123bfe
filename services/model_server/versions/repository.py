"""All models a server was told to serve: find one for a request, follow the configuration and the disk."""

import logging
import threading
import time
from collections.abc import Callable

from services.model_server.model_config import check_config
from services.model_server.statuses import Code, StatusError
from services.model_server.versions.servable import Servable
from services.model_server.versions.served_model import Loader, RetryPolicy, ServedModel, not_found
from services.pb import tfserving_pb2 as pb

log = logging.getLogger(__name__)


class ModelRepository:
    """Requests read it from any thread; `apply` and `reconcile` take turns."""

    def __init__(
        self,
        load: Loader,
        *,
        retry: RetryPolicy | None = None,
        allow_labels_for_unavailable: bool = False,
        allow_signature_change: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load = load
        self._retry = retry or RetryPolicy()
        self._allow_labels = allow_labels_for_unavailable
        self._allow_signature_change = allow_signature_change
        self._clock = clock
        self._turn = threading.RLock()
        self._config: pb.ModelServerConfig | None = None
        self._models: dict[str, ServedModel] = {}
        self._removed: dict[str, ServedModel] = {}
        self._labels: dict[str, dict[str, int]] = {}
        self._listeners: list[Callable[[], None]] = []

    # ---- what requests ask

    def acquire(self, spec: pb.ModelSpec) -> Servable:
        """The servable a request means, with a place taken in it. Use as `with models.acquire(spec) as servable`."""
        if not spec.name:
            raise StatusError(Code.INVALID_ARGUMENT, "ModelSpec has no name specified.")
        model = self._models.get(spec.name)
        if spec.WhichOneof("version_choice") == "version_label":
            version = self._labels.get(spec.name, {}).get(spec.version_label)
            if version is None:
                raise StatusError(Code.INVALID_ARGUMENT, f"Unrecognized servable version label: {spec.version_label}")
        else:
            version = _named_version(spec, model)
        if model is None:
            raise not_found(spec.name, version)
        return model.acquire(version)

    def statuses(self, spec: pb.ModelSpec) -> list[pb.ModelVersionStatus]:
        """The states of a model's versions, or of the one the spec names; a label is not looked at."""
        model = self._models.get(spec.name) or self._removed.get(spec.name)
        statuses = model.statuses() if model else []
        version = _named_version(spec, model)
        if version is not None:
            statuses = [status for status in statuses if status.version == version]
            if not statuses:
                raise StatusError(Code.NOT_FOUND, f"Could not find version {version} of model {spec.name}")
        elif not statuses:
            raise StatusError(Code.NOT_FOUND, f"Could not find any versions of model {spec.name}")
        return statuses

    def availability(self) -> dict[str, bool]:
        """For every configured model: could a request reach it now?"""
        return {name: bool(model.available) for name, model in self._models.items()}

    def known_name(self, name: str) -> str:
        """A metric's label: the name if it is configured, else one for all others, for callers can invent names."""
        return name if name in self._models else "(unknown)"

    def models(self) -> list[ServedModel]:
        """The configured models."""
        return list(self._models.values())

    @property
    def config(self) -> pb.ModelServerConfig | None:
        """The configuration in force."""
        return self._config

    # ---- what changes it

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` after every look at configuration or disk."""
        self._listeners.append(listener)

    def apply(self, config: pb.ModelServerConfig) -> None:
        """Serve what `config` lists, all of it and nothing else. A refused configuration changes nothing."""
        with self._turn:
            first = self._config is None
            check_config(config, self._config)
            if not first:  # at start-up the models are loaded before a label can be asked for
                self._check_labels(config)
            log.info("configuration applied", extra={"models": [m.name for m in config.model_config_list.config]})
            self._config = config
            self._update_models(config.model_config_list)
            self.reconcile(scan=True)
            if first and not self._allow_labels:
                self._check_labels(config)
            self._labels = {m.name: dict(m.version_labels) for m in config.model_config_list.config}

    def reload(self, config: pb.ModelServerConfig) -> None:
        """`apply` and `require_available` in one turn: a poll of the configuration file waits until both are done."""
        with self._turn:
            self.apply(config)
            self.require_available()

    def require_available(self) -> None:
        """Raise StatusError naming the configured models that have no version to answer with."""
        missing = [model for model in self._models.values() if not model.available]
        if missing:
            details = ", ".join(f"{{name: {m.name}}} due to error: {m.why_unavailable()}" for m in missing)
            raise StatusError(Code.UNKNOWN, f"{len(missing)} model(s) did not become available: {{{details}}}")

    def reconcile(self, *, scan: bool) -> None:
        """One pass over every model."""
        with self._turn:
            for model in self._models.values():
                model.reconcile(scan=scan)
        for listener in self._listeners:
            listener()

    def next_retry_at(self) -> float | None:
        """When the earliest failed load is due again."""
        times = [model.next_retry_at() for model in self._models.values()]
        return min((t for t in times if t is not None), default=None)

    def _update_models(self, wanted: pb.ModelConfigList) -> None:
        models: dict[str, ServedModel] = {}
        for entry in wanted.config:
            known = self._models.get(entry.name) or self._removed.pop(entry.name, None)
            if known is None:
                known = ServedModel(
                    entry,
                    self._load,
                    self._retry,
                    self._clock,
                    allow_signature_change=self._allow_signature_change,
                )
            known.config = entry
            models[entry.name] = known
        for name, model in self._models.items():
            if name not in models:
                self._removed[name] = model
        self._models = models
        for model in self._removed.values():
            model.unload_all()

    def _check_labels(self, config: pb.ModelServerConfig) -> None:
        for entry in config.model_config_list.config:
            model = self._models.get(entry.name)
            for label, version in entry.version_labels.items():
                if model is not None and version in model.available:
                    continue
                in_use = self._labels.get(entry.name, {}).get(label, version)
                if self._allow_labels and in_use == version:
                    continue
                raise StatusError(
                    Code.FAILED_PRECONDITION,
                    f"Request to assign label to version {version} of model {entry.name}, "
                    f"which is not currently available for inference",
                )


def _named_version(spec: pb.ModelSpec, model: ServedModel | None) -> int | None:
    """The version a spec names. 0 means the latest, as ovmsclient has it, unless there is a version 0."""
    if spec.WhichOneof("version_choice") != "version":
        return None
    version = spec.version.value
    return None if version == 0 and (model is None or not model.knows(0)) else version
