"""PED-ANOVA: what sets the best settings apart, without a model of the correlation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import SelectionError
from ._optuna import import_optuna, silent
from .base import Groups, check_evidence, shares
from .domain import Domain, combinations
from .models import FloatArray


@dataclass(frozen=True)
class PedAnovaImportance:
    """How far the values of the best settings differ from those of all settings.

    Watanabe, Bansal & Hutter (IJCAI 2023), as Optuna implements it: per group,
    the Pearson divergence between two Parzen estimates, one of the values of the
    best settings and one of the values of all. It answers what it takes to be
    among the best, not what explains the correlation. Nothing in it is random.

    Parameters
    ----------
    best
        The share of settings that count as the best, in (0, 1).
    domain
        The axes; None for ordered ones with the values that the settings have. A
        group of several is the ordered list of the combinations that the
        settings have.
    """

    summary: str = "PED-ANOVA, best settings against all (Optuna)"
    best: float = 0.25
    domain: Domain | None = None
    seeded: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.best < 1:
            raise SelectionError(
                f"the share of the best settings must be above 0 and below 1, found {self.best:g}"
            )

    def importances(
        self, x: FloatArray, y: FloatArray, groups: Groups, rng: np.random.Generator
    ) -> FloatArray:
        """Return the share of each group in the divergences.

        Raises
        ------
        OptionalDependencyError
            If Optuna is not installed.
        SelectionError
            See `ImportanceEstimator.importances`.
        """
        check_evidence(x, y, groups)
        if np.ptp(y) == 0:
            return np.zeros(len(groups))
        domain = self.domain or Domain.of_values(x)
        domain.code(x)  # refuses what is not in the domain
        optuna = import_optuna("PED-ANOVA", "another importance estimator")
        chosen = [_parameter(optuna, x, group, domain) for group in groups]
        return shares(_divergences(optuna, chosen, y, self.best), 1e-12)


Parameter = tuple[Any, list[Any]]
"""Optuna's distribution of a group, and its value in each setting."""


def _parameter(
    optuna: Any, x: FloatArray, group: Sequence[int], domain: Domain
) -> Parameter | None:
    """Return what a group is to Optuna; None if it does not vary."""
    ordered = optuna.distributions.IntDistribution
    if len(group) > 1:
        places = combinations(x, group)
        return (ordered(0, int(places.max())), places.tolist()) if np.ptp(places) else None
    axis, column = domain.axes[group[0]], x[:, group[0]]
    if np.ptp(column) == 0:
        return None
    if axis.kind == "real":
        bounds = optuna.distributions.FloatDistribution(axis.low, axis.high, log=axis.log)
        return bounds, column.tolist()
    if axis.kind == "categorical":
        return optuna.distributions.CategoricalDistribution(axis.values), column.tolist()
    places = axis.code(column)[:, 0].astype(int)
    return ordered(0, len(axis.values) - 1), places.tolist()


def _divergences(
    optuna: Any, chosen: Sequence[Parameter | None], y: FloatArray, best: float
) -> FloatArray:
    """Return Optuna's importance of each group, shape (G,); of one that does not vary, 0."""
    found = np.zeros(len(chosen))
    varying = {str(place): p for place, p in enumerate(chosen) if p is not None}
    if not varying:
        return found
    distributions = {name: distribution for name, (distribution, _) in varying.items()}
    trials = [
        optuna.trial.create_trial(
            params={name: values[s] for name, (_, values) in varying.items()},
            distributions=distributions,
            value=float(correlation),
        )
        for s, correlation in enumerate(y)
    ]
    with silent(optuna):
        study = optuna.create_study(direction="maximize")
        study.add_trials(trials)
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=best)
        for name, value in evaluator.evaluate(study).items():
            found[int(name)] = value
    return found
