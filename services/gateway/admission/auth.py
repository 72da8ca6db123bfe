"""API keys: who may ask. The file holds names and SHA-256 hashes, never the keys themselves.

    python -m services.gateway.admission.auth NAME >> keys.txt

makes a key: the line for the file on stdout, the key on stderr.
"""

import argparse
import hashlib
import hmac
import secrets
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from services.core.errors import ConfigError, UnauthorizedError

_HEX_DIGITS = 64


class ApiKeys:
    """The known clients. Keys are long random strings, so a plain hash is enough to keep them secret."""

    def __init__(self, name_of: Mapping[str, str]) -> None:
        """Names by the hash of a key: a client has several keys while it goes from one to the next."""
        self._name_of = dict(name_of)

    @classmethod
    def from_file(cls, path: str) -> Self:
        """Lines of `name sha256-of-key`; empty lines and lines that start with # say nothing."""
        name_of: dict[str, str] = {}
        try:
            lines = Path(path).read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as exc:
            raise ConfigError(f"CLEARDIGITS_GATEWAY_API_KEYS_FILE: {exc}") from exc
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.startswith("#"):
                continue
            name, _, digest = line.strip().partition(" ")
            if len(digest) != _HEX_DIGITS or set(digest) - set("0123456789abcdef"):
                raise ConfigError(f"{path}:{number}: expected a name, a space and {_HEX_DIGITS} hex digits")
            name_of[digest] = name
        return cls(name_of)

    def client(self, header: Callable[[str], str | None]) -> str:
        """The name of the caller with a known key, in `Authorization: Bearer` or `X-API-Key`."""
        scheme, _, token = (header("authorization") or "").partition(" ")
        key = token.strip() if scheme.lower() == "bearer" else header("x-api-key")
        if not key:
            raise UnauthorizedError("no API key in Authorization: Bearer or X-API-Key")
        digest = hash_key(key)
        found = None
        for known, name in self._name_of.items():  # every entry is compared, in constant time
            if hmac.compare_digest(digest, known):
                found = name
        if found is None:
            raise UnauthorizedError("the API key is not known")
        return found


def hash_key(key: str) -> str:
    """What the file keeps of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def main(argv: list[str] | None = None) -> int:
    """Make a key for a new client."""
    parser = argparse.ArgumentParser(prog="python -m services.gateway.admission.auth", description=main.__doc__)
    parser.add_argument("name", help="the client's name, without spaces")
    name = parser.parse_args(argv).name
    key = secrets.token_urlsafe(32)
    print(name, hash_key(key))
    print(f"the key of {name}, shown this once: {key}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
