"""Method and path -> operation, by the routes that Flask knows; what is no operation is a page, answered by Flask."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import Executor
from functools import partial

from flask import Flask
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

from services.gateway.admission.context import Answer, Request
from services.gateway.api.operations import Operation
from services.gateway.app import REQUEST, endpoint_of
from services.gateway.gateway import Gateway
from services.gateway.server import wsgi

_NOTHING: Mapping[str, str] = {}


class Routes:
    """Both hosts take a path for the same route: plain rules are found in a dictionary, the others in Flask's map."""

    def __init__(self, gateway: Gateway, app: Flask, threads: Executor, *, server: tuple[str, int]) -> None:
        self._app = app
        self._threads = threads
        self._server = server
        self._plain = {
            (method, operation.rule): operation
            for operation in gateway.operations
            if "<" not in operation.rule
            for method in ((operation.method, "HEAD") if operation.method == "GET" else (operation.method,))
        }
        self._operations = {endpoint_of(operation): operation for operation in gateway.operations}
        self._map = app.url_map.bind("")

    def find(self, method: str, path: str) -> tuple[Operation, Mapping[str, str]]:
        """The operation, and what the rule's placeholders stand for."""
        plain = self._plain.get((method, path))
        if plain is not None:
            return plain, _NOTHING
        try:
            rule, arguments = self._map.match(path, method, return_rule=True)
        except (HTTPException, RequestRedirect):  # Flask answers these: no such route, another method, a redirect
            return Operation("GET", "other", self._page), _NOTHING
        operation = self._operations.get(rule.endpoint) if method != "OPTIONS" else None
        if operation is None:
            return Operation("GET", rule.rule, self._page), _NOTHING
        return operation, arguments

    async def _page(self, request: Request) -> Answer:
        call = partial(wsgi.call, self._app.wsgi_app, request, server=self._server, extra={REQUEST: request})
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)
