"""Functional ANOVA, against brute force, trees by hand, analytic functions, Optuna, publication."""

import itertools
import math
import re

import numpy as np
import pytest
from scipy.stats import qmc
from sklearn.ensemble import RandomForestRegressor

from bpe_bench.budget import encode
from bpe_bench.correlation import correlate
from bpe_bench.importance.fanova import _FanovaImportance, _main_effects
from bpe_bench.importance.models import _Forest, fit_forest

PI = math.pi
SINGLES = [[0], [1], [2]]


def forest_of(x, y, trees=8, **options):
    fitted = RandomForestRegressor(trees, random_state=0, n_jobs=1, **options).fit(x, y)
    return _Forest(tuple(fitted.estimators_))


# --- Brute force -------------------------------------------------------------------------------


def settings(seed, count=24):
    """Settings of six columns, whose correlations rest on several of them together."""
    rng = np.random.default_rng(seed)
    x = np.column_stack(
        [
            rng.choice([1.0, 2.0, 9.0], count),
            rng.choice([10.0, 20.0, 30.0], count),
            rng.choice([4.0, 0.0, 2.0], count),
            rng.choice([0.0, 1.0, 3.0], count),
            rng.uniform(-1, 3, count),
            np.exp(rng.uniform(np.log(0.01), np.log(10), count)),
        ]
    )
    y = (
        np.sin(x[:, 0]) * (x[:, 3] - 1) + 0.05 * x[:, 1] + (x[:, 2] == 0) * x[:, 4]
        + np.log(x[:, 5]) * 0.3 + rng.normal(0, 0.1, count)
    )  # fmt: skip
    return x, y


def brute_force(forest, groups, points):
    """Main effects by adding up a tree's predictions over all combinations of points."""
    width = sum(map(len, groups))
    mains, trees = np.zeros(len(groups)), 0
    for tree in forest.trees:
        grid = np.empty((*map(len, points), width))
        for place in itertools.product(*(range(len(p)) for p in points)):
            for at, group, values in zip(place, groups, points, strict=True):
                grid[(*place, group)] = values[at]
        predicted = tree.predict(grid.reshape(-1, width)).reshape(grid.shape[:-1])
        if predicted.var() < 1e-15:
            continue
        trees += 1
        axes = range(len(groups))
        mains += [
            predicted.mean(axis=tuple(a for a in axes if a != g)).var() / predicted.var()
            for g in axes
        ]
    return mains / trees


@pytest.mark.parametrize(
    "groups",
    [
        [[0], [1], [2], [3], [4], [5]],
        [[0, 1], [2], [3], [4], [5]],
        [[1], [5, 0], [3, 2], [4]],
    ],
    ids=str,
)
def test_agrees_with_brute_force(groups):
    for seed, depth in ((0, None), (1, 4)):
        x, y = settings(seed)
        # Few points of the two real columns keep the grid small.
        x[:, 4:] = np.round(x[:, 4:])
        points = [np.unique(x[:, group], axis=0) for group in groups]
        forest = forest_of(x, y, trees=3, max_depth=depth)
        found = _main_effects(forest, groups, points)
        np.testing.assert_allclose(found, brute_force(forest, groups, points), rtol=0, atol=1e-9)
        assert 0.05 < found.sum() < 0.95  # there is something to get wrong


def test_points_that_the_settings_never_had_count_too():
    x, y = settings(2, 40)
    points = [np.array([[1.0], [2.0], [5.0], [9.0]]), *(np.unique(x[:, [c]]) for c in range(1, 4))]
    points = [p.reshape(-1, 1) for p in points]
    groups = [[0], [1], [2], [3]]
    forest = forest_of(x[:, :4], y, trees=4)
    found = _main_effects(forest, groups, points)
    np.testing.assert_allclose(found, brute_force(forest, groups, points), rtol=0, atol=1e-9)


# --- By hand -----------------------------------------------------------------------------------

BITS = np.array(list(itertools.product([0.0, 1.0], repeat=3)))


def decompose(x, y, groups, **options):
    forest = forest_of(x, y, trees=1, bootstrap=False, **options)
    return _main_effects(forest, groups, [np.unique(x[:, g], axis=0) for g in groups])


def test_functions_of_three_bits_by_hand():
    a, b, c = BITS.T
    # Variances 4/4, 1/4, 0.
    np.testing.assert_allclose(decompose(BITS, 2 * a + b, SINGLES), [0.8, 0.2, 0], atol=1e-12)
    # These matter only together.
    np.testing.assert_allclose(decompose(BITS, (a != b) * 1.0, SINGLES), 0, atol=1e-12)
    np.testing.assert_allclose(decompose(BITS, (a + b + c) % 2, SINGLES), 0, atol=1e-12)
    # And of two: mean 1/4, variance 3/16, of which 1/16 each and 1/16 together.
    np.testing.assert_allclose(decompose(BITS, a * b, SINGLES), [1 / 3, 1 / 3, 0], atol=1e-12)


def test_a_group_has_its_interactions_in_its_main_effect():
    a, b, _ = BITS.T
    found = decompose(BITS, (a != b) * 1.0, [[0, 1], [2]])
    np.testing.assert_allclose(found, [1, 0], atol=1e-12)


def test_what_is_in_no_group_counts_in_the_variance():
    a, b, _ = BITS.T
    x, y = np.repeat(BITS, 4, axis=0), np.repeat(2 * a + b, 4)
    some = _FanovaImportance().effects(x, y, [[1]], np.random.default_rng(0))
    every = _FanovaImportance().effects(x, y, [[1], [0], [2]], np.random.default_rng(0))
    np.testing.assert_allclose(some, every[:1])
    assert some[0] == pytest.approx(0.2, abs=0.05)


def test_every_value_counts_alike_however_often_it_was_seen():
    """One setting in ten is high: over the two values it is one in two."""
    x = np.column_stack([np.repeat([0.0, 1.0], [18, 2]), np.tile([0.0, 1.0], 10)])
    np.testing.assert_allclose(decompose(x, x.sum(axis=1), [[0], [1]]), [0.5, 0.5])


def test_constant_trees_are_left_out_of_the_mean():
    codes = BITS[:, :2]
    forest = forest_of(codes, codes[:, 0], trees=1, bootstrap=False)
    constant = forest_of(codes, np.full(8, 0.3), trees=2, bootstrap=False)
    mixed = _Forest(constant.trees + forest.trees)
    points = [np.array([[0.0], [1.0]])] * 2
    found = _main_effects(mixed, [[0], [1]], points)
    np.testing.assert_allclose(found, [1, 0], atol=1e-12)
    np.testing.assert_array_equal(_main_effects(constant, [[0], [1]], points), [0, 0])


# --- Analytic functions ------------------------------------------------------------------------

GRID = PI * (2 * (np.arange(500)[:, None] + 0.5) / 500 - 1)
"""The middles of 500 equal parts of [-π, π]."""


def test_ishigami_within_two_hundredths():
    """Ishigami & Homma (1990) with a = 7, b = 0.1: S₁ = .314, S₂ = .442, S₃ = 0."""
    unit = qmc.Sobol(3, seed=1).random(2**14)
    x = PI * (2 * unit - 1)
    y = np.sin(x[:, 0]) + 7 * np.sin(x[:, 1]) ** 2 + 0.1 * x[:, 2] ** 4 * np.sin(x[:, 0])
    forest = forest_of(x, y, trees=2, bootstrap=False, min_samples_leaf=5)
    found = _main_effects(forest, SINGLES, [GRID] * 3)
    whole = 7**2 / 8 + 0.1 * PI**4 / 5 + 0.1**2 * PI**8 / 18 + 1 / 2
    first, second = (1 + 0.1 * PI**4 / 5) ** 2 / 2 / whole, 7**2 / 8 / whole
    np.testing.assert_allclose(found, [first, second, 0], atol=0.02)


def test_additive_function_by_a_bootstrapped_forest_within_two_hundredths():
    x = PI * (2 * qmc.Sobol(3, seed=2).random(2**12) - 1)
    y = 2 * np.sin(x[:, 0]) + x[:, 1] ** 2 + x[:, 2] / 2
    forest = forest_of(x, y, trees=10, min_samples_leaf=3)
    found = _main_effects(forest, SINGLES, [GRID] * 3)
    variances = np.array([2, PI**4 * 4 / 45, PI**2 / 12])
    np.testing.assert_allclose(found, variances / variances.sum(), atol=0.02)


# --- Optuna ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def optunas():
    """Optuna's answer for settings on three intervals, the settings, and its forest.

    The settings are multiples of 1/50, so its trees split at multiples of 1/100.
    """
    optuna = pytest.importorskip("optuna")
    x = np.random.default_rng(5).integers(-50, 51, (60, 3)) / 50
    y = x[:, 0] + 0.8 * x[:, 1] ** 2 + 0.5 * x[:, 0] * x[:, 2]
    distribution = optuna.distributions.FloatDistribution(-1.0, 1.0)
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study()
    optuna.logging.set_verbosity(verbosity)
    for row, value in zip(x, y, strict=True):
        study.add_trial(
            optuna.trial.create_trial(
                params=dict(zip("abc", row, strict=True)),
                distributions=dict.fromkeys("abc", distribution),
                value=value,
            )
        )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    found = evaluator.evaluate(study)
    forest = _Forest(tuple(evaluator._evaluator._forest.estimators_))
    return np.array([found[name] for name in "abc"]), x, y, forest


def test_agrees_with_optuna_on_its_forest(optunas):
    """Of its intervals the middles of 200 equal parts, inside which no tree splits."""
    theirs, _, _, forest = optunas
    middles = (np.arange(200)[:, None] + 0.5) / 100 - 1
    found = _main_effects(forest, SINGLES, [middles] * 3)
    np.testing.assert_allclose(found, theirs, rtol=0, atol=1e-9)


def test_agrees_with_optuna_on_the_same_problem(optunas):
    """Within 0.03: both fit 64 bootstrapped trees, but not the same; a seed moves it by 0.01."""
    theirs, x, y, _ = optunas
    ours = [
        _FanovaImportance().effects(x, y, SINGLES, np.random.default_rng(seed)) for seed in range(5)
    ]
    np.testing.assert_allclose(np.mean(ours, axis=0), theirs, atol=0.03)


# --- The published settings --------------------------------------------------------------------


@pytest.fixture(scope="module")
def published_settings(darts_bpe):
    """The eight hyper-parameters of the 32 settings test1 to test32, and their correlations."""
    rows = [
        r for r in correlate(darts_bpe).rows if re.fullmatch(r"test([1-9]|[12]\d|3[012])", r.label)
    ]
    names = [
        "layers", "epochs", "channels", "precision", "image_size", "batch_size", "learning_rate",
        "cutout",
    ]  # fmt: skip
    assert len(rows) == 32
    return encode([r.budget for r in rows], names), np.array([r.correlation for r in rows])


def effects_of(x, y, seeds):
    groups = [[column] for column in range(x.shape[1])]
    estimator = _FanovaImportance()
    return np.array(
        [estimator.effects(x, y, groups, np.random.default_rng(s)) for s in range(seeds)]
    )


def test_main_effects_on_the_published_settings(published_settings):
    """As recomputed by others: layers .466 ± .021, epochs .279 ± .016, the rest below .05."""
    mains = effects_of(*published_settings, seeds=50)
    means = mains.mean(axis=0)
    assert means[0] == pytest.approx(0.466, abs=0.03)
    assert means[1] == pytest.approx(0.279, abs=0.03)
    np.testing.assert_allclose(means[2:5], [0.031, 0.010, 0.007], atol=0.01)
    assert max(means[5:]) < 0.001
    np.testing.assert_allclose(mains[:, :2].std(axis=0), [0.021, 0.016], atol=0.006)


def test_scale_is_no_matter_where_only_the_order_counts(published_settings):
    x, y = published_settings
    # scikit-learn by itself takes values that differ by less than 1e-7 for the same.
    for scaled in (np.log(x + 1), x**3, x * 1e-9):
        np.testing.assert_array_equal(effects_of(x, y, 2), effects_of(scaled, y, 2))


# --- The estimator -----------------------------------------------------------------------------


def test_shares_are_main_effects_over_their_sum(published_settings):
    x, y = published_settings
    groups = [[0], [1], [2], [5, 6]]
    estimator = _FanovaImportance(trees=9)
    mains = estimator.effects(x, y, groups, np.random.default_rng(3))
    found = estimator.importances(x, y, groups, np.random.default_rng(3))
    np.testing.assert_allclose(found, mains / mains.sum())


def test_copies_of_a_column_joined_count_as_the_column(published_settings):
    """Whichever of two copies the trees split on."""
    x, y = published_settings
    twice = np.column_stack([x[:, :2], x[:, 0] * 2])
    alone, joined = (
        _FanovaImportance(trees=300).effects(settings, y, groups, np.random.default_rng(0))
        for settings, groups in ((x[:, :2], [[0], [1]]), (twice, [[0, 2], [1]]))
    )
    np.testing.assert_allclose(joined, alone, atol=0.03)
    forest = fit_forest(twice, y, np.random.default_rng(0))
    split = np.concatenate([tree.tree_.feature for tree in forest.trees])
    assert min(np.bincount(split[split >= 0])) > 50
