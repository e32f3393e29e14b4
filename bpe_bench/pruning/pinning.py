"""What pinning hyper-parameters at their cheapest values costs in ranking quality, and saves."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from ..budget import Budget, encode_scaled
from ..correlation.candidates import Measured
from ..correlation.evidence import Evidence
from ..correlation.prediction import CostModel
from ..errors import SelectionError
from ..hyper_parameters import Value
from ..inference import FloatArray
from ..randomness import settled
from .process import SettingProcess

_LEAST_SEEN = 2
"""A value that fewer settings have is no value to pin to: their own luck would count as its."""
_FLAT = 0.05
"""Below this p-value the changes of pairs differ by more than chance."""

_Group = tuple[str, ...]


@dataclass(frozen=True)
class PinningCost:
    """The change of the correlation when a group of hyper-parameters is pinned."""

    group: _Group
    pinned_to: Mapping[str, Value]
    change: float
    """Of the correlation, pinned minus as it is; below 0 pinning loses."""
    low: float
    high: float
    """Bounds of its interval."""
    support: float
    """Probability that pinning loses at most the margin."""
    seconds_saved: float
    """Mean device seconds saved per network; NaN if costs are not in seconds."""
    times_cheaper: float
    """Geometric mean of the cost before over the cost after."""
    settings: int
    """Settings whose change was averaged, those that have another value."""


@dataclass(frozen=True)
class Contrast:
    """The change seen between settings that differ in one group of hyper-parameters only."""

    group: _Group
    pairs: tuple[tuple[str, str], ...]
    """Labels of the cheaper and the dearer setting of each of the P pairs."""
    changes: FloatArray
    """Shape (P,): correlation of the cheaper minus that of the dearer setting."""
    change: float
    """Their mean, weighted by inverse variance."""
    low: float
    high: float
    """Bounds of its interval, which knows that pairs share settings and architectures."""
    heterogeneity: float
    """p-value of the hypothesis that the change is the same in all pairs (Cochran's Q with the
    full covariance); NaN for one pair. The interval is for pairs like these: where they differ,
    the change depends on the other hyper-parameters."""
    spread: float
    """Standard deviation of the change beyond sampling (DerSimonian & Laird, 1986)."""

    @property
    def heterogeneous(self) -> bool:
        """Whether the pairs differ by more than chance."""
        return self.heterogeneity < _FLAT


@dataclass(frozen=True)
class PinningModel:
    """What pinning costs, by a Gaussian process over the settings of some evidence."""

    evidence: Evidence
    costs: CostModel
    process: SettingProcess
    names: tuple[str, ...]
    """Hyper-parameters that vary: coordinates of the process."""

    @classmethod
    def fit(cls, evidence: Evidence, costs: CostModel, rng: np.random.Generator) -> PinningModel:
        """Fit the process.

        Parameters
        ----------
        evidence
            Settings with correlations.
        costs
            Cost model, which says what is cheapest and what is saved.
        rng
            Draws kernels.
        """
        names = evidence.varied
        groups = [[names.index(name) for name in group] for group in evidence.groups(names)]
        points = _points(evidence.budgets, names)
        noise = covariance_of(evidence)
        process = SettingProcess.fit(points, groups, evidence.correlations, noise, rng)
        return cls(evidence, costs, process, names)

    def pin(
        self,
        group: _Group,
        *,
        pinned: Mapping[str, Value] | None = None,
        margin: float = 0.02,
        confidence: float = 0.95,
    ) -> PinningCost:
        """Return what pinning a group at its cheapest value costs.

        The change is the mean over the settings of the evidence that have another value.

        Parameters
        ----------
        group
            The hyper-parameters.
        pinned
            Values of hyper-parameters pinned before: the change is then between settings that
            have these values.
        margin
            A loss of correlation that does not matter.
        confidence
            Nominal coverage of the interval.

        Raises
        ------
        SelectionError
            If no value of the group was seen in two settings.
        """
        budgets, before = self.evidence.budgets, pinned or {}
        values = cheapest_values(group, self.evidence, self.costs)
        other = [_values(b, group) != tuple(values.values()) for b in budgets]
        dear = self.at(self.process.points[other], before)
        change = self.process.change(dear, self.at(dear, values))
        low, high = change.interval(confidence)
        moved = [b.replace(**{"cutout": 0, **before}) for b in itertools.compress(budgets, other)]
        saved, times = _saved(moved, values, self.costs)
        return PinningCost(
            group=tuple(group),
            pinned_to=values,
            change=change.mean,
            low=low,
            high=high,
            support=change.above(-margin),
            seconds_saved=saved,
            times_cheaper=times,
            settings=len(dear),
        )

    def at(self, points: FloatArray, pins: Mapping[str, Value]) -> FloatArray:
        """Return points of the process with some coordinates pinned.

        Coordinates, not budgets, as an image smaller than the cutout is no budget.
        """
        found = points.copy()
        for name, value in pins.items():
            place = [getattr(b, name) for b in self.evidence.budgets].index(value)
            column = self.names.index(name)
            found[:, column] = self.process.points[place, column]
        return found


def contrasts(
    evidence: Evidence,
    costs: CostModel,
    groups: Sequence[_Group],
    *,
    confidence: float = 0.95,
) -> list[Contrast]:
    """Return the changes between measured settings that differ in one group only.

    Both settings of a pair are ranked over the same architectures, so most of the noise is
    common to both and falls out.

    Parameters
    ----------
    evidence, costs, confidence
        As for `PinningModel`.
    groups
        Groups of hyper-parameters; those without a pair have no contrast.
    """
    rows = [row for row in evidence.rows if isinstance(row, Measured)]
    covariance = covariance_of(Evidence(tuple(rows)))
    found = []
    for group in groups:
        pairs = list(_pairs(rows, evidence.varied, group, costs))
        if pairs:
            found.append(_contrast(group, pairs, rows, covariance, confidence))
    return found


def cheapest_values(group: _Group, evidence: Evidence, costs: CostModel) -> dict[str, Value]:
    """Return the cheapest values of a group that at least two settings have.

    Among equally cheap values (a schedule costs nothing) the most common is taken.

    Raises
    ------
    SelectionError
        If there are none.
    """
    seen = Counter(_values(b, group) for b in evidence.budgets)
    often = [values for values, count in seen.most_common() if count >= _LEAST_SEEN]
    if not often:
        raise SelectionError(
            f"pinning {'+'.join(group)} needs a value that {_LEAST_SEEN} settings have, found "
            f"each value once; train more settings, or leave it out"
        )
    base = evidence.budgets[0].replace(cutout=0)
    variants = [base.replace(**dict(zip(group, values, strict=True))) for values in often]
    amounts = np.array([cost.amount for cost in costs.costs(variants)])
    return dict(zip(group, often[int(np.argmin(np.round(amounts, 6)))], strict=True))


def covariance_of(evidence: Evidence) -> FloatArray:
    """Return the covariance (S, S) of the correlations, as other architectures would show it.

    mean(I_i I_j) / n over the influences of the architectures (`bpe_bench.ranking`). Settings
    with other architectures count as independent of the rest; predictions have the error of
    their surrogate.
    """
    rows = evidence.rows
    found = np.diag([evidence.surrogate_error**2] * len(rows)).astype(float)
    influences = [row.estimate.influence if isinstance(row, Measured) else None for row in rows]
    for i, j in itertools.product(range(len(rows)), repeat=2):
        one, other = influences[i], influences[j]
        if one is not None and other is not None:
            same = one.size == other.size
            found[i, j] = float(np.mean(one * other)) / one.size if same else 0.0
    return settled(found)


def _points(budgets: Sequence[Budget], names: Sequence[str]) -> FloatArray:
    """Return settings as points, each hyper-parameter from 0 to 1 on its own scale."""
    columns = encode_scaled(budgets, names)
    low, high = columns.min(axis=0), columns.max(axis=0)
    found: FloatArray = (columns - low) / (high - low)
    return found


def _saved(
    before: Sequence[Budget], values: Mapping[str, Value], costs: CostModel
) -> tuple[float, float]:
    """Return mean seconds saved per network, and the geometric mean of before over after."""
    after = [b.replace(**values) for b in before]
    dear, cheap = (np.array([c.amount for c in costs.costs(bs)]) for bs in (before, after))
    seconds = float(np.mean(dear - cheap)) if costs.like.unit == "seconds" else math.nan
    return settled(seconds, 9), settled(float(np.exp(np.mean(np.log(dear / cheap)))), 9)


def _pairs(
    rows: Sequence[Measured], names: Sequence[str], group: _Group, costs: CostModel
) -> Iterator[tuple[int, int]]:
    """Yield the places of the cheaper and the dearer of settings that differ in one group."""
    others = [name for name in names if name not in group]
    for i, j in itertools.combinations(range(len(rows)), 2):
        one, other = rows[i].budget, rows[j].budget
        same = _values(one, others) == _values(other, others)
        if same and _values(one, group) != _values(other, group):
            first, second = (round(cost.amount, 6) for cost in costs.costs([one, other]))
            yield (i, j) if first <= second else (j, i)


def _contrast(
    group: _Group,
    pairs: Sequence[tuple[int, int]],
    rows: Sequence[Measured],
    covariance: FloatArray,
    confidence: float,
) -> Contrast:
    signs = np.zeros((len(pairs), len(rows)))
    for place, (cheap, dear) in enumerate(pairs):
        signs[place, cheap], signs[place, dear] = 1.0, -1.0
    changes = signs @ np.array([row.correlation for row in rows])
    spread = signs @ covariance @ signs.T
    weights = 1 / np.diag(spread)
    weights /= weights.sum()
    mean, error = float(weights @ changes), math.sqrt(float(weights @ spread @ weights))
    half = float(stats.norm.ppf((1 + confidence) / 2)) * error
    p_value, beyond = _heterogeneity(changes, spread)
    return Contrast(
        group=tuple(group),
        pairs=tuple((rows[cheap].label, rows[dear].label) for cheap, dear in pairs),
        changes=settled(changes, 9, least=1e-12),
        change=settled(mean, 9, least=1e-12),
        low=settled(mean - half, 9, least=1e-12),
        high=settled(mean + half, 9, least=1e-12),
        heterogeneity=p_value,
        spread=beyond,
    )


def _heterogeneity(changes: FloatArray, covariance: FloatArray) -> tuple[float, float]:
    """Return the p-value of Cochran's Q, and the standard deviation beyond sampling.

    Contrasts of pairs that share settings can depend on each other linearly: the directions
    without variance are left out.
    """
    if len(changes) < 2:
        return math.nan, math.nan
    deviation = changes - changes.mean()
    centre = np.eye(len(changes)) - 1 / len(changes)
    within = centre @ covariance @ centre
    values, vectors = np.linalg.eigh(within)
    kept = values > 1e-9 * values.max()
    statistic = float(((vectors.T @ deviation)[kept] ** 2 / values[kept]).sum())
    degrees = int(kept.sum())
    excess = float(deviation @ deviation - np.trace(within)) / (len(changes) - 1)
    p_value = settled(float(stats.chi2.sf(statistic, degrees)), 6)
    return p_value, settled(math.sqrt(max(excess, 0.0)), 6)


def _values(budget: Budget, names: Sequence[str]) -> tuple[Value, ...]:
    return tuple(getattr(budget, name) for name in names)
