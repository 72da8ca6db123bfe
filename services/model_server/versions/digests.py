"""Are a version's files those its model card lists? A flipped bit loads, and answers wrongly."""

import json
from pathlib import Path

from services.core.model_digest import CARD, file_digests
from services.model_server.engines.base import LoadError

KEY = "files_sha256"  # in the card: SHA-256 of every file of the version, by its path inside


def verify(folder: Path) -> None:
    """Raise LoadError naming the files that differ, are missing or are not listed. No digests: nothing to check."""
    card = folder / CARD
    try:
        document = json.loads(card.read_bytes())
    except FileNotFoundError:
        return
    except (OSError, ValueError) as exc:
        raise LoadError(f"{card} cannot be read: {exc}") from exc
    listed = document.get(KEY) if isinstance(document, dict) else None
    if not isinstance(listed, dict):
        return
    found = file_digests(folder)
    problems = [f"{name} is missing" for name in listed if name not in found]
    problems += [f"{name} is not listed" for name in found if name not in listed]
    problems += [f"{name} differs" for name, digest in found.items() if listed.get(name, digest) != digest]
    if problems:
        raise LoadError(f"{folder} is not what its {CARD} says: {'; '.join(problems)}")
