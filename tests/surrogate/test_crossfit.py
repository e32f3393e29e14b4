"""Folds without leakage, and intervals against a brute force and a simulation."""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import pytest

from bpe_bench.errors import SelectionError
from bpe_bench.surrogate.crossfit import (
    _crossfit,
    _cv_plus,
    _fewest_residuals,
    _Folds,
    _judge,
    _Member,
)


def brute_cv_plus(each, fold, residuals, alpha):
    """By the definition, sorted row by row."""
    n = len(residuals)
    bounds = []
    for asked in range(each.shape[1]):
        low = sorted(each[fold[i], asked] - residuals[i] for i in range(n))
        high = sorted(each[fold[i], asked] + residuals[i] for i in range(n))
        first, last = math.floor(alpha * (n + 1)), math.ceil((1 - alpha) * (n + 1))
        bounds.append(
            (low[first - 1] if first else -np.inf, high[last - 1] if last <= n else np.inf)
        )
    return np.array(bounds).T


@pytest.mark.parametrize("n", [5, 19, 20, 57])
@pytest.mark.parametrize("alpha", [0.05, 0.125, 0.5])
def test_the_interval_is_the_one_of_the_definition(n, alpha):
    rng = np.random.default_rng(n)
    each, fold = rng.normal(size=(4, 6)), rng.integers(4, size=n)
    residuals = rng.exponential(size=n)
    np.testing.assert_array_equal(
        _cv_plus(each, fold, residuals, 1 - alpha), brute_cv_plus(each, fold, residuals, alpha)
    )


def test_nine_rows_are_enough_for_nine_tenths_and_eight_are_not():
    for n, known in ((9, True), (8, False)):
        bounds = _cv_plus(np.zeros((1, 3)), np.zeros(n, dtype=int), np.arange(1.0, n + 1), 0.9)
        assert np.isfinite(bounds).all() == known
    np.testing.assert_array_equal(
        _cv_plus(np.zeros((1, 1)), np.zeros(9, dtype=int), np.arange(1.0, 10), 0.9), [[-9], [9]]
    )


@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.9, 0.95, 0.99, 0.999, 0.87])
def test_the_fewest_residuals_give_bounds_and_one_less_does_not(confidence):
    fewest = _fewest_residuals(confidence)
    for n in (fewest - 1, fewest):
        low, high = _cv_plus(np.zeros((1, 1)), np.zeros(n, dtype=int), np.ones(n), confidence)
        assert np.isfinite([low, high]).all() == (n == fewest)


def test_rows_in_parts_are_what_they_are_at_once(monkeypatch):
    rng = np.random.default_rng(0)
    arguments = rng.normal(size=(3, 50)), rng.integers(3, size=40), rng.exponential(size=40), 0.8
    whole = _cv_plus(*arguments)
    monkeypatch.setattr("bpe_bench.surrogate.crossfit._ORDERED_AT_ONCE", 130)
    np.testing.assert_array_equal(_cv_plus(*arguments), whole)


# --- Folds -----------------------------------------------------------------------------------

CELL = np.repeat(np.arange(23), 7)
BUDGET = np.tile(np.arange(7), 23)


def test_groups_stay_together_and_folds_are_equal():
    folds = _Folds.deal([("cells", CELL)], 5, np.random.default_rng(0))
    held = [set(CELL[folds.judged(k)]) for k in range(5)]
    assert sorted(itertools.chain(*held)) == list(range(23))
    assert sorted(map(len, held)) == [4, 4, 5, 5, 5]
    for k in range(5):
        assert not held[k] & set(CELL[folds.learned(k)])
        assert set(CELL[folds.learned(k)]) == set(range(23)) - held[k]


def test_both_leaves_out_rows_that_share_either():
    folds = _Folds.deal([("cells", CELL), ("budgets", BUDGET)], 3, np.random.default_rng(0))
    for k in range(3):
        judged, learned = folds.judged(k), folds.learned(k)
        assert judged.any()
        assert not set(CELL[judged]) & set(CELL[learned])
        assert not set(BUDGET[judged]) & set(BUDGET[learned])


def test_fewer_groups_than_folds_are_refused():
    with pytest.raises(
        SelectionError,
        match=r"^cross-validation in 8 folds needs at least 8 budgets, found 7; take fewer folds, "
        r"or more budgets$",
    ):
        _Folds.deal([("cells", CELL), ("budgets", BUDGET)], 8, np.random.default_rng(0))
    with pytest.raises(SelectionError, match=r"needs at least 2 folds, found 1$"):
        _Folds.deal([("cells", CELL)], 1, np.random.default_rng(0))


def test_folds_follow_the_seed():
    dealt = [_Folds.deal([("cells", CELL)], 5, np.random.default_rng(s)).of_row for s in (0, 0, 1)]
    np.testing.assert_array_equal(dealt[0], dealt[1])
    assert not np.array_equal(dealt[0], dealt[2])


@dataclass
class Remembers:
    """Says 1 of the groups that it was fitted to, and 0 of others."""

    seen: set

    def predict(self, x):
        return np.array([float(row[0] in self.seen or row[1] in self.seen) for row in x])


@pytest.mark.parametrize("axes", [[("c", CELL)], [("c", CELL), ("b", BUDGET)]])
def test_nobody_judges_a_group_that_it_was_fitted_to(axes):
    """A budget has another name than any cell; with one axis, budgets do not count."""
    x = np.column_stack([CELL, 100 + BUDGET])
    folds = _Folds.deal(axes, 4, np.random.default_rng(0))

    def fit(learned):
        seen = set(CELL[learned]) | (set(100 + BUDGET[learned]) if len(axes) == 2 else set())
        return _Member(Remembers(seen))

    y = np.zeros(len(x))
    told = []
    fitted = _crossfit(x, y, folds, fit, told.append)
    assert fitted.residuals.max() == 0
    assert told == [0.25, 0.5, 0.75, 1.0]
    judged = _judge(x, y, folds, fit, confidence=0.9, progress=told.append)
    assert np.abs(judged.value).max() == 0
    assert np.abs(judged.high).max() == 0
    assert told[-1] == 1.0
    assert judged.residuals == min(judged.place.size - folds.judged(k).sum() for k in range(4))
    assert len(set(judged.place.tolist())) == judged.place.size


def test_two_folds_leave_nothing_to_judge_from():
    folds = _Folds.deal([("cells", CELL)], 2, np.random.default_rng(0))
    x = np.zeros((len(CELL), 1))
    with pytest.raises(
        SelectionError, match=r"^judging surrogates needs at least 3 folds, found 2"
    ):
        _judge(x, x[:, 0], folds, lambda _: _Member(Mean(0.0)), confidence=0.9)


@dataclass
class Mean:
    value: float

    def predict(self, x):
        return np.full(len(x), self.value)


def test_nine_in_ten_new_groups_lie_inside():
    """Groups of three rows that share half of their variance; the model is a mean."""
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(300):
        group = np.repeat(np.arange(40), 3)
        y = rng.normal(size=60)[group] + rng.normal(size=120)
        folds = _Folds.deal([("groups", group)], 10, rng)

        def fit(learned, y=y):
            return _Member(Mean(float(y[learned].mean())))

        judged = _judge(np.zeros((120, 1)), y, folds, fit, confidence=0.9)
        inside.append(np.mean((judged.low <= y[judged.place]) & (y[judged.place] <= judged.high)))
        fitted = _crossfit(np.zeros((120, 1)), y, folds, fit)
        _, low, high = fitted.forecast(np.zeros((20, 1)), 0.9)
        new = math.sqrt(2) * rng.normal(size=20)
        inside.append(np.mean((low <= new) & (new <= high)))
    assert 0.885 < np.mean(inside[0::2]) < 0.93
    assert 0.885 < np.mean(inside[1::2]) < 0.93
