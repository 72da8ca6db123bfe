"""Prometheus rules hold, and what Grafana shows is well formed. Live data: tests/integration/test_monitoring.py."""

import json
import re
import shutil
import subprocess
from itertools import combinations

import pytest
import yaml

from deploy.stack.settings import Settings
from services.core.noise import NOISES
from services.evaluator.studies.estimate import OF_REJECTED
from tests.support import monitoring

RUNBOOK = (monitoring.ROOT / "docs/OPERATIONS.md").read_text()
ALERTS = list(monitoring.rules("alert"))
RECORDS = {rule["record"] for rule in monitoring.rules("record")}
RULE_TESTS = monitoring.PROMETHEUS / "tests/alerts_test.yml"

promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not here: apt install prometheus")


def run_promtool(*arguments: str) -> None:
    done = subprocess.run(
        ["promtool", *arguments], cwd=monitoring.PROMETHEUS, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@promtool
@pytest.mark.parametrize("config", ["prometheus.yml", "local.yml"])
def test_prometheus_accepts_the_configuration_and_its_rules(config):
    run_promtool("check", "config", config)


@promtool
def test_rules_fire_and_stay_quiet_as_written():
    run_promtool("test", "rules", str(RULE_TESTS))


def test_the_margin_of_the_estimated_accuracy_is_the_one_that_held_at_every_noise():
    page = (monitoring.ROOT / "docs/results/estimate.md").read_text()
    (margin,) = (rule["expr"] for rule in monitoring.rules("record") if "margin" in rule["record"])

    assert f"{OF_REJECTED} * (1 - classifier_version:cleardigits_accepted:share_rate1h)" in margin
    assert page.count("±") == 1 + 4 * len(NOISES)
    assert "outside**" not in page


def test_every_alert_is_shown_firing_and_staying_quiet():
    seen = {"firing": set(), "quiet": set()}
    for case in yaml.safe_load(RULE_TESTS.read_text())["tests"]:
        for check in case.get("alert_rule_test", []):
            seen["firing" if check["exp_alerts"] else "quiet"].add(check["alertname"])

    names = {alert["alert"] for alert in ALERTS}
    assert seen == {"firing": names, "quiet": names}


def test_compose_and_local_configuration_differ_in_addresses_only():
    def jobs(name: str) -> list[dict]:
        config = yaml.safe_load((monitoring.PROMETHEUS / name).read_text())
        for job in config["scrape_configs"]:
            job.pop("dns_sd_configs", None) or job.pop("static_configs")
        return config

    assert jobs("prometheus.yml") == jobs("local.yml")


def test_prometheus_looks_for_services_that_compose_has():
    compose = yaml.safe_load((monitoring.ROOT / "docker-compose.yml").read_text())["services"]
    config = yaml.safe_load((monitoring.PROMETHEUS / "prometheus.yml").read_text())
    found = {job["job_name"].removeprefix("cleardigits-"): job["dns_sd_configs"][0] for job in config["scrape_configs"]}

    assert {name: discovery["names"] for name, discovery in found.items()} == {name: [name] for name in found}
    assert found.keys() <= compose.keys()
    assert "CLEARDIGITS_GATEWAY_PORT=" + str(found["gateway"]["port"]) in compose["gateway"]["environment"]
    for model in ("denoiser", "classifier"):
        assert f"--rest_api_port={found[model]['port']}" in compose[model]["command"]


def test_local_prometheus_looks_where_make_up_listens():
    stack = Settings.load({}, env_file=monitoring.ROOT / "no.env")
    config = yaml.safe_load((monitoring.PROMETHEUS / "local.yml").read_text())
    found = {job["job_name"]: job["static_configs"][0]["targets"] for job in config["scrape_configs"]}

    assert found == {
        "cleardigits-gateway": [f"{stack.host}:{stack.port}"],
        "cleardigits-denoiser": [f"127.0.0.1:{stack.denoiser_rest_port}"],
        "cleardigits-classifier": [f"127.0.0.1:{stack.classifier_rest_port}"],
    }


def test_compose_mounts_the_files_where_prometheus_and_grafana_look():
    compose = yaml.safe_load((monitoring.ROOT / "docker-compose.yml").read_text())["services"]
    provider = yaml.safe_load((monitoring.GRAFANA / "provisioning/dashboards/cleardigits.yml").read_text())
    source = yaml.safe_load((monitoring.GRAFANA / "provisioning/datasources/prometheus.yml").read_text())

    assert (
        f"./deploy/grafana/dashboards:{provider['providers'][0]['options']['path']}:ro" in compose["grafana"]["volumes"]
    )
    assert "./deploy/grafana/provisioning:/etc/grafana/provisioning:ro" in compose["grafana"]["volumes"]
    assert "./deploy/prometheus:/etc/prometheus:ro" in compose["prometheus"]["volumes"]
    assert "--config.file=/etc/prometheus/prometheus.yml" in compose["prometheus"]["command"]
    assert source["datasources"][0]["url"] == "http://prometheus:9090"


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_every_alert_leads_to_its_section_of_the_runbook(alert):
    anchor = alert["alert"].lower()

    assert re.search(rf"^#+ {alert['alert']}$", RUNBOOK, re.MULTILINE)
    assert alert["annotations"]["runbook"] == f"docs/OPERATIONS.md#{anchor}"
    assert alert["labels"]["severity"] in {"page", "ticket"}


def test_the_runbook_names_no_alert_that_is_gone():
    assert set(re.findall(r"^#+ (ClearDigits\w+)$", RUNBOOK, re.MULTILINE)) == {alert["alert"] for alert in ALERTS}


def test_recording_rules_that_are_read_exist():
    read = {
        selector.split("{")[0]
        for expression in [
            *(monitoring.Expression(alert["alert"], alert["expr"]) for alert in ALERTS),
            *monitoring.panel_expressions("1m"),
        ]
        for selector in monitoring.selectors(expression.promql)
    }

    assert {name for name in read if ":" in name.lstrip(":") and not name.startswith(":")} <= RECORDS


@pytest.mark.parametrize(
    ("promql", "expected"),
    [
        ('sum(rate(cleardigits_requests_total{a="b"}[5m])) > 1', ['cleardigits_requests_total{a="b"}']),
        ("absent(up{job='gateway'} == 1)", ["up{job='gateway'}"]),
        (
            'x:cleardigits_y:z > on () 2 * (1 - cleardigits:o:ratio) unless :tensorflow:cc:l{s="f"} offset 15m',
            ["x:cleardigits_y:z", "cleardigits:o:ratio", ':tensorflow:cc:l{s="f"}'],
        ),
    ],
)
def test_selectors_are_found_in_an_expression(promql, expected):
    assert monitoring.selectors(promql) == expected


@pytest.fixture(params=monitoring.DASHBOARDS, ids=lambda path: path.stem)
def dashboard(request) -> dict:
    return json.loads(request.param.read_text())


def test_panels_have_titles_ids_of_their_own_and_a_data_source_that_is_provisioned(dashboard):
    ids = [panel["id"] for panel in dashboard["panels"]]
    provisioned = yaml.safe_load((monitoring.GRAFANA / "provisioning/datasources/prometheus.yml").read_text())
    variable = dashboard["templating"]["list"][0]

    assert len(set(ids)) == len(ids)
    assert variable["type"] == "datasource"
    assert variable["current"]["value"] in {source["uid"] for source in provisioned["datasources"]}
    for panel in dashboard["panels"]:
        assert panel["title"]
        if panel["type"] != "row":
            assert {source["datasource"]["uid"] for source in [panel, *panel["targets"]]} == {
                f"${{{variable['name']}}}"
            }


def test_panels_lie_on_the_grid_and_never_on_each_other(dashboard):
    def cells(panel: dict) -> set[tuple[int, int]]:
        at = panel["gridPos"]
        return {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}

    for panel in dashboard["panels"]:
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
    for one, other in combinations(dashboard["panels"], 2):
        assert not cells(one) & cells(other), f"{one['title']!r} covers {other['title']!r}"


def test_queries_of_a_panel_have_letters_of_their_own(dashboard):
    for panel in dashboard["panels"]:
        letters = [target["refId"] for target in panel.get("targets", [])]
        assert len(set(letters)) == len(letters), panel["title"]


def test_every_recording_rule_is_read_by_a_panel_an_alert_or_another_rule():
    everything = " ".join(
        [expression.promql for expression in monitoring.panel_expressions("1m")]
        + [rule["expr"] for kind in ("alert", "record") for rule in monitoring.rules(kind)]
    )

    assert {name for name in RECORDS if name not in everything} == set()
