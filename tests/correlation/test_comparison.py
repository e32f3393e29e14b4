"""Paired comparisons: against independent computations, the published data and simulation."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from bpe_bench.correlation.comparison import FEWEST_TESTED, compare
from bpe_bench.errors import ConstantInputWarning, SelectionError
from bpe_bench.inference import estimate, holm
from bpe_bench.tables.table import Split


def sample(n, rho=0.5, seed=0):
    """Two vectors in (0, 1) of a Gaussian copula."""
    rng = np.random.default_rng(seed)
    return stats.norm.cdf(rng.multivariate_normal([0, 0], [[1, rho], [rho, 1]], size=n).T)


def triple(n, first, second, mutual, rng):
    """Two budgets with given latent correlations to the reference and to each other, and it."""
    root = np.linalg.cholesky([[1, first, second], [first, 1, mutual], [second, mutual, 1]])
    y, a, b = root @ rng.standard_normal((3, n))
    return a, b, y


def compared(a, b, y, statistic="spearman", confidence=0.95):
    estimates = [estimate(x, y, statistic=statistic) for x in (a, b)]
    return compare(["a", "b"], estimates, confidence=confidence)[0]


def published(table, name):
    y = table.accuracy("full", Split.TEST)
    return estimate(table.accuracy(table.setting(name).label, Split.TEST), y)


def test_the_published_budgets_cannot_be_told_apart(darts_bpe):
    names = ["BPE-1", "BPE-2"]
    (found,) = compare(names, [published(darts_bpe, name) for name in names])
    assert found.difference == pytest.approx(0.13, abs=0.005)
    assert (found.low, found.high) == pytest.approx((-0.01, 0.27), abs=0.01)
    assert found.p_value > 0.05
    assert not found.separable
    assert (found.first, found.second, found.n) == ("BPE-1", "BPE-2", 100)


def test_the_p_value_of_a_comparison_agrees_with_its_interval(darts_bpe):
    estimates = [published(darts_bpe, name) for name in ("BPE-1", "test23")]
    p = compare(["a", "b"], estimates)[0].p_value
    # The interval at confidence 1 - p ends at 0.
    (found,) = compare(["a", "b"], estimates, confidence=1 - p)
    assert found.low == pytest.approx(0, abs=1e-9)


def test_identical_budgets_do_not_differ():
    x, y = sample(30)
    (found,) = compare(["a", "b"], [estimate(x, y), estimate(x, y)])
    assert (found.difference, found.low, found.high) == (0, 0, 0)
    assert (found.p_value, found.p_adjusted) == (1, 1)
    assert not found.separable


@pytest.mark.parametrize("statistic", ["spearman", "kendall"])
def test_a_ranking_and_its_reverse_are_not_the_same(statistic):
    y = np.arange(30.0)
    estimates = [estimate(x, y, statistic=statistic) for x in (y, -y)]
    (found,) = compare(["a", "b"], estimates)
    assert found.difference == -2
    assert all(math.isnan(x) for x in (found.low, found.high, found.p_value))


def test_all_pairs_are_compared_and_corrected_for_their_number():
    y = sample(100)[1]
    estimates = [
        estimate(x, y) for x in (sample(100)[0], y + 0.1 * sample(100, seed=3)[0], -(y**2))
    ]
    found = compare("abc", estimates)
    assert [(c.first, c.second) for c in found] == list(itertools.combinations("abc", 2))
    assert [c.p_adjusted for c in found] == holm([c.p_value for c in found])
    (one,) = compare("abc", estimates, pairs=[(1, 0)])
    assert one.difference == -found[0].difference
    assert one.p_adjusted == one.p_value == pytest.approx(found[0].p_value)


def test_a_comparison_agrees_with_a_paired_bootstrap():
    x, y = sample(100, rho=0.7)
    other = x + 0.5 * sample(100, seed=1)[0]
    (found,) = compare(["a", "b"], [estimate(x, y), estimate(other, y)])
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(1000):
        i = rng.integers(100, size=100)
        a, b, c = (stats.rankdata(z[i]) for z in (x, other, y))
        drawn.append(np.corrcoef(b, c)[0, 1] - np.corrcoef(a, c)[0, 1])
    # The deviation of 1,000 draws is uncertain by 2 %, and the jackknife is approximate.
    error = (found.high - found.low) / 2 / stats.t.ppf(0.975, 98)
    assert np.std(drawn) == pytest.approx(error, rel=0.15)


def test_comparisons_over_different_architectures_are_refused():
    estimates = [estimate(*sample(30)), estimate(*sample(31))]
    with pytest.raises(SelectionError) as caught:
        compare(["a", "b"], estimates)
    assert str(caught.value) == (
        "a and b can only be compared over the same architectures, found 30 and 31"
    )


ORACLES = {
    "spearman": lambda x, y: stats.spearmanr(x, y).statistic,
    "kendall": lambda x, y: stats.kendalltau(x, y).statistic,
}
STATISTICS = pytest.mark.parametrize("statistic", list(ORACLES))


@STATISTICS
def test_the_error_of_the_test_is_a_jackknifes_of_fishers_z(statistic):
    oracle, n = ORACLES[statistic], 500
    a, b, y = triple(n, 0.8, 0.84, 0.7, np.random.default_rng(5))

    def difference(kept):
        return math.atanh(oracle(b[kept], y[kept])) - math.atanh(oracle(a[kept], y[kept]))

    without_one = [difference(np.arange(n) != i) for i in range(n)]
    jackknife = math.sqrt((n - 1) * np.var(without_one))
    found = compared(a, b, y, statistic)
    error = abs(difference(np.full(n, True))) / stats.t.isf(found.p_value / 2, n - 2)
    # Tukey's jackknife takes one architecture out, the library's differentiates and takes the
    # noise of pairs off: each one or two parts in a hundred of the variance at this n.
    assert error == pytest.approx(jackknife, rel=0.02)


@STATISTICS
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_the_interval_is_the_range_over_the_ellipse_that_is_not_rejected(statistic, confidence):
    a, b, y = triple(25, 0.9, 0.6, 0.4, np.random.default_rng(1))
    found = compared(a, b, y, statistic, confidence)
    r, pull = [], []
    for x in (a, b):
        one = estimate(x, y, statistic=statistic)
        r.append(one.correlation)
        pull.append(one.influence / (1 - one.correlation**2))
    covariance = np.cov(pull, bias=True)
    # The factor on the covariance follows from the p-value, which is tested on its own.
    z = np.arctanh(r)
    t = stats.t.isf(found.p_value / 2, 23)
    scale = (z[1] - z[0]) ** 2 / t**2 / ([-1, 1] @ covariance @ [-1, 1])
    values, vectors = np.linalg.eigh(covariance * scale)
    angle = np.linspace(0, 2 * np.pi, 200_001)
    reach = stats.t.ppf((1 + confidence) / 2, 23) * np.sqrt(values)[:, None]
    first, second = np.tanh(z[:, None] + vectors @ (reach * [np.cos(angle), np.sin(angle)]))
    assert found.low == pytest.approx((second - first).min(), abs=1e-8)
    assert found.high == pytest.approx((second - first).max(), abs=1e-8)


@STATISTICS
def test_the_interval_leaves_out_0_where_the_test_rejects(statistic):
    rng = np.random.default_rng(3)
    rejected = 0
    for _ in range(100):
        found = compared(*triple(40, 0.9, 0.75, 0.7, rng), statistic)
        assert (found.low > 0 or found.high < 0) == (found.p_value < 0.05) == found.separable
        assert found.low < found.difference < found.high
        rejected += found.separable
    assert 20 < rejected < 95


def rejections(test, statistic, n, samples=1000):
    """How many of some samples of two equal budgets a test at 5 % tells apart."""
    rng = np.random.default_rng(n)
    return sum(test(*triple(n, 0.9, 0.9, 0.85, rng), statistic) < 0.05 for _ in range(samples))


# What a type I error of 4 to 6 % can show in 1,000 samples; left once in 1,000 sets.
ALLOWED = stats.binom.ppf(0.001, 1000, 0.04), stats.binom.ppf(0.999, 1000, 0.06)


@STATISTICS
@pytest.mark.parametrize("n", [20, 50])
def test_equal_budgets_are_told_apart_as_often_as_the_level_says(statistic, n):
    found = rejections(lambda *given: compared(*given).p_value, statistic, n)
    assert ALLOWED[0] <= found <= ALLOWED[1]


def test_that_simulation_fails_a_test_without_fishers_z():
    def plain(a, b, y, statistic):
        one, other = (estimate(x, y, statistic=statistic) for x in (a, b))
        error = math.sqrt(np.mean((other.influence - one.influence) ** 2) / y.size)
        return 2 * stats.t.sf(abs(other.correlation - one.correlation) / error, y.size - 2)

    assert rejections(plain, "spearman", 20) < ALLOWED[0]


def test_few_architectures_are_compared_without_a_test():
    a, b, y = triple(FEWEST_TESTED, 0.9, 0.3, 0.2, np.random.default_rng(0))
    assert compared(a, b, y).p_value < 0.05
    found = compared(a[:-1], b[:-1], y[:-1])
    assert math.isnan(found.p_value)
    assert math.isnan(found.p_adjusted)
    assert not found.separable
    assert found.verdict == (
        f"a correlates higher than b by {-found.difference:.3f} (95% interval of b - a: "
        f"{found.low:+.3f} to {found.high:+.3f}); 19 architectures are too few to test the "
        "difference, 20 are needed"
    )
    same = compared(a[:-1], a[:-1], y[:-1])
    assert (same.difference, math.isnan(same.p_value)) == (0, True)


def test_a_perfect_order_and_a_constant_cannot_be_tested():
    a, _, y = triple(30, 0.5, 0.5, 0.5, np.random.default_rng(0))
    found = compared(a, y, y)
    assert found.difference == pytest.approx(1 - estimate(a, y).correlation)
    assert all(math.isnan(x) for x in (found.low, found.high, found.p_value))
    assert found.verdict == (
        f"b correlates higher than a by {found.difference:.3f}; this cannot be tested: one of "
        "them shows no variation"
    )
    with pytest.warns(ConstantInputWarning):
        found = compared(a, np.ones(30), y)
    assert found.verdict == "a and b cannot be compared: one of them has no correlation"
    assert not found.separable
