"""The HTTP contract, twice: /openapi.yaml for programs, /docs for people. The page is one file that asks nobody else.

`docs.html` is written from openapi.yaml by deploy/docs_page.py (`make docs-page`), so that serving it needs
neither a YAML parser nor a template. Its examples are shown with the address that the page was asked for at.
"""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

from flask import Blueprint, Response, request
from markupsafe import escape

_HERE = Path(__file__).parent
_DEFAULT_ADDRESS = b"http://127.0.0.1:8080"
_STYLE = re.compile(rb"<style>(.*?)</style>", re.DOTALL)


def docs_blueprint() -> Blueprint:
    """The two routes, served from memory; both files are read once, here."""
    document = (_HERE.parent / "api/openapi.yaml").read_bytes()
    page = (_HERE / "docs.html").read_bytes()
    policy = f"default-src 'none'; style-src {_hash_of_style(page)}; base-uri 'none'; frame-ancestors 'none'"
    docs = Blueprint("docs", __name__)

    @docs.get("/openapi.yaml")
    def openapi() -> Response:
        response = _revalidated(document, "application/yaml")
        response.headers["Access-Control-Allow-Origin"] = "*"  # for API browsers elsewhere: it holds no secrets
        return response

    @docs.get("/docs")
    def readable() -> Response:
        response = _revalidated(page.replace(_DEFAULT_ADDRESS, _own_address()), "text/html")
        response.vary.add("X-Forwarded-Proto")
        response.headers["Content-Security-Policy"] = policy
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    return docs


def _own_address() -> bytes:
    """The origin in the browser's address bar. What a proxy says of TLS needs no trust here: it only shows."""
    scheme = "https" if request.headers.get("X-Forwarded-Proto") == "https" else request.scheme
    return escape(f"{scheme}://{request.host}").encode()


def _revalidated(body: bytes, mimetype: str) -> Response:
    """To be kept, but asked for again: 304 while it is the same."""
    response = Response(body, mimetype=mimetype)
    response.headers["Cache-Control"] = "no-cache"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.add_etag()
    return response.make_conditional(request)


def _hash_of_style(page: bytes) -> str:
    """The one inline style sheet, as Content-Security-Policy names it."""
    (style,) = _STYLE.findall(page)
    return f"'sha256-{base64.b64encode(hashlib.sha256(style).digest()).decode()}'"
