"""The demo pages, `/` for one digit and `/numbers`: templates and a folder of plain files, each with its ETag, behind a
strict CSP.

Files are served under a path that names the content of the whole folder, so browsers may keep them for good and one
page never mixes two releases. Any other name in that place still works (two releases behind one load balancer during
a roll-out), but must be revalidated.
"""

import functools
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, abort, render_template, request

from services.gateway.api.answers import JSON
from services.gateway.pages.stored import BY_ADDRESS, Stored, page_address

STATIC = Path(__file__).parent / "static"
_YEAR_S = 365 * 24 * 3600
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".png": "image/png"}

# What the page opens with: a sample digit under strong stripes that is read wrong without the denoiser, right with it.
OPENING = {"kind": "stripes", "level": 0.75, "digit": 9, "seed": 113}
# Likewise: a number that is read surely enough only once it is cleaned.
OPENING_NUMBER = {"kind": "gaussian", "level": 0.5, "number": "40718", "seed": 24}
SAMPLE_NUMBERS = ("40718", "1968", "2026", "31415926")
# In the order of what the denoiser is worth (docs/results).
KINDS = {
    "stripes": "Stripes",
    "occlusion": "Occlusion",
    "motion_blur": "Motion blur",
    "gaussian": "Gaussian",
    "salt_and_pepper": "Salt, pepper",
    "speckle": "Speckle",
    "shot": "Shot",
    "low_contrast": "Low contrast",
    "haze": "Haze",
    "bright_stripes": "Bright stripes",
    "outlines": "Outlines",
    "scribble": "Scribble",
    "spatter": "Spatter",
    "brightness": "Brightness",
}
_IMPORT = re.compile(rb'from "\./([\w.]+)";')


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One of the pages."""

    path: str  # below the page's address
    template: str
    entry: str  # the module that wires it
    sheets: tuple[str, ...]
    values: Mapping[str, Any]  # for the template


VIEWS = (
    View("", "index.html", "app.js", ("page.css",), {"opening": OPENING}),
    View(
        "numbers",
        "numbers.html",
        "numbers.js",
        ("page.css", "numbers.css"),
        {"opening": OPENING_NUMBER, "samples": SAMPLE_NUMBERS},
    ),
)
# Nothing comes from elsewhere or inline.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_SECURITY = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_VARY = {"Vary": f"{BY_ADDRESS['Vary']}, Accept"}
_ALIVE = b'{"status":"alive"}'  # what KServe's V1 client reads at a server's address to learn whether it is live


def create_page(static: Path = STATIC, *, source_url: str = "", public_url: str = "") -> Blueprint:
    """A blueprint that serves the page and its files from memory; they are read once, here.

    `source_url` is linked where given. `public_url` is the page's address for link previews, which need whole
    addresses; without it they are built from the request's own.
    """
    contents = {path.name: path.read_bytes() for path in sorted(static.iterdir()) if path.is_file()}
    release = hashlib.sha256(b"".join(name.encode() + content for name, content in contents.items())).hexdigest()[:12]
    files = {name: Stored.of(content, _TYPES[Path(name).suffix]) for name, content in contents.items()}
    page = Blueprint("page", __name__, template_folder="templates")

    @functools.lru_cache(maxsize=32)
    def rendered(view: View, address: str) -> Stored:
        html = render_template(
            view.template,
            address=address,
            path=view.path,
            assets=f"assets/{release}",
            entry=view.entry,
            modules=_modules(contents, view.entry),
            sheets=view.sheets,
            kinds=KINDS,
            source_url=source_url,
            **view.values,
        )
        return Stored.of(html.encode(), "text/html")

    for view in VIEWS:

        def show(view: View = view) -> Response:
            if not view.path and request.accept_mimetypes.best == JSON:
                return Response(_ALIVE, content_type=JSON, headers=_VARY)
            return rendered(view, page_address(public_url)).response("no-cache", {**_SECURITY, **_VARY})

        page.add_url_rule(f"/{view.path}", endpoint=view.path or "index", view_func=show, methods=["GET"])

    @page.get("/assets/<asked_release>/<name>")
    def asset(asked_release: str, name: str) -> Response:
        if name not in files:
            abort(404)
        lasting = asked_release == release
        return files[name].response(f"public, max-age={_YEAR_S}, immutable" if lasting else "no-cache", _SECURITY)

    @page.get("/favicon.ico")
    def favicon() -> Response:
        return asset(release, "favicon.svg")

    return page


def _modules(contents: Mapping[str, bytes], entry: str) -> list[str]:
    """The module and all that it imports, directly or through others."""
    found: list[str] = []
    waiting = [entry]
    while waiting:
        name = waiting.pop()
        if name in contents and name not in found:
            found.append(name)
            waiting.extend(match.decode() for match in _IMPORT.findall(contents[name]))
    return sorted(found)
