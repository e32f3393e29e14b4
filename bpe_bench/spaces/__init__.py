"""Search spaces: cells, their text, sampling and mutation."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ..errors import unknown_name
from .base import Architecture, SearchSpace
from .darts import DartsSpace, FullDartsSpace
from .nas_bench_201 import NasBench201Space

__all__ = [
    "FULL_DARTS",
    "SPACES",
    "Architecture",
    "DartsSpace",
    "FullDartsSpace",
    "NasBench201Space",
    "SearchSpace",
    "get_space",
]

SPACES: Mapping[str, SearchSpace] = MappingProxyType(
    {"darts": DartsSpace(), "nas-bench-201": NasBench201Space()}
)
"""All search spaces by name."""

FULL_DARTS = FullDartsSpace()
"""DARTS cells before pruning; not a space of its own name, for its texts are those of ``darts``."""


def get_space(name: str) -> SearchSpace:
    """Return a search space by name.

    Raises
    ------
    UnknownNameError
        If there is none of that name; the message lists those that exist.
    """
    if name not in SPACES:
        raise unknown_name("search space", name, SPACES)
    return SPACES[name]
