"""What every request passes: its address, its label, its line in the log."""

import logging

import pytest

from services.core.errors import InvalidInputError
from services.gateway.admission.admission import Admission
from services.gateway.admission.context import Request
from services.gateway.config import GatewayConfig
from services.gateway.metrics import Metrics


def entered(admission: Admission, method: str = "POST", path: str = "/v1/recognize", **headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return admission.enter(method, path, "", named, "9.9.9.9", 0.0)


@pytest.mark.parametrize(
    ("proxies", "hops", "client"),
    [
        (0, "10.0.0.1, 10.0.0.2", "9.9.9.9"),
        (1, "10.0.0.1, 10.0.0.2, 10.0.0.3", "10.0.0.3"),
        (2, "10.0.0.1, 10.0.0.2, 10.0.0.3", "10.0.0.2"),
        (5, "10.0.0.1, 10.0.0.2", "10.0.0.1"),
        (1, " , ", "9.9.9.9"),
    ],
)
def test_a_client_is_the_address_that_the_outermost_trusted_proxy_saw(proxies, hops, client):
    admission = Admission(GatewayConfig(trusted_proxies=proxies), Metrics())

    assert entered(admission, x_forwarded_for=hops).client == client


def test_a_label_that_is_not_served_is_refused_for_calls_of_models_alone():
    admission = Admission(GatewayConfig(split="stable:100"), Metrics())

    admission.admit(entered(admission, "GET", "/healthz", x_cleardigits_label="nightly"))
    with pytest.raises(InvalidInputError, match="nightly"):
        admission.admit(entered(admission, x_cleardigits_label="nightly"))


@pytest.mark.parametrize(
    ("path", "status", "level"),
    [("/readyz", 200, "DEBUG"), ("/readyz", 503, "INFO"), ("/v1/recognize", 200, "INFO")],
)
def test_a_probe_gets_its_line_at_debug_while_all_is_well(path, status, level, caplog):
    caplog.set_level(logging.DEBUG, "cleardigits.access")
    admission = Admission(GatewayConfig(), Metrics())

    admission.leave(entered(admission, "GET", path), status)

    (line,) = caplog.records
    assert (line.levelname, line.__dict__["path"], line.__dict__["status"]) == (level, path, status)
