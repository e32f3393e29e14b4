"""Search spaces: cells, their text, sampling and mutation."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ..errors import unknown_name
from .base import Architecture, SearchSpace
from .darts import DartsSpace
from .nas_bench_201 import NasBench201Space

__all__ = [
    "SPACES",
    "Architecture",
    "DartsSpace",
    "NasBench201Space",
    "SearchSpace",
    "get_space",
]

SPACES: Mapping[str, SearchSpace] = MappingProxyType(
    {"darts": DartsSpace(), "nas-bench-201": NasBench201Space()}
)
"""All search spaces by name."""


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
