"""Settings as minimum importance pruning looks at them: by their values, and by what is known."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np

from ..budget import Budget, BudgetSpace, encode
from ..hyper_parameters import HYPER_PARAMETERS, Value
from ..inference import FloatArray, resampled_correlations
from ..ranking import spearman
from .candidates import Candidate, Measured, Ranked

_MOVES_TOGETHER = 0.95
"""From this absolute rank correlation on, two hyper-parameters cannot be told apart."""


C = TypeVar("C", bound=Candidate)


@dataclass(frozen=True)
class Design:
    """Candidates, and what their values of hyper-parameters can tell."""

    rows: tuple[Candidate, ...]

    @property
    def budgets(self) -> list[Budget]:
        """The S budgets."""
        return [row.budget for row in self.rows]

    @cached_property
    def varied(self) -> tuple[str, ...]:
        """Hyper-parameters with more than one value, and no unknown one."""
        return BudgetSpace.of(self.budgets).free

    def eligible(self, name: str) -> bool:
        """Return whether there is enough variation to judge a hyper-parameter.

        It takes two values that were each seen at least twice.
        """
        counts = Counter(getattr(budget, name) for budget in self.budgets)
        return sum(count >= 2 for count in counts.values()) >= 2

    def groups(self, names: Sequence[str]) -> list[tuple[str, ...]]:
        """Return groups of hyper-parameters; those that move together are in one group.

        Two join if the absolute Spearman correlation of their values over the
        settings is at least .95: their effects cannot be told apart.
        """
        columns = encode(self.budgets, names)
        joined: list[list[int]] = []
        for place in range(len(names)):
            near = [
                group
                for group in joined
                if any(_move_together(columns[:, place], columns[:, other]) for other in group)
            ]
            joined = [group for group in joined if group not in near]
            joined.append(sorted([place, *itertools.chain(*near)]))
        return [tuple(names[place] for place in group) for group in sorted(joined)]

    def allows(self, budget: Budget) -> bool:
        """Return whether hyper-parameters that move together have values seen together."""
        return all(_values(budget, group) in seen for group, seen in self._combinations.items())

    @cached_property
    def _combinations(self) -> dict[tuple[str, ...], set[tuple[Value, ...]]]:
        joined = [group for group in self.groups(self.varied) if len(group) > 1]
        return {group: {_values(b, group) for b in self.budgets} for group in joined}

    def usual_value(self, name: str) -> Value:
        """Return the most common value of a hyper-parameter."""
        counts = Counter(getattr(budget, name) for budget in self.budgets)
        value: Value = counts.most_common(1)[0][0]
        return value


@dataclass(frozen=True)
class Evidence(Design):
    """Settings whose correlation was measured, or predicted by a surrogate."""

    rows: tuple[Ranked, ...]
    surrogate_error: float = 0.0
    """Standard deviation of what is predicted."""

    @property
    def correlations(self) -> FloatArray:
        """Shape (S,)."""
        return np.array([row.correlation for row in self.rows])

    def draw(self, resamples: int, rng: np.random.Generator) -> FloatArray:
        """Draw the correlations as other architectures might have given them, (B, S)."""
        drawn = np.empty((resamples, len(self.rows)))
        measured = [row.estimate if isinstance(row, Measured) else None for row in self.rows]
        sizes = np.array([0 if estimate is None else estimate.n for estimate in measured])
        # Settings that lack architectures share no resample with those that have them all.
        for size in sorted(set(sizes[sizes > 0].tolist()), reverse=True):
            known = [estimate for estimate in measured if estimate and estimate.n == size]
            drawn[:, sizes == size] = resampled_correlations(known, resamples, rng)
        predicted = self.correlations[sizes == 0]
        noise = rng.normal(0.0, self.surrogate_error, (resamples, predicted.size))
        drawn[:, sizes == 0] = predicted + noise
        return drawn


def covering(pool: Sequence[C], known: Sequence[Candidate], count: int) -> list[C]:
    """Choose settings to evaluate next: a cheap design that makes hyper-parameters eligible.

    Greedy weighted cover: a hyper-parameter is covered when its two most frequent values were
    both seen twice. The setting that adds most cover per cost comes next; when everything is
    covered, the cheapest does. Only costs decide, never correlations.

    Parameters
    ----------
    pool
        Settings to choose from.
    known
        Settings evaluated before.
    count
        How many to choose, fewer if the pool is smaller.
    """
    left = sorted(pool, key=lambda row: (row.cost.amount, row.label))
    chosen: list[C] = []
    budgets = [row.budget for row in left] + [row.budget for row in known]
    unknown = BudgetSpace.of(budgets).unknown if budgets else ()
    names = [name for name in HYPER_PARAMETERS if name not in unknown]
    seen = {n: Counter(getattr(row.budget, n) for row in known) for n in names}
    values = {n: {getattr(row.budget, n) for row in left} for n in names}
    while left and len(chosen) < count:
        gain = {n: {v: _gain(seen[n], v) for v in values[n]} for n in seen}
        gains = [sum(gain[n][getattr(row.budget, n)] for n in gain) for row in left]
        worth = [g / row.cost.amount for g, row in zip(gains, left, strict=True)]
        best = left.pop(int(np.argmax(worth)) if max(gains) > 0 else 0)
        chosen.append(best)
        for name, counter in seen.items():
            counter[getattr(best.budget, name)] += 1
    return chosen


def _values(budget: Budget, names: Sequence[str]) -> tuple[Value, ...]:
    return tuple(getattr(budget, name) for name in names)


def _gain(seen: Counter[Value], value: Value) -> int:
    return _covered(seen + Counter([value])) - _covered(seen)


def _covered(seen: Counter[Value]) -> int:
    return sum(min(count, 2) for _, count in seen.most_common(2))


def _move_together(x: FloatArray, y: FloatArray) -> bool:
    return abs(spearman(x, y).value) >= _MOVES_TOGETHER
