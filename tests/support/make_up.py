"""`make up` and its family as a person runs them, with ports and folders of the test's own."""

import os
import shlex
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.stack import ROOT, free_port

MARK = "CLEARDIGITS_TEST_STACK"


@dataclass(frozen=True)
class MakeUp:
    """One stack's settings; `run` types a command."""

    environ: Mapping[str, str]
    var: Path
    root: Path = ROOT  # the checkout

    @classmethod
    def on_free_ports(cls, var: Path, *, root: Path = ROOT, **settings: str) -> "MakeUp":
        """Settings that touch neither the repository's own `var` nor a port in use."""
        names = ("GATEWAY", "DENOISER", "DENOISER_REST", "CLASSIFIER", "CLASSIFIER_REST")
        ports = {f"CLEARDIGITS_{name}_PORT": str(free_port()) for name in names}
        own = {
            "COMPOSE_PROJECT_NAME": f"cleardigits-test-{os.getpid()}",  # two runs on one engine do not meet
            "CLEARDIGITS_VAR": str(var),
            "CLEARDIGITS_VENV": sys.prefix,
            MARK: str(var),
            "PYTHON": sys.executable,
        }
        # a person's make is not a child of `make test`: without this it would report its errors as one
        inherited = {
            name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")
        }
        return cls({**inherited, **ports, **own, **settings}, var, root)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.environ['CLEARDIGITS_GATEWAY_PORT']}"

    def run(self, *words: str, timeout_s: float = 90.0, **settings: str) -> subprocess.CompletedProcess[str]:
        """`make` with these words, such as ("up", "MODE=local")."""
        return subprocess.run(
            ["make", "--no-print-directory", *words],
            cwd=self.root, env={**self.environ, **settings}, capture_output=True, text=True, timeout=timeout_s,
        )  # fmt: skip

    def processes(self) -> dict[int, str]:
        """Every process on this machine that was started for this stack: pid -> command line."""
        mark = f"{MARK}={self.var}".encode()
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:  # ended meanwhile, or another user's
                continue
        return found

    def process(self, words: str) -> int:
        """The pid of the one whose command line holds these words; of parent and child, the parent."""
        found = {pid for pid, command in self.processes().items() if words in command}
        [pid] = [pid for pid in found if _parent(pid) not in found]
        return pid


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def copy_checkout(folder: Path) -> Path:
    """What git would commit of this checkout, in a folder of its own."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def type_curl(line: str) -> str:
    """Run a printed curl line; where curl is not installed, send what it says."""
    words = shlex.split(line)
    if shutil.which("curl"):
        return subprocess.run([*words, "-sS"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert words[:2] == ["curl", "-H"] and words[3] == "--data-binary", line
    name, _, value = words[2].partition(": ")
    body = (ROOT / words[4].removeprefix("@")).read_bytes()
    with urllib.request.urlopen(urllib.request.Request(words[5], data=body, headers={name: value})) as response:
        return response.read().decode()
