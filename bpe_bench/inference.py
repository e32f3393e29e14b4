"""How sure a rank correlation is: intervals, tests, noise ceilings.

Architectures are the sample. The default interval studentises the statistic on
Fisher's z scale with the infinitesimal jackknife (`influence`); the alternative
is a bias-corrected percentile bootstrap. Coverage of both is in
``docs/intervals.md``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from .errors import RankingError, unknown_name
from .randomness import settled
from .ranking import STATISTICS, RankCorrelation, average_ranks, sparse, standard_error

FloatArray = npt.NDArray[np.float64]
_IntervalMethod = Literal["influence", "bootstrap"]

_INTERVAL_METHODS: tuple[_IntervalMethod, ...] = ("influence", "bootstrap")
ROUNDING = 1e-12
"""Smaller correlations are rounding errors and count as 0."""
_MOST_BOOTSTRAPPED = 2000
"""Above this many architectures a bootstrap needs too much memory and is not needed."""


@dataclass(frozen=True)
class Estimate:
    """A rank correlation with its interval."""

    correlation: float
    """The statistic; NaN if it is not defined."""
    low: float
    """Lower bound; NaN if it cannot be estimated."""
    high: float
    """Upper bound; NaN if it cannot be estimated."""
    p_value: float
    """Two-sided, of the hypothesis that budget and reference are unrelated."""
    n: int
    """Number of architectures."""
    influence: FloatArray = field(repr=False, compare=False)
    """Shape (n,): each architecture's pull on the statistic."""
    statistic: str
    """A key of `bpe_bench.ranking.STATISTICS`."""
    distinct: int
    """Different values of the budget, or of the reference if those are fewer; 0 if not counted."""


def estimate(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    statistic: str = "spearman",
    confidence: float = 0.95,
    method: _IntervalMethod = "influence",
    resamples: int = 2000,
    rng: np.random.Generator | None = None,
) -> Estimate:
    """Return a rank correlation with an interval and a test.

    Parameters
    ----------
    x, y
        Accuracies under the budget and the reference, shape (n,), finite.
    statistic
        A key of `bpe_bench.ranking.STATISTICS`.
    confidence
        Nominal coverage, in (0, 1).
    method
        ``"influence"``: tanh(artanh r ± t · s / (1 − r²)), where s² = mean(I²) / n
        comes from the influence I (Efron, 1982; Fisher, 1921) and t from
        Student's distribution with n − 2 degrees of freedom.
        ``"bootstrap"``: bias-corrected percentiles over architectures (Efron, 1981).
    resamples, rng
        Size and generator of the bootstrap; only it needs them.

    Raises
    ------
    UnknownNameError
        For an unknown statistic or method.
    RankingError
        For input that cannot be ranked, or a confidence outside (0, 1).
    """
    check_confidence(confidence)
    found = correlation(x, y, statistic)
    n = found.influence.size
    if method == "influence":
        low, high = _influence_interval(found, confidence)
    elif method == "bootstrap":
        if rng is None:
            raise RankingError("a bootstrap interval needs a generator (rng), found none")
        low, high = _bootstrap_interval(x, y, found, statistic, confidence, resamples, rng)
    else:
        raise unknown_name("interval method", method, _INTERVAL_METHODS)
    p_value = _independence_p_value(x, y, found, statistic)
    if statistic == "sparse-kendall":
        x, y = sparse(x), sparse(y)
    return Estimate(
        settled(found.value),
        settled(low),
        settled(high),
        settled(p_value),
        n,
        found.influence,
        statistic,
        min(np.unique(x).size, np.unique(y).size),
    )


def correlation(x: npt.ArrayLike, y: npt.ArrayLike, statistic: str) -> RankCorrelation:
    """Return a rank correlation by the name of the statistic."""
    if statistic not in STATISTICS:
        raise unknown_name("statistic", statistic, STATISTICS)
    return STATISTICS[statistic](x, y)


def check_confidence(confidence: float) -> None:
    """Raise `RankingError` unless the confidence lies between 0 and 1."""
    if not 0 < confidence < 1:
        raise RankingError(
            f"confidence must be between 0 and 1, for instance 0.95; found {confidence}"
        )


def _independence_p_value(
    x: npt.ArrayLike, y: npt.ArrayLike, found: RankCorrelation, statistic: str
) -> float:
    """Return the two-sided p-value of the hypothesis that x and y are unrelated.

    Spearman: Student's t with n − 2 degrees of freedom. Kendall: normal, with the
    variance under ties (Kendall, 1970, ch. 4). Both as scipy's asymptotic tests.
    """
    n = found.influence.size
    r = found.value
    if math.isnan(r) or n < 3:
        return math.nan
    if statistic == "spearman":
        if abs(r) >= 1:
            return 0.0
        return float(2 * stats.t.sf(abs(r) * math.sqrt((n - 2) / (1 - r * r)), n - 2))
    if statistic == "sparse-kendall":
        x, y = sparse(x), sparse(y)
    tied = [np.unique(np.asarray(v), return_counts=True)[1].astype(np.float64) for v in (x, y)]
    pairs = [float((t * (t - 1)).sum()) for t in tied]
    triples = [float((t * (t - 1) * (t - 2)).sum()) for t in tied]
    fives = [float((t * (t - 1) * (2 * t + 5)).sum()) for t in tied]
    m = n * (n - 1.0)
    variance = (m * (2 * n + 5) - fives[0] - fives[1]) / 18
    variance += pairs[0] * pairs[1] / (2 * m)
    variance += triples[0] * triples[1] / (9 * m * (n - 2))
    score = r * math.sqrt((m - pairs[0]) * (m - pairs[1])) / 2
    return float(special.erfc(abs(score) / math.sqrt(2 * variance)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number by Holm's step-down method (1979).

    NaN stays NaN and does not count.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    known = sorted((p, i) for i, p in enumerate(p_values) if not math.isnan(p))
    adjusted = [math.nan] * len(p_values)
    highest = 0.0
    for place, (p, i) in enumerate(known):
        highest = max(highest, min(1.0, p * (len(known) - place)))
        adjusted[i] = highest
    return adjusted


def noise_ceiling(accuracies: FloatArray, statistic: str = "spearman") -> float:
    """Return the correlation of the reference with itself across seeds.

    Parameters
    ----------
    accuracies
        Shape (R seeds, A architectures), NaN where missing.

    Returns
    -------
    float
        The mean over pairs of seeds, each over the architectures that have
        both; NaN where no pair of seeds has two architectures.
    """
    values = []
    for first, second in itertools.combinations(accuracies, 2):
        both = np.isfinite(first) & np.isfinite(second)
        if both.sum() >= 2:
            values.append(correlation(first[both], second[both], statistic).value)
    return float(np.mean(values)) if values else math.nan


def resampled_correlations(
    estimates: Sequence[Estimate], resamples: int, rng: np.random.Generator
) -> FloatArray:
    """Draw correlations as they might have come out with other architectures.

    Every draw weighs the architectures as a bootstrap sample would and moves
    all correlations along their influence, on Fisher's z scale; one set of
    weights serves all budgets, so what they share stays shared.

    Parameters
    ----------
    estimates
        S estimates over the same n architectures.
    resamples
        Number of draws B.

    Returns
    -------
    array of shape (B, S)
    """
    n = estimates[0].n
    r = np.clip([e.correlation for e in estimates], -1 + 1e-9, 1 - 1e-9)
    influence = np.array([e.influence for e in estimates])
    weights = rng.multinomial(n, np.full(n, 1 / n), size=resamples) - 1.0
    shift = weights @ influence.T / n / (1 - r**2)
    return settled(np.tanh(np.arctanh(r) + shift), least=ROUNDING)


def _influence_interval(found: RankCorrelation, confidence: float) -> tuple[float, float]:
    n, r = found.influence.size, found.value
    error = standard_error(r, found.influence)
    if math.isnan(error):
        return math.nan, math.nan
    half = stats.t.ppf((1 + confidence) / 2, n - 2) * error / (1 - r * r)
    return math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half)


def _bootstrap_interval(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    found: RankCorrelation,
    statistic: str,
    confidence: float,
    resamples: int,
    rng: np.random.Generator,
) -> tuple[float, float]:
    n = found.influence.size
    if n > _MOST_BOOTSTRAPPED:
        raise RankingError(
            f"a bootstrap over {n} architectures is too large (at most {_MOST_BOOTSTRAPPED}); use "
            "the interval method 'influence'"
        )
    if resamples < 100:
        raise RankingError(f"a bootstrap needs at least 100 resamples, found {resamples}")
    if math.isnan(standard_error(found.value, found.influence)):
        return math.nan, math.nan
    weights = rng.multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.float64)
    drawn = _weighted_correlations(np.asarray(x), np.asarray(y), weights, statistic)
    drawn = drawn[np.isfinite(drawn)]
    below = (np.sum(drawn < found.value) + np.sum(drawn == found.value) / 2) / drawn.size
    bias = special.ndtri(np.clip(below, 1 / resamples, 1 - 1 / resamples))
    ends = special.ndtri([(1 - confidence) / 2, (1 + confidence) / 2])
    low, high = np.quantile(drawn, special.ndtr(2 * bias + ends))
    return float(low), float(high)


def _weighted_correlations(
    x: FloatArray, y: FloatArray, weights: FloatArray, statistic: str
) -> FloatArray:
    """Return the statistic of B resamples, given as (B, n) counts of each architecture."""
    if statistic == "sparse-kendall":
        x, y = sparse(x), sparse(y)
    x, y = average_ranks(x), average_ranks(y)
    of_x, of_y = np.sign(x[:, None] - x), np.sign(y[:, None] - y)
    if statistic == "spearman":
        u, v = weights @ of_x.T, weights @ of_y.T  # twice the centred average ranks
        uv, uu, vv = ((weights * a * b).sum(axis=1) for a, b in ((u, v), (u, u), (v, v)))
    else:
        pairs = (of_x * of_y, np.abs(of_x), np.abs(of_y))
        uv, uu, vv = (((weights @ p) * weights).sum(axis=1) for p in pairs)
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn: FloatArray = uv / np.sqrt(uu * vv)
    return drawn
