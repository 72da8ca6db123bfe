import gzip
import io
import re
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image
from werkzeug.test import TestResponse

from services.core.noise import NOISES
from services.gateway.pages.demo import KINDS, VIEWS, create_page

GATEWAY = Path(__file__).parents[4] / "services/gateway/pages"
STATIC = GATEWAY / "static"
FILES = [path for path in sorted(STATIC.iterdir()) if path.name != "preview.png"]  # what a browser fetches
BUDGET_BYTES = 100_000
ON_THE_WIRE_BYTES = 32_000


@pytest.fixture
def client() -> FlaskClient:
    app = Flask(__name__, static_folder=None)
    app.register_blueprint(create_page())
    return app.test_client()


def links(html: str) -> list[str]:
    return re.findall(r'(?:href|src)="(assets/[^"]+)"', html)


def everything(client: FlaskClient, path: str, headers: dict[str, str]) -> dict[str, TestResponse]:
    """All that a browser fetches for one page; the link preview's picture is for others."""
    return {link: client.get(f"/{link}", headers=headers) for link in (path, *links(client.get(f"/{path}").text))}


@pytest.fixture(params=[view.path for view in VIEWS])
def path(request) -> str:
    return request.param


def test_the_whole_page_is_within_its_budget(client, path):
    plain, zipped = ({}, {"Accept-Encoding": "gzip"})

    assert sum(len(response.data) for response in everything(client, path, plain).values()) < BUDGET_BYTES
    assert sum(len(response.data) for response in everything(client, path, zipped).values()) < ON_THE_WIRE_BYTES


def test_text_is_compressed_for_a_browser_that_takes_gzip(client, path):
    plain = everything(client, path, {})

    for link, response in everything(client, path, {"Accept-Encoding": "br;q=1.0, gzip;q=0.8"}).items():
        assert gzip.decompress(response.data) == plain[link].data
        assert response.headers["Content-Encoding"] == "gzip"
        assert int(response.headers["Content-Length"]) == len(response.data) < len(plain[link].data)
        assert response.headers["ETag"] != plain[link].headers["ETag"]
        assert "Accept-Encoding" in response.vary and "Accept-Encoding" in plain[link].vary


@pytest.mark.parametrize("accepted", [None, "identity", "gzip;q=0", "br"])
def test_text_is_sent_as_it_is_where_gzip_is_not_taken(client, accepted):
    response = client.get("/", headers={"Accept-Encoding": accepted} if accepted else {})

    assert "Content-Encoding" not in response.headers
    assert response.data.startswith(b"<!doctype html>")


def test_a_compressed_page_is_revalidated_by_its_own_tag(client):
    zipped = {"Accept-Encoding": "gzip"}
    tag = client.get("/", headers=zipped).headers["ETag"]

    assert client.get("/", headers={**zipped, "If-None-Match": tag}).status_code == 304
    assert client.get("/", headers={"If-None-Match": tag}).status_code == 200  # the other form


def test_pictures_are_not_compressed_again(client):
    response = client.get("/assets/000000000000/preview.png", headers={"Accept-Encoding": "gzip"})

    assert "Content-Encoding" not in response.headers
    assert response.data.startswith(b"\x89PNG")


def meta(client: FlaskClient, base_url: str = "http://localhost") -> dict[str, str]:
    html = client.get("/", base_url=base_url).text
    return dict(re.findall(r'<meta (?:name|property)="([^"]+)" content="([^"]*)">', html))


def test_a_link_preview_has_title_description_and_a_whole_address_of_a_picture(client):
    found = meta(client, "https://digits.example.org:8443")
    path = found["og:image"].removeprefix("https://digits.example.org:8443")
    picture = Image.open(io.BytesIO(client.get(path).data))

    assert found["og:title"] and found["og:description"] == found["description"]
    assert found["og:url"] == "https://digits.example.org:8443/"
    assert found["twitter:card"] == "summary_large_image"
    assert picture.size == (int(found["og:image:width"]), int(found["og:image:height"])) == (1200, 630)


def test_a_link_preview_names_the_public_address_where_one_is_set():
    app = Flask(__name__, static_folder=None)
    app.register_blueprint(create_page(public_url="https://example.org/digits"))

    found = meta(app.test_client())
    assert found["og:url"] == "https://example.org/digits/"
    assert found["og:image"].startswith("https://example.org/digits/assets/")


def test_a_host_header_cannot_write_markup(client):
    html = client.get("/", headers={"Host": 'a"><script>alert(1)</script>'}).text

    assert "<script>alert" not in html


def test_the_source_is_linked_where_its_address_is_set(client):
    app = Flask(__name__, static_folder=None)
    app.register_blueprint(create_page(source_url="https://example.org/source"))

    assert '<a href="https://example.org/source"' in app.test_client().get("/").text
    assert "Source code" not in client.get("/").text


def test_the_page_offers_every_kind_of_noise():
    assert set(KINDS) == set(NOISES)


def test_every_linked_file_is_there_with_its_type(client, path):
    linked = links(client.get(f"/{path}").text)

    types = {link.rsplit(".", 1)[1]: client.get(f"/{link}").mimetype for link in linked}
    assert types == {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
    assert {client.get(f"/{link}").status_code for link in linked} == {200}


def test_each_page_links_what_it_needs_and_no_file_lies_idle(client):
    linked = {view.path: {link.rsplit("/", 1)[1] for link in links(client.get(f"/{view.path}").text)} for view in VIEWS}

    assert set.union(*linked.values()) == {path.name for path in FILES}
    assert "numbers.js" not in linked[""] and "sweep.js" not in linked["numbers"]
    for names in linked.values():
        imported = {name for file in names for name in re.findall(r'from "\./([^"]+)"', (STATIC / file).read_text())}
        assert imported <= names  # nothing is found only once the browser has read another file


def test_the_policy_allows_nothing_inline_and_nobody_else(client):
    policy = client.get("/").headers["Content-Security-Policy"]

    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"https?:|\*", policy)


@pytest.mark.parametrize("file", [*FILES, *(GATEWAY / "templates").iterdir()], ids=lambda file: file.name)
def test_no_file_names_another_host(file):
    hosts = set(re.findall(r"https?://[^/\"'\s]+", file.read_text()))

    assert hosts <= {"http://www.w3.org"}  # the SVG namespace, a name that is never fetched


def test_the_markup_has_no_inline_style_or_script(client, path):
    html = client.get(f"/{path}").text

    assert not re.search(r"\sstyle=|\son\w+=|<style|javascript:", html)
    assert re.findall(r"<script[^>]*>([^<]*)</script>", html) == [""]


def test_without_scripts_the_page_points_to_the_documentation(client, path):
    told = re.search(r"<noscript>(.*?)</noscript>", client.get(f"/{path}").text, re.DOTALL)

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
