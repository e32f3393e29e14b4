"""Choices judged on architectures that they were not made by.

The best of many budgets looks better than it is, as luck helped to choose it. So the
architectures are dealt at random into two halves, again and again; the choice is made
by the correlations on one half, and the correlation on the other says what it brings.
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
from ..files import to_json_value
from ..inference import ROUNDING, FloatArray
from ..randomness import settled
from ..ranking import STATISTICS, sparse

DEFAULT_SPLITS = 100
_FEW = 200
"""Architectures of which all pairs fit into memory easily."""
_FEWEST = 3
"""Architectures below which a half has no correlation."""


@dataclass(frozen=True)
class HalfCorrelations:
    """Correlations of S budgets on halves of the architectures; each half serves as both."""

    chosen_on: FloatArray
    scored_on: FloatArray
    """Shape (R, S), two rows per deal; NaN where a half has too few architectures, or equal
    accuracies only."""


@dataclass(frozen=True)
class HeldOut:
    """What choosing the best budget within an allowance brings on other architectures."""

    correlation: float
    """Of the budget chosen on one half, on the other half; mean over the halves."""
    low: float
    high: float
    """Between these lie 95 % of the halves. Halves are smaller than the whole and overlap from
    deal to deal: this says how much a choice depends on which architectures there are, and is
    no confidence interval."""
    optimism: float
    """By how much the correlation that it was chosen by is higher, mean over the halves."""
    same_choice: float
    """Share of the halves by which the budget was chosen that all architectures choose."""

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON values; what is unknown is None."""
        values: dict[str, Any] = to_json_value(vars(self))
        return values


def half_correlations(
    truth: FloatArray,
    accuracies: FloatArray,
    *,
    statistic: str = "spearman",
    splits: int = DEFAULT_SPLITS,
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
        How often the architectures are dealt.
    rng
        Deals them.
    progress
        Called with the share that is done.

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
        Shapes (A,) and (A, S); NaN where missing, which is left out by budget.
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
    """Return tau-b by looking at all pairs of architectures, all budgets at once."""
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

    Of equals the cheaper is chosen, then the first.

    Parameters
    ----------
    halves
        Correlations of S budgets on halves.
    costs
        Shape (S,), in the allowance's unit.
    allowance
        What a budget may cost at most.
    chosen
        The budget that all architectures choose, for `HeldOut.same_choice`; unknown by default.

    Returns
    -------
    HeldOut or None
        None if no budget within the allowance is known on any half and its other.
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
