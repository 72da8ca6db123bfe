"""Programs that rewrite a file of the repository do nothing else than what was asked for."""

import importlib
import sys

import pytest


@pytest.mark.parametrize(
    "program", ["deploy.capacity", "deploy.docs_page", "deploy.kubernetes.render", "notebooks.run"]
)
@pytest.mark.parametrize(("option", "status"), [("--help", 0), ("--outptu", 2)])
def test_an_option_is_no_order_to_write(program, option, status, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [program, option])

    with pytest.raises(SystemExit) as ended:
        importlib.import_module(program).main()

    assert ended.value.code == status
    assert "usage:" in "".join(capsys.readouterr())
