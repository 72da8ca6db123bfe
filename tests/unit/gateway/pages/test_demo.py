import re
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from services.gateway.pages.demo import create_page

GATEWAY = Path(__file__).parents[4] / "services/gateway/pages"
STATIC = GATEWAY / "static"
FILES = sorted(STATIC.iterdir())
BUDGET_BYTES = 150_000


@pytest.fixture
def client() -> FlaskClient:
    app = Flask(__name__, static_folder=None)
    app.register_blueprint(create_page())
    return app.test_client()


def links(html: str) -> list[str]:
    return re.findall(r'(?:href|src)="(assets/[^"]+)"', html)


def test_the_whole_page_is_within_its_budget(client):
    total = len(client.get("/").data) + sum(path.stat().st_size for path in FILES)

    assert total < BUDGET_BYTES


def test_every_linked_file_is_there_with_its_type(client):
    linked = links(client.get("/").text)

    types = {link.rsplit(".", 1)[1]: client.get(f"/{link}").mimetype for link in linked}
    assert types == {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
    assert {link.rsplit("/", 1)[1] for link in linked} == {path.name for path in FILES}
    assert {client.get(f"/{link}").status_code for link in linked} == {200}


def test_the_policy_allows_nothing_inline_and_nobody_else(client):
    policy = client.get("/").headers["Content-Security-Policy"]

    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"https?:|\*", policy)


@pytest.mark.parametrize("path", [*FILES, GATEWAY / "templates/index.html"], ids=lambda path: path.name)
def test_no_file_names_another_host(path):
    hosts = set(re.findall(r"https?://[^/\"'\s]+", path.read_text()))

    assert hosts <= {"http://www.w3.org"}  # the SVG namespace, a name that is never fetched


def test_the_markup_has_no_inline_style_or_script(client):
    html = client.get("/").text

    assert not re.search(r"\sstyle=|\son\w+=|<style|javascript:", html)
    assert re.findall(r"<script[^>]*>([^<]*)</script>", html) == [""]


def test_without_scripts_the_page_points_to_the_documentation(client):
    told = re.search(r"<noscript>(.*?)</noscript>", client.get("/").text, re.DOTALL)

    assert told is not None
    assert 'href="docs"' in told[1]


def test_a_browser_that_has_the_page_gets_304(client):
    first = client.get("/")

    again = client.get("/", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    assert first.headers["Cache-Control"] == "no-cache"


def test_files_of_this_release_may_be_kept_for_good(client):
    module = next(link for link in links(client.get("/").text) if link.endswith("app.js"))

    assert "immutable" in client.get(f"/{module}").headers["Cache-Control"]


def test_files_of_another_release_are_served_but_revalidated(client):
    """During a roll-out a page from the old release may ask the new one for its modules, or the other way round."""
    response = client.get("/assets/000000000000/app.js")

    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-cache"


def test_the_release_changes_with_the_files(tmp_path, client):
    (tmp_path / "app.js").write_text("export {};")
    app = Flask(__name__, static_folder=None)
    app.register_blueprint(create_page(tmp_path))

    assert links(app.test_client().get("/").text)[0].split("/")[1] != links(client.get("/").text)[0].split("/")[1]


@pytest.mark.parametrize("name", ["missing.js", "../page.py", "..%2fpage.py", "%2e%2e/page.py"])
def test_only_the_pages_own_files_are_served(client, name):
    assert client.get(f"/assets/000000000000/{name}").status_code == 404


def test_every_file_forbids_type_sniffing(client):
    for link in ("", *links(client.get("/").text)):
        assert client.get(f"/{link}").headers["X-Content-Type-Options"] == "nosniff"


def test_the_favicon_is_where_browsers_look(client):
    assert client.get("/favicon.ico").mimetype == "image/svg+xml"
