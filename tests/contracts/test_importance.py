"""What every estimator of importance must do, whatever it is made of."""

import numpy as np
import pytest

from bpe_bench.errors import UnknownNameError
from bpe_bench.importance import ESTIMATORS, get_estimator

pytestmark = pytest.mark.parametrize("estimator", ESTIMATORS.values(), ids=ESTIMATORS)

SINGLES = [[0], [1], [2], [3]]


def shares(estimator, x, y, groups, seed=0):
    return estimator.importances(x, y, groups, np.random.default_rng(seed))


@pytest.fixture(scope="module")
def x():
    """Sixty settings of four hyper-parameters with few values, as tables have them."""
    return np.random.default_rng(3).integers(0, 4, (60, 4)).astype(float)


@pytest.fixture(scope="module")
def y(x):
    """Two columns count, the first much more than the second, the others not at all."""
    return 0.3 * x[:, 0] + 0.1 * x[:, 1] + np.random.default_rng(4).normal(0, 0.02, len(x))


def test_shares_are_not_negative_and_sum_to_one(estimator, x, y):
    found = shares(estimator, x, y, SINGLES)
    assert found.shape == (4,)
    assert np.all(found >= 0)
    assert found.sum() == pytest.approx(1.0)


def test_same_seed_same_bytes(estimator, x, y):
    first, again = (shares(estimator, x, y, SINGLES, seed=5).tobytes() for _ in range(2))
    assert first == again


def test_another_seed_gives_other_bytes(estimator, x, y):
    seeds = {shares(estimator, x, y, SINGLES, seed=seed).tobytes() for seed in range(3)}
    assert len(seeds) == 3


def test_does_not_touch_its_input(estimator, x, y):
    before = x.tobytes(), y.tobytes()
    shares(estimator, x, y, SINGLES)
    assert (x.tobytes(), y.tobytes()) == before


@pytest.mark.parametrize("column", range(4))
def test_a_column_that_alone_determines_the_correlation_gets_nearly_all(estimator, x, column):
    assert shares(estimator, x, 0.2 * x[:, column], SINGLES)[column] > 0.95


def test_larger_effects_get_larger_shares_and_noise_gets_little(estimator, x, y):
    first, second, *noise = shares(estimator, x, y, SINGLES)
    assert first > 2 * second
    assert second > 3 * max(noise)
    assert max(noise) < 0.05


def test_shares_follow_their_groups(estimator, x, y):
    there = shares(estimator, x, y, [[0, 1], [2, 3]])
    assert there[0] > 0.9
    back = shares(estimator, x, y, [[2, 3], [0, 1]])
    assert back[1] > 0.9


def test_a_joined_group_counts_as_one(estimator, x, y):
    """Two copies of a column that matters most: apart they share its credit, joined they keep it.

    Joined, the pair must get about what the column gets without its copy.
    """
    twice = np.column_stack([x[:, 0], x])
    alone = shares(estimator, x, y, SINGLES)[0]
    joined = shares(estimator, twice, y, [[0, 1], [2], [3], [4]])
    apart = shares(estimator, twice, y, [[0], [1], [2], [3], [4]])
    assert joined.shape == (4,)
    assert joined[0] == pytest.approx(alone, abs=0.08)
    assert max(apart[:2]) <= joined[0]


def test_constant_correlations_give_zeros(estimator, x):
    found = shares(estimator, x, np.full(len(x), 0.4), SINGLES)
    np.testing.assert_array_equal(found, np.zeros(4))


def test_constant_columns_give_zeros(estimator, y):
    found = shares(estimator, np.ones((len(y), 4)), y, SINGLES)
    np.testing.assert_array_equal(found, np.zeros(4))


def test_is_found_by_its_name_and_says_what_it_is(estimator):
    name = next(name for name, known in ESTIMATORS.items() if known is estimator)
    assert get_estimator(name) is estimator
    assert estimator.summary


def test_an_unknown_name_is_refused_with_those_that_exist(estimator):
    name = next(name for name, known in ESTIMATORS.items() if known is estimator)
    with pytest.raises(UnknownNameError, match=f"unknown importance estimator '{name}x'.*{name}"):
        get_estimator(f"{name}x")
