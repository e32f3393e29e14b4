"""Figures of held-out rows: values against scikit-learn and scipy, intervals against resampling."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import r2_score

from bpe_bench.ranking import precision_at_k
from bpe_bench.surrogate.metrics import (
    Figure,
    _Clusters,
    _r2,
    _rank_correlation,
    _share,
    _top_metrics,
)

GROUPS = np.repeat(np.arange(60), 5)


@pytest.fixture(scope="module")
def rows():
    """Truth and prediction whose errors are shared within groups."""
    rng = np.random.default_rng(0)
    y = rng.normal(size=300)
    return y, y + 0.7 * rng.normal(size=60)[GROUPS] + 0.4 * rng.normal(size=300)


def kendall_of(y, predicted):
    return stats.kendalltau(y, predicted)[0]


def alone(n):
    return _Clusters((np.arange(n),))


def test_values_are_those_of_scikit_learn_and_scipy(rows):
    y, predicted = rows
    assert _r2(y, predicted, alone(300), 0.95).value == pytest.approx(r2_score(y, predicted))
    found = _rank_correlation(y, predicted, alone(300), 0.95)
    assert found.value == pytest.approx(stats.kendalltau(y, predicted)[0])
    fractions, guesses = 0.9 + y / 100, 0.9 + predicted / 100
    found = _rank_correlation(fractions, guesses, alone(300), 0.95, rounded=True)
    rounded = stats.kendalltau(np.round(fractions, 3), np.round(guesses, 3))[0]
    assert found.value == pytest.approx(rounded)


def test_within_is_the_mean_over_settings_by_their_rows(rows):
    y, predicted = rows
    within = np.repeat([0, 1, 2], [50, 100, 150])
    taus = [stats.kendalltau(y[within == k], predicted[within == k])[0] for k in range(3)]
    found = _rank_correlation(y, predicted, alone(300), 0.95, within=within)
    assert found.value == pytest.approx(np.average(taus, weights=[50, 100, 150]))


def test_the_interval_within_settings_counts_that_settings_differ():
    """Groups are settings, some predicted well and some not: that is most of the spread."""
    rng = np.random.default_rng(0)
    skill = np.repeat(rng.choice([0.0, 4.0], 60), 20)
    setting = np.repeat(np.arange(60), 20)
    y = rng.normal(size=1200)
    predicted = skill * y + rng.normal(size=1200)
    taus = np.array([kendall_of(y[setting == k], predicted[setting == k]) for k in range(60)])
    found = _rank_correlation(y, predicted, _Clusters((setting,)), 0.95, within=setting)
    error = (np.arctanh(found.high) - np.arctanh(found.low)) / 2 / stats.t.ppf(0.975, 58)
    assert found.value == pytest.approx(taus.mean())
    expected = taus.std(ddof=1) / np.sqrt(60)
    assert error * (1 - found.value**2) == pytest.approx(expected, rel=0.1)


def resampled(figure, y, predicted, rng, times=400):
    """The spread of a figure when whole groups are drawn anew."""
    places = [np.flatnonzero(g == GROUPS) for g in range(60)]
    drawn = []
    for _ in range(times):
        rows = np.concatenate([places[g] for g in rng.integers(60, size=60)])
        drawn.append(figure(y[rows], predicted[rows]))
    return np.std(drawn)


def test_intervals_are_as_wide_as_a_bootstrap_over_groups_says(rows):
    y, predicted = rows
    rng = np.random.default_rng(1)
    clusters = _Clusters((GROUPS,))
    t = stats.t.ppf(0.975, 58)
    found = _r2(y, predicted, clusters, 0.95)
    error = (found.value - found.low) / t
    assert error == pytest.approx(resampled(r2_score, y, predicted, rng), rel=0.15)
    found = _rank_correlation(y, predicted, clusters, 0.95)
    error = (np.arctanh(found.high) - np.arctanh(found.low)) / 2 / t * (1 - found.value**2)
    kendall = resampled(lambda a, b: stats.kendalltau(a, b)[0], y, predicted, rng)
    assert error == pytest.approx(kendall, rel=0.15)
    naive = _rank_correlation(y, predicted, alone(300), 0.95)
    assert naive.high - naive.low < 0.9 * (found.high - found.low)


def test_two_kinds_of_groups_add_their_variances_less_that_of_rows():
    influence = np.array([3.0, 1.0, -2.0, -2.0])
    rows, columns = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    by_rows = 2 * (4**2 + 4**2)  # sums 4 and -4; two groups: times 2 / 1
    by_columns = 2 * (1**2 + 1**2)
    assert _Clusters((rows,)).variance(influence) == by_rows / 16
    expected = (by_rows + by_columns - (9 + 1 + 4 + 4)) / 16
    assert _Clusters((rows, columns)).variance(influence) == expected
    assert _Clusters((rows, columns)).fewest == 2


@pytest.mark.parametrize("hits", [0, 3, 27, 30])
def test_a_share_of_independent_rows_has_wilsons_interval(hits):
    inside = np.repeat([1.0, 0.0], [hits, 30 - hits])
    found = _share(inside, alone(30), 0.95)
    expected = stats.binomtest(hits, 30).proportion_ci(0.95, method="wilson")
    assert found.value == hits / 30
    assert (found.low, found.high) == pytest.approx(expected, abs=0.01)


def test_rows_that_stand_or_fall_together_are_worth_one():
    inside = np.repeat([1.0] * 54 + [0.0] * 6, 5)
    expected = stats.binomtest(54, 60).proportion_ci(0.95, method="wilson")
    found = _share(inside, _Clusters((GROUPS,)), 0.95)
    assert (found.low, found.high) == pytest.approx(expected, abs=0.005)


def test_what_is_not_defined_is_unknown():
    equal, rising = np.full(9, 0.5), np.arange(9.0)
    for figure in (
        _r2(equal, rising, alone(9), 0.95),
        _rank_correlation(equal, rising, alone(9), 0.95),
        _rank_correlation(rising, equal, alone(9), 0.95),
        _top_metrics(rising, rising, alone(9), np.zeros(9, dtype=int), 5, 0.95, resamples=9,
                    rng=np.random.default_rng(0))["precision_at_k"],
    ):  # fmt: skip
        assert np.isnan([figure.value, figure.low, figure.high]).all()
    perfect = _rank_correlation(rising, rising, alone(9), 0.95)
    assert perfect.value == 1
    assert np.isnan(perfect.low)
    assert Figure(0.5, 0.25, 0.75).scaled(2) == Figure(1.0, 0.5, 1.5)


def test_top_metrics_of_a_ranking_worked_out_by_hand():
    """Of ten, the two best are predicted second and first in one setting, last in the other."""
    y = np.concatenate([np.arange(10.0), np.arange(10.0)]) / 10
    turned = np.arange(10.0)
    turned[[8, 9]] = 9, 8
    predicted = np.concatenate([turned, -np.arange(10.0)])
    within = np.repeat([0, 1], 10)
    found = _top_metrics(y, predicted, _Clusters((np.tile(np.arange(10), 2),)), within, 2, 0.9,
                        resamples=50, rng=np.random.default_rng(0))  # fmt: skip
    assert found["precision_at_k"].value == pytest.approx((1 + 0) / 2)
    assert found["regret_at_k"].value == pytest.approx((0 + 0.8) / 2)
    assert found["best_rank_at_k"].value == pytest.approx((1 / 10 + 9 / 10) / 2)


def by_plain_bootstrap(y, predicted, by_settings, k, times, rng):
    """Percentiles of P@k; rows are (settings, architectures), whole columns are drawn at once."""
    drawn = []
    for _ in range(times):
        columns = rng.integers(y.shape[1], size=y.shape[1])
        lines = rng.integers(len(y), size=len(y)) if by_settings else range(len(y))
        drawn.append(
            np.mean([precision_at_k(predicted[i, columns], y[i, columns], k) for i in lines])
        )
    return np.quantile(drawn, [0.025, 0.975])


@pytest.mark.parametrize("by_settings", [False, True])
def test_an_architecture_is_drawn_once_for_all_settings(by_settings):
    """Twelve settings rank 60 architectures nearly alike: together they are worth about one."""
    rng = np.random.default_rng(2)
    good, missed = rng.normal(size=60), rng.normal(size=60)
    y = good + 0.2 * rng.normal(size=(12, 60))
    predicted = y + missed + 0.2 * rng.normal(size=(12, 60))
    setting, architecture = np.divmod(np.arange(720), 60)
    axes = (architecture, setting) if by_settings else (architecture,)
    found = _top_metrics(y.ravel(), predicted.ravel(), _Clusters(axes), setting, 10, 0.95,
                        resamples=1000, rng=rng)["precision_at_k"]  # fmt: skip
    low, high = by_plain_bootstrap(y, predicted, by_settings, 10, 1000, rng)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.03)
    assert high - low > 0.2  # drawn anew in each setting it is less


def test_few_groups_have_no_interval_of_r2(rows):
    y, predicted = rows
    for count, known in ((4, False), (5, True)):
        found = _r2(y, predicted, _Clusters((np.arange(300) % count,)), 0.95)
        assert np.isfinite(found.value)
        assert np.isfinite([found.low, found.high]).all() == known
