"""Two ways to read importance off a model: its own account, and permutation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import numpy as np

from ..errors import unknown_name
from .models import Fit, FloatArray, fit_boosted, fit_forest

Groups = Sequence[Sequence[int]]
"""Columns that are judged together, as they move together."""


class ImportanceEstimator(Protocol):
    """Says how much each group of hyper-parameters matters for the correlation."""

    @property
    def summary(self) -> str:
        """What it is, in a few words."""

    def importances(
        self, x: FloatArray, y: FloatArray, groups: Groups, rng: np.random.Generator
    ) -> FloatArray:
        """Return the importance of each group, shape (G,), not negative, with sum 1.

        Parameters
        ----------
        x, y
            Settings (S, d) and their correlations (S,).
        groups
            G disjoint lists of columns.

        Returns
        -------
        array of shape (G,)
            All zero if the model found nothing that matters.
        """


@dataclass(frozen=True)
class ModelImportance:
    """The model's own account: decrease of impurity (forest) or total gain (XGBoost)."""

    fit: Fit
    summary: str

    def importances(
        self, x: FloatArray, y: FloatArray, groups: Groups, rng: np.random.Generator
    ) -> FloatArray:
        """Return the share of each group in what the columns account for."""
        by_column = self.fit(x, y, rng).importances()
        return _shares(np.array([by_column[list(group)].sum() for group in groups]), y)


@dataclass(frozen=True)
class PermutationImportance:
    """How much worse the model predicts when a group's values are shuffled over the settings.

    Breiman (2001), on the settings it was fitted to; the columns of a group are
    shuffled together. Negative differences count as zero.
    """

    fit: Fit
    summary: str
    repeats: int = 5

    def importances(
        self, x: FloatArray, y: FloatArray, groups: Groups, rng: np.random.Generator
    ) -> FloatArray:
        """Return the share of each group in the increases of the squared error."""
        model = self.fit(x, y, rng)
        shuffled = np.repeat(x[None], len(groups) * self.repeats, axis=0)
        for copy in range(len(shuffled)):
            columns = list(groups[copy // self.repeats])
            shuffled[copy][:, columns] = x[rng.permutation(len(x))][:, columns]
        predicted = model.predict(shuffled.reshape(-1, x.shape[1])).reshape(len(shuffled), -1)
        error = np.mean((predicted - y) ** 2, axis=1).reshape(len(groups), self.repeats)
        base = np.mean((model.predict(x) - y) ** 2)
        return _shares(np.maximum(error.mean(axis=1) - base, 0.0), y)


ESTIMATORS: Mapping[str, ImportanceEstimator] = MappingProxyType(
    {
        "forest": ModelImportance(fit_forest, "random forest, decrease of impurity"),
        "permutation": PermutationImportance(fit_forest, "random forest, permutation"),
        "xgboost": ModelImportance(fit_boosted, "XGBoost, total gain"),
        "xgboost-permutation": PermutationImportance(fit_boosted, "XGBoost, permutation"),
    }
)
"""The importance estimators by the name under which the command line knows them."""


def get_estimator(name: str) -> ImportanceEstimator:
    """Return an importance estimator by name.

    Raises
    ------
    UnknownNameError
        If there is none of that name.
    """
    if name not in ESTIMATORS:
        raise unknown_name("importance estimator", name, ESTIMATORS)
    return ESTIMATORS[name]


def _shares(values: FloatArray, y: FloatArray) -> FloatArray:
    """Return values (G,), which are in squares of y, divided by their sum; rounding is no value."""
    values = np.where(values > 1e-12 * np.mean(y**2), values, 0.0)
    total = values.sum()
    return values / total if total > 0 else values
