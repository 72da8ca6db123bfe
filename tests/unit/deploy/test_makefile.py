"""Names that people give to make's targets reach the programs whole."""

import subprocess

import pytest

from deploy.stack.settings import ROOT


@pytest.mark.parametrize(
    ("target", "variables", "argument"),
    [
        ("read", ["FOLDER=my scans", "OUT=my numbers.csv"], '"my scans" --out="my numbers.csv"'),
        ("sign", ["KEY=my key.pem", "PASSPHRASE_FILE=my words"], '--key-passphrase-file="my words"'),
        ("corrections", ["CAPTURES=my captures"], '"my captures"'),
    ],
)
def test_a_name_with_a_space_is_one_argument(target, variables, argument):
    shown = subprocess.run(["make", "-n", target, *variables], cwd=ROOT, check=True, capture_output=True, text=True)

    assert argument in shown.stdout
