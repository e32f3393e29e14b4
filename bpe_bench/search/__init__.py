"""Searchers, the loop that drives them, and what their results say."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ..errors import unknown_name
from .base import SCORES, Score, Searcher
from .comparison import Comparison, compare_searchers
from .darts import Darts
from .evolution import RegularizedEvolution
from .loop import attach_outcome, check_allowance, repeat_search, run_search
from .random_search import RandomSearch, expected_regret
from .reinforce import Reinforce
from .summary import SearchReport, summarise, to_frame
from .trace import SearchTrace, Step, read_traces, write_traces

__all__ = [
    "SCORES",
    "SEARCHERS",
    "Comparison",
    "Darts",
    "RandomSearch",
    "RegularizedEvolution",
    "Reinforce",
    "Score",
    "SearchReport",
    "SearchTrace",
    "Searcher",
    "Step",
    "attach_outcome",
    "check_allowance",
    "compare_searchers",
    "expected_regret",
    "make_searcher",
    "read_traces",
    "repeat_search",
    "run_search",
    "summarise",
    "to_frame",
    "write_traces",
]

SEARCHERS: Mapping[str, type[Searcher]] = MappingProxyType(
    {searcher.name: searcher for searcher in (RandomSearch, RegularizedEvolution, Reinforce, Darts)}
)
"""All searchers by name."""


def make_searcher(name: str, **parameters: Any) -> Searcher:
    """Return a searcher by name.

    Raises
    ------
    UnknownNameError
        If there is none of that name, or it has no such parameter.
    """
    if name not in SEARCHERS:
        raise unknown_name("searcher", name, SEARCHERS)
    known = SEARCHERS[name]().parameters()
    for parameter in parameters:
        if parameter not in known:
            raise unknown_name(f"parameter of searcher {name!r}", parameter, known)
    return SEARCHERS[name](**parameters)
