"""Notebooks run from top to bottom, and what they define there works in other processes, too."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


# What follows the first hour here: work that others do, cannot be sent, or kills its process.
PARALLEL = """
import os
from bpe_bench.errors import ExecutionError
from bpe_bench.processes import share_work

factor, numbers = 3, (number for number in range(9))
for task in (lambda n: factor * n, lambda n: next(numbers), lambda n: os._exit(1)):
    try:
        print(share_work(task, [1, 2, 3, 4], jobs=2))
    except ExecutionError as error:
        print(error)
"""


def run(notebook):
    """Run a notebook in a kernel that ends with it, and return what its cells show."""
    NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return [output.get("text") or output["data"] for output in outputs]


def test_the_first_hour():
    pytest.importorskip("matplotlib", reason="it draws a figure")
    notebook = nbformat.read(EXAMPLES / "first-hour.ipynb", as_version=4)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)
    notebook.cells.append(nbformat.v4.new_code_cell(PARALLEL))
    table, question, result, report, figure, search, parallel = run(notebook)
    assert table["text/plain"].startswith("<Table: 200 architectures of nas-bench-201")
    assert "<table" in table["text/html"]
    assert question.startswith("validation accuracy 87.94 % after epoch 200")
    assert "epoch=12" in result["text/plain"]
    assert "cifar10-valid-200@12" in report["text/html"]
    assert figure["image/png"].startswith("iVBORw0KGgo")
    assert search["text/plain"].startswith("<SearchReport: Convolutional found ")
    assert parallel.splitlines() == [
        "[3, 6, 9, 12]",
        "the work cannot be sent to other processes (TypeError: cannot pickle 'generator' object); "
        "run with one job",
        "a process was killed, perhaps for memory, or could not start; run again with fewer jobs",
    ]
