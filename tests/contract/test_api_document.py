"""docs/API.md says everything: every route, option, header, problem and setting, with its default."""

import dataclasses
import re
from pathlib import Path

import pytest
import yaml

from services.gateway.admission.problems import PROBLEMS
from services.gateway.config import PREFIX, GatewayConfig
from services.gateway.messages.options import DENOISE, INCLUDE, NAMES

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/API.md").read_text()
OPENAPI = yaml.safe_load((ROOT / "services/gateway/api/openapi.yaml").read_text())
CONFIG = (ROOT / "services/gateway/config.py").read_text()
EXAMPLES = "\n".join(re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL))


@pytest.mark.parametrize("path", OPENAPI["paths"])
def test_every_route_has_a_curl_example(path):
    pattern = re.escape(path).replace(r"\{model\}", "[a-z]+").replace(r"\{version\}", "[0-9]+")

    assert re.search(rf"http://127\.0\.0\.1:8080{pattern}(?=[\s'?])", EXAMPLES)


@pytest.mark.parametrize("field", dataclasses.fields(GatewayConfig), ids=lambda field: field.name)
def test_every_setting_is_there_with_its_default_and_its_comment(field):
    comment = re.search(rf"^    {field.name}: .*?  # (.*)$", CONFIG, re.MULTILINE)
    default = "empty" if field.default == "" else f"`{field.default}`"

    assert comment, f"{field.name} has no comment in config.py"
    assert f"| `{PREFIX}{field.name.upper()}` | {default} | {comment[1]} |" in TEXT


def test_no_setting_is_there_that_is_not():
    known = {f"{PREFIX}{field.name.upper()}" for field in dataclasses.fields(GatewayConfig)}

    assert set(re.findall(rf"^\| `({PREFIX}\w+)`", TEXT, re.MULTILINE)) == known


@pytest.mark.parametrize("row", PROBLEMS.values(), ids=lambda row: row.slug)
def test_every_problem_is_there_with_its_status_and_code(row):
    assert f"| `{row.slug}` | {row.status} | {row.code.name} |" in TEXT


@pytest.mark.parametrize("word", [*NAMES, *DENOISE, *INCLUDE, *OPENAPI["components"]["headers"]])
def test_every_option_and_header_is_there(word):
    assert f"`{word}`" in TEXT


def test_every_field_of_an_answer_is_there():
    answer = OPENAPI["components"]["schemas"]["RecognizeResponse"]["properties"]
    result = OPENAPI["components"]["schemas"]["Result"]["properties"]

    assert [field for field in answer if field != "results" and f"| `{field}` |" not in TEXT] == []
    assert [field for field in result if f"`results[].{field}`" not in TEXT] == []


def test_every_body_is_there():
    body = OPENAPI["paths"]["/v1/recognize"]["post"]["requestBody"]["content"]

    assert [kind for kind in body if f"`{kind}`" not in TEXT] == []


def test_links_lead_somewhere():
    headings = {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
    }
    for link in re.findall(r"\]\(([^)]*)\)", TEXT):
        assert link[1:] in headings if link.startswith("#") else (ROOT / "docs" / link).exists(), link
