"""Evidence of minimum importance pruning: settings with known correlations."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..budget import Budget, BudgetSpace, encode
from ..hyper_parameters import HYPER_PARAMETERS, Value
from ..inference import FloatArray, resampled_correlations
from ..ranking import spearman
from .report import BudgetRow

_MOVES_TOGETHER = 0.95
"""From this absolute rank correlation on, two hyper-parameters cannot be told apart."""


@dataclass(frozen=True)
class Evidence:
    """Settings with correlations; a surrogate predicted the rows that have no estimate."""

    rows: tuple[BudgetRow, ...]
    surrogate_error: float = 0.0
    """Standard deviation of the surrogate's answers."""

    @property
    def budgets(self) -> list[Budget]:
        """The S budgets."""
        return [row.budget for row in self.rows]

    @property
    def correlations(self) -> FloatArray:
        """Shape (S,)."""
        return np.array([row.correlation for row in self.rows])

    @cached_property
    def varied(self) -> tuple[str, ...]:
        """Hyper-parameters with more than one value."""
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

    def draw(self, resamples: int, rng: np.random.Generator) -> FloatArray:
        """Draw the correlations as other architectures might have given them, (B, S)."""
        drawn = np.empty((resamples, len(self.rows)))
        sizes = np.array([row.estimate.n if row.estimate else 0 for row in self.rows])
        # Settings that lack architectures share no resample with those that have them all.
        for size in sorted(set(sizes[sizes > 0].tolist()), reverse=True):
            known = [r.estimate for r in self.rows if r.estimate and r.estimate.n == size]
            drawn[:, sizes == size] = resampled_correlations(known, resamples, rng)
        answered = self.correlations[sizes == 0]
        noise = rng.normal(0.0, self.surrogate_error, (resamples, answered.size))
        drawn[:, sizes == 0] = answered + noise
        return drawn


def covering(pool: Sequence[BudgetRow], known: Sequence[BudgetRow], count: int) -> list[BudgetRow]:
    """Choose settings to evaluate next: a cheap design that makes hyper-parameters eligible.

    Greedy weighted cover: a hyper-parameter is covered when its two most frequent values were
    both seen twice. The setting that adds most cover per second comes next; when everything is
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
    left = sorted(pool, key=lambda row: (row.cost_seconds, row.label))
    chosen: list[BudgetRow] = []
    seen = {n: Counter(getattr(row.budget, n) for row in known) for n in HYPER_PARAMETERS}
    values = {n: {getattr(row.budget, n) for row in left} for n in HYPER_PARAMETERS}
    while left and len(chosen) < count:
        gain = {n: {v: _gain(seen[n], v) for v in values[n]} for n in seen}
        gains = [sum(gain[n][getattr(row.budget, n)] for n in gain) for row in left]
        worth = [g / row.cost_seconds for g, row in zip(gains, left, strict=True)]
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
