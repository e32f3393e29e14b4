"""Optuna's TPE as one of the methods, over the hyper-parameters of the pool's settings."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...budget import encode
from ...importance._optuna import import_optuna, silent
from ...inference import FloatArray
from ...randomness import integer_seed
from .account import Account
from .pool import Pool, _IntArray

_APART = 1e-6
"""By how much codes of equal values differ from setting to setting. Optuna sorts codes by a sort
that leaves equal ones in an order that depends on the processor; so none are equal."""


@dataclass(frozen=True)
class _Tpe:
    """Tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011), as Optuna implements it.

    Every hyper-parameter is the place of its value among the pool's. For a proposal the nearest
    setting that was not evaluated yet is taken (sum of absolute differences, each relative to
    its hyper-parameter's range; among equals the cheapest), and the sampler is told the result
    of that setting. Optuna's defaults: the first 10 proposals are random.

    Raises
    ------
    OptionalDependencyError
        If Optuna is not installed.
    """

    name: str = "tpe"
    summary: str = "Optuna's TPE, proposals mapped to the nearest setting left"
    draws: int = 2

    def run(self, account: Account) -> None:
        """Evaluate every setting."""
        optuna = import_optuna("TPE", "another method")
        names, codes = _codes(account.pool)
        ranges = np.maximum(codes.max(axis=0, initial=0), 1)
        axes = {
            name: optuna.distributions.FloatDistribution(-0.5, float(most) + 0.5)
            for name, most in zip(names, ranges, strict=True)
        }
        with silent(optuna):
            sampler = optuna.samplers.TPESampler(seed=integer_seed(account.rng))
            study = optuna.create_study(direction="maximize", sampler=sampler)
            left = list(account.pool.by_cost)
            while left:
                proposed = study.ask(axes)
                study.tell(proposed, state=optuna.trial.TrialState.FAIL)
                wanted = np.rint([proposed.params[name] for name in names]).clip(0, ranges)
                place = left.pop(_nearest(codes[left], wanted, ranges))
                value = account.evaluate(place).correlation
                if math.isfinite(value):
                    told = (codes[place] + _APART * place).tolist()
                    params = dict(zip(names, told, strict=True))
                    study.add_trial(
                        optuna.trial.create_trial(params=params, distributions=axes, value=value)
                    )


def _codes(pool: Pool) -> tuple[tuple[str, ...], _IntArray]:
    """Return the hyper-parameters that vary, and the places of their values, shape (S, d)."""
    names = pool.unseen.varied
    columns = encode(pool.unseen.budgets, names)
    places = [np.unique(column, return_inverse=True)[1] for column in columns.T]
    return names, np.array(places, dtype=np.intp).reshape(len(names), len(columns)).T


def _nearest(codes: _IntArray, wanted: FloatArray, ranges: _IntArray) -> int:
    """Return which row (n, d) is nearest; among equals the first."""
    distances: FloatArray = (np.abs(codes - wanted) / ranges).sum(axis=1)
    return int(np.argmin(distances.round(9)))
