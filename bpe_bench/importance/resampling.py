"""Importances over resampled settings and architectures, which show how sure they are."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .base import ImportanceEstimator, _Groups
from .models import FloatArray


def resampled_importances(
    estimator: ImportanceEstimator,
    x: FloatArray,
    drawn: FloatArray,
    groups: _Groups,
    rng: np.random.Generator,
    progress: Callable[[float], None] | None = None,
) -> FloatArray:
    """Return importances, each from a resample of settings and architectures.

    Parameters
    ----------
    estimator
        One of `ESTIMATORS`.
    x
        Settings, shape (S, d).
    drawn
        Their correlations as B other draws of architectures gave them, shape (B, S)
        (``Evidence.draw``).
    groups
        G disjoint lists of columns, each judged as one.
    rng
        Draws S settings with replacement for each row of ``drawn``, and drives the models.
    progress
        Called with the share of the work that is done.

    Returns
    -------
    array of shape (B, G)
        Every row has sum 1, or is all 0 if no group matters.

    Raises
    ------
    SelectionError
        As `ImportanceEstimator.importances`.
    """
    found = np.empty((len(drawn), len(groups)))
    for b, y in enumerate(drawn):
        chosen = rng.integers(len(x), size=len(x))
        found[b] = estimator.importances(x[chosen], y[chosen], groups, rng)
        if progress is not None:
            progress((b + 1) / len(drawn))
    return found


def separated(shares: FloatArray, tail: float, most: int) -> int:
    """Return how many of the least important groups the data separate from all others.

    That is the smallest m, up to ``most``, for which each of the others is more important than
    each of the first m in all but a share ``tail`` of the resamples. Groups without effect tie,
    and are separated from the others together.

    Parameters
    ----------
    shares
        Importances (B, G), the least important group first.
    tail
        Share of the resamples that may show the opposite.
    most
        How many groups may be pruned.

    Returns
    -------
    int
        m; 0 if no number of groups can be separated.

    Examples
    --------
    >>> shares = np.array([[0.1, 0.1, 0.8], [0.2, 0.1, 0.7]])
    >>> separated(shares, 0.025, 2), separated(shares, 0.025, 1)
    (2, 0)
    """
    for count in range(1, min(most, shares.shape[1] - 1) + 1):
        leads = shares[:, None, count:] - shares[:, :count, None]
        if np.all(np.quantile(leads, tail, axis=0) > 0):
            return count
    return 0


def share_least(shares: FloatArray, count: int) -> float:
    """Return the share of rows (B, G) in which the first columns are the least, ties in part."""
    if not shares.shape[1]:
        return math.nan
    if count == 1:
        least = shares == shares.min(axis=1, keepdims=True)
        return float(np.mean(least[:, 0] / least.sum(axis=1)))
    most = shares[:, :count].max(axis=1)
    return float(np.mean(most <= shares[:, count:].min(axis=1, initial=math.inf)))
