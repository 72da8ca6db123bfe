"""The conformance kit's table against our server, and against the real one where there is one.

CLEARDIGITS_TFSERVING=host:port,host:port names a TensorFlow Serving's gRPC and REST ports; it serves the
shipped denoiser as version 1 of `denoiser` with the flags of docker-compose.yml and --enable_batching.
"""

import os
import re
from pathlib import Path

import grpc
import pytest
import requests

from tests.conformance.cases import BEHAVIOURS, GRPC, REST
from tests.conformance.table import README, render
from tests.support.model_server import model_server

ROOT = Path(__file__).parents[2]
REAL = os.environ.get("CLEARDIGITS_TFSERVING", "")
ASKED_S = 5.0


@pytest.fixture(scope="module", params=["ours", *(["theirs"] if REAL else [])])
def server(request, tmp_path_factory):
    """(which, gRPC channel, REST address)"""
    if request.param == "theirs":
        grpc_address, _, rest_address = REAL.partition(",")
        with grpc.insecure_channel(grpc_address) as channel:
            yield "theirs", channel, f"http://{rest_address}" if rest_address else ""
        return
    base = tmp_path_factory.mktemp("models") / "denoiser"
    base.mkdir()
    newest = max((ROOT / "models/denoiser").iterdir(), key=lambda folder: int(folder.name))
    (base / "1").symlink_to(newest)
    with model_server(model_name="denoiser", model_base_path=str(base)) as running:
        yield "ours", running.channel, running.rest


def _expected(which, case):
    return case.theirs if which == "theirs" or case.ours is None else case.ours


@pytest.mark.parametrize("case", GRPC, ids=lambda case: case.name)
def test_grpc(server, case):
    which, channel, _ = server
    request = case.ask.request()
    data = request if isinstance(request, bytes) else request.SerializeToString()
    try:
        channel.unary_unary(f"/{case.ask.package}.{case.ask.method}")(data, timeout=ASKED_S)
        code, words = "OK", ""
    except grpc.RpcError as error:
        code, words = error.code().name, error.details()

    assert _expected(which, case).fits(code, words), (code, words)


@pytest.mark.parametrize("case", REST, ids=lambda case: case.name)
def test_rest(server, case):
    which, _, address = server
    if not address:
        pytest.skip("CLEARDIGITS_TFSERVING names no REST port")
    ask = case.ask
    body = {"data": ask.body} if isinstance(ask.body, bytes) else {"json": ask.body}
    request = requests.Request(ask.method, address, headers=dict(ask.headers), **body).prepare()
    request.url = address + ask.path  # as it is: requests would tidy it up
    try:
        with requests.Session() as session:
            answer = session.send(request, timeout=ASKED_S)
    except requests.ReadTimeout:
        code, words = "ReadTimeout", ""
    else:
        code, words = answer.status_code, answer.text
        if answer.headers["Content-Type"] == "application/json" and code >= 400:
            words = answer.json()["error"]
            assert answer.text.startswith('{\n    "error": "')

    assert _expected(which, case).fits(code, words), (code, words)


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=lambda behaviour: behaviour.name)
def test_a_behaviour_has_its_test(behaviour):
    path, _, name = behaviour.test.partition("::")

    assert re.search(rf"^def {name}\(", (ROOT / path).read_text(), re.MULTILINE)


def test_names_are_unique_and_differences_are_explained():
    for table in (GRPC, REST):
        names = [case.name for case in table]
        assert len(names) == len(set(names))
        assert all(bool(case.why) == (case.ours is not None) for case in table)


def test_the_readme_says_what_the_table_says():
    """`python -m tests.conformance` writes it."""
    assert render() in README.read_text(encoding="utf-8")
