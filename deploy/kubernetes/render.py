"""Render the overlays into deploy/kubernetes/rendered/, where a review sees what a change does to the cluster.

make manifests                  (needs kubectl or kustomize; no cluster)

The rendered files are what the tests read, so those need neither program. Each begins with a digest of everything it
was made from: a test computes it again, and a rendering that was forgotten fails.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
DEPLOY = HERE.parent
RENDERED = HERE / "rendered"
RULES = HERE / "components/monitoring/prometheus-rules.yaml"
OVERLAYS = ("dev", "production", "kserve", "kserve-oci")


def sources() -> list[Path]:
    """Every file a rendering depends on, in a fixed order."""
    folders = [HERE / "base", HERE / "components", HERE / "overlays", DEPLOY / "serving", DEPLOY / "grafana"]
    return sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())


def digest() -> str:
    """What the sources hold, names included, in sixteen characters."""
    seen = hashlib.sha256()
    for path in sources():
        seen.update(f"{path.relative_to(DEPLOY).as_posix()}\0".encode())
        seen.update(hashlib.sha256(path.read_bytes()).digest())
    return seen.hexdigest()[:16]


def prometheus_rule() -> dict[str, Any]:
    """deploy/prometheus/rules as the Prometheus Operator takes them."""
    groups = [
        group
        for path in sorted((DEPLOY / "prometheus/rules").glob("*.yml"))
        for group in yaml.safe_load(path.read_text())["groups"]
    ]
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "cleardigits"},
        "spec": {"groups": groups},
    }


def build(folder: Path) -> str | None:
    """What `kustomize build` says; None where neither kustomize nor kubectl is installed."""
    if shutil.which("kustomize"):
        command = ["kustomize", "build"]
    elif shutil.which("kubectl"):
        command = ["kubectl", "kustomize"]
    else:
        return None
    return subprocess.run([*command, str(folder)], check=True, capture_output=True, text=True).stdout


def main() -> int:
    """Write the operator's copy of the rules, then every rendering."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    rules = yaml.safe_dump(prometheus_rule(), sort_keys=False, width=10_000)
    RULES.write_text(f"# Written by `make manifests` from deploy/prometheus/rules. Edit those.\n{rules}")
    RENDERED.mkdir(exist_ok=True)
    for overlay in OVERLAYS:
        manifests = build(HERE / "overlays" / overlay)
        if manifests is None:
            print("error: neither kustomize nor kubectl is installed", file=sys.stderr)
            return 1
        header = f"# Written by `make manifests` from overlays/{overlay}. sources: {digest()}\n"
        (RENDERED / f"{overlay}.yaml").write_text(header + manifests)
    return 0


if __name__ == "__main__":
    sys.exit(main())
