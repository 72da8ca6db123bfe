"""tensorflow_model_server's command line -> ServerConfig. An unknown flag is an error."""

import argparse
import dataclasses
from collections.abc import Sequence
from importlib import metadata

from services.model_server.config import HELP, ServerConfig

VERSION = "0.1.0"


def parse_flags(argv: Sequence[str] | None = None) -> ServerConfig:
    """Read flags written as `--name=value`; booleans also as a bare `--name`."""
    parser = argparse.ArgumentParser(
        prog="python -m services.model_server",
        description="TensorFlow Serving's gRPC and REST interfaces on ONNX Runtime.",
        allow_abbrev=False,
    )
    for field in dataclasses.fields(ServerConfig):
        shown = f"{HELP[field.name]} (default: {field.default!r})"
        if field.type is bool:
            parser.add_argument(
                f"--{field.name}", type=_boolean, nargs="?", const=True, default=field.default, help=shown
            )
        else:
            parser.add_argument(f"--{field.name}", type=field.type, default=field.default, help=shown)
    parser.add_argument("--version", action="version", version=_versions())
    return ServerConfig(**vars(parser.parse_args(argv)))


def _boolean(text: str) -> bool:
    if text.lower() in ("true", "1"):
        return True
    if text.lower() in ("false", "0"):
        return False
    raise argparse.ArgumentTypeError(f"expected true or false, not {text!r}")


def _versions() -> str:
    return f"ClearDigits model server: {VERSION}\nONNX Runtime: {metadata.version('onnxruntime')}"
