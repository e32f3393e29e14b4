"""Intervals, tests and noise ceilings: against scipy, the published data and simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bpe_bench.errors import RankingError, UnknownNameError
from bpe_bench.inference import (
    estimate,
    holm,
    noise_ceiling,
    resampled_correlations,
)
from bpe_bench.ranking import STATISTICS
from bpe_bench.tables.table import Split


def sample(n, rho=0.5, seed=0, levels=None):
    """Two vectors in (0, 1) of a Gaussian copula, rounded to some levels if ties are wanted."""
    rng = np.random.default_rng(seed)
    normal = rng.multivariate_normal([0, 0], [[1, rho], [rho, 1]], size=n).T
    x, y = stats.norm.cdf(normal)
    if levels is not None:
        x, y = np.round(x * levels) / levels, np.round(y * levels) / levels
    return x, y


SCIPY_P = {
    "spearman": lambda x, y: stats.spearmanr(x, y).pvalue,
    "kendall": lambda x, y: stats.kendalltau(x, y, method="asymptotic").pvalue,
    "sparse-kendall": lambda x, y: (
        stats.kendalltau(np.round(x, 3), np.round(y, 3), method="asymptotic").pvalue
    ),
}


@pytest.mark.parametrize("statistic", list(STATISTICS))
@pytest.mark.parametrize("levels", [None, 5, 50])
@pytest.mark.parametrize("n", [5, 40, 300])
def test_p_values_are_scipys(statistic, levels, n):
    x, y = sample(n, rho=0.2, levels=levels)
    found = estimate(x, y, statistic=statistic)
    assert found.p_value == pytest.approx(SCIPY_P[statistic](x, y), rel=1e-9)
    assert found.n == n


def test_a_perfect_ranking_has_a_p_value_and_no_interval():
    found = estimate(range(10), range(10))
    assert (found.correlation, found.p_value) == (pytest.approx(1), 0.0)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


@pytest.mark.parametrize("statistic", ["spearman", "kendall"])
def test_no_interval_where_all_architectures_pull_alike(statistic):
    # Three swapped neighbours: the jackknife sees no variation, which is not certainty.
    found = estimate([2, 1, 4, 3, 6, 5], range(6), statistic=statistic)
    assert 0.5 < found.correlation < 0.9
    assert np.ptp(found.influence) < 1e-9
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def accuracy(table, name):
    return table.accuracy(table.setting(name).label, Split.TEST)


def published(table, name, **options):
    return estimate(accuracy(table, name), accuracy(table, "full"), **options)


METHODS = pytest.mark.parametrize("method", ["influence", "bootstrap"])


@pytest.mark.parametrize(
    # The correction for bias moves the bootstrap's ends by up to another 0.005.
    ("method", "tolerance"),
    [("influence", 0.01), ("bootstrap", 0.015)],
)
@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("BPE-1", 0.32, 0.63), ("BPE-2", 0.48, 0.73), ("test23", 0.64, 0.83)],
)
def test_the_intervals_of_the_published_budgets(darts_bpe, method, tolerance, name, low, high):
    # The figures are those of an independent percentile bootstrap, given to two decimals.
    rng = np.random.default_rng(0)
    found = published(darts_bpe, name, method=method, resamples=20_000, rng=rng)
    assert (found.low, found.high) == pytest.approx((low, high), abs=tolerance)


def plain_bootstrap(x, y, statistic, resamples, rng):
    """Bias-corrected percentiles (Efron, 1981), one resample at a time, by scipy."""
    observed = statistic(x, y)
    drawn = []
    while len(drawn) < resamples:
        chosen = rng.integers(x.size, size=x.size)
        drawn.append(statistic(x[chosen], y[chosen]))
    bias = stats.norm.ppf(np.mean(np.array(drawn) < observed))
    ends = stats.norm.cdf(2 * bias + stats.norm.ppf([0.025, 0.975]))
    return np.quantile(drawn, ends)


@pytest.mark.parametrize(
    ("name", "oracle"),
    [
        ("spearman", lambda x, y: stats.pearsonr(stats.rankdata(x), stats.rankdata(y)).statistic),
        ("kendall", lambda x, y: stats.kendalltau(x, y).statistic),
    ],
)
@pytest.mark.parametrize("levels", [None, 20])
def test_the_bootstrap_is_that_of_a_plain_loop(name, oracle, levels):
    x, y = sample(40, levels=levels)
    expected = plain_bootstrap(x, y, oracle, 2000, np.random.default_rng(1))
    found = estimate(x, y, statistic=name, method="bootstrap", rng=np.random.default_rng(2))
    # Two different sets of 2,000 resamples: the 2.5 % point of each is uncertain
    # by 0.01, and its bias correction by as much.
    assert (found.low, found.high) == pytest.approx(expected, abs=0.04)


def test_a_bootstrap_is_the_same_for_the_same_seed():
    x, y = sample(30)

    def interval(seed):
        found = estimate(x, y, method="bootstrap", rng=np.random.default_rng(seed))
        return found.low, found.high

    assert interval(1) == interval(1)
    assert interval(1) != interval(2)


@METHODS
def test_more_confidence_is_a_wider_interval_around_the_estimate(method):
    x, y = sample(50)
    found = [
        estimate(x, y, confidence=c, method=method, rng=np.random.default_rng(0))
        for c in (0.5, 0.9, 0.99)
    ]
    lows, highs = [e.low for e in found], [e.high for e in found]
    assert lows == sorted(lows, reverse=True)
    assert highs == sorted(highs)
    assert -1 <= lows[-1] < found[0].correlation < highs[-1] <= 1


def coverage(interval, truth, rho, n=30, samples=400):
    """How many of some samples have an interval that covers the truth."""
    covered = 0
    for seed in range(samples):
        low, high = interval(*sample(n, rho, seed))
        covered += low <= truth <= high
    return covered


# A right interval leaves these bounds once in 500 sets of samples; the seeds are fixed.
COVERED = stats.binom.ppf([0.001, 0.999], 400, 0.95)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_intervals_cover_the_truth_as_often_as_they_say(rho):
    # Spearman's correlation of a Gaussian copula is known (Kruskal, 1958).
    truth = 6 / math.pi * math.asin(rho / 2)

    def interval(x, y):
        found = estimate(x, y)
        return found.low, found.high

    found = coverage(interval, truth, rho)
    assert COVERED[0] <= found <= COVERED[1]


def test_that_simulation_fails_an_interval_of_the_wrong_width():
    truth = 6 / math.pi * math.asin(0.9 / 2)

    def of_unrelated(x, y):
        # Right for Pearson's r of unrelated normal data, wrong here.
        r = stats.spearmanr(x, y).statistic
        return r - 1.96 / math.sqrt(x.size - 1), r + 1.96 / math.sqrt(x.size - 1)

    def fishers(x, y, share):
        z = math.atanh(stats.spearmanr(x, y).statistic)
        half = share * 1.96 / math.sqrt(x.size - 3)
        return math.tanh(z - half), math.tanh(z + half)

    assert coverage(of_unrelated, truth, 0.9) > COVERED[1]
    assert coverage(lambda x, y: fishers(x, y, 0.75), truth, 0.9) < COVERED[0]


@pytest.mark.parametrize("statistic", ["spearman", "kendall"])
def test_resampled_correlations_spread_as_wide_as_the_standard_error(statistic):
    x, y = sample(60)
    other = x + 0.3 * sample(60, seed=1)[0]
    estimates = [estimate(z, y, statistic=statistic) for z in (x, other)]
    drawn = resampled_correlations(estimates, 4000, np.random.default_rng(0))
    assert drawn.shape == (4000, 2)
    quantile = stats.t.ppf(0.975, 58)
    for column, found in zip(drawn.T, estimates, strict=True):
        # On Fisher's scale the interval is the estimate and a multiple of the error to each side.
        error = (math.atanh(found.high) - math.atanh(found.low)) / 2 / quantile
        # The deviation of 4,000 draws is uncertain by 1.1 %.
        assert np.std(np.arctanh(column)) == pytest.approx(error, rel=0.05)
        assert np.median(column) == pytest.approx(found.correlation, abs=0.02)


def test_resampled_correlations_keep_what_the_budgets_share():
    x, y = sample(60)
    estimates = [estimate(z, y) for z in (x, x, sample(60, seed=5)[0])]
    drawn = resampled_correlations(estimates, 500, np.random.default_rng(0))
    np.testing.assert_array_equal(drawn[:, 0], drawn[:, 1])
    again = resampled_correlations(estimates, 500, np.random.default_rng(0))
    np.testing.assert_array_equal(drawn, again)
    other = resampled_correlations(estimates, 500, np.random.default_rng(1))
    assert not np.array_equal(drawn, other)


def test_holm_by_hand():
    # Sorted .01 .02 .03 .04 times 4 3 2 1 is .04 .06 .06 .04, and never falls.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([]) == []
    found = holm([0.03, math.nan, 0.01])
    assert math.isnan(found[1])
    assert (found[0], found[2]) == pytest.approx((0.03, 0.02))  # NaN does not count


@given(p_values=st.lists(st.floats(0, 1), min_size=1, max_size=10))
def test_holm_lies_between_no_correction_and_bonferroni_and_keeps_order(p_values):
    adjusted = holm(p_values)
    for p, q in zip(p_values, adjusted, strict=True):
        assert p <= q <= min(1, p * len(p_values)) or q == pytest.approx(p)
    by_p = [q for _, q in sorted(zip(p_values, adjusted, strict=True))]
    assert by_p == sorted(by_p)


def test_the_noise_ceiling_is_the_mean_over_pairs_of_seeds():
    nan = math.nan
    accuracies = np.array(
        [
            [1, 2, 3, 4, nan],
            [1, 3, 2, 4, 5],  # with the first seed: d² = 2 over four, 1 - 12/60
            [nan, nan, 1, 2, 3],  # with the first: 1 over two; with the second: 1 over three
        ]
    )
    assert noise_ceiling(accuracies) == pytest.approx((0.8 + 1 + 1) / 3)
    # Of the six pairs of the first two seeds, one is discordant.
    assert noise_ceiling(accuracies[:2], "kendall") == pytest.approx(4 / 6)


def test_the_noise_ceiling_of_one_seed_is_unknown():
    assert math.isnan(noise_ceiling(np.array([[0.1, 0.2, 0.3]])))
    assert math.isnan(noise_ceiling(np.array([[1, math.nan], [math.nan, 2]])))


@pytest.mark.parametrize("confidence", [0, 1, -0.5, 95])
def test_an_invalid_confidence(confidence):
    with pytest.raises(RankingError) as caught:
        estimate([1, 2, 3], [1, 2, 3], confidence=confidence)
    assert str(caught.value) == (
        f"confidence must be between 0 and 1, for instance 0.95; found {confidence}"
    )


def test_other_asks_that_cannot_be_met():
    x, y = sample(10)
    with pytest.raises(UnknownNameError, match=r"^unknown statistic 'pearson'"):
        estimate(x, y, statistic="pearson")
    with pytest.raises(UnknownNameError, match=r"^unknown interval method 'jackknife'"):
        estimate(x, y, method="jackknife")
    with pytest.raises(RankingError, match=r"^a bootstrap interval needs a generator \(rng\)"):
        estimate(x, y, method="bootstrap")
    with pytest.raises(RankingError, match=r"^a bootstrap over 2001 architectures is too large"):
        estimate(*sample(2001), method="bootstrap", rng=np.random.default_rng(0))
