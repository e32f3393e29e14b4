"""What the tests of searches share."""

import importlib
import sys
from pathlib import Path

import pytest

from bpe_bench.search import SearchTrace, Step
from bpe_bench.spaces import Architecture


@pytest.fixture(scope="session")
def toys():
    """The module of made-up estimators and searchers, importable in other processes, too."""
    folder = str(Path(__file__).parent)
    sys.path.insert(0, folder)
    yield importlib.import_module("search_toys")
    sys.path.remove(folder)
    sys.modules.pop("search_toys")


@pytest.fixture(scope="session")
def make_trace():
    """Return a function from (first gene, signal, clock) of each step to a trace."""

    def make(*steps, seconds=None, searcher="random", outcome=None, **values):
        made = tuple(
            Step(architecture(gene), signal, clock, *rest) for gene, signal, clock, *rest in steps
        )
        best = max((s for s in made if s.accuracy >= 0), key=lambda s: s.accuracy, default=None)
        return SearchTrace(
            searcher=searcher,
            parameters={"replace": True, **values},
            space="nas-bench-201",
            steps=made,
            found=best and best.architecture,
            seconds=(made[-1].clock if made else 0.0) if seconds is None else seconds,
            stopped_by="evaluations",
            outcome=outcome,
        )

    return make


def architecture(gene):
    return Architecture("nas-bench-201", (gene // 5, gene % 5, 0, 0, 0, 0))
