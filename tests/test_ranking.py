"""Rank statistics against scipy, brute force and what must not change them."""

import itertools
import math
from decimal import ROUND_HALF_EVEN, Decimal

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from bpe_bench.errors import ConstantInputWarning, RankingError
from bpe_bench.ranking import (
    STATISTICS,
    average_ranks,
    best_rank_at_k,
    kendall,
    precision_at_k,
    regret_at_k,
    sparse,
    sparse_kendall,
    spearman,
)

SCIPY = {
    "spearman": lambda x, y: stats.spearmanr(x, y).statistic,
    "kendall": lambda x, y: stats.kendalltau(x, y).statistic,
    "sparse-kendall": lambda x, y: stats.kendalltau(np.round(x, 3), np.round(y, 3)).statistic,
}
each_statistic = pytest.mark.parametrize("name", list(STATISTICS))


@st.composite
def pairs(draw, least=2, most=30, values=6):
    """Two vectors of few different values, so that ties are frequent, and neither constant."""
    n = draw(st.integers(least, most))
    columns = [draw(st.lists(st.integers(0, values), min_size=n, max_size=n)) for _ in range(2)]
    assume(all(len(set(column)) > 1 for column in columns))
    return tuple(np.array(column) / 100 for column in columns)


def sample(n, levels=None, seed=0):
    """Two related vectors in [0, 1], rounded to some levels if ties are wanted."""
    rng = np.random.default_rng(seed)
    x = rng.random(n)
    y = 0.6 * x + 0.4 * rng.random(n)
    if levels is not None:
        x, y = np.round(x * levels) / levels, np.round(y * levels) / levels
    return x, y


@each_statistic
@pytest.mark.parametrize("n", [6, 10, 101, 1000])
@pytest.mark.parametrize("levels", [None, 2, 7, 400])
def test_the_value_is_scipys(name, n, levels):
    x, y = sample(n, levels)
    assert STATISTICS[name](x, y).value == pytest.approx(SCIPY[name](x, y), abs=1e-12)


@each_statistic
@given(pair=pairs())
def test_the_value_is_scipys_with_many_ties(name, pair):
    assert STATISTICS[name](*pair).value == pytest.approx(SCIPY[name](*pair), abs=1e-12)


def test_many_levels_do_not_overflow_the_radix_sort():
    # Above 2**16 different values, Kendall sorts by a wider type.
    x, y = sample(70_000)
    assert kendall(x, y).value == pytest.approx(SCIPY["kendall"](x, y), abs=1e-12)


def test_average_ranks_are_scipys():
    values = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5]
    np.testing.assert_array_equal(average_ranks(values), stats.rankdata(values))


def test_halves_of_a_tenth_of_a_percent_are_rounded_to_even():
    exact = [Decimal(ten_thousandths) / 10 for ten_thousandths in range(10_001)]
    expected = [int(value.to_integral_value(ROUND_HALF_EVEN)) for value in exact]
    assert sparse(np.arange(10_001) / 10_000).tolist() == expected


def test_sparse_kendall_sees_no_difference_below_a_tenth_of_a_percent():
    y = [0.90, 0.91, 0.92, 0.93]
    assert sparse_kendall([0.9001, 0.9002, 0.9004, 0.93], y).value < 1
    assert kendall([0.9001, 0.9002, 0.9004, 0.93], y).value == 1


@each_statistic
@given(pair=pairs(), seed=st.integers(0, 99))
def test_the_order_of_architectures_plays_no_part(name, pair, seed):
    x, y = pair
    order = np.random.default_rng(seed).permutation(x.size)
    one, other = STATISTICS[name](x, y), STATISTICS[name](x[order], y[order])
    assert other.value == pytest.approx(one.value, abs=1e-12)
    np.testing.assert_allclose(other.influence, one.influence[order], atol=1e-9)


@pytest.mark.parametrize("statistic", [spearman, kendall])
@given(pair=pairs())
def test_only_ranks_count(statistic, pair):
    x, y = pair
    one, other = statistic(x, y), statistic(np.exp(10 * x), y**3 - 7)
    assert other.value == pytest.approx(one.value, abs=1e-12)
    np.testing.assert_allclose(other.influence, one.influence, atol=1e-9)


@each_statistic
@given(pair=pairs())
def test_turning_one_round_turns_the_sign(name, pair):
    x, y = pair
    one = STATISTICS[name](x, y)
    for other in (STATISTICS[name](-x, y), STATISTICS[name](x, -y)):
        assert other.value == pytest.approx(-one.value, abs=1e-12)
        np.testing.assert_allclose(other.influence, -one.influence, atol=1e-9)


@each_statistic
@given(pair=pairs())
def test_it_is_symmetric_and_bounded(name, pair):
    x, y = pair
    found = STATISTICS[name](x, y).value
    assert STATISTICS[name](y, x).value == pytest.approx(found, abs=1e-12)
    assert abs(found) <= 1 + 1e-12
    assert STATISTICS[name](x, x).value == pytest.approx(1)


def weighted_spearman(x, y, w):
    """Pearson's correlation, under weights, of mid-distribution ranks under the same weights."""
    u, v = (((z[:, None] > z) + 0.5 * (z[:, None] == z)) @ w for z in (x, y))
    u, v = u - w @ u, v - w @ v
    return w @ (u * v) / math.sqrt((w @ u**2) * (w @ v**2))


def weighted_kendall(x, y, w):
    """Concordance of two architectures drawn with these weights."""
    a, b = (np.sign(z[:, None] - z) for z in (x, y))
    return w @ (a * b) @ w / math.sqrt((w @ a**2 @ w) * (w @ b**2 @ w))


@pytest.mark.parametrize(
    ("statistic", "weighted"), [(spearman, weighted_spearman), (kendall, weighted_kendall)]
)
@given(pair=pairs(least=3, most=12))
def test_the_influence_is_the_derivative_by_weight(statistic, weighted, pair):
    x, y = pair
    n, step = x.size, 1e-5
    equal = np.full(n, 1 / n)
    slopes = []
    for unit in np.eye(n):
        up, down = equal + step * (unit - equal), equal - step * (unit - equal)
        slopes.append((weighted(x, y, up) - weighted(x, y, down)) / (2 * step))
    found = statistic(x, y)
    assert found.value == pytest.approx(weighted(x, y, equal), abs=1e-12)
    np.testing.assert_allclose(found.influence, slopes, atol=1e-5)
    assert found.influence.mean() == pytest.approx(0, abs=1e-9)


def orders(values):
    """All ways to sort by falling value, each way to break ties as often as the others."""
    for tie_break in itertools.permutations(range(len(values))):
        yield sorted(tie_break, key=lambda i: -values[i])


def chance_of_top(values, k):
    """Return each place's share of the orders in which it is among the first k."""
    found = list(orders(values))
    return np.array([sum(i in order[:k] for order in found) for i in range(len(values))]) / len(
        found
    )


small = pairs(most=5, values=3)


@given(pair=small, data=st.data())
def test_precision_is_the_mean_over_all_ways_to_break_ties(pair, data):
    x, y = pair
    k = data.draw(st.integers(1, x.size))
    # Ties of x and of y are broken independently.
    expected = chance_of_top(x, k) @ chance_of_top(y, k) / k
    assert precision_at_k(x, y, k) == pytest.approx(expected)


@given(pair=small, data=st.data())
def test_regret_is_the_mean_over_all_ways_to_break_ties(pair, data):
    x, y = pair
    k = data.draw(st.integers(1, x.size))
    expected = np.mean([max(y) - max(y[i] for i in order[:k]) for order in orders(x)])
    assert regret_at_k(x, y, k) == pytest.approx(expected, abs=1e-12)


@given(pair=small, data=st.data())
def test_best_rank_is_the_mean_over_all_ways_to_break_ties(pair, data):
    x, y = pair
    k = data.draw(st.integers(1, x.size))
    rank = [1 + sum(y > value) for value in y]
    expected = np.mean([min(rank[i] for i in order[:k]) for order in orders(x)]) / x.size
    assert best_rank_at_k(x, y, k) == pytest.approx(expected)


def test_top_k_of_a_case_done_by_hand():
    x, y = [0.9, 0.8, 0.7, 0.6, 0.5], [0.70, 0.75, 0.95, 0.90, 0.80]
    assert precision_at_k(x, y, 2) == 0.0
    assert precision_at_k(x, y, 3) == pytest.approx(1 / 3)
    assert regret_at_k(x, y, 2) == pytest.approx(0.95 - 0.75)
    assert regret_at_k(x, y, 3) == 0.0
    assert best_rank_at_k(x, y, 2) == pytest.approx(4 / 5)
    assert best_rank_at_k(x, y, 3) == pytest.approx(1 / 5)


@each_statistic
@pytest.mark.parametrize("flip", [False, True])
def test_constant_input_is_nan_with_a_warning(name, flip):
    x, y = ([0.5] * 4, [0.1, 0.2, 0.3, 0.4])[:: -1 if flip else 1]
    with pytest.warns(ConstantInputWarning) as caught:
        found = STATISTICS[name](x, y)
    assert [str(w.message) for w in caught] == [
        "all accuracies are equal, so a rank correlation is not defined (NaN)"
    ]
    assert math.isnan(found.value)
    assert np.isnan(found.influence).tolist() == [True] * 4


TOP_K = (precision_at_k, regret_at_k, best_rank_at_k)


@pytest.mark.parametrize("measure", TOP_K)
@pytest.mark.parametrize("k", [-1, 0, 4])
def test_k_must_be_a_number_of_architectures(measure, k):
    with pytest.raises(RankingError) as caught:
        measure([1, 2, 3], [1, 2, 3], k)
    assert str(caught.value) == (
        f"k must be between 1 and the number of architectures, 3; found {k}"
    )


@pytest.mark.parametrize(
    "measure", [*STATISTICS.values(), *(lambda x, y, m=m: m(x, y, 1) for m in TOP_K)]
)
@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([1, 2], [1, 2, 3], "expected two vectors of equal length, found (2,) and (3,)"),
        ([[1, 2]], [[1, 2]], "expected two vectors of equal length, found (1, 2) and (1, 2)"),
        ([1], [1], "a ranking needs at least 2 architectures, found 1"),
        ([], [], "a ranking needs at least 2 architectures, found 0"),
        (
            [1, math.nan],
            [1, 2],
            "cannot rank values that are missing or infinite; drop them first",
        ),
        (
            [1, 2],
            [math.inf, 2],
            "cannot rank values that are missing or infinite; drop them first",
        ),
    ],
)
def test_what_cannot_be_ranked(measure, x, y, message):
    with pytest.raises(RankingError) as caught:
        measure(x, y)
    assert str(caught.value) == message
