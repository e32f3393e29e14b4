"""Contributions to a boosted model's predictions, by exact TreeSHAP."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .base import _check_evidence, _Groups, _shares
from .models import FloatArray, _Boosted, _fit_boosted


@dataclass(frozen=True)
class _ShapImportance:
    """Mean absolute contribution of each group to the predictions of the settings.

    A contribution is the Shapley value of a column for one prediction, with absent columns
    averaged over the trees' own training settings (Lundberg, Erion & Lee, 2018); XGBoost
    computes it exactly. The columns of a group are added up before the absolute value is taken,
    so if columns are copies of each other, it does not matter which of them the trees split on.
    """

    fit: Callable[[FloatArray, FloatArray, np.random.Generator], _Boosted] = _fit_boosted
    summary: str = "XGBoost, mean absolute SHAP contribution"

    def importances(
        self, x: FloatArray, y: FloatArray, groups: _Groups, rng: np.random.Generator
    ) -> FloatArray:
        """Return the share of each group in the absolute contributions."""
        _check_evidence(x, y, groups)
        by_column = self.fit(x, y, rng).contributions(x)
        joined = [np.abs(by_column[:, list(group)].sum(axis=1)).sum() for group in groups]
        # XGBoost computes in single precision, with an error of some 1e-7 of the correlations.
        return _shares(np.array(joined), 1e-6 * float(np.abs(y).sum()))
