"""Search spaces: their architectures with text, neighbours, features and facts."""

from __future__ import annotations

from pathlib import Path

from ..errors import SelectionError, unknown_name
from .base import ENCODINGS, Architecture, SearchSpace
from .darts import DartsSpace
from .declared import DeclaredSpace
from .macro import MacroSpace
from .nas_bench_201 import NasBench201Space
from .partial import PartialSpace

__all__ = [
    "ENCODINGS",
    "SPACES",
    "AnyArchitecture",
    "Architecture",
    "DeclaredSpace",
    "PartialSpace",
    "SearchSpace",
    "get_space",
    "given_architecture",
    "open_space",
    "register_space",
]

SPACES: dict[str, SearchSpace] = {
    space.name: space
    for space in (
        DartsSpace(),
        NasBench201Space(),
        MacroSpace(),
    )
}
"""All search spaces by name: those that come with the package, and those registered since."""


AnyArchitecture = Architecture | str | int
"""An architecture: the object, its text, or its index."""


def given_architecture(given: AnyArchitecture, space: str) -> Architecture:
    """Return an architecture that may be given as text, or by its index in a space.

    Raises
    ------
    GenotypeError
        If the text is malformed, or there is no such index.
    SelectionError
        If the space is too large for indices.
    """
    if isinstance(given, Architecture):
        return given
    own = get_space(space)
    return own.parse(given) if isinstance(given, str) else own.from_index(given)


def get_space(name: str, *, having: str | None = None) -> SearchSpace:
    """Return a search space by name.

    Parameters
    ----------
    name
        Of the space.
    having
        An ability that it needs (see `SearchSpace.abilities`), if any.

    Raises
    ------
    UnknownNameError
        If no space has that name; the message lists those that exist.
    SelectionError
        If it lacks the ability; the message lists the spaces that have it.
    """
    if name not in SPACES:
        raise unknown_name("search space", name, SPACES)
    if having is not None and having not in SPACES[name].abilities:
        able = ", ".join(space.name for space in SPACES.values() if having in space.abilities)
        own = ", or train by a function of your own (--trainer)" if having == "network" else ""
        raise SelectionError(
            f"this needs a space with a {having}, and {name} has none; those with a {having} are "
            f"{able}; take one of them{own}"
        )
    return SPACES[name]


def open_space(name: str) -> SearchSpace:
    """Return a search space by its name, or by the path of a TOML file that declares it.

    A declared space is then known by its name, in this process.

    Raises
    ------
    UnknownNameError, SourceFileError, SelectionError
        As `get_space`, `DeclaredSpace.read` and `register_space`.
    """
    if not name.endswith(".toml"):
        return get_space(name)
    space = DeclaredSpace.read(Path(name))
    register_space(space)
    return space


def register_space(space: SearchSpace) -> None:
    """Register a search space by its name, for this process.

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
