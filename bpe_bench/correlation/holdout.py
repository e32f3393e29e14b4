"""Choices judged on architectures that were not used for the choice.

The best of many budgets looks better than it is, because luck helped to choose it. So the
architectures are divided at random into two halves, many times: the correlations on one half
choose the budget, and its correlation on the other half is what the choice is worth.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata

from ..errors import ConstantInputWarning, SelectionError, unknown_name
from ..files import to_json_object
from ..inference import ROUNDING, FloatArray
from ..randomness import settled
from ..ranking import STATISTICS, sparse

_DEFAULT_SPLITS = 100
_FEW = 200
"""With at most so many architectures, all pairs fit into memory easily."""
_FEWEST = 3
"""A half with fewer architectures has no correlation."""


@dataclass(frozen=True)
class HalfCorrelations:
    """Correlations of S budgets on halves of the architectures; each half chooses and judges."""

    chosen_on: FloatArray
    scored_on: FloatArray
    """Shape (R, S), two rows per division; NaN where a half has too few architectures, or all
    accuracies are equal."""


@dataclass(frozen=True)
class HeldOut:
    """How the best budget within an allowance ranks other architectures."""

    correlation: float
    """Correlation on one half of the budget chosen on the other; mean over the halves."""
    low: float
    high: float
    """The range of 95 % of the halves. Halves are smaller than the whole, and those of
    different divisions overlap, so this is no confidence interval: it shows how much a choice
    depends on the architectures."""
    optimism: float
    """How much higher the correlation on the choosing half is; mean over the halves."""
    same_choice: float
    """Share of the halves that choose the same budget as all architectures together."""

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON values, None where unknown."""
        return to_json_object(vars(self))


def half_correlations(
    truth: FloatArray,
    accuracies: FloatArray,
    *,
    statistic: str = "spearman",
    splits: int = _DEFAULT_SPLITS,
    rng: np.random.Generator,
    progress: Callable[[float], None] | None = None,
) -> HalfCorrelations:
    """Correlate budgets with full training on random halves of the architectures.

    Parameters
    ----------
    truth
        Accuracy of full training, shape (A,); NaN where missing.
    accuracies
        Accuracy under S budgets, shape (A, S); NaN where missing.
    statistic
        A key of `bpe_bench.ranking.STATISTICS`.
    splits
        How often the architectures are divided.
    rng
        Divides them.
    progress
        Called with the share of the work that is done.

    Raises
    ------
    UnknownNameError
        For an unknown statistic.
    SelectionError
        For fewer than 6 architectures with full training, or no split.
    """
    if statistic not in STATISTICS:
        raise unknown_name("statistic", statistic, STATISTICS)
    known = np.flatnonzero(np.isfinite(truth))
    if known.size < 2 * _FEWEST:
        raise SelectionError(
            f"halves need at least {2 * _FEWEST} architectures with full training, found "
            f"{known.size}"
        )
    if splits < 1:
        raise SelectionError(f"at least 1 split is needed, found {splits}")
    chosen = np.empty((2 * splits, accuracies.shape[1]))
    for split in range(splits):
        dealt = rng.permutation(known)
        for place, half in enumerate((dealt[: known.size // 2], dealt[known.size // 2 :])):
            chosen[2 * split + place] = correlations(truth[half], accuracies[half], statistic)
        if progress is not None:
            progress((split + 1) / splits)
    # The rows of a deal, each the other's judge.
    scored = chosen.reshape(splits, 2, -1)[:, ::-1].reshape(chosen.shape)
    return HalfCorrelations(chosen, scored)


def correlations(truth: FloatArray, accuracies: FloatArray, statistic: str) -> FloatArray:
    """Return the correlation of each budget with full training, shape (S,).

    Parameters
    ----------
    truth, accuracies
        Shapes (A,) and (A, S); NaN where missing. Each budget leaves out what it lacks.
    statistic
        A key of `bpe_bench.ranking.STATISTICS`.
    """
    found = np.full(accuracies.shape[1], np.nan)
    whole = np.isfinite(accuracies).all(axis=0)
    together = _spearman if statistic == "spearman" else _kendall
    quick = statistic == "spearman" or len(truth) <= _FEW
    if not quick or len(truth) < _FEWEST or not np.isfinite(truth).all():
        whole = np.zeros_like(whole)
    if whole.any():
        rounded = statistic == "sparse-kendall"
        pair = truth, accuracies[:, whole]
        found[whole] = together(*(sparse(values) if rounded else values for values in pair))
    for place in np.flatnonzero(~whole):
        column = accuracies[:, place]
        both = np.isfinite(column) & np.isfinite(truth)
        if both.sum() >= _FEWEST:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConstantInputWarning)  # it is NaN
                found[place] = STATISTICS[statistic](column[both], truth[both]).value
    return settled(found, least=ROUNDING)


def _spearman(truth: FloatArray, accuracies: FloatArray) -> FloatArray:
    """Return Pearson's correlation of average ranks, all budgets at once."""
    x, y = rankdata(accuracies, axis=0), rankdata(truth)
    x, y = x - x.mean(axis=0), y - y.mean()
    spread = np.sqrt((x**2).sum(axis=0) * (y**2).sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        found: FloatArray = np.where(spread > 0, y @ x / spread, np.nan)
    return found


def _kendall(truth: FloatArray, accuracies: FloatArray) -> FloatArray:
    """Return tau-b from all pairs of architectures, all budgets at once."""
    first, second = np.triu_indices(len(truth), 1)
    y, x = np.sign(truth[first] - truth[second]), np.sign(accuracies[first] - accuracies[second])
    untied = np.sqrt(np.count_nonzero(x, axis=0) * np.count_nonzero(y))
    with np.errstate(invalid="ignore", divide="ignore"):
        found: FloatArray = np.where(untied > 0, y @ x / untied, np.nan)
    return found


def held_out(
    halves: HalfCorrelations, costs: FloatArray, allowance: float, chosen: int | None = None
) -> HeldOut | None:
    """Judge the choice of the best budget within an allowance.

    Among equals the cheapest is chosen, then the first.

    Parameters
    ----------
    halves
        Correlations of S budgets on halves.
    costs
        Shape (S,), in the allowance's unit.
    allowance
        The highest cost allowed.
    chosen
        The budget that all architectures choose, for `HeldOut.same_choice`; unknown by default.

    Returns
    -------
    HeldOut or None
        None if no budget within the allowance has a correlation on both halves of a division.
    """
    within = np.flatnonzero(costs <= allowance)
    within = within[np.argsort(costs[within], kind="stable")]
    seen, told = halves.chosen_on[:, within], halves.scored_on[:, within]
    usable = np.isfinite(seen).any(axis=1) if within.size else np.zeros(len(seen), dtype=bool)
    if not usable.any():
        return None
    seen, told = seen[usable], told[usable]
    best = np.nanargmax(seen, axis=1)
    rows = np.arange(len(best))
    value, score = seen[rows, best], told[rows, best]
    known = np.isfinite(score)
    if not known.any():
        return None
    low, high = np.quantile(score[known], [0.025, 0.975])
    again = math.nan if chosen is None else float(np.mean(within[best] == chosen))
    return HeldOut(
        correlation=float(score[known].mean()),
        low=float(low),
        high=float(high),
        optimism=float((value - score)[known].mean()),
        same_choice=again,
    )
