"""The protocol of searchers: they propose architectures and are told how good those are."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import numpy as np

from ..errors import SelectionError
from ..estimators import Evaluation
from ..spaces import SPACES, Architecture, PartialSpace, SearchSpace

Score = Literal["pruned", "full"]
_SCORES: tuple[Score, ...] = ("pruned", "full")


class Searcher(ABC):
    """Proposes architectures, one after the other (ask and tell).

    A searcher defines `start`, `ask` and `tell`; the rest has defaults. `start` begins a search
    and forgets the one before; all that it draws comes from the generator given there. It is told
    accuracies on validation images only. If it is a dataclass, its fields are its parameters.
    """

    name: ClassVar[str]
    """Name in reports and on the command line; by default that of the class. Searchers of
    different names draw different random numbers."""

    own_seconds: float = 0.0
    """Device seconds that the searcher itself has spent so far, beside evaluations."""

    on_progress: Callable[[float], None] | None = None
    """Set by the loop: called with the share of the work that is done, if `ask` takes long."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "name" not in vars(cls):
            cls.name = cls.__name__

    @abstractmethod
    def start(
        self, space: SearchSpace, rng: np.random.Generator, evaluations: int | None = None
    ) -> None:
        """Begin a search.

        Parameters
        ----------
        space
            The space to search.
        rng
            The only source of randomness.
        evaluations
            The maximum number of evaluations, if known.

        Raises
        ------
        SelectionError
            If the parameters do not fit the space or the number of evaluations.
        """

    @abstractmethod
    def ask(self) -> Architecture | None:
        """Return the architecture to evaluate next; None if there is nothing left to propose."""

    @abstractmethod
    def tell(self, architecture: Architecture, evaluation: Evaluation) -> None:
        """Learn from an evaluation; its accuracy is NaN if the training diverged or failed."""

    def conclude(self, best: Architecture) -> Architecture:
        """Return the architecture that is built when the best one scored is ``best``."""
        return best

    def parameters(self) -> dict[str, Any]:
        """Return the searcher's parameters as JSON values: the fields of a dataclass."""
        fields: tuple[dataclasses.Field[Any], ...] = ()
        if dataclasses.is_dataclass(self):
            fields = dataclasses.fields(self)
        return {f.name: getattr(self, f.name) for f in fields if f.init}


def _check_at_least(name: str, value: float, least: float) -> None:
    """Refuse a parameter that is too small or not a finite number.

    Raises
    ------
    SelectionError
        With the parameter's name and both numbers.
    """
    if not least <= value < math.inf:
        limit = "finite" if value == math.inf else f"at least {least:g}"
        raise SelectionError(f"{name} must be {limit}, found {value:g}")


def _scored_space(space: SearchSpace, score: Score) -> SearchSpace:
    """Return the space of the scored architectures.

    Parameters
    ----------
    space
        The space to search.
    score
        ``"pruned"``: cells are scored as they are built. ``"full"``: DARTS cells with all 14
        edges are scored, and pruned to two inputs per node when the search has ended, as Zheng
        et al. did; the score is then that of another network.

    Raises
    ------
    SelectionError
        If the space has nothing to prune.
    """
    if score not in _SCORES:
        raise SelectionError(f"score must be one of {', '.join(_SCORES)}, found {score!r}")
    if score == "pruned":
        return space
    if isinstance(space, PartialSpace):
        raise SelectionError(
            "score 'full' asks for cells with all edges, and the table holds only "
            f"{space.size:,} cells as they are built; take score 'pruned'"
        )
    if space.unpruned is None:
        pruned = ", ".join(name for name, known in SPACES.items() if known.unpruned)
        raise SelectionError(
            f"score 'full' is for spaces that are pruned ({pruned}); architectures of {space.name} "
            "are built as they are scored; take score 'pruned'"
        )
    return space.unpruned
