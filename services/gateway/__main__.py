"""Run the gateway: `python -m services.gateway`. Settings are environment variables; docs/API.md lists them."""

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path

from services.core.errors import ConfigError
from services.gateway.admission.auth import ApiKeys
from services.gateway.captures.folder import check_folder
from services.gateway.config import PREFIX, GatewayConfig, tracing_is_wanted
from services.runtime.logs import configure_logging


def main(argv: list[str] | None = None) -> int:
    """Read the settings, set up the log, serve until told to stop."""
    argparse.ArgumentParser(
        prog="python -m services.gateway",
        description="Serve the gateway until SIGTERM.",
        epilog=f"Settings are environment variables {PREFIX}*; docs/API.md lists them.",
    ).parse_args(argv)
    try:
        config = GatewayConfig.from_env()
        if config.api_keys_file:
            ApiKeys.from_file(config.api_keys_file)  # a bad file is told here, before workers start
        if config.capture_dir:
            check_folder(Path(config.capture_dir), setting=f"{PREFIX}CAPTURE_DIR")
        if tracing_is_wanted() and find_spec("opentelemetry") is None:
            raise ConfigError("OTEL_EXPORTER_OTLP_ENDPOINT is set, but requirements/tracing.txt is not installed")
    except ConfigError as exc:
        print(f"gateway: {exc}", file=sys.stderr)
        return 2
    configure_logging(level=config.log_level, log_format=config.log_format)
    from services.gateway.server.workers import serve

    return serve(config)


if __name__ == "__main__":
    sys.exit(main())
