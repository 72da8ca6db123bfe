"""CycloneDX 1.6 bills of materials: what each image locked and what Debian brought along, and one for the models.

make sbom                       (writes build/sbom/<image>.cdx.json and models.cdx.json)

Python packages come from requirements/<image>.txt, hashes included. Debian packages come from the image itself and are
left out, with a warning, where no Docker engine has it: then the file says "lifecycle: pre-build".
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from deploy.model_bill import pair_bill

ROOT = Path(__file__).parents[1]
IMAGES = ("gateway", "model_server", "evaluator", "training")
DPKG_QUERY = ["dpkg-query", "--show", "--showformat=${Package}\t${Version}\t${Architecture}\n"]

Json = dict[str, Any]


def python_packages(requirements: Path) -> Json:
    """The lock file as a bill of materials."""
    command = [sys.executable, "-m", "cyclonedx_py", "requirements", "--output-reproducible", "--no-validate"]
    return json.loads(subprocess.run([*command, str(requirements)], check=True, capture_output=True, text=True).stdout)


def debian_components(listing: str) -> list[Json]:
    """One component for each line `package<TAB>version<TAB>architecture`."""
    components = []
    for line in listing.splitlines():
        name, version, architecture = line.split("\t")
        purl = f"pkg:deb/debian/{quote(name)}@{quote(version, safe=':~')}?arch={architecture}"
        components.append({"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl})
    return components


def debian_listing(image: str) -> str | None:
    """What dpkg knows inside an image; None where there is no Docker engine or no such image."""
    if shutil.which("docker") is None:
        return None
    present = subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False)
    if present.returncode:
        return None
    command = ["docker", "run", "--rm", "--network=none", f"--entrypoint={DPKG_QUERY[0]}", image, *DPKG_QUERY[1:]]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def image_bill(packages: Json, *, image: str, version: str, debian: list[Json] | None) -> Json:
    """Everything in one image."""
    this = {"type": "container", "bom-ref": image, "name": image, "version": version}
    components = packages["components"] + (debian or [])
    return {
        **packages,
        "metadata": {
            **packages["metadata"],
            "component": this,
            "lifecycles": [{"phase": "pre-build" if debian is None else "post-build"}],
        },
        "components": components,
        "dependencies": [{"ref": image, "dependsOn": sorted(component["bom-ref"] for component in components)}]
        + [{"ref": component["bom-ref"]} for component in components],
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Write one file for each image; answers the exit status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.sbom", description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="*", default=IMAGES, help=f"which images (default: {' '.join(IMAGES)})")
    parser.add_argument("--tag", default="local", help="tag of the built images (default: %(default)s)")
    parser.add_argument("--models", type=Path, default=ROOT / "models", help="folder of models (default: models)")
    parser.add_argument("--out", type=Path, default=ROOT / "build/sbom", help="folder (default: build/sbom)")
    args = parser.parse_args(argv)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.images:
        image = f"cleardigits/{name}"
        listing = debian_listing(f"{image}:{args.tag}")
        if listing is None:
            print(f"warning: no image {image}:{args.tag} here; Python packages only", file=sys.stderr)
        bill = image_bill(
            python_packages(ROOT / f"requirements/{name}.txt"),
            image=image,
            version=version,
            debian=None if listing is None else debian_components(listing),
        )
        _write(args.out / f"{name}.cdx.json", bill)
    _write(args.out / "models.cdx.json", pair_bill(args.models, version=version))
    return 0


def _write(path: Path, bill: Json) -> None:
    path.write_text(json.dumps(bill, indent=2) + "\n")
    print(f"{path}: {len(bill['components'])} components")


if __name__ == "__main__":
    sys.exit(main())
