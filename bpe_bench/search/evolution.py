"""Regularised (aging) evolution: Real, Aggarwal, Huang, Le, AAAI 2019, arXiv 1802.01548."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ..errors import SelectionError
from ..estimators import Evaluation
from ..spaces import Architecture, SearchSpace
from .base import Score, Searcher, _check_at_least, _scored_space

_MOST = 1_000_000


@dataclass
class RegularizedEvolution(Searcher):
    """Mutate the best of a few random members of a population; the oldest member leaves.

    The population is filled with random architectures. Then, each time, the best of
    ``tournament`` members drawn with replacement gets a child that differs in one choice. The
    child replaces the oldest member, not the worst, so no member survives only by a lucky
    evaluation.
    """

    name: ClassVar[str] = "evolution"

    population: int = 10
    """Members; 10 with NAS-Bench-201 (Dong, Yang, 2020), 50 in Zheng et al., 2020."""
    tournament: int = 3
    """Members drawn to choose a parent from; 10 in Zheng et al."""
    score: Score = "pruned"
    """Whether DARTS cells are scored as they will be built, two inputs per node, or ``"full"``."""
    _members: deque[tuple[float, Architecture]] = field(
        default_factory=deque, init=False, repr=False
    )

    def start(
        self, space: SearchSpace, rng: np.random.Generator, evaluations: int | None = None
    ) -> None:
        """Begin a search."""
        _check_at_least("population", self.population, 1)
        _check_at_least("tournament", self.tournament, 1)
        if max(self.population, self.tournament) > _MOST:
            raise SelectionError(
                f"population and tournament can be at most {_MOST}, found {self.population} and "
                f"{self.tournament}"
            )
        if evaluations is not None and self.population > evaluations:
            raise SelectionError(
                f"a population of {self.population} cannot be filled with {evaluations} "
                "evaluations; choose a smaller population or more evaluations"
            )
        self._space, self._rng = _scored_space(space, self.score), rng
        self._members = deque(maxlen=self.population)
        self._asked = 0

    def ask(self) -> Architecture:
        """Return a random architecture while the population is filled, then a child."""
        self._asked += 1
        if self._asked <= self.population or not self._members:
            return self._space.sample(self._rng)
        places = self._rng.integers(len(self._members), size=self.tournament)
        _, parent = max((self._members[int(place)] for place in places), key=lambda m: m[0])
        return self._space.mutate(parent, self._rng)

    def tell(self, architecture: Architecture, evaluation: Evaluation) -> None:
        """Add the architecture to the population; the oldest member leaves if it is full."""
        # What failed is a member like others, but loses every tournament.
        accuracy = evaluation.accuracy if evaluation.usable else -math.inf
        self._members.append((accuracy, architecture))

    def conclude(self, best: Architecture) -> Architecture:
        """Return the cell with two inputs per node, drawn at random if all were scored."""
        return self._space.prune(best, self._rng)
