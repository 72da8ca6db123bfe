"""tensorflow_model_server's command line -> ServerConfig. An unknown flag is an error that names the nearest one."""

import argparse
import dataclasses
import difflib
from collections.abc import Sequence
from importlib import metadata
from typing import Any, NoReturn

from services.model_server.config import HELP, UNUSED, ServerConfig

VERSION = "0.1.0"


def parse_flags(argv: Sequence[str] | None = None) -> ServerConfig:
    """Read flags written as `--name=value`; booleans also as a bare `--name`."""
    return _parse(argv)[0]


def unused_flags(argv: Sequence[str] | None = None) -> list[str]:
    """The flags among them that TensorFlow Serving has and that mean nothing here."""
    return _parse(argv)[1]


def _parse(argv: Sequence[str] | None) -> tuple[ServerConfig, list[str]]:
    parser = _Parser(
        prog="python -m services.model_server",
        description="TensorFlow Serving's gRPC and REST interfaces on ONNX Runtime.",
        allow_abbrev=False,
    )
    for field in dataclasses.fields(ServerConfig):
        shown = f"{HELP[field.name]} (default: {field.default!r})"
        _add(parser, field.name, type(field.default), default=field.default, help=shown)
    for name, kind in UNUSED.items():
        _add(parser, name, kind, default=None, help="accepted, and named in the log: it means nothing here")
    _add(parser, "version", bool, default=False, help="show the version and exit")
    values = vars(parser.parse_args(argv))
    if values.pop("version"):
        print(_versions())
        parser.exit()
    unused = [name for name in UNUSED if values.pop(name) is not None]
    return ServerConfig(**values), unused


class _Parser(argparse.ArgumentParser):
    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does, but a mistyped flag is told its nearest neighbour."""
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self._refuse(unknown)
        return parsed

    def _refuse(self, unknown: list[str]) -> NoReturn:
        known = [name for name in self._option_string_actions if name.startswith("--")]
        name = unknown[0].partition("=")[0]
        near = difflib.get_close_matches(name, known, 1)
        self.error(f"unrecognized argument {unknown[0]}" + (f": did you mean {near[0]}?" if near else ""))


def _add(parser: argparse.ArgumentParser, name: str, kind: type, **options: Any) -> None:
    if kind is bool:
        parser.add_argument(f"--{name}", type=_boolean, nargs="?", const=True, **options)
    else:
        parser.add_argument(f"--{name}", type=kind, **options)


def _boolean(text: str) -> bool:
    if text.lower() in ("true", "1"):
        return True
    if text.lower() in ("false", "0"):
        return False
    raise argparse.ArgumentTypeError(f"expected true or false, not {text!r}")


def _versions() -> str:
    return f"ClearDigits model server: {VERSION}\nONNX Runtime: {metadata.version('onnxruntime')}"
