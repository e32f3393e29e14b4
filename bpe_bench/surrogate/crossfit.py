"""Cross-fitted ensembles: predictions with intervals that are right for new groups.

Groups (architectures, settings, or both) are divided into K folds, and K members are fitted,
each without one fold. The ensemble predicts their mean. The errors of each member on the fold
that it never saw show how large the errors on new groups are, which gives the interval (CV+,
Barber, Candès, Ramdas & Tibshirani, Annals of Statistics 2021).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..errors import SelectionError
from .models import FloatArray, _get_model, _Regression, _Trend

_IntArray = npt.NDArray[np.int64]
Grouping = Literal["architecture", "budget", "both"]

GROUPINGS: tuple[Grouping, ...] = ("architecture", "budget", "both")
"""What is new in a prediction: the architecture, the budget, or both."""

_ORDERED_AT_ONCE = 2**22
"""So many bounds are sorted at once: residuals times rows."""


@dataclass(frozen=True)
class _Folds:
    """Rows divided into K folds along one or two axes (architectures, budgets)."""

    of_row: _IntArray
    """Shape (axes, n): the fold of each row along each axis."""
    count: int
    """K."""

    @classmethod
    def deal(
        cls, axes: Sequence[tuple[str, _IntArray]], count: int, rng: np.random.Generator
    ) -> _Folds:
        """Divide groups at random into folds with nearly equal numbers of groups.

        Parameters
        ----------
        axes
            For each axis the name of its groups and the group of each row, (n,).
        count
            Number of folds.

        Raises
        ------
        SelectionError
            If there are fewer than two folds, or fewer groups than folds.
        """
        if count < 2:
            raise SelectionError(f"cross-validation needs at least 2 folds, found {count}")
        dealt = []
        for what, groups in axes:
            known, place = np.unique(groups, return_inverse=True)
            if known.size < count:
                raise SelectionError(
                    f"cross-validation in {count} folds needs at least {count} {what}, found "
                    f"{known.size}; take fewer folds, or more {what}"
                )
            fold = np.empty(known.size, dtype=np.int64)
            fold[rng.permutation(known.size)] = np.arange(known.size) % count
            dealt.append(fold[place])
        return cls(np.array(dealt), count)

    def judged(self, fold: int) -> npt.NDArray[np.bool_]:
        """Return which rows belong to a fold along all axes, shape (n,)."""
        judged: npt.NDArray[np.bool_] = (self.of_row == fold).all(axis=0)
        return judged

    def learned(self, *left_out: int) -> npt.NDArray[np.bool_]:
        """Return which rows lie outside of some folds along every axis, shape (n,)."""
        learned: npt.NDArray[np.bool_] = np.all(np.isin(self.of_row, left_out, invert=True), axis=0)
        return learned


@dataclass(frozen=True)
class _Member:
    """One fitted regression, with a trend if it has one."""

    regression: _Regression
    trend: _Trend | None = None

    @classmethod
    def fit(
        cls, x: FloatArray, y: FloatArray, model: str, rng: np.random.Generator, *, trend: bool
    ) -> _Member:
        """Fit rows (n, d) to targets (n,) by a model of `bpe_bench.surrogate.models.MODELS`."""
        line = _Trend.fit(x, y).settled(x, y) if trend else None
        rest = y - line.predict(x) if line is not None else y
        return cls(_get_model(model).fit(x, rest, rng), line)

    def predict(self, x: FloatArray) -> FloatArray:
        """Return predictions, shape (N,)."""
        predicted = self.regression.predict(x)
        return predicted if self.trend is None else predicted + self.trend.predict(x)


@dataclass(frozen=True)
class _CrossFitted:
    """K members, and the error of each on the fold that it never saw."""

    members: tuple[_Member, ...]
    fold: _IntArray
    """Shape (n,): the member that judged each row."""
    residuals: FloatArray
    """Shape (n,): the absolute error of each row."""

    def predict(self, x: FloatArray) -> FloatArray:
        """Return the mean over members, shape (N,)."""
        mean: FloatArray = self._each(x).mean(axis=0)
        return mean

    def forecast(self, x: FloatArray, confidence: float) -> tuple[FloatArray, ...]:
        """Return the mean over members and the bounds of the interval, three of shape (N,)."""
        each = self._each(x)
        return each.mean(axis=0), *_cv_plus(each, self.fold, self.residuals, confidence)

    def _each(self, x: FloatArray) -> FloatArray:
        return np.array([member.predict(x) for member in self.members])


def _cv_plus(
    each: FloatArray, fold: _IntArray, residuals: FloatArray, confidence: float
) -> tuple[FloatArray, FloatArray]:
    """Return the bounds of the CV+ interval.

    They are the ⌊α(n+1)⌋-th smallest of μ_i(x) − R_i and the ⌈(1−α)(n+1)⌉-th smallest of μ_i(x)
    + R_i, where μ_i is the member that judged row i, R_i its absolute error, and α = 1 −
    confidence. Infinite if there are too few rows.

    Parameters
    ----------
    each
        Predictions of K members for N rows, (K, N).
    fold, residuals
        The member that judged each of n rows, and its absolute error, (n,).
    confidence
        Nominal coverage, in (0, 1).

    Returns
    -------
    low, high
        Shape (N,).
    """
    n, asked = residuals.size, each.shape[1]
    # 1 − 0.9 is a little less than 0.1, and 0.1 · 10 must count as 1.
    rank = math.floor(round((1 - confidence) * (n + 1), 9))
    low, high = np.full(asked, -np.inf), np.full(asked, np.inf)
    step = max(1, _ORDERED_AT_ONCE // max(1, n))
    for start in range(0, asked if rank > 0 else 0, step):
        part = slice(start, start + step)
        own = each[fold, part]
        low[part] = np.partition(own - residuals[:, None], rank - 1, axis=0)[rank - 1]
        high[part] = np.partition(own + residuals[:, None], n - rank, axis=0)[n - rank]
    return low, high


def _fewest_residuals(confidence: float) -> int:
    """Return how many residuals an interval of this nominal coverage needs.

    Examples
    --------
    >>> _fewest_residuals(0.9), _fewest_residuals(0.95)
    (9, 19)
    """
    return math.ceil(round(1 / (1 - confidence), 9)) - 1


_FitMember = Callable[[npt.NDArray[np.bool_]], _Member]
"""Fits a member to the rows in a mask of shape (n,)."""
_Progress = Callable[[float], None]
"""Called with the share of the work that is done."""


def _crossfit(
    x: FloatArray,
    y: FloatArray,
    folds: _Folds,
    fit: _FitMember,
    progress: _Progress | None = None,
) -> _CrossFitted:
    """Fit an ensemble to rows (n, d) and targets (n,), a member per fold."""
    members, fold, residuals = [], [], []
    for held in range(folds.count):
        member = fit(folds.learned(held))
        judged = folds.judged(held)
        residuals.append(np.abs(member.predict(x[judged]) - y[judged]))
        fold.append(np.full(int(judged.sum()), held))
        members.append(member)
        if progress is not None:
            progress((held + 1) / folds.count)
    return _CrossFitted(tuple(members), np.concatenate(fold), np.concatenate(residuals))


@dataclass(frozen=True)
class _Judged:
    """Rows of held-out groups, and their predictions."""

    place: _IntArray
    """Shape (m,): the numbers of the rows."""
    value: FloatArray
    low: FloatArray
    high: FloatArray
    """Shape (m,); bounds are infinite where there are too few residuals."""
    residuals: int
    """Fewest residuals behind any of the intervals."""


def _judge(
    x: FloatArray,
    y: FloatArray,
    folds: _Folds,
    fit: _FitMember,
    *,
    confidence: float,
    progress: _Progress | None = None,
) -> _Judged:
    """Predict every fold by an ensemble fitted to the others, intervals included.

    The ensemble that judges fold k has members without k and j, for all other folds j;
    the one that judges j has the same member. So each pair of folds is left out once: K(K−1)/2
    fits judge K ensembles, each calibrated on folds that its members never saw.

    Raises
    ------
    SelectionError
        If there are fewer than three folds: without two of them, nothing is left to fit.
    """
    if folds.count < 3:
        raise SelectionError(
            f"judging surrogates needs at least 3 folds, found {folds.count}: one is judged, one "
            "says how wide intervals are, and the others are learned from; take 3 folds or more"
        )
    rows = [np.flatnonzero(folds.judged(fold)) for fold in range(folds.count)]
    answers: list[list[FloatArray]] = [[] for _ in rows]
    residuals: list[list[FloatArray]] = [[] for _ in rows]
    pairs = list(itertools.combinations(range(folds.count), 2))
    for done, pair in enumerate(pairs):
        member = fit(folds.learned(*pair))
        for held, other in (pair, pair[::-1]):
            answers[held].append(member.predict(x[rows[held]]))
            residuals[held].append(np.abs(member.predict(x[rows[other]]) - y[rows[other]]))
        if progress is not None:
            progress((done + 1) / len(pairs))
    parts = []
    for place, answered, missed in zip(rows, answers, residuals, strict=True):
        each = np.array(answered)
        fold = np.repeat(np.arange(len(missed)), [len(part) for part in missed])
        bounds = _cv_plus(each, fold, np.concatenate(missed), confidence)
        parts.append((place, each.mean(axis=0), *bounds))
    place, value, low, high = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    fewest = min(sum(len(part) for part in missed) for missed in residuals)
    return _Judged(place, value, low, high, fewest)
