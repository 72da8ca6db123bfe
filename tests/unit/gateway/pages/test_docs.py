import gzip
import re

import pytest
from flask import Flask
from flask.testing import FlaskClient

from services.gateway.pages.docs import docs_blueprint


@pytest.fixture
def client() -> FlaskClient:
    app = Flask(__name__, static_folder=None)
    app.register_blueprint(docs_blueprint())
    return app.test_client()


@pytest.mark.parametrize("path", ["/docs", "/openapi.yaml"])
def test_both_forms_are_compressed_where_the_client_takes_gzip(client, path):
    plain, zipped = (client.get(path, headers=headers) for headers in ({}, {"Accept-Encoding": "gzip"}))

    assert gzip.decompress(zipped.data) == plain.data
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in zipped.vary and "Accept-Encoding" in plain.vary
    assert "Content-Encoding" not in plain.headers
    assert len(zipped.data) < len(plain.data) / 3


def test_commands_name_the_address_that_was_asked(client):
    """Not port 8080 where the gateway listens elsewhere."""
    text = client.get("/docs", base_url="http://digits.example.org:18500").text

    assert "127.0.0.1:8080" not in text
    assert set(re.findall(r"https?://[\w.:-]+/", text)) == {"http://digits.example.org:18500/"}


def test_the_style_sheet_is_the_one_that_the_policy_allows(client):
    response = client.get("/docs", base_url="http://example.org")

    assert "style-src 'sha256-" in response.headers["Content-Security-Policy"]
    assert response.headers["Content-Security-Policy"] == client.get("/docs").headers["Content-Security-Policy"]
