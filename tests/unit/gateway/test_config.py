"""Settings: read once, every mistake named, every one documented."""

import dataclasses
import re
from pathlib import Path

import pytest

from services.core.errors import ConfigError
from services.gateway.config import PREFIX, GatewayConfig

FIELDS = [field.name for field in dataclasses.fields(GatewayConfig)]
SOURCE = Path(__file__).parents[3] / "services/gateway/config.py"


def test_settings_come_from_the_environment():
    config = GatewayConfig.from_env({f"{PREFIX}PORT": "9000", f"{PREFIX}ON_DENOISER_FAILURE": "classify"})

    assert (config.port, config.on_denoiser_failure) == (9000, "classify")


def test_the_defaults_are_allowed():
    assert GatewayConfig.from_env({}) == GatewayConfig()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WORKERS", "0"),
        ("BATCH_WAIT_MS", "2.5"),
        ("BATCH_IMAGES", "-1"),
        ("REQUEST_TIMEOUT_MS", "0"),
        ("REQUEST_TIMEOUT_MS", "60001"),
        ("PREDICT_TIMEOUT_S", "0"),
        ("CONNECT_TIMEOUT_S", "inf"),
        ("SHUTDOWN_GRACE_S", "nan"),
        ("DRAIN_S", "-1"),
        ("RATE_LIMIT_PER_S", "-1"),
        ("RATE_LIMIT_BURST", "0"),
        ("TRUSTED_PROXIES", "-1"),
        ("READY_CACHE_MS", "-1"),
        ("MAX_PIXELS", "0"),
        ("MAX_JSON_DEPTH", "0"),
        ("PORT", "70000"),
        ("PORT", "http"),
        ("ON_DENOISER_FAILURE", "panic"),
        ("NO_SUCH_SETTING", "1"),
        ("SHADOW_SHARE", "1.1"),
        ("SHADOW_SHARE", "-0.1"),
        ("SHADOW_SHARE", "nan"),
        ("SHADOW_SHARE", "0.1"),  # of which version?
        ("GRPC_PORT", "-1"),
        ("DENOISER_TARGET", "nonsense"),
        ("DENOISER_TARGET", ""),
        ("DENOISER_TARGET", "http://denoiser:8500"),
        ("CLASSIFIER_TARGET", "classifier:grpc"),
        ("CLASSIFIER_TARGET", "classifier:0"),
        ("CLASSIFIER_TARGET", "dns:///classifier"),
        ("CLASSIFIER_TARGET", "::1"),
        ("CLASSIFIER_TARGET", "lane:"),
        ("CLASSIFIER_TARGET", "unix://"),
        ("SHADOW_CLASSIFIER_TARGET", "ipv4:10.0.0.1:8500,10.0.0.2"),
        ("PUBLIC_URL", "foo"),
        ("PUBLIC_URL", "//digits.example.org"),
        ("PUBLIC_URL", "https://"),
        ("PUBLIC_URL", "https://digits.example.org:99999"),
        ("PUBLIC_URL", "https://digits.example.org/?page=1"),
        ("SOURCE_URL", "javascript:alert(1)"),
    ],
)
def test_a_setting_that_cannot_work_is_named(name, value):
    with pytest.raises(ConfigError, match=PREFIX + name):
        GatewayConfig.from_env({PREFIX + name: value})


@pytest.mark.parametrize(
    "target",
    [
        "denoiser:8500",
        "10.0.0.9:8500",
        "[::1]:8500",
        "dns:denoiser:8500",
        "dns:///denoiser.cleardigits.svc:8500",
        "dns://10.0.0.53/denoiser:8500",
        "ipv4:10.0.0.1:8500,10.0.0.2:8500",
        "ipv6:[fd00::1]:8500",
        "unix:var/denoiser.sock",
        "unix:///run/denoiser.sock",
        "lane:/run/denoiser.lane",
        "xds:///denoiser",
    ],
)
def test_every_way_to_name_a_model_server_is_a_target(target):
    assert GatewayConfig.from_env({f"{PREFIX}DENOISER_TARGET": target}).denoiser_target == target


@pytest.mark.parametrize("url", ["https://digits.example.org", "http://10.0.0.9:8080/digits/", "http://[::1]:8080"])
def test_an_address_of_the_page_may_have_a_port_and_a_path(url):
    assert GatewayConfig.from_env({f"{PREFIX}PUBLIC_URL": url}).public_url == url


@pytest.mark.parametrize(
    "settings",
    [
        {"SHADOW_LABEL": "canary"},
        {"SHADOW_DENOISER_TARGET": "10.0.0.9:8500"},
        {"SHADOW_LABEL": "stable", "DENOISER_LABEL": "stable"},  # the classifier of users has none
    ],
)
def test_a_shadow_is_another_version_or_lives_elsewhere(settings):
    found = GatewayConfig.from_env(
        {PREFIX + name: value for name, value in {"SHADOW_SHARE": "0.1", **settings}.items()}
    )

    assert found.shadow_share == 0.1


def test_a_shadow_of_the_version_that_answers_is_refused():
    named = {"SHADOW_SHARE": "0.1", "SHADOW_LABEL": "stable", "DENOISER_LABEL": "stable", "CLASSIFIER_LABEL": "stable"}

    with pytest.raises(ConfigError, match="SHADOW_LABEL=stable is the version that answers users"):
        GatewayConfig.from_env({PREFIX + name: value for name, value in named.items()})


@pytest.mark.parametrize("name", FIELDS)
def test_every_setting_says_what_it_is_for(name):
    line = next(line for line in SOURCE.read_text().splitlines() if re.match(rf"    {name}: ", line))

    assert "  # " in line
