"""Searchers compared with each other by the results of their repeats."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..files import to_json_value
from ..inference import check_confidence, holm
from ..randomness import settled
from ..tables.curves import FloatArray
from .summary import SearchReport, _mean_of_known

_LEVEL = 0.05
"""Adjusted p-value below which two searchers count as different."""


@dataclass(frozen=True)
class SearcherComparison:
    """Two searchers compared by the final accuracies that their repeats found."""

    first: str
    second: str
    difference: float
    """Mean of the first minus mean of the second, a fraction."""
    low: float
    """Interval of the difference (Welch, 1947); NaN if neither searcher's repeats vary."""
    high: float
    p_value: float
    """Two-sided Mann-Whitney test of the hypothesis that neither finds better ones."""
    p_adjusted: float
    """After Holm's correction for all comparisons made."""
    too_few: bool = False
    """Whether there are too few repeats for a small p-value, whatever they find."""
    wins: float = math.nan
    """Share of the pairs of repeats in which the first found the better one; ties count half."""

    @property
    def separated(self) -> bool:
        """Whether ranks tell the two apart, and means do not say otherwise."""
        ranks = self.p_adjusted < _LEVEL and (self.wins - 0.5) * self.difference > 0
        return bool(ranks and not self.low <= 0 <= self.high)

    @property
    def verdict(self) -> str:
        """The comparison in words, the better one first."""
        if math.isnan(self.p_adjusted):
            return f"{self.first} and {self.second}: too few repeats to compare"
        better, worse, low, high = self.first, self.second, self.low, self.high
        if self.difference < 0:
            better, worse, low, high = worse, better, -high, -low
        size = f"{100 * abs(self.difference):.2f} points"
        p = f"p = {self.p_adjusted:.2g}"
        spread = "" if math.isnan(low) else f"interval {100 * low:+.2f} to {100 * high:+.2f}"
        sure = ", ".join(filter(None, (spread, p)))
        if self.difference == 0:
            return f"{better} and {worse} find equally good ones on average ({sure})"
        if self.too_few:
            # An interval of so few repeats can lie above 0, where the test cannot.
            return f"{better} is {size} ahead of {worse}, in too few repeats to test that ({p})"
        if self.separated:
            said = f"{better} finds better architectures than {worse}, by {size} on average"
        elif low > 0 and self.p_adjusted >= _LEVEL:
            return (
                f"{better} is {size} ahead of {worse} on average ({spread}), but their ranks do "
                f"not differ enough to call it better ({p})"
            )
        elif self.p_adjusted < _LEVEL:
            return (
                f"{better} is {size} ahead of {worse} on average ({spread or 'no interval'}), but "
                f"ranks ({p}) and means do not agree on which is better"
            )
        else:
            said = (
                f"{better} is {size} ahead of {worse}, which these repeats do not separate from 0"
            )
        return f"{said} ({sure})"

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as JSON values."""
        return {**to_json_value(vars(self)), "verdict": self.verdict}


def compare_searchers(
    reports: Sequence[SearchReport], *, confidence: float = 0.95
) -> list[SearcherComparison]:
    """Compare every two searchers by the final accuracies that their repeats found.

    Parameters
    ----------
    reports
        Reports of the same space, estimator and allowance, R repeats each.
    confidence
        Nominal coverage of the intervals.

    Raises
    ------
    RankingError
        If the confidence is not between 0 and 1.
    """
    from scipy import stats

    check_confidence(confidence)
    pairs = list(itertools.combinations(reports, 2))
    rows = []
    for pair in pairs:
        a, b = (report.final[np.isfinite(report.final)] for report in pair)
        difference = _mean_of_known(a) - _mean_of_known(b)
        if min(len(a), len(b)) < 2:
            rows.append((difference, math.nan, math.nan, math.nan, math.nan))
        else:
            test = stats.mannwhitneyu(a, b)
            wins = float(test.statistic) / (len(a) * len(b))
            rows.append((difference, *_welch(a, b, confidence), settled(float(test.pvalue)), wins))
    adjusted = holm([row[3] for row in rows])
    return [
        SearcherComparison(
            one.searcher,
            other.searcher,
            *row[:4],
            p_adjusted=p,
            too_few=_too_few(one, other),
            wins=row[4],
        )
        for (one, other), row, p in zip(pairs, rows, adjusted, strict=True)
    ]


def _too_few(one: SearchReport, other: SearchReport) -> bool:
    """Return whether even the smallest possible p-value is above the level."""
    counts = [int(np.isfinite(report.final).sum()) for report in (one, other)]
    return 2 / math.comb(sum(counts), counts[0]) >= _LEVEL


def _welch(a: FloatArray, b: FloatArray, confidence: float) -> tuple[float, float]:
    """Return the interval of the difference of two means with different variances."""
    from scipy import stats

    parts = np.array([a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)])
    difference, error = float(a.mean() - b.mean()), math.sqrt(parts.sum())
    # Without any variation t says nothing, least of all that the difference is certain.
    if np.ptp(a) == np.ptp(b) == 0:
        return math.nan, math.nan
    freedom = parts.sum() ** 2 / (parts**2 / [len(a) - 1, len(b) - 1]).sum()
    half = float(stats.t.ppf((1 + confidence) / 2, freedom)) * error
    return settled(difference - half), settled(difference + half)
