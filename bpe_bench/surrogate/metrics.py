"""How good predictions of held-out groups are, and how sure that is.

Groups were drawn, so they are the sample: an interval comes from the influence of each row on a
figure (infinitesimal jackknife, as in `bpe_bench.inference`), summed over each group; with two
kinds of groups the variances are added, minus that of single rows (Cameron, Gelbach & Miller,
2011). Top-k figures have no influence, so they are resampled.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from ..errors import ConstantInputWarning
from ..randomness import settled
from ..ranking import best_rank_at_k, kendall, precision_at_k, regret_at_k, sparse
from .crossfit import _IntArray
from .question import FloatArray

_FEWEST_RANKED = 2
"""Settings with fewer held-out rows than this times k have no top-k figures."""
_FEWEST_GROUPS = 5
"""With fewer groups R² and differences have no interval."""


@dataclass(frozen=True)
class Figure:
    """A figure with its interval, rounded; NaN where it is not defined or cannot be estimated."""

    value: float
    low: float
    high: float

    def __post_init__(self) -> None:
        for name, value in vars(self).copy().items():
            object.__setattr__(self, name, settled(value))

    def scaled(self, factor: float) -> Figure:
        """Return the figure and its bounds times a factor."""
        return Figure(self.value * factor, self.low * factor, self.high * factor)


_UNKNOWN = Figure(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class _Clusters:
    """Which rows belong together: along each axis the group of each of n rows."""

    axes: tuple[_IntArray, ...]
    """One or two of shape (n,)."""

    @property
    def fewest(self) -> int:
        """Number of groups along the axis with the fewest."""
        return min(np.unique(axis).size for axis in self.axes)

    def variance(self, influence: FloatArray) -> float:
        """Return the variance of a figure from the influence of each row, (n,)."""
        n = influence.size
        found = 0.0
        for axis in self.axes:
            groups, place = np.unique(axis, return_inverse=True)
            sums = np.bincount(place, weights=influence)
            found += float(np.sum(sums**2)) * groups.size / max(1, groups.size - 1)
        if len(self.axes) == 2:
            found = max(found - float(np.sum(influence**2)), 0.0)
        return found / n**2


def _r2(y: FloatArray, predicted: FloatArray, clusters: _Clusters, confidence: float) -> Figure:
    """Return the coefficient of determination, 1 − Σ(y − p)² / Σ(y − ȳ)².

    NaN for constant y. With fewer than five groups there is no interval.
    """
    missed, spread = (y - predicted) ** 2, (y - y.mean()) ** 2
    if spread.max() == 0:
        return _UNKNOWN
    value = 1 - float(missed.mean() / spread.mean())
    if clusters.fewest < _FEWEST_GROUPS:
        return Figure(value, math.nan, math.nan)
    influence = -(missed - missed.mean()) / spread.mean()
    influence += missed.mean() / spread.mean() ** 2 * (spread - spread.mean())
    half = _quantile(clusters, confidence) * math.sqrt(clusters.variance(influence))
    return Figure(value, value - half, min(1.0, value + half))


def _rank_correlation(
    y: FloatArray,
    predicted: FloatArray,
    clusters: _Clusters,
    confidence: float,
    *,
    within: _IntArray | None = None,
    rounded: bool = False,
) -> Figure:
    """Return Kendall's tau-b of predictions and truth.

    Parameters
    ----------
    y, predicted
        Shape (n,).
    clusters
        The groups that were held out.
    confidence
        Nominal coverage, on Fisher's z scale.
    within
        The setting of each row, (n,): the mean over settings of the correlation within
        each, weighted by its rows. Over all rows by default.
    rounded
        Round both to 0.1 % first (sparse Kendall).
    """
    if rounded:
        y, predicted = sparse(y), sparse(predicted)
    value, pull = _kendall(y, predicted, within)
    if math.isnan(value):
        return _UNKNOWN
    if abs(value) >= 1 - 1e-12:
        return Figure(value, math.nan, math.nan)
    error = math.sqrt(clusters.variance(pull)) / (1 - value**2)
    half = _quantile(clusters, confidence) * error
    return Figure(value, math.tanh(math.atanh(value) - half), math.tanh(math.atanh(value) + half))


def _rank_difference(
    y: FloatArray,
    predicted: FloatArray,
    other: FloatArray,
    clusters: _Clusters,
    confidence: float,
    within: _IntArray | None = None,
) -> Figure:
    """Return how much higher Kendall's tau-b of one prediction is than another's.

    Both are of the same rows, so what a row does to both cancels. With fewer than five groups
    there is no interval. Parameters as for `_rank_correlation`.
    """
    (value, pull), (less, other_pull) = (_kendall(y, p, within) for p in (predicted, other))
    difference = value - less
    if math.isnan(difference) or clusters.fewest < _FEWEST_GROUPS:
        return Figure(difference, math.nan, math.nan)
    half = _quantile(clusters, confidence) * math.sqrt(clusters.variance(pull - other_pull))
    return Figure(difference, difference - half, difference + half)


def _kendall(
    y: FloatArray, predicted: FloatArray, within: _IntArray | None
) -> tuple[float, FloatArray]:
    """Return Kendall's tau-b and what each row changes of it, (n,); NaN if it is not defined."""
    parts = np.zeros(y.size, dtype=np.int64) if within is None else within
    values, influence = np.full(y.size, np.nan), np.full(y.size, np.nan)
    for part in np.unique(parts):
        rows = parts == part
        if rows.sum() < 2:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConstantInputWarning)  # it is NaN, and left out
            found = kendall(predicted[rows], y[rows])
        values[rows], influence[rows] = found.value, found.influence
    known = np.isfinite(values)
    if not known.any():
        return math.nan, np.zeros(y.size)
    value = float(values[known].mean())
    # What a row changes: the correlation of its setting, and that setting's weight in the mean.
    return value, np.where(known, influence + values - value, 0.0) * y.size / known.sum()


def _share(inside: FloatArray, clusters: _Clusters, confidence: float) -> Figure:
    """Return a share of rows with Wilson's interval (1927) for an effective number of rows.

    That many independent rows would have the variance that the groups show.
    """
    value = float(inside.mean())
    variance = clusters.variance(inside - value)
    worth = value * (1 - value) / variance if variance > 0 else clusters.fewest
    worth = min(worth, inside.size)
    z = float(stats.norm.ppf((1 + confidence) / 2))
    centre = (value + z * z / (2 * worth)) / (1 + z * z / worth)
    half = z / (1 + z * z / worth)
    half *= math.sqrt(value * (1 - value) / worth + z * z / (4 * worth * worth))
    return Figure(value, max(0.0, centre - half), min(1.0, centre + half))


_TOP_METRICS: dict[str, Callable[[FloatArray, FloatArray, int], float]] = {
    "precision_at_k": precision_at_k,
    "regret_at_k": regret_at_k,
    "best_rank_at_k": best_rank_at_k,
}


def _top_metrics(
    y: FloatArray,
    predicted: FloatArray,
    clusters: _Clusters,
    within: _IntArray,
    k: int,
    confidence: float,
    *,
    resamples: int,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Return how good the top k of the predictions are, and by chance: means over settings.

    Intervals are percentiles of a bootstrap over the held-out groups, of settings and of
    architectures if both are held out. An architecture is drawn once for all settings, because
    all rank the same architectures. Settings with fewer than 2k rows are left out, because
    their top k would be most of them; in a resample, settings with fewer than k rows are left
    out.

    Parameters
    ----------
    y, predicted, within
        Truth, prediction and setting of each row, (n,).
    clusters
        The groups that were held out.
    """
    chances = [f"{name}_chance" for name in _TOP_METRICS]
    parts = [np.flatnonzero(within == part) for part in np.unique(within)]
    parts = [rows for rows in parts if rows.size >= _FEWEST_RANKED * k]
    if not parts:
        return dict.fromkeys(_TOP_METRICS, _UNKNOWN) | dict.fromkeys(chances, math.nan)
    drawn = np.full((resamples, len(_TOP_METRICS)), np.nan)
    for place in range(resamples):
        rows = [part for part in _redrawn(parts, clusters, rng) if part.size >= max(k, 2)]
        if rows:
            drawn[place] = _top(y, predicted, rows, k)
    drawn = drawn[np.isfinite(drawn).all(axis=1)]
    value = _top(y, predicted, parts, k)
    by_chance = _top(y, np.zeros_like(y), parts, k)  # all equal: a random choice of k
    low = high = np.full(len(_TOP_METRICS), np.nan)
    if drawn.size:
        low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    figures = map(Figure, *(part.tolist() for part in (value, low, high)))
    return dict(zip(_TOP_METRICS, figures, strict=True)) | dict(
        zip(chances, by_chance.tolist(), strict=True)
    )


def _redrawn(
    parts: Sequence[_IntArray], clusters: _Clusters, rng: np.random.Generator
) -> list[_IntArray]:
    """Draw the held-out groups once; return the rows of each setting that was drawn."""
    found = list(parts)
    for axis in clusters.axes:
        if np.unique(axis[parts[0]]).size == 1:  # a group is a setting
            found = [found[part] for part in rng.integers(len(parts), size=len(parts))]
            continue
        groups, group = np.unique(axis, return_inverse=True)
        times = np.bincount(rng.integers(groups.size, size=groups.size), minlength=groups.size)
        found = [np.repeat(rows, times[group[rows]]) for rows in found]
    return found


def _top(y: FloatArray, predicted: FloatArray, parts: Sequence[_IntArray], k: int) -> FloatArray:
    metrics = _TOP_METRICS.values()
    found = [[metric(predicted[rows], y[rows], k) for metric in metrics] for rows in parts]
    mean: FloatArray = np.mean(found, axis=0)
    return mean


def _quantile(clusters: _Clusters, confidence: float) -> float:
    """Return the quantile of Student's t; the groups give the degrees of freedom."""
    return float(stats.t.ppf((1 + confidence) / 2, max(1, clusters.fewest - 2)))
