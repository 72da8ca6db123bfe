"""The Compose files are what Compose v2 takes, and keep the promises about who may do what."""

import dataclasses
import re

import pytest
import yaml
from compose_spec import PyCompose

from deploy.stack.compose import TFSERVING_IMAGE
from deploy.stack.local import WORKERS
from deploy.stack.settings import parse_env
from services.gateway.config import PREFIX, GatewayConfig
from services.model_server.flags import parse_flags
from tests.fuzz.__main__ import PEAK_MB
from tests.support.stack import ROOT

FILES = ("docker-compose.yml", "docker-compose.embedded.yml")
VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")
EXAMPLE = (ROOT / ".env.example").read_text()


def filled_in(name: str) -> str:
    """The file as Compose reads it where no variable is set."""
    return VARIABLE.sub(lambda match: match[2] or "", (ROOT / name).read_text())


BASE, EMBEDDED = (yaml.safe_load(filled_in(name))["services"] for name in FILES)
CHAIN = ("denoiser", "classifier", "gateway")


@pytest.mark.parametrize("name", FILES)
def test_file_follows_the_compose_specification(name):
    plain = yaml.safe_dump(yaml.safe_load(filled_in(name)))  # the parser knows no YAML merge keys

    assert PyCompose.from_yaml(plain).service_names()


def test_parser_refuses_what_the_specification_does_not_know():
    with pytest.raises(ValueError, match="memlimit"):
        PyCompose.from_yaml("services: {a: {image: b, memlimit: 1g}}")


def test_compose_1_29_is_not_asked_for_newer_syntax():
    """No `include`, `develop`, `!reset`, `${x:+y}` or top-level `name`: docker-compose 1.29 knows none of them."""
    for name in FILES:
        text = (ROOT / name).read_text()
        document = yaml.safe_load(text)

        assert document.keys() <= {"services", "networks", "volumes"} | {
            key for key in document if key.startswith("x-")
        }
        assert "!reset" not in text and ":+" not in text
        assert not any("develop" in service for service in document["services"].values())


@pytest.mark.parametrize("name", BASE)
def test_service_is_fenced_in(name):
    service = BASE[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"] and service["pids_limit"]
    assert service["cpus"] == 0.0  # all of them, unless CLEARDIGITS_CPUS says how many
    assert service["logging"]["options"]["max-size"]
    assert service["restart"] == ("no" if name in ("train", "evaluate", "load") else "unless-stopped")


def test_every_worker_of_the_gateway_has_the_memory_it_may_use():
    gateway = BASE["gateway"]
    (workers,) = [line for line in gateway["environment"] if line.startswith("CLEARDIGITS_GATEWAY_WORKERS")]
    memory = re.fullmatch(r"(\d+)g", gateway["mem_limit"])

    assert int(memory[1]) * 2**30 >= 1.5 * PEAK_MB * 1e6 * int(workers.partition("=")[2])


@pytest.mark.parametrize("name", [name for name in BASE if "build" not in BASE[name]])
def test_image_from_elsewhere_is_pinned_and_not_run_as_root(name):
    assert re.fullmatch(r"[\w/.-]+:v?\d+\.\d+\.\d+", BASE[name]["image"])
    assert int(BASE[name]["user"].split(":")[0]) > 0


@pytest.mark.parametrize("name", [name for name in BASE if "build" in BASE[name]])
def test_own_image_is_not_run_as_root(name):
    dockerfile = (ROOT / BASE[name]["build"]["dockerfile"]).read_text()

    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", dockerfile, re.M)
    assert dockerfile.count("\nFROM ${BASE_IMAGE}") == 1
    assert "--only-binary=:all:" in dockerfile and "rm -r /opt/pip" in dockerfile  # no compiler, no pip left
    assert dockerfile.index("requirements/") < dockerfile.index("COPY services")
    assert re.search(r'^ENTRYPOINT \["', dockerfile, re.M)
    assert re.search(r"^HEALTHCHECK ", dockerfile, re.M)


def test_only_gateway_and_grafana_are_published_both_on_loopback():
    published = {name: service["ports"] for name, service in BASE.items() if "ports" in service}

    assert published == {"gateway": ["127.0.0.1:8080:8080"], "grafana": ["127.0.0.1:3000:3000"]}


def test_model_servers_live_on_a_network_without_a_way_out():
    networks = yaml.safe_load(filled_in("docker-compose.yml"))["networks"]

    assert networks["models"] == {"internal": True}
    assert BASE["denoiser"]["networks"] == BASE["classifier"]["networks"] == ["models"]
    assert "models" in BASE["gateway"]["networks"]


def test_models_are_read_only_for_all_but_the_train_job():
    mounts = {
        name: [volume for volume in service["volumes"] if volume.startswith("./models:")]
        for name, service in BASE.items()
        if "volumes" in service
    }

    assert [volume.endswith(":ro") for volume in mounts.pop("train")] == [False]
    assert all(volume.endswith(":ro") for volumes in mounts.values() for volume in volumes)


def test_gateway_waits_for_models_that_answer():
    assert BASE["gateway"]["depends_on"] == {
        "denoiser": {"condition": "service_healthy"},
        "classifier": {"condition": "service_healthy"},
    }
    for name in ("denoiser", "classifier"):
        assert f"GET /v1/models/{name}/metadata " in BASE[name]["healthcheck"]["test"][-1]


@pytest.mark.parametrize("name", ["denoiser", "classifier"])
def test_embedded_override_changes_the_image_and_not_the_flags(name):
    override = EMBEDDED[name]
    config = parse_flags([*override["entrypoint"][3:], *BASE[name]["command"]])

    assert not {"command", "healthcheck", "volumes", "networks", "user"} & override.keys()
    assert config.model_config_file == f"/etc/cleardigits/{name}.config"
    assert (config.port, config.rest_api_port) == (8500, 8501)


def test_model_server_image_is_built_once_for_both_models():
    """Compose v2 without buildx builds two services at once; the one without a build starts after the other."""
    assert [name for name in ("denoiser", "classifier") if "build" in EMBEDDED[name]] == ["denoiser"]
    assert EMBEDDED["classifier"]["image"] == EMBEDDED["denoiser"]["image"]
    assert "denoiser" in EMBEDDED["classifier"]["depends_on"]


def test_every_setting_of_the_gateway_reaches_its_container():
    passed = {entry.split("=")[0] for entry in BASE["gateway"]["environment"]}

    assert passed == {PREFIX + field.name.upper() for field in dataclasses.fields(GatewayConfig)}


def test_example_names_every_variable_with_its_default():
    example = parse_env(re.sub(r"^#(?=\w+=)", "", EXAMPLE, flags=re.M), ".env.example")
    used = dict(match for name in FILES for match in VARIABLE.findall((ROOT / name).read_text()))
    internal = {f"{PREFIX}DENOISER_TARGET", f"{PREFIX}CLASSIFIER_TARGET"}

    assert used.keys() - internal <= example.keys()
    for name in used.keys() & example.keys() - {f"{PREFIX}API_KEYS_FILE", f"{PREFIX}CAPTURE_DIR"}:
        assert example[name] == used[name], name


def test_example_quotes_the_gateway_s_own_defaults():
    defaults = {PREFIX + field.name.upper(): str(field.default) for field in dataclasses.fields(GatewayConfig)}
    defaults[f"{PREFIX}WORKERS"] = str(WORKERS)  # a home's choice
    quoted = re.findall(rf"^#({PREFIX}\w+)=(.*)$", EXAMPLE, re.M)

    assert quoted
    assert {name: defaults[name] for name, _ in quoted} == dict(quoted)


def test_make_up_pulls_the_image_that_compose_names():
    assert BASE["denoiser"]["image"] == BASE["classifier"]["image"] == TFSERVING_IMAGE
