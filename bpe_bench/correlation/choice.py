"""Which budget of a table to use, when nothing is known of what its user can spend."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..inference import FloatArray, holm
from ..randomness import as_generator
from .candidates import Measured
from .comparison import FEWEST_TESTED
from .holdout import HeldOut, half_correlations, held_out

CHEAP = 0.1
"""A budget is cheap if it costs at most this share of full training."""
ENOUGH = 0.9
"""Budgets with less than this share of the most architectures are not compared with the others."""
_MOST_HALVED = 10_000
"""So many accuracies are divided into halves quickly. Luck in choosing matters with few."""
_FEWEST_HALVED = 6


@dataclass(frozen=True)
class Choice:
    """The budget to use: the best of the cheap ones, if its interval lies above 0."""

    label: str
    compared: int
    """Budgets that it was chosen from; their correlations rest on nearly all architectures."""
    left_out: int
    """Budgets that rest on too few architectures to be compared."""
    limit_of: str | None
    """Label of full training, or of the dearest budget if the cost of full training is unknown:
    a tenth of its cost is what a cheap budget costs at most; None without costs."""
    limit_seconds: float
    """That tenth; NaN without costs."""
    is_cheap: bool
    """False if no budget with an interval above 0 is so cheap; all are compared then."""
    cheaper: str | None
    """The cheapest of them that the data do not separate from it; None if they separate all."""
    held_out: HeldOut | None
    """How a budget that is chosen so ranks architectures that it was not chosen by; None if nothing
    was chosen, or for more than 10,000 accuracies, where choosing takes little luck."""


def convincing(rows: Sequence[Measured], confidence: float) -> list[Measured]:
    """Return the budgets that rank better than chance, even as the luckiest of all these.

    Their intervals lie above 0, and so do their p-values below 1 − confidence after Holm's
    correction for the number of budgets. No p-value counts as less than 2 / n!, that of a perfect
    order among all orders of n architectures.
    """
    least = [2 / math.factorial(min(row.n_architectures, 20)) for row in rows]
    adjusted = holm([max(row.p_value, p) for row, p in zip(rows, least, strict=True)])  # NaN stays
    return [
        row
        for row, p in zip(rows, adjusted, strict=True)
        if row.above_chance and p < 1 - confidence
    ]


def comparable(rows: Sequence[Measured]) -> list[Measured]:
    """Return the budgets whose correlations rest on nearly the same, and the most, architectures.

    A correlation over other architectures is of another question.
    """
    known = [row for row in rows if not math.isnan(row.correlation)]
    most = max((row.n_architectures for row in known), default=0)
    return [row for row in known if row.n_architectures >= ENOUGH * most]


def choose(
    rows: Sequence[Measured],
    full: tuple[str, float],
    better: Callable[[Measured, Measured], bool],
    *,
    truth: FloatArray,
    accuracies: Mapping[str, FloatArray],
    statistic: str = "spearman",
    confidence: float = 0.95,
    seed: int | np.random.Generator = 0,
) -> Choice | None:
    """Choose the budget with the highest correlation of those that cost little.

    Parameters
    ----------
    rows
        The budgets.
    full
        Label and seconds of full training; NaN if unknown.
    better
        Whether the data separate the second budget from the first.
    truth, accuracies
        Of full training and by label of a budget, shape (A,) each; NaN where missing.
    statistic
        A key of `bpe_bench.ranking.STATISTICS`.
    confidence
        Of the rows' intervals.
    seed
        Divides the architectures into halves.

    Returns
    -------
    Choice or None
        None if no budget is `convincing`.
    """
    compared = comparable(rows)
    able = convincing(compared, confidence)
    if not able:
        return None
    limit_of, limit = _limit(compared, full)
    cheap = [row for row in compared if row.cost_seconds <= limit]
    is_cheap = any(row in able for row in cheap)
    pool = cheap if is_cheap else compared
    best = max((row for row in able if row in pool), key=_merit)
    similar = [
        row
        for row in able
        if row.cost_seconds < best.cost_seconds
        and best.n_architectures >= FEWEST_TESTED
        and not better(row, best)
    ]
    cheapest = min(similar, key=lambda row: row.cost_seconds, default=None)
    return Choice(
        label=best.label,
        compared=len(pool),
        left_out=len(rows) - len(compared),
        limit_of=limit_of,
        limit_seconds=limit,
        is_cheap=is_cheap,
        cheaper=None if cheapest is None else cheapest.label,
        held_out=_held_out(pool, best, truth, accuracies, statistic, seed),
    )


def _merit(row: Measured) -> tuple[float, float]:
    """Of budgets that correlate equally the cheapest is best."""
    return row.correlation, -row.cost_seconds if math.isfinite(row.cost_seconds) else -math.inf


def _limit(rows: Sequence[Measured], full: tuple[str, float]) -> tuple[str | None, float]:
    label, seconds = full
    known = [row for row in rows if math.isfinite(row.cost_seconds)]
    if not known:
        return None, math.nan
    if not math.isfinite(seconds):
        dearest = max(known, key=lambda row: row.cost_seconds)
        label, seconds = dearest.label, dearest.cost_seconds
    return label, CHEAP * seconds


def _held_out(
    pool: Sequence[Measured],
    best: Measured,
    truth: FloatArray,
    accuracies: Mapping[str, FloatArray],
    statistic: str,
    seed: int | np.random.Generator,
) -> HeldOut | None:
    known = int(np.isfinite(truth).sum())
    if len(pool) == 1 or known < _FEWEST_HALVED or known * len(pool) > _MOST_HALVED:
        return None
    columns = np.stack([accuracies[row.label] for row in pool], axis=1)
    halves = half_correlations(truth, columns, statistic=statistic, rng=as_generator(seed))
    costs = np.nan_to_num([row.cost_seconds for row in pool])
    return held_out(halves, costs, math.inf, [row.label for row in pool].index(best.label))
