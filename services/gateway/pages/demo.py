"""The demo page at `/`: one template and a folder of plain files, each with its ETag, behind a strict CSP.

Files are served under a path that names the content of the whole folder, so browsers may keep them for good and one
page never mixes two releases. Any other name in that place still works (two releases behind one load balancer during
a roll-out), but must be revalidated.
"""

import hashlib
import mimetypes
from pathlib import Path

from flask import Blueprint, Response, abort, render_template, request

_STATIC = Path(__file__).parent / "static"
_YEAR_S = 365 * 24 * 3600
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}

# Pictures come from the API as data: URLs. Nothing else comes from elsewhere or inline.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
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


def create_page(static: Path = _STATIC) -> Blueprint:
    """A blueprint that serves the page and its files from memory; they are read once, here."""
    files = {path.name: path.read_bytes() for path in sorted(static.iterdir()) if path.is_file()}
    release = hashlib.sha256(b"".join(name.encode() + content for name, content in files.items())).hexdigest()[:12]
    modules = [name for name in files if name.endswith(".js")]
    page = Blueprint("page", __name__, template_folder="templates")

    @page.get("/")
    def index() -> Response:
        html = render_template("index.html", assets=f"assets/{release}", modules=modules)
        return _cacheable(Response(html, mimetype="text/html"), "no-cache")

    @page.get("/assets/<asked_release>/<name>")
    def asset(asked_release: str, name: str) -> Response:
        if name not in files:
            abort(404)
        lasting = asked_release == release
        response = Response(files[name], mimetype=_TYPES.get(Path(name).suffix) or mimetypes.guess_type(name)[0])
        return _cacheable(response, f"public, max-age={_YEAR_S}, immutable" if lasting else "no-cache")

    @page.get("/favicon.ico")
    def favicon() -> Response:
        return asset(release, "favicon.svg")

    return page


def _cacheable(response: Response, cache_control: str) -> Response:
    """Security headers, a strong ETag from the content, and 304 where the browser already has it."""
    response.headers.update(_SECURITY)
    response.headers["Cache-Control"] = cache_control
    response.add_etag()
    return response.make_conditional(request)
