"""The commands that README.md and docs/API.md show do what they say, as they stand."""

import os
import re
import subprocess

import pytest
import requests

from tests.support.stack import ROOT

ADDRESS = "http://127.0.0.1:8080"
OFF_BY_DEFAULT = "/v1/feedback"  # no picture is kept that it could be about: CLEARDIGITS_GATEWAY_CAPTURE_DIR


def commands_of(document: str) -> str:
    """Every curl of a document: API.md's examples whole, README's curl lines (its other lines are make's)."""
    blocks = re.findall(r"```(?:sh|shell)\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)
    if document == "README.md":
        return "\n".join(line for block in blocks for line in block.splitlines() if line.startswith("curl "))
    return "\n".join(block for block in blocks if OFF_BY_DEFAULT not in block)


@pytest.mark.parametrize(("document", "at_least"), [("docs/API.md", 20), ("README.md", 2)])
def test_every_command_runs(home, tmp_path, document, at_least):
    script = commands_of(document).replace(ADDRESS, home.url).replace("/tmp/", f"{tmp_path}/")
    (tmp_path / ".curlrc").write_text("fail-with-body\nsilent\nshow-error\n")

    done = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", script],
        cwd=ROOT,
        env={**os.environ, "CURL_HOME": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr.decode()[-2000:] + done.stdout.decode()[-2000:]
    assert done.stderr.decode().count("+ curl") >= at_least


def test_feedback_is_a_404_where_no_picture_is_kept(home):
    answer = requests.post(f"{home.url}{OFF_BY_DEFAULT}", json={"request_id": "a", "index": 0, "label": 7}, timeout=10)

    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/problem+json")
