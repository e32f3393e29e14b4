"""Predictions with intervals, and the ensembles that make them for one quantity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ..tables.table import Setting
from .columns import _Columns, _Ranges, _ranges_of
from .crossfit import Grouping, _CrossFitted
from .question import TARGETS, FloatArray, TargetName

CONFIDENCE = 0.9
"""Nominal coverage of a prediction's interval."""


@dataclass(frozen=True)
class Forecast:
    """Predictions of a surrogate with their intervals."""

    value: FloatArray
    low: FloatArray
    high: FloatArray
    """Shape (N,); NaN where unknown, bounds also where no interval can be given."""

    def without_intervals(self, where: npt.NDArray[np.bool_]) -> Forecast:
        """Return the same without bounds at the places in a mask (N,)."""
        low, high = (np.where(where, np.nan, bound) for bound in (self.low, self.high))
        return Forecast(self.value, low, high)

    def unknown_at(self, where: npt.NDArray[np.bool_]) -> Forecast:
        """Return the same without values at the places in a mask (N,)."""
        return Forecast(*(np.where(where, np.nan, p) for p in (self.value, self.low, self.high)))

    @classmethod
    def unknown(cls, count: int) -> Forecast:
        """Return a forecast of N places in which all is unknown."""
        return cls(*np.full((3, count), np.nan))


@dataclass(frozen=True)
class _TargetModel:
    """The ensembles that predict one quantity."""

    target: TargetName
    model: str
    """A key of `bpe_bench.surrogate.models.MODELS`."""
    columns: _Columns
    ensembles: Mapping[Grouping, _CrossFitted]
    """Ensembles by what is new in a question: an architecture, a budget, or both."""
    settings: tuple[Setting, ...]
    """The surrogate's settings for which the quantity is known."""

    @cached_property
    def ranges(self) -> _Ranges:
        """Smallest and largest number, or categories, of each hyper-parameter of `settings`."""
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
            What is new: a key of `ensembles`.
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
