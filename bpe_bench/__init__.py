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
    from .pruning import Replay, Rules, prune
    from .ranking import kendall, sparse_kendall, spearman
    from .spaces import Architecture, get_space
    from .tables.catalog import open_table
    from .tables.curves import Curves, Split
    from .tables.storage import read_table, write_table
    from .tables.table import Setting, Table

_HOMES = {
    name: home
    for home, names in {
        "budget": "BPE_1 BPE_2 Budget BudgetSpace",
        "correlation": "Selection correlate with_top_k",
        "errors": "BpeBenchError",
        "pruning": "Replay Rules prune",
        "ranking": "kendall sparse_kendall spearman",
        "spaces": "Architecture get_space",
        "tables": "Curves Setting Split Table",
        "tables.catalog": "open_table",
        "tables.storage": "read_table write_table",
    }.items()
    for name in names.split()
}

__all__ = [
    "BPE_1",
    "BPE_2",
    "Architecture",
    "BpeBenchError",
    "Budget",
    "BudgetSpace",
    "Curves",
    "Replay",
    "Rules",
    "Selection",
    "Setting",
    "Split",
    "Table",
    "correlate",
    "get_space",
    "kendall",
    "open_table",
    "prune",
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
