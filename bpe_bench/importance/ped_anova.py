"""PED-ANOVA: how the best settings differ from all, without a model of the correlation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import SelectionError
from ._optuna import import_optuna, silent
from .base import _check_evidence, _Groups, _places, _shares
from .models import FloatArray


@dataclass(frozen=True)
class _PedAnovaImportance:
    """How far the values of the best settings differ from those of all settings.

    Watanabe, Bansal & Hutter (IJCAI 2023), as Optuna implements it: per group, the Pearson
    divergence between two Parzen estimates, one of the values of the best settings and one of
    the values of all. A group is the ordered list of the combinations of values that the
    settings have. It measures what it takes to be among the best, not what explains the
    correlation. It is not random.

    Parameters
    ----------
    best
        The share of settings that count as the best, in (0, 1).
    """

    summary: str = "PED-ANOVA, best settings against all (Optuna)"
    best: float = 0.25

    def __post_init__(self) -> None:
        if not 0 < self.best < 1:
            raise SelectionError(
                f"the share of the best settings must be above 0 and below 1, found {self.best:g}"
            )

    def importances(
        self, x: FloatArray, y: FloatArray, groups: _Groups, rng: np.random.Generator
    ) -> FloatArray:
        """Return the share of each group in the divergences.

        Raises
        ------
        OptionalDependencyError
            If Optuna is not installed.
        SelectionError
            See `ImportanceEstimator.importances`.
        """
        _check_evidence(x, y, groups)
        if np.ptp(y) == 0:
            return np.zeros(len(groups))
        optuna = import_optuna("PED-ANOVA", "another importance estimator")
        seen = [_places(x, group) for group in groups]
        return _shares(_divergences(optuna, seen, y, self.best), 1e-12)


def _divergences(
    optuna: Any, seen: Sequence[npt.NDArray[np.intp]], y: FloatArray, best: float
) -> FloatArray:
    """Return Optuna's importance of each group of places (S,), shape (G,); 0 if it is constant."""
    found = np.zeros(len(seen))
    varying = {str(g): places.tolist() for g, places in enumerate(seen) if np.ptp(places)}
    if not varying:
        return found
    ordered = optuna.distributions.IntDistribution
    distributions = {name: ordered(0, max(values)) for name, values in varying.items()}
    trials = [
        optuna.trial.create_trial(
            params={name: values[s] for name, values in varying.items()},
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
