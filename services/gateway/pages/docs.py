"""The HTTP contract, twice: /openapi.yaml for programs, /docs for people, a page that loads no other file.

`docs.html` is written from openapi.yaml by deploy/docs_page.py (`make docs-page`), so that serving it needs
neither a YAML parser nor a template. Its examples are shown with the address that the page was asked for at.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from pathlib import Path

from flask import Blueprint, Response
from markupsafe import escape

from services.gateway.pages.stored import BY_ADDRESS, Stored, page_address

_HERE = Path(__file__).parent
_WRITTEN_FOR = b"http://127.0.0.1:8080/"  # where the commands in docs.html expect the gateway
_HEADERS = {"X-Content-Type-Options": "nosniff"}
_STYLE = re.compile(rb"<style>(.*?)</style>", re.DOTALL)


def docs_blueprint(*, public_url: str = "") -> Blueprint:
    """The two routes, served from memory; both files are read once, here."""
    document = Stored.of((_HERE.parent / "api/openapi.yaml").read_bytes(), "application/yaml")
    page = (_HERE / "docs.html").read_bytes()
    sources = f"default-src 'none'; style-src {_hash_of_style(page)}; img-src data:"  # its icon is an empty one
    policy = f"{sources}; base-uri 'none'; frame-ancestors 'none'"
    document_headers = {**_HEADERS, "Access-Control-Allow-Origin": "*"}  # for API browsers elsewhere: no secrets here
    page_headers = {**_HEADERS, "Content-Security-Policy": policy, "Referrer-Policy": "no-referrer", **BY_ADDRESS}
    docs = Blueprint("docs", __name__)

    @functools.lru_cache(maxsize=16)
    def readable_at(address: str) -> Stored:
        return Stored.of(page.replace(_WRITTEN_FOR, escape(address).encode()), "text/html")

    @docs.get("/openapi.yaml")
    def openapi() -> Response:
        return document.response("no-cache", document_headers)

    @docs.get("/docs")
    def readable() -> Response:
        return readable_at(page_address(public_url)).response("no-cache", page_headers)

    return docs


def _hash_of_style(page: bytes) -> str:
    """The one inline style sheet, as Content-Security-Policy names it."""
    (style,) = _STYLE.findall(page)
    return f"'sha256-{base64.b64encode(hashlib.sha256(style).digest()).decode()}'"
