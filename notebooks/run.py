"""Run the walkthrough from top to bottom and keep what it prints and draws.

make notebook                   (needs MNIST and a gateway: make up; CLEARDIGITS_EVALUATOR_URL names another one)
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

PATH = Path(__file__).parent / "walkthrough.ipynb"
CELL_TIMEOUT_S = 600


def run(notebook: nbformat.NotebookNode) -> None:
    """Execute every cell in order; raises CellExecutionError at the first that fails."""
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT_S,
        record_timing=False,  # timings would change with every run
        coalesce_streams=True,
        resources={"metadata": {"path": str(PATH.parent)}},
    )
    client.execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":  # TensorFlow greets on stderr, with addresses and times of this run
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]


def main() -> int:
    """Run it and write it back; answers the exit status."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    notebook = nbformat.read(PATH, as_version=4)
    try:
        run(notebook)
    except CellExecutionError as exc:
        print(exc, file=sys.stderr)
        return 1
    nbformat.write(notebook, PATH)
    return 0


if __name__ == "__main__":
    sys.exit(main())
