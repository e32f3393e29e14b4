"""bpe-bench: which cheap way of training ranks architectures as full training would.

The names below are loaded when first used, so importing the package is quick.

Examples
--------
>>> import bpe_bench
>>> table = bpe_bench.open_table("darts-bpe")
>>> report = bpe_bench.correlate(table)
>>> round(report.row("BPE-1").correlation, 4)
0.4968
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .budget import BPE_1, BPE_2, Budget, BudgetSpace
    from .correlation import Selection, correlate, with_top_k
    from .errors import BpeBenchError
    from .pruning import minimum_importance_pruning
    from .ranking import kendall, sparse_kendall, spearman
    from .spaces import Architecture, get_space
    from .tables.catalog import open_table
    from .tables.curves import Curves, Split
    from .tables.storage import read_table, write_table
    from .tables.table import Setting, Table

_HOMES = {
    "BPE_1": "budget",
    "BPE_2": "budget",
    "Architecture": "spaces",
    "BpeBenchError": "errors",
    "Budget": "budget",
    "BudgetSpace": "budget",
    "Curves": "tables",
    "Selection": "correlation",
    "Setting": "tables",
    "Split": "tables",
    "Table": "tables",
    "correlate": "correlation",
    "get_space": "spaces",
    "kendall": "ranking",
    "minimum_importance_pruning": "pruning",
    "open_table": "tables.catalog",
    "read_table": "tables.storage",
    "sparse_kendall": "ranking",
    "spearman": "ranking",
    "with_top_k": "correlation",
    "write_table": "tables.storage",
}

__all__ = [
    "BPE_1",
    "BPE_2",
    "Architecture",
    "BpeBenchError",
    "Budget",
    "BudgetSpace",
    "Curves",
    "Selection",
    "Setting",
    "Split",
    "Table",
    "correlate",
    "get_space",
    "kendall",
    "minimum_importance_pruning",
    "open_table",
    "read_table",
    "sparse_kendall",
    "spearman",
    "with_top_k",
    "write_table",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
