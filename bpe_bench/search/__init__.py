"""Searchers, the loop that drives them, and summaries of their results."""

from __future__ import annotations

from .base import Score, Searcher
from .comparison import SearcherComparison, compare_searchers
from .darts import Darts
from .evolution import RegularizedEvolution
from .loop import repeat_search, run_search
from .plan import SEARCHERS, SearchPlan, SearchResult, make_searcher, run_plan
from .random_search import RandomSearch, expected_regret
from .reinforce import Reinforce
from .summary import SearchReport, summarise
from .trace import SearchTrace, Step, read_traces, write_traces

__all__ = [
    "SEARCHERS",
    "Darts",
    "RandomSearch",
    "RegularizedEvolution",
    "Reinforce",
    "Score",
    "SearchPlan",
    "SearchReport",
    "SearchResult",
    "SearchTrace",
    "Searcher",
    "SearcherComparison",
    "Step",
    "compare_searchers",
    "expected_regret",
    "make_searcher",
    "read_traces",
    "repeat_search",
    "run_plan",
    "run_search",
    "summarise",
    "write_traces",
]
