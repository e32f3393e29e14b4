"""Choices made on one half and scored on the other, against a brute force."""

import json
import math

import numpy as np
import pytest
from scipy import stats

from bpe_bench.correlation.holdout import (
    HalfCorrelations,
    correlations,
    half_correlations,
    held_out,
)
from bpe_bench.errors import SelectionError, UnknownNameError

ORACLES = {"spearman": stats.spearmanr, "kendall": stats.kendalltau}


def brute(truth, accuracies, oracle):
    found = []
    for column in accuracies.T:
        both = np.isfinite(column) & np.isfinite(truth)
        found.append(oracle(column[both], truth[both]).statistic if both.sum() >= 3 else np.nan)
    return np.array(found)


@pytest.mark.parametrize("statistic", ORACLES)
@pytest.mark.parametrize("missing", [False, True])
def test_halves_are_dealt_and_correlate_as_scipy_says(statistic, missing):
    rng = np.random.default_rng(1)
    truth, accuracies = rng.normal(size=21), rng.normal(size=(21, 4)).round(1)
    if missing:
        truth[3] = np.nan
        accuracies[rng.random((21, 4)) < 0.2] = np.nan
        accuracies[2:, 3] = np.nan
    halves = half_correlations(
        truth, accuracies, statistic=statistic, splits=5, rng=np.random.default_rng(2)
    )
    assert halves.chosen_on.shape == halves.scored_on.shape == (10, 4)
    again = np.random.default_rng(2)
    known = np.flatnonzero(np.isfinite(truth))
    for split in range(5):
        dealt = again.permutation(known)
        parts = dealt[: len(known) // 2], dealt[len(known) // 2 :]
        one, other = (brute(truth[p], accuracies[p], ORACLES[statistic]) for p in parts)
        for row, (chosen, scored) in enumerate(((one, other), (other, one))):
            at = 2 * split + row
            assert halves.chosen_on[at] == pytest.approx(chosen, nan_ok=True)
            assert halves.scored_on[at] == pytest.approx(scored, nan_ok=True)


def test_ties_and_constants():
    truth = np.array([1.0, 2, 2, 3, 4])
    accuracies = np.array([[1, 1, 2, 2, 3], [5, 5, 5, 5, 5], [4, 3, 2, 1, 1]], dtype=float).T
    found = correlations(truth, accuracies, "spearman")
    assert found[0] == pytest.approx(stats.spearmanr(accuracies[:, 0], truth).statistic)
    assert math.isnan(found[1])
    assert found[2] < -0.9


def test_the_choice_against_a_brute_force():
    rng = np.random.default_rng(3)
    chosen, scored = rng.normal(size=(2, 40, 6))
    costs, allowance = np.array([3.0, 1, 2, 9, 2, 8]), 3.0
    picks = [max((0, 1, 2, 4), key=lambda s: row[s]) for row in chosen]
    scores = np.array([scored[r, s] for r, s in enumerate(picks)])
    seen = np.array([chosen[r, s] for r, s in enumerate(picks)])
    found = held_out(HalfCorrelations(chosen, scored), costs, allowance, 2)
    assert found.correlation == pytest.approx(scores.mean())
    assert found.optimism == pytest.approx((seen - scores).mean())
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(scores, [0.025, 0.975])))
    assert found.same_choice == pytest.approx(np.mean(np.array(picks) == 2))
    assert set(json.loads(json.dumps(found.to_json(), allow_nan=False))) == {
        "correlation", "low", "high", "optimism", "same_choice",
    }  # fmt: skip


@pytest.mark.parametrize(("costs", "pick"), [([2.0, 1, 1], 1), ([1.0, 1, 1], 0)])
def test_of_equals_the_cheaper_then_the_first(costs, pick):
    halves = HalfCorrelations(np.full((4, 3), 0.5), np.tile([0.1, 0.2, 0.3], (4, 1)))
    found = held_out(halves, np.array(costs), 5.0, pick)
    assert found.correlation == pytest.approx([0.1, 0.2, 0.3][pick])
    assert found.same_choice == 1


def test_noise_is_optimistic_and_brings_nothing():
    rng = np.random.default_rng(4)
    truth, accuracies = rng.normal(size=60), rng.normal(size=(60, 40))
    halves = half_correlations(truth, accuracies, splits=200, rng=rng)
    found = held_out(halves, np.ones(40), 1.0)
    assert found.optimism > 0.25
    # What is high on one half by chance is low on the other, as the whole is fixed.
    assert abs(found.correlation) < 0.15


def test_a_setting_that_is_best_by_far_is_chosen_without_optimism():
    rng = np.random.default_rng(5)
    truth = rng.normal(size=60)
    accuracies = np.column_stack([truth, rng.normal(size=(60, 3))])
    found = held_out(half_correlations(truth, accuracies, rng=rng), np.ones(4), 1.0, 0)
    assert found.correlation == pytest.approx(1)
    assert (found.optimism, found.same_choice) == pytest.approx((0, 1))


def test_nothing_within_the_allowance_or_known():
    halves = HalfCorrelations(np.full((4, 2), 0.5), np.full((4, 2), 0.5))
    assert held_out(halves, np.array([2.0, 3.0]), 1.0) is None
    nothing = HalfCorrelations(np.full((4, 2), np.nan), np.full((4, 2), np.nan))
    assert held_out(nothing, np.ones(2), 1.0) is None
    unscored = HalfCorrelations(np.full((4, 2), 0.5), np.full((4, 2), np.nan))
    assert held_out(unscored, np.ones(2), 1.0) is None


def test_without_a_known_choice_the_share_is_unknown():
    halves = HalfCorrelations(np.full((4, 2), 0.5), np.full((4, 2), 0.5))
    assert held_out(halves, np.ones(2), 1.0).to_json()["same_choice"] is None


def test_same_seed_same_halves_and_another_seed_others():
    rng = np.random.default_rng(6)
    truth, accuracies = rng.normal(size=20), rng.normal(size=(20, 3))
    one, same, other = (
        half_correlations(truth, accuracies, splits=3, rng=np.random.default_rng(seed)).chosen_on
        for seed in (0, 0, 1)
    )
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_progress_rises_to_one():
    seen = []
    half_correlations(
        np.arange(8.0), np.ones((8, 1)) * np.arange(8.0)[:, None], splits=4,
        rng=np.random.default_rng(0), progress=seen.append,
    )  # fmt: skip
    assert seen == [0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize(
    ("size", "options", "error", "text"),
    [
        (5, {}, SelectionError, "halves need at least 6 architectures with full training, found 5"),
        (8, {"splits": 0}, SelectionError, "at least 1 split is needed, found 0"),
        (8, {"statistic": "r2"}, UnknownNameError, "unknown statistic 'r2'; there are: spearman"),
    ],
)
def test_what_cannot_be_halved(size, options, error, text):
    with pytest.raises(error) as caught:
        half_correlations(
            np.arange(float(size)), np.zeros((size, 2)), rng=np.random.default_rng(0), **options
        )
    assert str(caught.value).startswith(text)
