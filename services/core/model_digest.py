"""Which model files a number was measured on: one digest for a version, one for a pair of versions.

A version number alone cannot say it: files can be replaced under a number. Every page of results and benchmarks carries
`str(pair(models))`, and a test compares it with the models in the repository. The digest of a version can be made again
without Python:

    cd models/denoiser/5 && find . -type f -not -path ./model_card.json -not -path ./model.sig -printf '%P\\n' \\
        | LC_ALL=C sort | xargs sha256sum | sha256sum
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

CARD = "model_card.json"  # describes the files, so it cannot be one of them
SIGNATURE_FILE = "model.sig"  # signs the files and the card, after they are written
STAMP = re.compile(r"denoiser \d+, classifier \d+ \(files sha256:[0-9a-f]{16}\)")


@dataclass(frozen=True, slots=True)
class Pair:
    """A denoiser and a classifier that are measured together, and the digest of their files."""

    denoiser: int
    classifier: int
    sha256: str

    def __str__(self) -> str:
        """The stamp of a page: `denoiser 1, classifier 1 (files sha256:0123456789abcdef)`."""
        return f"denoiser {self.denoiser}, classifier {self.classifier} (files sha256:{self.sha256[:16]})"


def file_digests(version: Path) -> dict[str, str]:
    """SHA-256 of every file that a server of the version may read, by its path inside, sorted by bytes."""
    named = {path.relative_to(version).as_posix(): path for path in version.rglob("*") if path.is_file()}
    names = sorted(named.keys() - {CARD, SIGNATURE_FILE}, key=str.encode)
    return {name: hashlib.sha256(named[name].read_bytes()).hexdigest() for name in names}


def version_digest(version: Path) -> str:
    """SHA-256 of what `sha256sum` prints for the files of a version; FileNotFoundError where there are none."""
    digests = file_digests(version)
    if not digests:
        raise FileNotFoundError(f"{version} holds no files of a model")
    listing = "".join(f"{digest}  {name}\n" for name, digest in digests.items())
    return hashlib.sha256(listing.encode()).hexdigest()


def versions(model: Path) -> list[int]:
    """The version numbers in a model's folder, rising; none where there is no folder."""
    return sorted(int(child.name) for child in model.iterdir() if child.name.isdecimal()) if model.is_dir() else []


def newest(model: Path) -> int:
    """The highest version number in a model's folder; FileNotFoundError where there is none."""
    if not (found := versions(model)):
        raise FileNotFoundError(f"{model} holds no version")
    return found[-1]


def pair(models: Path, *, denoiser: int | None = None, classifier: int | None = None) -> Pair:
    """The pair of these versions in a folder of models; without a number, the newest version of each."""
    denoiser = newest(models / "denoiser") if denoiser is None else denoiser
    classifier = newest(models / "classifier") if classifier is None else classifier
    both = (
        version_digest(models / "denoiser" / str(denoiser)),
        version_digest(models / "classifier" / str(classifier)),
    )
    return Pair(denoiser, classifier, hashlib.sha256("\n".join(both).encode()).hexdigest())


def stamps(text: str) -> set[str]:
    """Every stamp in a page."""
    return set(STAMP.findall(text))
