"""Means over repeats on overlapping halves of the architectures, with a corrected error."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from ...inference import FloatArray
from ...randomness import settled


@dataclass(frozen=True)
class _ResampledMean:
    """A mean over repeats on resampled architectures."""

    mean: float
    low: float
    high: float
    """Bounds of the interval; NaN for fewer than two repeats."""
    p_value: float
    """Two-sided, of the hypothesis that the mean is 0."""


def _resampled_mean(values: FloatArray, share: float, confidence: float) -> _ResampledMean:
    """Return a mean over repeats with its corrected interval and test.

    Halves of the same architectures are not independent repeats: with more of them the mean
    converges, but to that of these architectures. The corrected resampled t-test (Nadeau &
    Bengio, Machine Learning 52, 2003) inflates the variance s² for that: t = mean / √(s² (1/R +
    share)) with R − 1 degrees of freedom. More repeats therefore do not make every difference
    significant. It is conservative where values vary by a method's own draws, which are
    independent.

    Parameters
    ----------
    values
        One per repeat, shape (R,); NaN is left out.
    share
        Size of the scoring half divided by that of the choosing half.
    confidence
        Nominal coverage.

    Examples
    --------
    >>> found = _resampled_mean(np.array([1.0, 2.0, 3.0]), 1.0, 0.95)
    >>> round(found.p_value, 4)  # t = 2 / √(1 (1/3 + 1)) = 1.7321 with 2 degrees of freedom
    0.2254
    """
    known = values[np.isfinite(values)]
    count = len(known)
    mean = float(known.mean()) if count else math.nan
    if count < 2:
        return _ResampledMean(mean, math.nan, math.nan, math.nan)
    error = float(known.std(ddof=1)) * math.sqrt(1 / count + share)
    if error <= 1e-12:
        # All repeats have the same value, so there is no error to test against.
        return _ResampledMean(mean, mean, mean, 1.0 if abs(mean) <= 1e-12 else 0.0)
    half = float(stats.t.ppf((1 + confidence) / 2, count - 1)) * error
    p_value = float(2 * stats.t.sf(abs(mean) / error, count - 1))
    low, high = settled(mean - half), settled(mean + half)
    return _ResampledMean(settled(mean), low, high, settled(p_value))
