"""Every route answers as openapi.yaml says, to any request: Schemathesis over the application with fake models.

Also: the document is valid, names every route there is, and the page at /docs is made from it.
"""

import re

import cv2
import numpy as np
import pytest
import schemathesis
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

import services
from deploy import docs_page
from services.gateway.admission.problems import PROBLEMS
from services.gateway.config import GatewayConfig
from services.gateway.gateway import Gateway
from tests.support.fakes import fake_classifier, fake_denoiser
from tests.support.hosts import flask_client

DOCUMENT = yaml.safe_load(docs_page.SOURCE.read_text())
OPERATIONS = [(method.upper(), path) for path, item in DOCUMENT["paths"].items() for method in item]
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
]
EXAMPLES = 25
NEEDS_784_NUMBERS = ("/infer", ":predict")  # chance does not find them; other tests send good ones
FOR_PAGES = {"/", "/assets/<asked_release>/<name>", "/favicon.ico"}  # not for programs


def pictures() -> st.SearchStrategy[bytes]:
    """Mostly pictures, sometimes none."""
    good = [
        cv2.imencode(extension, np.full((height, width, 3), grey, np.uint8))[1].tobytes()
        for extension in (".png", ".jpg", ".webp", ".bmp", ".tiff")
        for height, width, grey in ((28, 28, 30), (3, 70, 200))
    ]
    return st.sampled_from(good) | st.binary(max_size=50)


for media_type in ("png", "jpeg", "webp", "bmp", "gif", "tiff"):
    schemathesis.openapi.media_type(f"image/{media_type}", pictures())
schemathesis.openapi.media_type(
    "application/octet-stream", st.integers(0, 3).map(lambda count: bytes(784 * count)) | st.binary(max_size=20)
)
schemathesis.openapi.media_type(
    "application/x-npy", st.binary(max_size=200).map(lambda rest: b"\x93NUMPY\1\0v\0" + rest)
)


@pytest.fixture(scope="module")
def app():
    gateway = Gateway(GatewayConfig(request_timeout_ms=20_000), denoiser=fake_denoiser(), classifier=fake_classifier())
    with flask_client(gateway) as client:
        yield client.application


@pytest.fixture(scope="module")
def openapi(app):
    return schemathesis.openapi.from_wsgi("/openapi.yaml", app)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_every_route_keeps_its_contract(openapi, method, path):
    examples = (
        EXAMPLES // 5 if path.endswith(":predict") else EXAMPLES
    )  # lists of hundreds of numbers take long to make

    @settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(openapi[path][method].as_strategy())
    def keeps_it(case: schemathesis.Case) -> None:
        budget = str(case.headers.get("Request-Timeout-Ms", ""))
        if budget.isdecimal() and int(budget) < 1000:
            del case.headers["Request-Timeout-Ms"]  # a 504 would be right, and would come by chance
        case.headers["Accept-Encoding"] = "identity"  # this client asks for gzip by itself, but does not undo it
        seen.add(case.call_and_validate(checks=CHECKS).status_code)

    seen: set[int] = set()
    keeps_it()

    answered = 404 if path == "/v1/feedback" else 200  # this gateway keeps no pictures
    assert answered in seen or path.endswith(NEEDS_784_NUMBERS)


def test_every_route_is_described_and_every_description_is_a_route(app):
    routes = {
        (method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule).replace("{name}", "{model}"))
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
        if rule.rule not in FOR_PAGES
    }

    assert set(OPERATIONS) - {("GET", "/")} == routes


def test_every_problem_is_described():
    text = docs_page.SOURCE.read_text()
    missing = {row.slug for row in PROBLEMS.values() if f"`{row.slug}`" not in text}

    assert missing <= {"internal", "client-gone"}  # a bug, and an answer that is never read


def test_the_version_is_the_same_everywhere():
    pyproject = (docs_page.ROOT / "pyproject.toml").read_text()

    assert DOCUMENT["info"]["version"] == services.__version__
    assert f'version = "{services.__version__}"' in pyproject


def test_every_schema_is_valid_json_schema():
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_what_generated_clients_stumble_over_is_not_there():
    """A list that does not say of what is left out by generators; a default is sent, and would win over the body's."""

    def lists(value: object) -> list[dict]:
        parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        found = [value] if isinstance(value, dict) and value.get("type") == "array" else []
        return found + [each for part in parts for each in lists(part)]

    asked = [each for each in DOCUMENT["components"]["parameters"].values() if each["in"] == "query"]

    assert len(lists(DOCUMENT)) > 20
    assert [each for each in lists(DOCUMENT) if "items" not in each] == []
    assert [each["name"] for each in asked if "default" in each["schema"]] == []


def test_the_page_is_made_from_the_document():
    assert docs_page.TARGET.read_text() == docs_page.render(docs_page.SOURCE.read_text()), "run make docs-page"


def test_the_page_asks_nobody_else_and_its_style_is_allowed(app):
    response = app.test_client().get("/docs")
    page = response.text

    assert not re.findall(r"<script|<link(?![^>]*data:,)|<img|@import|url\(|\bsrc=", page)
    assert all(not link.startswith(("http:", "https:", "//")) for link in re.findall(r'href="([^"]*)"', page))
    assert "default-src 'none'; style-src 'sha256-" in response.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("headers", "address"),
    [
        ({"Host": "127.0.0.1:18500"}, "http://127.0.0.1:18500"),
        ({"Host": "digits.example", "X-Forwarded-Proto": "https"}, "https://digits.example"),
        ({"Host": "127.0.0.1:8080"}, "http://127.0.0.1:8080"),
    ],
)
def test_examples_show_the_address_that_the_page_was_asked_for_at(app, headers, address):
    page = app.test_client().get("/docs", headers=headers).text

    assert set(re.findall(r"https?://[\w.]+(?::\d+)?(?=/(?:v1|v2|healthz))", page)) == {address}


def test_a_host_header_is_no_markup(app):
    page = app.test_client().get("/docs", headers={"Host": 'a"><b>'}).text

    assert "<b>" not in page


def test_links_within_the_page_lead_somewhere():
    page = docs_page.TARGET.read_text()

    assert set(re.findall(r'href="#([^"]*)"', page)) <= set(re.findall(r'id="([^"]*)"', page))


def test_values_of_several_kinds_are_named_for_people():
    page = docs_page.TARGET.read_text()

    assert "array or number" in page
    assert "[&#39;" not in page, "a Python list"


@pytest.mark.parametrize("path", ["/openapi.yaml", "/docs"])
def test_both_are_revalidated_cheaply(app, path):
    client = app.test_client()
    etag = client.get(path).headers["ETag"]

    assert client.get(path, headers={"If-None-Match": etag}).status_code == 304
