"""Where a model server is, as a setting names it: checked at start, before any connection is made."""

import re

from services.core import addresses

_PATHS = ("lane", "unix", "unix-abstract")
_RESOLVED_BY_GRPC = ("dns", "ipv4", "ipv6")
_LEFT_TO_GRPC = ("xds", "vsock")
_HOST = re.compile(r"[^\s/:\[\]]+|\[[0-9A-Fa-f:.]+(%\w+)?\]")  # a name or IPv4 address, or IPv6 in brackets


def check_target(target: str) -> None:
    """ValueError for what is no target of gRPC's, nor a lane; without a port gRPC would try 443."""
    scheme, _, rest = target.partition(":")
    if scheme in (*_PATHS, *_LEFT_TO_GRPC):
        good = bool(rest.strip("/"))
    elif scheme in _RESOLVED_BY_GRPC:
        good = all(map(_is_host_with_port, rest.rpartition("/")[2].split(",")))
    else:
        good = _is_host_with_port(target)
    if not good:
        raise ValueError(f"{target!r} is not host:port, dns:///name:port, unix:/path or lane:/path")


def _is_host_with_port(text: str) -> bool:
    host, _, number = text.rpartition(":")
    try:
        addresses.port(number, lowest=1)
    except ValueError:
        return False
    return bool(_HOST.fullmatch(host))
