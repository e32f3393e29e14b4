"""Rank statistics: pure numpy in, numbers out.

Throughout, ``x`` is what a cheap budget says of n architectures and ``y`` what
full training says; higher is better. A correlation comes with its *influence*:
one number per architecture, the derivative of the statistic with respect to
that architecture's weight. `bpe_bench.inference` turns it into intervals and
paired tests. Everything takes O(n log n) time.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .errors import ConstantInputWarning, RankingError

FloatArray = npt.NDArray[np.float64]
_IntArray = npt.NDArray[np.int64]

_SPARSE_STEPS = 1000
"""The sparse Kendall statistic tells this many accuracies apart: it rounds to 0.1 %."""


@dataclass(frozen=True)
class RankCorrelation:
    """A rank correlation and how each architecture pulls on it."""

    value: float
    """The statistic, in [-1, 1]; NaN if an input is constant."""
    influence: FloatArray
    """Shape (n,), mean zero; NaN if an input is constant."""


def standard_error(value: float, influence: FloatArray) -> float:
    """Return the standard error of a rank correlation: √(mean(I²) / n) of its influence I.

    The infinitesimal jackknife (Efron, 1982). NaN if the sample does not show the
    variation that it is estimated from: with fewer than 4 architectures, in perfect
    order, or where every architecture pulls alike.
    """
    n = influence.size
    if math.isnan(value) or abs(value) >= 1 - 1e-12 or n < 4:
        return math.nan
    error = math.sqrt(float(np.mean(influence**2)) / n)
    return error if error > 1e-12 else math.nan


class _RankStatistic(Protocol):
    """A function from two vectors to a rank correlation."""

    def __call__(self, x: npt.ArrayLike, y: npt.ArrayLike) -> RankCorrelation:
        """Correlate two vectors of shape (n,)."""


def spearman(x: npt.ArrayLike, y: npt.ArrayLike) -> RankCorrelation:
    """Return Spearman's rank correlation: Pearson's of the average ranks.

    With mid-distribution ranks u, v (centred), ρ = Σuv / √(Σu² Σv²). Its influence
    has a direct part and one through the ranks that an architecture shifts
    (Croux & Dehon, 2010).

    Parameters
    ----------
    x, y
        Shape (n,), n ≥ 2, finite. Ties get average ranks.

    Returns
    -------
    RankCorrelation
        NaN, with a `ConstantInputWarning`, if either is constant.

    Raises
    ------
    RankingError
        If the shapes differ, n < 2, or a value is not finite.

    Examples
    --------
    >>> round(spearman([1, 2, 3, 4], [1, 3, 2, 4]).value, 6)
    0.8
    """
    x, y = _pair(x, y)
    n = x.size
    if _constant(x, y):
        return _undefined(n)
    of_x, of_y = _Order.of(x), _Order.of(y)
    u = (of_x.ranks() - 0.5) / n - 0.5
    v = (of_y.ranks() - 0.5) / n - 0.5
    # Means, not dot products: BLAS wakes its threads for vectors of this length, and waits.
    uv, uu, vv = (float(np.mean(product)) for product in (u * v, u * u, v * v))
    value = float(np.clip(uv / math.sqrt(uu * vv), -1.0, 1.0))
    of_uv = u * v - uv + of_x.shifted(v) + of_y.shifted(u)
    of_uu = u * u - uu + 2 * of_x.shifted(u)
    of_vv = v * v - vv + 2 * of_y.shifted(v)
    influence = of_uv / math.sqrt(uu * vv) - value / 2 * (of_uu / uu + of_vv / vv)
    return RankCorrelation(value, influence - influence.mean())


def kendall(x: npt.ArrayLike, y: npt.ArrayLike) -> RankCorrelation:
    """Return Kendall's tau-b.

    τ_b = (concordant − discordant pairs) / √(pairs untied in x · pairs untied in y)
    (Kendall, 1945). The influence of an architecture follows from the pairs it
    takes part in.

    Parameters, returns and raises as for `spearman`.

    Examples
    --------
    >>> round(kendall([1, 2, 3, 4], [1, 3, 2, 4]).value, 6)
    0.666667
    """
    x, y = _pair(x, y)
    n = x.size
    if _constant(x, y):
        return _undefined(n)
    score, untied_x, untied_y = (part / n for part in _pair_counts(x, y))
    s, a, b = score.mean(), untied_x.mean(), untied_y.mean()
    value = float(np.clip(s / math.sqrt(a * b), -1.0, 1.0))
    influence = 2 * (score - s) / math.sqrt(a * b)
    influence -= value * ((untied_x - a) / a + (untied_y - b) / b)
    return RankCorrelation(value, influence)


def sparse_kendall(x: npt.ArrayLike, y: npt.ArrayLike) -> RankCorrelation:
    """Return Kendall's tau-b of accuracies rounded to 0.1 % (Siems et al., NAS-Bench-301, 2020).

    Parameters
    ----------
    x, y
        Accuracies as fractions in [0, 1], shape (n,).
    """
    x, y = _pair(x, y)
    return kendall(sparse(x), sparse(y))


def sparse(accuracies: npt.ArrayLike) -> FloatArray:
    """Round accuracies (fractions) to 0.1 %, halves to even, in tenths of a per cent.

    Examples
    --------
    >>> sparse([0.9004, 0.9012, 0.9015]).tolist()
    [900.0, 901.0, 902.0]
    """
    scaled = np.asarray(accuracies, dtype=np.float64) * _SPARSE_STEPS
    # The product of 0.5015 is 501.49999999999994: rounded first, it is the half it should be.
    rounded: FloatArray = np.rint(np.round(scaled, 6))
    return rounded


STATISTICS: Mapping[str, _RankStatistic] = MappingProxyType(
    {"spearman": spearman, "kendall": kendall, "sparse-kendall": sparse_kendall}
)
"""The rank correlations by the name under which the command line knows them."""


def average_ranks(values: npt.ArrayLike) -> FloatArray:
    """Return ranks from 1 (lowest); ties get the average of their ranks.

    Examples
    --------
    >>> average_ranks([10, 20, 20, 5]).tolist()
    [2.0, 3.5, 3.5, 1.0]
    """
    return _Order.of(np.asarray(values)).ranks()


def precision_at_k(x: npt.ArrayLike, y: npt.ArrayLike, k: int) -> float:
    """Return the share of the budget's top k that is in the reference's top k.

    Where equal values straddle the k-th place, each of them is in the top k
    with equal probability and the expectation is returned, so the order of the
    file plays no part.

    Raises
    ------
    RankingError
        If k is not between 1 and n.

    Examples
    --------
    >>> precision_at_k([4, 3, 2, 1], [4, 1, 3, 2], k=2)
    0.5
    """
    x, y = _pair(x, y)
    return float(np.sum(_chance_of_top(x, k) * _chance_of_top(y, k))) / k


def regret_at_k(x: npt.ArrayLike, y: npt.ArrayLike, k: int) -> float:
    """Return how far the best of the budget's top k is below the reference's optimum.

    max(y) − E[max of y over the budget's top k], in the units of y; ties of x
    at the k-th place are broken at random, in expectation.
    """
    x, y = _pair(x, y)
    return float(y.max()) - _expected_best(x, y, k)


def best_rank_at_k(x: npt.ArrayLike, y: npt.ArrayLike, k: int) -> float:
    """Return BR@k: the best reference rank among the budget's top k, divided by n.

    An architecture's rank is 1 plus the number of strictly better ones
    (Ning et al., NeurIPS 2021). Ties of x as in `regret_at_k`. 1/n is perfect.
    """
    x, y = _pair(x, y)
    ordered = np.sort(y)
    better: _IntArray = y.size - np.searchsorted(ordered, y, side="right")
    ranks = (better + 1).astype(np.float64)
    return -_expected_best(x, -ranks, k) / y.size


def _pair(x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    a, b = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if a.ndim != 1 or a.shape != b.shape:
        raise RankingError(f"expected two vectors of equal length, found {a.shape} and {b.shape}")
    if a.size < 2:
        raise RankingError(f"a ranking needs at least 2 architectures, found {a.size}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise RankingError("cannot rank values that are missing or infinite; drop them first")
    return a, b


def _constant(x: FloatArray, y: FloatArray) -> bool:
    constant = bool(x.min() == x.max() or y.min() == y.max())
    if constant:
        warnings.warn(
            "all accuracies are equal, so a rank correlation is not defined (NaN)",
            ConstantInputWarning,
            stacklevel=3,
        )
    return constant


def _undefined(n: int) -> RankCorrelation:
    return RankCorrelation(math.nan, np.full(n, math.nan))


@dataclass(frozen=True)
class _Order:
    """A vector's distinct values in ascending order, as groups."""

    group: _IntArray
    """Shape (n,): which distinct value each place has."""
    size: _IntArray
    """How often each distinct value occurs."""

    @classmethod
    def of(cls, values: npt.NDArray[Any]) -> _Order:
        _, group, size = np.unique(values, return_inverse=True, return_counts=True)
        return cls(group, size)

    def ranks(self) -> FloatArray:
        """Return ranks from 1; ties get the average of their ranks."""
        ranks: FloatArray = (np.cumsum(self.size) - (self.size - 1) / 2)[self.group]
        return ranks

    def shifted(self, weight: FloatArray) -> FloatArray:
        """Return, for each k, the mean over i of weight_i · ([x_k < x_i] + ½ [x_k = x_i])."""
        sums = np.bincount(self.group, weights=weight)
        above = sums.sum() - np.cumsum(sums)
        shifted: FloatArray = (above + sums / 2)[self.group] / self.group.size
        return shifted


def _pair_counts(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return, for each i, Σ_j sign(x_i−x_j) sign(y_i−y_j) and the number of j untied in x, in y.

    With A_i = #{x_j < x_i, y_j < y_i} + ½ #{x_j < x_i, y_j = y_i}, those below in x
    contribute 2 A_i − #{x_j < x_i}, and those above the rest, by subtraction.
    """
    n = x.size
    order = np.lexsort((-y, x))
    x, y = x[order], y[order]
    values, level, y_size = np.unique(y, return_inverse=True, return_counts=True)
    y_below = (np.cumsum(y_size) - y_size)[level]
    y_tied = y_size[level]
    x_start, x_size = _runs(x[1:] != x[:-1], n)
    same = (x[1:] != x[:-1]) | (y[1:] != y[:-1])
    both_start, both_size = _runs(same, n)

    # Sorted by x ascending, then y descending: whoever comes earlier with a
    # smaller y has a smaller x, too.
    smaller, equal = _earlier(level, values.size)
    equal_below = equal - (np.arange(n) - both_start)
    below = smaller + equal_below / 2
    within = (x_start + x_size) - (both_start + both_size) + (both_size - 1) / 2
    above = y_below + (y_tied - 1) / 2 - within - below
    score = (2 * below - x_start) + ((n - x_start - x_size) - 2 * above)

    back = np.empty(n, dtype=np.intp)
    back[order] = np.arange(n)
    return score[back], (n - x_size)[back].astype(np.float64), (n - y_tied)[back].astype(np.float64)


def _runs(starts: npt.NDArray[np.bool_], n: int) -> tuple[_IntArray, _IntArray]:
    """Return, for each place in a sorted vector, where its run of equals starts and how long it is.

    ``starts`` says for places 1 to n−1 whether a new run begins there.
    """
    first = np.concatenate([[0], np.flatnonzero(starts) + 1])
    size = np.diff(np.concatenate([first, [n]]))
    return np.repeat(first, size), np.repeat(size, size)


def _earlier(level: _IntArray, levels: int) -> tuple[_IntArray, _IntArray]:
    """Return, for each place, how many earlier places hold a smaller and an equal level.

    Two levels are compared at the highest bit in which they differ. From the
    highest bit down, places are grouped by the bits above it, in their original
    order; in its group a place with the bit set passes all earlier ones
    without it.
    """
    n = level.size
    smaller = np.zeros(n, dtype=np.int64)
    arranged: npt.NDArray[Any] = np.arange(n)
    for bit in reversed(range(max(levels - 1, 1).bit_length())):
        prefix = level[arranged] >> bit
        unset = 1 - (prefix & 1)
        before = np.cumsum(unset) - unset
        group = prefix >> 1
        start, _ = _runs(group[1:] != group[:-1], n)
        smaller[arranged] += np.where(unset == 0, before - before[start], 0)
        arranged = arranged[np.argsort(prefix.astype(_narrow(levels)), kind="stable")]
    final = level[arranged]
    start, _ = _runs(final[1:] != final[:-1], n)
    equal = np.empty(n, dtype=np.int64)
    equal[arranged] = np.arange(n) - start
    return smaller, equal


def _narrow(levels: int) -> type[np.unsignedinteger[Any]]:
    """Return the narrowest type that holds the levels: numpy sorts 16-bit integers by radix."""
    return np.uint16 if levels <= 2**16 else np.uint64


def _check_k(k: int, n: int) -> None:
    if not 1 <= k <= n:
        raise RankingError(f"k must be between 1 and the number of architectures, {n}; found {k}")


def _chance_of_top(values: FloatArray, k: int) -> FloatArray:
    """Return each architecture's chance to be in the top k when ties are broken at random."""
    _check_k(k, values.size)
    threshold = np.partition(values, values.size - k)[values.size - k]
    above, tied = values > threshold, values == threshold
    return np.where(above, 1.0, np.where(tied, (k - above.sum()) / tied.sum(), 0.0))


def _expected_best(x: FloatArray, y: FloatArray, k: int) -> float:
    """Return E[max of y over the top k of x], ties of x at the k-th place broken at random.

    Of the g tied, m are drawn without replacement. Ordered by y, the j-th is the
    best drawn with probability C(g−j, m−1) / C(g, m).
    """
    chance = _chance_of_top(x, k)
    certain = y[chance == 1.0]
    floor = float(certain.max()) if certain.size else -math.inf
    tied = np.sort(y[(chance > 0) & (chance < 1)])[::-1]
    if not tied.size:
        return floor
    drawn = k - certain.size
    # If no better one was drawn, each is drawn with chance m / (those left).
    here = np.minimum(1.0, drawn / np.arange(tied.size, 0, -1))
    none_better = np.concatenate([[1.0], np.cumprod(1 - here)[:-1]])
    return float(np.sum(here * none_better * np.maximum(tied, floor)))
