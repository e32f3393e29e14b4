"""The importance estimators by name, and two that work with any model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from ..errors import unknown_name
from .base import ImportanceEstimator, _check_evidence, _Groups, _shares, _square_floor
from .fanova import _FanovaImportance
from .models import FloatArray, _Fit, _fit_boosted, fit_forest
from .ped_anova import _PedAnovaImportance
from .shap import _ShapImportance


@dataclass(frozen=True)
class _ModelImportance:
    """The model's own measure: decrease of impurity (forest) or total gain (XGBoost)."""

    fit: _Fit
    summary: str

    def importances(
        self, x: FloatArray, y: FloatArray, groups: _Groups, rng: np.random.Generator
    ) -> FloatArray:
        """Return the share of each group in the sum of the columns' measures."""
        _check_evidence(x, y, groups)
        by_column = self.fit(x, y, rng).importances()
        joined = np.array([by_column[list(group)].sum() for group in groups])
        return _shares(joined, _square_floor(y))


@dataclass(frozen=True)
class _PermutationImportance:
    """How much worse the model predicts when a group's values are shuffled over the settings.

    Breiman (2001), on the settings that the model was fitted to; the columns of a group are
    shuffled together. Negative differences count as zero.
    """

    fit: _Fit
    summary: str
    repeats: int = 5

    def importances(
        self, x: FloatArray, y: FloatArray, groups: _Groups, rng: np.random.Generator
    ) -> FloatArray:
        """Return the share of each group in the increases of the squared error."""
        _check_evidence(x, y, groups)
        model = self.fit(x, y, rng)
        shuffled = np.repeat(x[None], len(groups) * self.repeats, axis=0)
        for copy in range(len(shuffled)):
            columns = list(groups[copy // self.repeats])
            shuffled[copy][:, columns] = x[rng.permutation(len(x))][:, columns]
        predicted = model.predict(shuffled.reshape(-1, x.shape[1])).reshape(len(shuffled), -1)
        error = np.mean((predicted - y) ** 2, axis=1).reshape(len(groups), self.repeats)
        base = np.mean((model.predict(x) - y) ** 2)
        return _shares(error.mean(axis=1) - base, _square_floor(y))


ESTIMATORS: Mapping[str, ImportanceEstimator] = MappingProxyType(
    {
        "forest": _ModelImportance(fit_forest, "random forest, decrease of impurity"),
        "permutation": _PermutationImportance(fit_forest, "random forest, permutation"),
        "xgboost": _ModelImportance(_fit_boosted, "XGBoost, total gain"),
        "xgboost-permutation": _PermutationImportance(_fit_boosted, "XGBoost, permutation"),
        "fanova": _FanovaImportance(),
        "xgboost-shap": _ShapImportance(),
        "ped-anova": _PedAnovaImportance(),
    }
)
"""The importance estimators by the name under which the command line knows them."""


def get_estimator(name: str) -> ImportanceEstimator:
    """Return an importance estimator by name.

    Raises
    ------
    UnknownNameError
        If no estimator has that name.
    """
    if name not in ESTIMATORS:
        raise unknown_name("importance estimator", name, ESTIMATORS)
    return ESTIMATORS[name]
