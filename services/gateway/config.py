"""What the gateway can be told from outside: environment variables named CLEARDIGITS_GATEWAY_*, read once, at start."""

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Self

from services.core import addresses
from services.gateway.limits import Limits
from services.gateway.models.target import check_target
from services.gateway.split import Split
from services.runtime.env import read_env
from services.runtime.logs import LogFormat

PREFIX = "CLEARDIGITS_GATEWAY_"

_AT_LEAST_1 = (
    "workers", "max_connections", "max_connections_per_address", "batch_images", "partial_in_flight",
    "batches_in_flight", "queue_images", "max_body_bytes", "max_images", "max_pixels", "max_json_depth",
    "capture_max_mb", "rate_limit_burst",
)  # fmt: skip
_ABOVE_0 = ("header_timeout_s", "idle_timeout_s", "predict_timeout_s", "connect_timeout_s", "capture_max_days")
_FROM_0 = ("shutdown_grace_s", "drain_s", "rate_limit_per_s", "trusted_proxies", "ready_cache_ms")
_FROM_0_TO = {"batch_wait_ms": 2, "min_confidence": 1, "min_line_confidence": 1, "capture_share": 1, "shadow_share": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayConfig:
    """Every setting with its default. A line's comment is its documentation: docs/API.md repeats it."""

    # Where it listens
    host: str = "127.0.0.1"  # address to listen on; 0.0.0.0 for every interface
    port: int = 8080  # TCP port to listen on
    grpc_port: int = 0  # TCP port for the Open Inference Protocol over gRPC; 0: none
    workers: int = 1  # worker processes, one core each; make up and compose start two, for two cores and more

    max_connections: int = 2048  # open connections of one worker; beyond them the longest idle one is closed, else 503
    max_connections_per_address: int = 1024  # of those, from one address; not counted behind trusted proxies
    header_timeout_s: float = 5.0  # for the head of a request to arrive, once it has begun
    idle_timeout_s: float = 75.0  # between two requests of one connection; longer than that of a proxy in front

    # The models behind it
    denoiser_target: str = "127.0.0.1:8500"  # host:port, dns:///name:port or unix:/path: gRPC; lane:/path: the lane
    classifier_target: str = "127.0.0.1:8510"  # the same for the classifier
    denoiser_model: str = "denoiser"  # name the denoiser is served under
    classifier_model: str = "classifier"  # name the classifier is served under
    denoiser_label: str = ""  # version label to ask for, such as stable or canary; empty: the newest version
    classifier_label: str = ""  # the same for the classifier
    predict_timeout_s: float = 5.0  # the most one call of a model may take, even if the request has more time left
    connect_timeout_s: float = 1.0  # for one attempt to connect to a model server; also the longest pause between two
    on_denoiser_failure: Literal["fail", "classify"] = "fail"  # classify: read the noisy image, answer "degraded": true

    # Several versions for users, by label
    split: str = ""  # percent of requests by version label, such as stable:95,canary:5; empty: the labels above

    # Another version in the shadow: it reads what users were answered, and is only counted
    shadow_share: float = 0.0  # of answered calls of the models that the shadow's models get too, 0 to 1; 0: none
    shadow_label: str = ""  # version label of the shadow's models, such as canary; empty: the newest version
    shadow_denoiser_target: str = ""  # where the shadow's denoiser is; empty: where the users' is
    shadow_classifier_target: str = ""  # the same for the classifier

    # Time
    request_timeout_ms: int = 2000  # a request's whole budget when it names none in Request-Timeout-Ms
    max_request_timeout_ms: int = 60_000  # the largest budget a request may name
    shutdown_grace_s: float = 10.0  # after SIGTERM, for requests in flight
    drain_s: float = 0.0  # after SIGTERM, /readyz says 503 for so long before the port is closed

    # Batches and queue
    batch_images: int = 128  # the most images in one call of a model; larger requests are cut into slices of this size
    batch_wait_ms: float = 0.0  # how long a batch waits for company, 0 to 2; 0 takes what waits already
    batches_in_flight: int = 3  # calls of the chain at the same time
    partial_in_flight: int = 3  # of them, before only a full batch may start another: 1 suits a small machine
    queue_images: int = 2048  # images that may wait; beyond them the answer is 503 with Retry-After

    # What it is sure of
    min_confidence: float = 0.6  # below it an answer says "accepted": false; 0 to 1
    min_line_confidence: float = 0.88  # the same for a number

    # Limits of one request
    max_body_bytes: int = 32 * 1024 * 1024  # body size, before and after gzip
    max_images: int = 20_000  # images in one request
    max_pixels: int = 25_000_000  # pixels of one encoded image, checked before it is decoded
    max_json_depth: int = 8  # nesting of a JSON body

    # Pictures kept for labelling: off unless a folder is named
    capture_dir: str = ""  # folder for captures.db, shared by all workers; it is made if it is not there
    capture_share: float = 0.01  # of accepted pictures that are kept, 0 to 1; rejected ones are all kept
    capture_max_mb: int = 100  # size of the file; beyond it the oldest pictures go
    capture_max_days: float = 30.0  # how long a picture is kept

    # Who may ask, and how often
    api_keys_file: str = ""  # lines of "name sha256-of-key"; empty: no key is asked for
    rate_limit_per_s: float = 0.0  # requests a second for each client (key, else address) in all workers; 0: no limit
    rate_limit_burst: int = 50  # requests a client may save up
    trusted_proxies: int = 0  # proxies in front whose X-Forwarded-For entries are believed

    # What its pages link
    public_url: str = ""  # where visitors find the page, for link previews and commands; empty: as each request says
    source_url: str = ""  # where the source code is, for a link on the page; empty: no link

    # What it says
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"  # least severe level that is logged
    log_format: LogFormat = "auto"  # json, text, or auto: text on a terminal only
    access_log: Literal["all", "errors", "none"] = "all"  # which requests get a line; probes get theirs at DEBUG
    ready_cache_ms: int = 500  # how long an answer of /readyz may be reused

    def __post_init__(self) -> None:
        """Refuse what cannot work, with the setting's name."""
        self._check_numbers()
        self._check_split()
        self._check_shadow()
        if not 0 < self.request_timeout_ms <= self.max_request_timeout_ms:
            raise ValueError(f"{PREFIX}REQUEST_TIMEOUT_MS must be from 1 to {self.max_request_timeout_ms}")
        self._check_addresses()

    def _check_numbers(self) -> None:
        for name in _AT_LEAST_1:
            if not getattr(self, name) >= 1:
                raise ValueError(f"{PREFIX}{name.upper()} must be at least 1, not {getattr(self, name)}")
        for name in _ABOVE_0:
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{PREFIX}{name.upper()} must be above 0, not {getattr(self, name)}")
        for name in _FROM_0:
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{PREFIX}{name.upper()} must be 0 or more, not {getattr(self, name)}")
        for name, most in _FROM_0_TO.items():
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(f"{PREFIX}{name.upper()} must be from 0 to {most}, not {getattr(self, name)}")

    def _check_addresses(self) -> None:
        checks: dict[str, Callable[[str], object]] = {
            "port": addresses.port,
            "grpc_port": addresses.port,
            **dict.fromkeys(("denoiser_target", "classifier_target"), check_target),
            **dict.fromkeys(("shadow_denoiser_target", "shadow_classifier_target"), _or_empty(check_target)),
            **dict.fromkeys(("public_url", "source_url"), _or_empty(addresses.web_address)),
        }
        for name, check in checks.items():
            try:
                check(getattr(self, name))
            except ValueError as exc:
                raise ValueError(f"{PREFIX}{name.upper()}: {exc}") from None

    def _check_split(self) -> None:
        try:
            Split.parsed(self.split)
        except ValueError as exc:
            raise ValueError(f"{PREFIX}SPLIT: {exc}") from None
        for name in ("denoiser_label", "classifier_label"):
            if self.split and getattr(self, name):
                raise ValueError(f"{PREFIX}SPLIT and {PREFIX}{name.upper()} both say which version answers: set one")

    def _check_shadow(self) -> None:
        elsewhere = self.shadow_denoiser_target or self.shadow_classifier_target
        if self.shadow_share and not (self.shadow_label or elsewhere):
            raise ValueError(f"{PREFIX}SHADOW_SHARE needs {PREFIX}SHADOW_LABEL, or targets of the shadow's own")
        if self.shadow_share and not elsewhere and self.shadow_label == self.denoiser_label == self.classifier_label:
            raise ValueError(f"{PREFIX}SHADOW_LABEL={self.shadow_label} is the version that answers users")

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that users may be answered by; the empty one where there is no split."""
        return Split.parsed(self.split).labels

    @property
    def limits(self) -> Limits:
        """The part that readers of bodies need."""
        return Limits(
            max_body_bytes=self.max_body_bytes,
            max_images=self.max_images,
            max_pixels=self.max_pixels,
            max_json_depth=self.max_json_depth,
        )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read the environment; ConfigError names every unknown or unreadable setting at once."""
        return read_env(cls, environ, prefix=PREFIX)


def _or_empty(check: Callable[[str], object]) -> Callable[[str], object]:
    return lambda text: check(text) if text else None


def tracing_is_wanted(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether OpenTelemetry's own variables name a collector of spans."""
    named = any(environ.get(f"OTEL_EXPORTER_OTLP_{kind}ENDPOINT") for kind in ("", "TRACES_"))
    return named and environ.get("OTEL_SDK_DISABLED", "").lower() != "true"
