"""Run the model server.

    python -m services.model_server --port=8500 --rest_api_port=8501 \\
        --model_name=denoiser --model_base_path=models/denoiser

Like TensorFlow Serving it opens its ports once every model has a version to answer with. Exit status 2: a setting is
wrong; 1: a model cannot be loaded; 0: it was asked to stop and has finished what it was doing.
"""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence

from services.core.errors import ConfigError, ServiceError
from services.model_server.config import ServerConfig
from services.model_server.flags import parse_flags, unused_flags
from services.model_server.memory import limit_allocator
from services.runtime.logs import configure_logging

log = logging.getLogger("services.model_server")

_LOOK_S = 0.5


def main(argv: Sequence[str] | None = None) -> int:
    """Parse flags, serve until told to stop."""
    try:
        config = parse_flags(argv)
        configure_logging()
        if unused := unused_flags(argv):
            log.warning("flags without a meaning here", extra={"flags": unused})
        return serve(config)
    except ConfigError as exc:
        print(f"model_server: {exc}", file=sys.stderr)
        return 2
    except ServiceError as exc:
        print(f"model_server: {exc}", file=sys.stderr)
        return 1


def serve(config: ServerConfig) -> int:
    """Load, open the ports, wait for SIGTERM or SIGINT, drain."""
    from services.model_server.app import ModelServer  # after the flags: --help needs no engine

    limit_allocator()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    server = ModelServer(config)
    server.load(stop)
    if stop.is_set():
        return 0
    server.start()
    log.info("serving", extra={"grpc_port": server.grpc_port, "rest_port": server.rest_port})
    while not stop.wait(_LOOK_S):  # a signal that another thread received does not wake this one
        pass
    started = time.monotonic()
    log.info("draining", extra={"seconds": config.drain_seconds})
    drained = server.drain()
    log.info("stopped", extra={"seconds": round(time.monotonic() - started, 3), "drained": drained})
    if not drained:  # the interpreter would wait for the threads those calls are in
        sys.stdout.flush()
        os._exit(0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
