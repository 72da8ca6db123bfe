"""Programs that talk to the running chain: they are told where it listens."""

import json
import os
import shutil
import sys
from collections.abc import Mapping
from typing import NoReturn

from deploy.stack.errors import StackError
from deploy.stack.settings import ROOT, Settings, make_folder

PROMETHEUS_CONFIG = ROOT / "deploy/prometheus/local.yml"
PROMETHEUS_ADDRESS = "127.0.0.1:9090"


def run_client(settings: Settings, command: list[str]) -> NoReturn:
    """Become this program, told where the chain listens."""
    if not command:
        raise StackError("which program? python -m deploy.stack env PROGRAM ARGUMENTS")
    _become(command, environ(settings))


def environ(settings: Settings) -> dict[str, str]:
    """The environment, .env, and the evaluator's names for where the chain listens and what it serves."""
    chain = {"CLEARDIGITS_EVALUATOR_URL": settings.url, "CLEARDIGITS_EVALUATOR_MODELS": str(settings.models)}
    return {**chain, **settings.environ}


def watch(settings: Settings) -> NoReturn:
    """Become Prometheus, looking at the local processes where they listen."""
    config = settings.var / "prometheus.yml"
    make_folder(config.parent)
    config.write_text(prometheus_config(settings))
    flags = {
        "config.file": config,
        "storage.tsdb.path": settings.var / "prometheus",
        "web.listen-address": PROMETHEUS_ADDRESS,
    }
    _become(["prometheus", *(f"--{name}={value}" for name, value in flags.items())], settings.environ)


def prometheus_config(settings: Settings) -> str:
    """deploy/prometheus/local.yml with this stack's addresses, to be read from anywhere."""
    addresses = {
        "127.0.0.1:8080": settings.url.removeprefix("http://"),
        "127.0.0.1:8501": f"127.0.0.1:{settings.denoiser_rest_port}",
        "127.0.0.1:8511": f"127.0.0.1:{settings.classifier_rest_port}",
    }
    lines = []
    for line in PROMETHEUS_CONFIG.read_text("utf-8").splitlines():
        found = [address for address in addresses if f'"{address}"' in line]
        if found:
            line = line.replace(found[0], addresses[found[0]])
        lines.append(line.replace("- rules/*.yml", f"- {json.dumps(str(PROMETHEUS_CONFIG.parent / 'rules/*.yml'))}"))
    return "\n".join(lines) + "\n"


def _become(command: list[str], environment: Mapping[str, str]) -> NoReturn:
    program = shutil.which(command[0])
    if not program:
        raise StackError(f"{command[0]} is not installed")
    sys.stdout.flush()
    os.execve(program, command, dict(environment))
