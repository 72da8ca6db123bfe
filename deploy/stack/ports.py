"""Ports that must be free before anything starts."""

import socket
from collections.abc import Iterable

from deploy.stack.errors import StackError


def require_free(listeners: Iterable[tuple[str, int, str]]) -> None:
    """Refuse with one line when a (host, port, setting) cannot be bound; `setting` is what to change in .env."""
    for host, port, setting in listeners:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: TIME_WAIT is no obstacle
            try:
                probe.bind((host, port))
            except OSError as exc:
                raise StackError(
                    f"cannot listen on {host}:{port} ({exc.strerror}): end what uses it, or set {setting} in .env"
                ) from exc
