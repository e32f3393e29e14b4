"""What every estimator of importance must do, whatever it is made of."""

import numpy as np
import pytest

from bpe_bench.errors import SelectionError, UnknownNameError
from bpe_bench.importance import ESTIMATORS, get_estimator, resampled_importances
from bpe_bench.importance.ped_anova import _PedAnovaImportance

pytestmark = pytest.mark.parametrize("estimator", ESTIMATORS.values(), ids=ESTIMATORS)

SINGLES = [[0], [1], [2], [3]]


def short(value):
    """Return an id for a parameter: the start of a text, nothing for a function."""
    return value[:40] if isinstance(value, str) else ""


@pytest.fixture(autouse=True)
def _needs_its_library(estimator):
    if isinstance(estimator, _PedAnovaImportance):
        pytest.importorskip("optuna")


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


def test_another_seed_gives_other_bytes_where_the_model_is_random(estimator, x, y):
    seeds = {shares(estimator, x, y, SINGLES, seed=seed).tobytes() for seed in range(3)}
    assert len(seeds) == (1 if isinstance(estimator, _PedAnovaImportance) else 3)


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
    assert max(noise) < 0.05
    # The second effect is too small to decide who is among the best, which is all it looks at.
    if not isinstance(estimator, _PedAnovaImportance):
        assert second > 3 * max(noise)


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


def test_settings_that_are_all_the_same_give_zeros(estimator):
    found = shares(estimator, np.tile([1.0, 2.0], (6, 1)), np.linspace(0.1, 0.6, 6), [[0], [1]])
    np.testing.assert_array_equal(found, [0, 0])


def test_a_column_that_does_not_vary_gets_exactly_nothing(estimator, x, y):
    found = shares(estimator, np.column_stack([x, np.ones(len(x))]), y, [*SINGLES, [4]])
    assert found[4] == 0
    assert found.sum() == pytest.approx(1)


def test_two_settings_are_enough_to_be_asked(estimator):
    found = shares(estimator, np.array([[1.0, 5.0], [2.0, 5.0]]), np.array([0.2, 0.8]), [[0], [1]])
    assert found[1] == 0
    assert found[0] in (0, 1)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            lambda x, y: (x[:1], y[:1], SINGLES),
            "importance needs at least 2 settings, found 1; widen the selection",
        ),
        (
            lambda x, y: (x, np.where(np.arange(60) < 3, np.nan, y), SINGLES),
            "correlations must be finite, found NaN in 3 of 60 settings; leave them out",
        ),
        (
            lambda x, y: (x, np.where(np.arange(60) < 1, -np.inf, y), SINGLES),
            "correlations must be finite, found infinity in 1 of 60 settings; leave them out",
        ),
        (
            lambda x, y: (np.where(np.arange(60)[:, None] < 3, np.nan, x), y, SINGLES),
            "values of hyper-parameters must be finite, found NaN in 3 of 60 settings; leave them "
            "out",
        ),
        (
            lambda x, y: (x, y[:9], SINGLES),
            "importance needs settings (S, d) and their correlations (S,), found shapes (60, 4) "
            "and (9,)",
        ),
        (
            lambda x, y: (x, y, [[0], [0, 1]]),
            "groups of columns must be disjoint and not empty, found [[0], [0, 1]]",
        ),
        (
            lambda x, y: (x, y, [[0], []]),
            "groups of columns must be disjoint and not empty, found [[0], []]",
        ),
        (
            lambda x, y: (x, y, []),
            "groups of columns must be disjoint and not empty, found []",
        ),
        (
            lambda x, y: (x, y, [[0], [4]]),
            "groups name columns 0 to 4, but the settings have columns 0 to 3",
        ),
    ],
    ids=short,
)
def test_what_cannot_be_judged_is_refused_in_one_line(estimator, x, y, change, text):
    with pytest.raises(SelectionError) as caught:
        shares(estimator, *change(x, y))
    assert str(caught.value) == text


def test_resampled_importances_are_of_the_settings_and_correlations_that_were_drawn(
    estimator, x, y
):
    """Of two columns one is known to matter, in each draw another one."""
    drawn = np.stack([x[:, 0], x[:, 1], np.full(len(x), 0.3)])
    found = resampled_importances(estimator, x, drawn, [[0], [1, 2]], np.random.default_rng(0))
    assert found.shape == (3, 2)
    assert found[0, 0] > 0.9
    assert found[1, 1] > 0.9
    np.testing.assert_array_equal(found[2], [0, 0])


def test_resampled_importances_are_the_same_for_the_same_seed_only(estimator, x, y):
    drawn = np.tile(y, (3, 1))
    one, same, other = (
        resampled_importances(estimator, x, drawn, SINGLES, np.random.default_rng(seed)).tobytes()
        for seed in (0, 0, 1)
    )
    assert one == same
    assert one != other


def test_last_bits_of_the_correlations_do_not_matter(estimator, x, y):
    """Linear algebra of another processor gives other ones."""
    up, down = np.nextafter(y, 1), np.nextafter(y, -1)
    assert not np.array_equal(up, y)
    found = {shares(estimator, x, values, SINGLES).tobytes() for values in (y, up, down)}
    assert len(found) == 1


def test_is_found_by_its_name_and_says_what_it_is(estimator):
    name = next(name for name, known in ESTIMATORS.items() if known is estimator)
    assert get_estimator(name) is estimator
    assert estimator.summary


def test_an_unknown_name_is_refused_with_those_that_exist(estimator):
    name = next(name for name, known in ESTIMATORS.items() if known is estimator)
    with pytest.raises(UnknownNameError, match=f"unknown importance estimator '{name}x'.*{name}"):
        get_estimator(f"{name}x")
