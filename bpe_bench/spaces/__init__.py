"""Search spaces: what architectures there are, their text, neighbours, numbers and facts."""

from __future__ import annotations

from ..errors import SelectionError, unknown_name
from .base import ENCODINGS, Architecture, SearchSpace
from .darts import DartsSpace
from .nas_bench_201 import NasBench201Space

__all__ = ["ENCODINGS", "SPACES", "Architecture", "SearchSpace", "get_space", "register_space"]

SPACES: dict[str, SearchSpace] = {
    space.name: space
    for space in (
        DartsSpace(),
        NasBench201Space(),
    )
}
"""All search spaces by name: those that come with the package, and those registered since."""


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


def register_space(space: SearchSpace) -> None:
    """Make a search space known by its name to all of this process.

    Raises
    ------
    SelectionError
        If another space has the name already.
    """
    if SPACES.setdefault(space.name, space) != space:
        raise SelectionError(
            f"the name {space.name} is taken by another search space; there are: "
            f"{', '.join(SPACES)}; give the new one another name"
        )
