"""Version folders on disk: which there are, which a policy wants, whether one has changed. It only looks."""

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from services.pb import tfserving_pb2 as pb

log = logging.getLogger(__name__)

_LARGEST = 2**63 - 1  # a version is an int64 on the wire


def find_versions(base_path: Path) -> dict[int, Path]:
    """Children of `base_path` whose whole name is an integer, by that integer; other names are not versions.

    Raises OSError when the base path cannot be listed.
    """
    found: dict[int, Path] = {}
    for child in sorted(base_path.iterdir()):
        if child.name.isascii() and child.name.isdigit() and child.is_dir():
            version = int(child.name)
            if version > _LARGEST:
                continue
            if version in found:
                log.warning("two folders for one version", extra={"used": str(child), "ignored": str(found[version])})
            found[version] = child
    return found


def wanted_versions(policy: pb.ServableVersionPolicy, found: Iterable[int]) -> list[int]:
    """The versions a policy asks for among those found, in rising order. No policy means the latest one."""
    versions = sorted(found)
    match policy.WhichOneof("policy_choice"):
        case "all":
            return versions
        case "specific":
            return [version for version in versions if version in set(policy.specific.versions)]
        case _:
            return versions[-max(policy.latest.num_versions, 1) :]


def fingerprint(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Changes when a file of the folder does: a version that failed is worth another try then.

    A folder or a file that goes while this looks at it is left out.
    """
    files = []
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(place, name)
            try:
                stat = path.stat()
            except OSError:  # it went while we looked, or may not be read: next time may differ
                continue
            files.append((str(path), stat.st_size, stat.st_mtime_ns))
    return tuple(files)
