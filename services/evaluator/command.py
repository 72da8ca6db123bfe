"""What every command of the evaluator shares: settings, arguments, and failures as one line and an exit status."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from services.core import addresses
from services.core.errors import ConfigError
from services.evaluator.config import EvaluatorConfig
from services.evaluator.errors import EvaluatorError
from services.runtime.pipes import reader_is_gone

WRONG_SETTING, INTERRUPTED = 2, 130
Work = Callable[[argparse.Namespace, EvaluatorConfig], int]


def run(
    work: Work,
    add_arguments: Callable[[argparse.ArgumentParser, EvaluatorConfig], None],
    *,
    module: str,
    about: str,
    argv: Sequence[str] | None,
    shared: Sequence[str] = ("--url", "--dataset", "--models"),
) -> int:
    """Read settings and arguments, do the work, answer its exit status. `arguments.command` is what was typed."""
    try:
        config = EvaluatorConfig.from_env()
        parser = argparse.ArgumentParser(prog=f"python -m {module}", description=about, formatter_class=_Help)
        for name in shared:
            parser.add_argument(name, **_shared(config)[name])
        add_arguments(parser, config)
        given = sys.argv[1:] if argv is None else argv
        arguments = parser.parse_args(given, argparse.Namespace(command=" ".join([parser.prog, *given])))
        with ended_as_interrupted():
            ended = work(arguments, config)
            sys.stdout.flush()
            return ended
    except ConfigError as exc:
        print(exc, file=sys.stderr)
        return WRONG_SETTING
    except EvaluatorError as exc:
        print(exc, file=sys.stderr)
        return exc.exit_status
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        return reader_is_gone()


def count(text: str) -> int:
    """An argument that is a whole number above 0."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value


def address(text: str) -> str:
    """An argument that is the address of a gateway."""
    try:
        return addresses.web_address(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


def port(text: str) -> int:
    """An argument that is a port to listen on; 0: any that is free."""
    try:
        return addresses.port(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


def from_zero(text: str) -> int:
    """An argument that is a whole number from 0 on: how many, or a seed."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value


def share(text: str) -> float:
    """An argument that is a share, or a noise level."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to 1")
    return value


@contextmanager
def ended_as_interrupted() -> Iterator[None]:
    """SIGTERM, by which containers and supervisors end a run, does what Ctrl-C does: nothing is lost or left behind."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Names defaults, where there is one to name."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return super()._get_help_string(action) if action.default not in (None, False, []) else action.help


def _shared(config: EvaluatorConfig) -> dict[str, dict[str, Any]]:
    """Arguments that several commands take."""
    return {
        "--url": {"type": address, "default": config.url, "help": "the gateway"},
        "--dataset": {"type": Path, "help": "npz file, or folder of pictures in folders 0 to 9; MNIST if not given"},
        "--models": {"type": Path, "default": Path(config.models), "help": "the folder the servers read"},
    }
