"""Which of two budgets correlates higher with the reference: paired tests and intervals.

Both budgets have ranked the same architectures. Type I error, power and coverage
are measured in ``docs/intervals.md``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from ..errors import SelectionError
from ..inference import ROUNDING, Estimate, FloatArray, check_confidence, holm
from ..randomness import SOLVED_DIGITS, settled
from ..ranking import standard_error

FEWEST_TESTED = 20
"""With fewer architectures a difference is reported without a test."""


@dataclass(frozen=True)
class Comparison:
    """Two budgets compared over the same architectures."""

    first: str
    second: str
    difference: float
    """Correlation of the second minus that of the first."""
    low: float
    high: float
    p_value: float
    """Two-sided, of the hypothesis that both correlate equally; NaN if it is not tested."""
    p_adjusted: float
    """After Holm's correction for the number of comparisons asked for."""
    confidence: float
    n: int

    @property
    def separable(self) -> bool:
        """Whether the corrected test separates the two at this confidence."""
        return bool(self.p_adjusted < 1 - self.confidence)

    @property
    def verdict(self) -> str:
        """The comparison in a sentence."""
        if math.isnan(self.difference):
            names = f"{self.first} and {self.second}"
            return f"{names} cannot be compared: one of them has no correlation"
        higher, lower = (self.second, self.first)
        if self.difference < 0:
            higher, lower = lower, higher
        found = f"{higher} correlates higher than {lower} by {abs(self.difference):.3f}"
        if not math.isnan(self.low):
            found += (
                f" ({self.confidence:.0%} interval of {self.second} - {self.first}: "
                f"{self.low:+.3f} to {self.high:+.3f})"
            )
        if self.n < FEWEST_TESTED:
            return (
                f"{found}; {self.n} architectures are too few to test the difference, "
                f"{FEWEST_TESTED} are needed"
            )
        if math.isnan(self.p_value):
            return f"{found}; this cannot be tested: one of them shows no variation"
        does = "separate" if self.separable else "do not separate"
        corrected = "" if self.p_adjusted == self.p_value else ", after Holm's correction"
        return f"{found}, p = {self.p_adjusted:.2g}{corrected}: {self.n} architectures {does} them"


def compare(
    names: Sequence[str],
    estimates: Sequence[Estimate],
    *,
    confidence: float = 0.95,
    pairs: Sequence[tuple[int, int]] | None = None,
) -> list[Comparison]:
    """Compare correlations that rest on the same architectures, in pairs.

    The test is on Fisher's scale: (artanh r₂ − artanh r₁) / s against Student's t with
    n − 2 degrees of freedom, where s² is the variance of I₂ / (1 − r₂²) − I₁ / (1 − r₁²)
    over n, less the noise of pairs (`_less_noise`). What the two budgets share cancels.
    The interval of r₂ − r₁ leaves out 0 where the test rejects. With several pairs,
    p-values are corrected by Holm's method. Below `FEWEST_TESTED` architectures there
    is no test.

    Parameters
    ----------
    names, estimates
        The budgets, and their estimates over the same architectures in the same order.
    confidence
        Nominal coverage of each interval.
    pairs
        Indices (first, second) to compare; all pairs by default.

    Raises
    ------
    SelectionError
        If two estimates rest on different numbers of architectures.
    """
    check_confidence(confidence)
    chosen = list(itertools.combinations(range(len(names)), 2)) if pairs is None else list(pairs)
    rows = []
    for i, j in chosen:
        a, b = estimates[i], estimates[j]
        if a.n != b.n:
            raise SelectionError(
                f"{names[i]} and {names[j]} can only be compared over the same architectures, "
                f"found {a.n} and {b.n}"
            )
        difference = settled(b.correlation - a.correlation)
        low, high, p = _difference(a, b, confidence)
        low, high = (settled(end, SOLVED_DIGITS, least=ROUNDING) for end in (low, high))
        rows.append((i, j, difference, low, high, settled(p), a.n))
    adjusted = holm([row[5] for row in rows])
    return [
        Comparison(names[i], names[j], d, low, high, p, q, confidence, n)
        for (i, j, d, low, high, p, n), q in zip(rows, adjusted, strict=True)
    ]


def _difference(a: Estimate, b: Estimate, confidence: float) -> tuple[float, float, float]:
    """Return the interval of b's correlation minus a's, and the p-value.

    On Fisher's scale the two are normal, with the covariance of their influences. The
    interval is the range of tanh ζ₂ − tanh ζ₁ over the ellipse around (z₁, z₂) that
    the test at this confidence does not reject: it touches ζ₁ = ζ₂ where p is 1 − confidence.
    """
    n, testable = a.n, a.n >= FEWEST_TESTED
    same = a.correlation == b.correlation  # influences are 0 at -1 and at 1
    if same and np.array_equal(a.influence, b.influence):  # the same ranking twice
        return 0.0, 0.0, 1.0 if testable else math.nan
    errors = [standard_error(e.correlation, e.influence) for e in (a, b)]
    if np.isnan(errors).any():
        return math.nan, math.nan, math.nan
    of_a, of_b = (e.influence / (1 - e.correlation**2) for e in (a, b))
    variance = float(np.mean((of_b - of_a) ** 2)) / n
    if variance <= 1e-24:
        return math.nan, math.nan, math.nan
    less = _less_noise(a, b, variance)
    z_a, z_b = math.atanh(a.correlation), math.atanh(b.correlation)
    p = float(2 * stats.t.sf(abs(z_b - z_a) / math.sqrt(variance * less), n - 2))
    # The ellipse is (z_a, z_b) + radius · L · (cos, sin), with L Cholesky's root of the covariance.
    radius = float(stats.t.ppf((1 + confidence) / 2, n - 2)) * math.sqrt(less / n)
    root = math.sqrt(float(np.mean(of_a**2)))
    along = float(np.mean(of_a * of_b)) / root
    across = math.sqrt(max(float(np.mean(of_b**2)) - along**2, 0.0))

    def difference(angle: FloatArray) -> FloatArray:
        u, v = np.cos(angle), np.sin(angle)
        second, first = z_b + radius * (along * u + across * v), z_a + radius * root * u
        found: FloatArray = np.tanh(second) - np.tanh(first)
        return found

    low, high = -_highest(lambda angle: -difference(angle)), _highest(difference)
    return low, high, p if testable else math.nan


def _less_noise(a: Estimate, b: Estimate, variance: float) -> float:
    """Return the factor that removes the noise of single pairs from a jackknife's variance.

    An influence is a mean over the other architectures, so its square holds the noise of pairs
    twice where the statistic holds it once (Efron & Stein, 1981). A pair's sign has the
    variance 1 − r², which Fisher's scale divides by (1 − r²)². Ties reduce the noise; it is
    multiplied by the share of different values. This is right to first order in 1/n for
    Kendall's tau without ties; for Spearman's rho it is an approximation, measured in
    ``docs/intervals.md``.
    """
    n, u, v = a.n, 1 - a.correlation**2, 1 - b.correlation**2
    squares = (float(np.mean(e.influence**2)) for e in (a, b))
    shared = float(np.mean(a.influence * b.influence)) / math.sqrt(math.prod(squares))
    pairs = 1 / u + 1 / v - 2 * shared / math.sqrt(u * v)
    excess = max(2 * pairs / (n * n * variance) - 1 / n, 0.0) * min(a.distinct, b.distinct) / n
    others = 2 if a.statistic == "spearman" else 1  # it is a mean over pairs of others, or others
    return n / (n - others) / (1 + excess)


def _highest(function: Callable[[FloatArray], FloatArray]) -> float:
    """Return the highest value of a smooth function of an angle."""
    centre, width = 0.0, math.pi
    for _ in range(6):
        angles = centre + width * np.linspace(-1, 1, 65)
        values = function(angles)
        centre, width = float(angles[values.argmax()]), width / 16
    return float(values.max())
