"""One run of a method: its evaluations are charged, and its best so far is recorded."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...inference import Estimate, FloatArray
from .pool import Deal, Pool, _IntArray

_ROUNDING = 1e-9
"""Relative tolerance, because sums of costs in another order differ in their last digits."""


class _OutOfHours(Exception):
    """Raised when the next evaluation exceeds the allowance, which ends the run."""


@dataclass(frozen=True)
class Standing:
    """State of a method after an evaluation."""

    seconds: float
    """Device seconds spent so far."""
    incumbent: int
    """Place of the best setting seen so far; -1 before any has a correlation."""
    seen: float
    """The correlation that it was chosen by; NaN before there is one."""


class Account:
    """What a method may use: correlations on the choosing half, charged in device seconds.

    Its incumbent is the setting with the best correlation seen; if settings were seen on
    different numbers of architectures, only those with the most count.
    """

    def __init__(self, deal: Deal, seconds: float, rng: np.random.Generator) -> None:
        self._deal, self._allowance = deal, seconds
        self.rng = rng
        """Generator of this run."""
        self.spent = 0.0
        """Device seconds."""
        self.standings: list[Standing] = []
        self._trained: dict[int, int] = {}
        self._best = (0, -math.inf)

    @property
    def pool(self) -> Pool:
        """The settings; their correlations over all architectures are not for methods."""
        return self._deal.pool

    def evaluate(self, place: int, architectures: int | None = None) -> Estimate:
        """Return a setting's correlation, and charge its new trainings.

        Parameters
        ----------
        place
            Of a setting in the pool.
        architectures
            Number of architectures of the choosing half to train; all by default. Earlier
            trainings are free.

        Raises
        ------
        OutOfHours
            If it would exceed the allowance.
        """
        wanted = self.pool.choosing if architectures is None else architectures
        before = self._trained.get(place, 0)
        if wanted > before:
            cost = float(self.pool.seconds[place]) * (wanted - before)
            if self.spent + cost > self._allowance * (1 + _ROUNDING):
                raise _OutOfHours
            self.spent += cost
            self._trained[place] = wanted
            self._note(place, wanted)
        return self._deal.estimate(place, self._trained[place])

    def at(self, seconds: FloatArray) -> tuple[_IntArray, FloatArray]:
        """Return incumbents (-1 for none) and their correlations after hours (G,)."""
        times = np.array([standing.seconds for standing in self.standings])
        places = np.searchsorted(times, seconds * (1 + _ROUNDING), side="right") - 1
        known = [Standing(0.0, -1, math.nan), *self.standings]
        at = [known[place + 1] for place in places]
        return np.array([s.incumbent for s in at], np.intp), np.array([s.seen for s in at])

    def _note(self, place: int, architectures: int) -> None:
        value = self._deal.estimate(place, architectures).correlation
        last = self.standings[-1] if self.standings else Standing(0.0, -1, math.nan)
        found = Standing(self.spent, last.incumbent, last.seen)
        if math.isfinite(value) and (architectures, value) > self._best:
            self._best = (architectures, value)
            found = Standing(self.spent, place, value)
        self.standings.append(found)
