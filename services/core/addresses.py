"""Ports and web addresses, as settings and arguments name them: a ValueError says what is wrong with one."""

import re
from urllib.parse import urlsplit

_HIGHEST_PORT = 65535
_WEB = re.compile(r"https?://[^\s/?#]+(/[^\s?#]*)?")


def port(given: str | int, *, lowest: int = 0) -> int:
    """A TCP port. 0 is for those who let the system choose, or mean none."""
    if not re.fullmatch(r"\d{1,5}", str(given), re.ASCII) or not lowest <= int(given) <= _HIGHEST_PORT:
        raise ValueError(f"{given} is not a port: a number from {lowest} to {_HIGHEST_PORT}")
    return int(given)


def web_address(text: str) -> str:
    """http:// or https:// with a host, and a path at most."""
    if not _WEB.fullmatch(text) or not _has_host(text):
        raise ValueError(f"{text!r} is not an address such as http://127.0.0.1:8080 or https://digits.example.org")
    return text


def _has_host(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return bool(parts.hostname) and parts.port != 0  # reading a port that is none raises ValueError
    except ValueError:
        return False
