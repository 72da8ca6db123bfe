"""Start, stop and look at the chain on this machine.

python -m deploy.stack up                       # with a Docker engine as containers, otherwise as local processes
python -m deploy.stack up --mode=docker --serving=embedded --classifiers=3
python -m deploy.stack status
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from deploy.stack import chain, clients
from deploy.stack.compose import JOBS, SERVICES, ComposeStack, Variant, wants_embedded
from deploy.stack.engine import ContainerEngine
from deploy.stack.errors import ImageError, StackError
from deploy.stack.local import LocalStack
from deploy.stack.settings import Settings, make_folder
from services.runtime.pipes import reader_is_gone

Stack = LocalStack | ComposeStack


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and run; answers the exit status."""
    args = _parser().parse_args(argv)
    commands: dict[str, Callable[[argparse.Namespace, Settings], int]] = {
        "up": up, "down": down, "status": status, "logs": logs, "restart": restart, "job": job,
        "env": env, "prometheus": prometheus,
    }  # fmt: skip
    try:
        ended = commands[args.command](args, Settings.load())
        sys.stdout.flush()
        return ended
    except StackError as exc:
        print(f"{args.command}: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{args.command}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return reader_is_gone()


def up(args: argparse.Namespace, settings: Settings) -> int:
    """Start the chain, or find it started; wait for its first answer and show it."""
    running = _running(settings)
    if running and args.mode not in ("auto", running.mode):
        raise StackError(f"the chain already runs in {running.mode} mode: make down first")
    stack = _wanted(args, settings, running)
    if isinstance(stack, LocalStack):
        _refuse_of_containers(args)
    try:
        _start(stack, settings)
    except ImageError as exc:
        if args.mode != "auto":
            raise
        print(f"  not as containers: {exc}")
        _refuse_of_containers(args)
        _start(LocalStack(settings), settings)
    print(f"\nopen  {settings.url}\ntry   {chain.curl_line(settings.url)}\n\n{_first_answer(settings)}")
    return 0


def down(args: argparse.Namespace, settings: Settings) -> int:
    """End all of it."""
    running = _running(settings)
    if not running:
        LocalStack(settings).down()  # what a killed supervisor left
        print("nothing is running")
        return 0
    running.down()
    _state_file(settings).unlink(missing_ok=True)
    print(f"the chain is down (it ran in {running.mode} mode)")
    return 0


def status(args: argparse.Namespace, settings: Settings) -> int:
    """Say how each service does; exit status 0 only when the chain is ready."""
    running = _running(settings)
    if not running:
        left = LocalStack(settings).leftovers()
        without = f"supervisord has ended, {len(left)} processes run without it: make down, or make up to start afresh"
        print(without if left else "nothing is running: make up")
        return 1
    for name, state in running.status():
        print(f"  {name:<11} {state}")
    missing = chain.what_is_not_ready(settings.url)
    ready = f"not ready: {missing};" if missing else "ready"
    print(f"  {'chain':<11} {ready} at {settings.url} ({running.mode} mode)")
    return 1 if missing else 0


def logs(args: argparse.Namespace, settings: Settings) -> int:
    """Show the services' last lines."""
    return (_running(settings) or LocalStack(settings)).logs(_services(args), follow=args.follow)


def restart(args: argparse.Namespace, settings: Settings) -> int:
    """Stop and start one service, or all of them."""
    running = _running(settings)
    if not running:
        raise StackError("nothing is running: make up")
    running.restart(_services(args))
    print(_first_answer(settings))
    return 0


def job(args: argparse.Namespace, settings: Settings) -> int:
    """Run a one-shot container beside the chain: training, an evaluation, a load test; answers its exit status."""
    running = _running(settings)
    if not isinstance(running, ComposeStack):
        raise StackError(
            f"the chain does not run in containers: make up MODE=docker first, or make {args.name} without"
        )
    return running.job(args.name, args.arguments)


def env(args: argparse.Namespace, settings: Settings) -> NoReturn:
    """Become a client of the chain, told where it listens and what .env says."""
    clients.run_client(settings, args.command_line)


def prometheus(args: argparse.Namespace, settings: Settings) -> NoReturn:
    """Become Prometheus, watching the local processes."""
    clients.watch(settings)


def _start(stack: Stack, settings: Settings) -> None:
    place = "local processes" if stack.mode == "local" else "containers"
    print(f"{'checking' if stack.is_up() else 'starting'} the chain as {place}", flush=True)
    state = {"mode": stack.mode}
    if isinstance(stack, ComposeStack):
        state |= dataclasses.asdict(stack.variant)
    _write_state(state, settings)  # before anything starts: a full disk is told while nothing runs
    stack.up()


def _write_state(state: Mapping[str, object], settings: Settings) -> None:
    make_folder(settings.var)
    try:
        _state_file(settings).write_text(json.dumps(state))
    except OSError as exc:
        raise StackError(f"{_state_file(settings)} cannot be written ({exc.strerror})") from exc


def _wanted(args: argparse.Namespace, settings: Settings, running: Stack | None) -> Stack:
    """The stack to start. Without a wish: what runs already, else containers where an engine answers."""
    if args.mode == "local" or (args.mode == "auto" and isinstance(running, LocalStack)):
        return LocalStack(settings)
    try:
        engine = ContainerEngine.find()
    except StackError:
        if args.mode == "auto":
            return LocalStack(settings)
        raise
    serving = args.serving
    if serving == "auto" and isinstance(running, ComposeStack):
        serving = running.variant.serving
    elif serving == "auto":  # TensorFlow Serving publishes amd64 images only
        serving = "tensorflow" if engine.architecture == "amd64" and not wants_embedded(settings) else "embedded"
    return ComposeStack(settings, engine, Variant(serving, args.classifiers, args.observe))


def _refuse_of_containers(args: argparse.Namespace) -> None:
    """StackError for a wish that local processes cannot meet: it is said, not passed over."""
    wishes = {
        f"CLASSIFIERS={args.classifiers} needs": args.classifiers != 1,
        "OBSERVE=1 needs": args.observe,
        "SERVING=tensorflow needs": args.serving == "tensorflow",
    }
    if unmet := [wish for wish, wished in wishes.items() if wished]:
        instead = "; of local processes: make prometheus" if args.observe else ""
        raise StackError(f"{unmet[0]} containers: make up MODE=docker{instead}")


def _running(settings: Settings) -> Stack | None:
    """The stack that runs now, built as `up` built it or as plain `docker compose` would."""
    local = LocalStack(settings)
    if local.is_up():
        return local
    try:
        state = json.loads(_state_file(settings).read_text())
    except (OSError, ValueError):
        state = {}
    by_make = state.pop("mode", None) == "docker"
    if not by_make:
        state = {"serving": "embedded" if wants_embedded(settings) else "tensorflow"}
    try:
        stack = ComposeStack(settings, ContainerEngine.find(), Variant(**state))
    except StackError:
        if by_make:
            raise
        return None
    return stack if stack.exists() else None


def _first_answer(settings: Settings) -> str:
    """The chain's answer to the sample, indented for reading."""
    answers: list[str] = []

    def asked() -> bool:
        answers.extend(filter(None, [chain.recognize(settings.url)]))
        return bool(answers)

    if not chain.wait_until(asked, timeout_s=30):
        raise StackError("the gateway is ready, and gives no answer to the sample: make logs")
    return answers[0]


def _state_file(settings: Settings) -> Path:
    return settings.var / "stack.json"


def _services(args: argparse.Namespace) -> list[str]:
    return [args.service] if args.service else list(SERVICES)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.stack", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser("up", help="start the chain and wait for its first answer")
    start.add_argument("--mode", choices=["auto", "local", "docker"], default="auto", help="(default: %(default)s)")
    start.add_argument(
        "--serving",
        choices=["auto", "tensorflow", "embedded"],
        default="auto",
        help="in containers: TensorFlow Serving's image, or services/model_server (default: by processor)",
    )
    start.add_argument("--classifiers", type=_count, default=1, help="in containers: replicas (default: %(default)s)")
    start.add_argument("--observe", action="store_true", help="in containers: Prometheus and Grafana too")
    commands.add_parser("down", help="end all of it")
    commands.add_parser("status", help="how each service does")
    for name, what in (("logs", "show the last lines of the logs"), ("restart", "stop and start again")):
        command = commands.add_parser(name, help=what)
        command.add_argument("--service", choices=SERVICES, help="one of them (default: all)")
        if name == "logs":
            command.add_argument("--follow", action="store_true", help="go on until interrupted")
    command = commands.add_parser("job", help="run a one-shot container beside the chain")
    command.add_argument("name", choices=JOBS)
    command.add_argument("arguments", nargs=argparse.REMAINDER, help="handed to it")
    command = commands.add_parser("env", help="run a program with .env's settings and the chain's address")
    command.add_argument("command_line", nargs=argparse.REMAINDER, help="the program and its arguments")
    commands.add_parser("prometheus", help="watch the local processes")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"expected a number from 1 to 100, not {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
