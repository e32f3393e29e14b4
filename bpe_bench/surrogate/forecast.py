"""Forecasts, and the ensembles that make them for one quantity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ..tables.table import Setting
from .columns import Columns, Ranges, _ranges_of
from .crossfit import Grouping, _CrossFitted
from .question import TARGETS, FloatArray, TargetName

CONFIDENCE = 0.9
"""Nominal coverage of a prediction's interval."""


@dataclass(frozen=True)
class Forecast:
    """What a surrogate expects, and the interval that it will probably lie in."""

    value: FloatArray
    low: FloatArray
    high: FloatArray
    """Shape (N,); NaN where nothing is known, and for the bounds where no interval can be given."""

    def without_intervals(self, where: npt.NDArray[np.bool_]) -> Forecast:
        """Return it without bounds at some of its places, given as a mask (N,)."""
        low, high = (np.where(where, np.nan, bound) for bound in (self.low, self.high))
        return Forecast(self.value, low, high)

    def unknown_at(self, where: npt.NDArray[np.bool_]) -> Forecast:
        """Return it without values at some of its places, given as a mask (N,)."""
        return Forecast(*(np.where(where, np.nan, p) for p in (self.value, self.low, self.high)))

    @classmethod
    def unknown(cls, count: int) -> Forecast:
        """Return a forecast of N places that knows nothing."""
        return cls(*np.full((3, count), np.nan))


@dataclass(frozen=True)
class _TargetModel:
    """The ensembles that answer for one quantity."""

    target: TargetName
    model: str
    """Its kind, a key of `bpe_bench.surrogate.models.MODELS`."""
    columns: Columns
    ensembles: Mapping[Grouping, _CrossFitted]
    """By what is new in a question: an architecture, a budget, or both."""
    settings: tuple[Setting, ...]
    """Those of the surrogate's settings that the quantity is known of."""

    @cached_property
    def ranges(self) -> Ranges:
        """By hyper-parameter the least and largest number, or the categories, of `settings`."""
        return _ranges_of([setting.budget for setting in self.settings])

    def forecast(
        self, architecture: FloatArray, budget: FloatArray, grouping: Grouping, confidence: float
    ) -> Forecast:
        """Predict N rows.

        Parameters
        ----------
        architecture, budget
            Their columns, (N, d₁) and (N, d₂); one of them may have a single row for all.
        grouping
            What is new in them.
        confidence
            Nominal coverage of the intervals.
        """
        rows = max(len(architecture), len(budget)) if len(architecture) and len(budget) else 0
        x = np.hstack([np.broadcast_to(p, (rows, p.shape[1])) for p in (architecture, budget)])
        known = np.isfinite(x).all(axis=1)
        parts = np.full((3, rows), np.nan)
        parts[:, known] = self.ensembles[grouping].forecast(x[known], confidence)
        parts[np.isinf(parts)] = np.nan  # of so few rows no interval follows
        return Forecast(*(TARGETS[self.target].bounded(part) for part in parts))
