"""Functional ANOVA, against brute force, trees by hand, analytic functions, Optuna, publication."""

import itertools
import math
import re

import numpy as np
import pytest
from scipy.stats import qmc
from sklearn.ensemble import RandomForestRegressor

from bpe_bench.budget import encode
from bpe_bench.correlation.report import correlate
from bpe_bench.errors import SelectionError, UnknownNameError
from bpe_bench.importance import Axis, Domain, FanovaImportance, fanova, functional_anova
from bpe_bench.importance.models import Forest, fit_forest

PI = math.pi


def forest_of(x, y, trees=8, **options):
    fitted = RandomForestRegressor(trees, random_state=0, n_jobs=1, **options).fit(x, y)
    return Forest(tuple(fitted.estimators_))


# --- Brute force -------------------------------------------------------------------------------
#
# Six axes of all kinds. Each is, for the brute force, a list of coded points with weights, made
# here from its definition and without the library; an interval is cut at the thresholds of the
# tree, between which the tree does not change.

AXES = (
    Axis.ordered("few", [1, 2, 5, 9]),
    Axis.ordered("weighted", [10, 20, 30], [0.5, 0.2, 0.3]),
    Axis.categorical("category", [4, 0, 2]),
    Axis.categorical("weighted category", [0, 1, 2, 3], [0.1, 0.2, 0.3, 0.4]),
    Axis.real("real", -1, 3),
    Axis.real("log", 0.01, 10, log=True),
)
WIDTHS = (1, 1, 3, 4, 1, 1)


def settings_of_all_kinds(seed, count=24):
    rng = np.random.default_rng(seed)
    x = np.column_stack(
        [
            rng.choice([1, 2, 9], count),  # 5 is a candidate that was not observed
            rng.choice([10, 20, 30], count),
            rng.choice([4, 0, 2], count),
            rng.choice([0, 1, 3], count),
            rng.uniform(-1, 3, count),
            np.exp(rng.uniform(np.log(0.01), np.log(10), count)),
        ]
    )
    y = (
        np.sin(x[:, 0]) * (x[:, 3] - 1) + 0.05 * x[:, 1] + (x[:, 2] == 0) * x[:, 4]
        + np.log(x[:, 5]) * 0.3 + rng.normal(0, 0.1, count)
    )  # fmt: skip
    return x, y


def coded(axis, value):
    """The code of a value, from the definition of each kind."""
    if axis.kind == "real":
        return [math.log(value) if axis.log else value]
    place = axis.values.index(value)
    if axis.kind == "ordered":
        return [float(place)]
    return [float(place == other) for other in range(len(axis.values))]


def points_of(axis, column, tree, values, measure):
    """The coded points of an axis, which starts at a coded column, and their weights."""
    if measure == "observed":
        seen, counts = np.unique(values, return_counts=True)
        return [coded(axis, v) for v in seen], counts / counts.sum()
    if axis.kind != "real":
        weights = axis.weights or [1 / len(axis.values)] * len(axis.values)
        return [coded(axis, v) for v in axis.values], np.array(weights)
    low, high = coded(axis, axis.low)[0], coded(axis, axis.high)[0]
    cuts = tree.tree_.threshold[tree.tree_.feature == column]
    edges = np.unique([low, *cuts, high])
    return [[m] for m in (edges[:-1] + edges[1:]) / 2], np.diff(edges) / (high - low)


def joined_points(axes, rows, measure):
    """The coded combinations that a group was seen in, and their weights."""
    seen, counts = np.unique(rows, axis=0, return_counts=True)
    points = [
        np.concatenate([coded(axis, value) for axis, value in zip(axes, row, strict=True)])
        for row in seen
    ]
    weights = counts / counts.sum() if measure == "observed" else np.full(len(seen), 1 / len(seen))
    return points, weights


def brute_force(forest, x, groups, measure):
    """Main effects and interactions by adding up a tree's predictions on the whole grid."""
    starts = np.cumsum([0, *WIDTHS])
    mains, pairs, trees = np.zeros(len(groups)), np.zeros((len(groups),) * 2), 0
    for tree in forest.trees:
        axes = [
            points_of(AXES[g[0]], starts[g[0]], tree, x[:, g[0]], measure)
            if len(g) == 1
            else joined_points([AXES[j] for j in g], x[:, g], measure)
            for g in groups
        ]
        grid = np.empty((*(len(points) for points, _ in axes), sum(WIDTHS)))
        for place in itertools.product(*(range(len(points)) for points, _ in axes)):
            for (points, _), at, group in zip(axes, place, groups, strict=True):
                columns = np.concatenate([np.arange(starts[j], starts[j + 1]) for j in group])
                grid[(*place, columns)] = points[at]
        predicted = tree.predict(grid.reshape(-1, sum(WIDTHS))).reshape(grid.shape[:-1])
        weights = [w for _, w in axes]

        def marginal(keep, values=predicted, weights=weights):
            for axis in reversed(range(len(weights))):
                if axis not in keep:
                    values = np.tensordot(values, weights[axis], axes=(axis, 0))
            return values

        def variance(keep, weights=weights, marginal=marginal):
            volume = np.ones(())
            for axis in keep:
                volume = np.multiply.outer(volume, weights[axis])
            return float((volume * (marginal(keep) - marginal(())) ** 2).sum())

        whole = variance(tuple(range(len(groups))))
        if whole < 1e-15:
            continue
        trees += 1
        alone = [variance((g,)) for g in range(len(groups))]
        mains += np.array(alone) / whole
        for g, h in itertools.combinations(range(len(groups)), 2):
            pairs[g, h] += (variance((g, h)) - alone[g] - alone[h]) / whole
    return mains / trees, (pairs + pairs.T) / trees, trees


@pytest.mark.parametrize("measure", ["space", "observed"])
@pytest.mark.parametrize(
    "groups",
    [
        [[0], [1], [2], [3], [4], [5]],
        [[0, 1], [2], [3], [4], [5]],
        [[1], [5, 0], [3, 2], [4]],  # an interval and an order, two categories
    ],
    ids=str,
)
def test_agrees_with_brute_force_on_all_kinds_of_axes(groups, measure):
    # The observed points of two real axes make a large grid, so those have fewer settings.
    for seed, depth in ((0, None), (1, 4)):
        x, y = settings_of_all_kinds(seed, 24 if measure == "space" else 10)
        domain = Domain(AXES)
        forest = forest_of(domain.code(x), y, trees=3, max_depth=depth)
        found = functional_anova(forest, domain.measures(x, groups, measure))
        mains, pairs, trees = brute_force(forest, x, groups, measure)
        np.testing.assert_allclose(found.mains, mains, rtol=0, atol=1e-9)
        np.testing.assert_allclose(found.pairs, pairs, rtol=0, atol=1e-9)
        assert (found.trees, found.constant_trees) == (trees, 3 - trees)
        assert mains.max() < 0.95  # there is something to get wrong
        assert pairs.max() > 1e-3


def test_every_point_lies_in_exactly_one_box_with_the_value_that_is_predicted():
    x, y = settings_of_all_kinds(3, 60)
    codes = Domain(AXES).code(x)
    forest = forest_of(codes, y, trees=5)
    boxes = fanova.leaf_boxes(forest.trees)
    single = codes.astype(np.float32)[:, None]
    for place, tree in enumerate(forest.trees):
        inside = ((boxes.low[place] < single) & (single <= boxes.high[place])).all(axis=2)
        np.testing.assert_array_equal(inside.sum(axis=1), 1)
        np.testing.assert_array_equal(
            boxes.value[place][inside.argmax(axis=1)], tree.predict(codes)
        )


def test_it_does_not_matter_how_many_boxes_are_worked_on_at_once(monkeypatch):
    x, y = settings_of_all_kinds(4, 60)
    domain = Domain(AXES)
    forest, groups = forest_of(domain.code(x), y, trees=7), [[0, 1], [2], [3], [4], [5]]
    once = functional_anova(forest, domain.measures(x, groups, "space"))
    for numbers in (1, 2000, 40_000):
        monkeypatch.setattr(fanova, "_MOST_NUMBERS", numbers)
        pieces = functional_anova(forest, domain.measures(x, groups, "space"))
        np.testing.assert_allclose(pieces.mains, once.mains, atol=1e-12)
        np.testing.assert_allclose(pieces.pairs, once.pairs, atol=1e-12)
        assert pieces.trees == once.trees == 7


# --- By hand -----------------------------------------------------------------------------------

BITS = np.array(list(itertools.product([0.0, 1.0], repeat=3)))


def decompose(x, y, groups, measure="space", judged=None, **options):
    domain = Domain.of_values(x)
    forest = forest_of(domain.code(x), y, trees=1, bootstrap=False, **options)
    return functional_anova(forest, domain.measures(x, groups, measure), judged)


def test_functions_of_three_bits_by_hand():
    a, b, c = BITS.T
    found = decompose(BITS, 2 * a + b, [[0], [1], [2]])  # variances 4/4, 1/4, 0
    np.testing.assert_allclose(found.mains, [0.8, 0.2, 0], atol=1e-12)
    np.testing.assert_allclose(found.pairs, 0, atol=1e-12)
    found = decompose(BITS, (a != b) * 1.0, [[0], [1], [2]])  # matters only together
    np.testing.assert_allclose(found.mains, 0, atol=1e-12)
    np.testing.assert_allclose(found.pairs, [[0, 1, 0], [1, 0, 0], [0, 0, 0]], atol=1e-12)
    assert found.higher == pytest.approx(0)
    found = decompose(BITS, (a + b + c) % 2, [[0], [1], [2]])
    np.testing.assert_allclose(found.mains, 0, atol=1e-12)
    assert found.higher == pytest.approx(1)
    # And of two: mean 1/4, variance 3/16, of which 1/16 each and 1/16 together.
    found = decompose(BITS, a * b, [[0], [1], [2]])
    np.testing.assert_allclose(found.mains, [1 / 3, 1 / 3, 0], atol=1e-12)
    np.testing.assert_allclose(found.pairs[0, 1], 1 / 3)


def test_a_group_has_its_interactions_in_its_main_effect():
    a, b, _ = BITS.T
    found = decompose(BITS, (a != b) * 1.0, [[0, 1], [2]])
    np.testing.assert_allclose(found.mains, [1, 0], atol=1e-12)


def test_what_is_in_no_group_is_left_over():
    a, b, _ = BITS.T
    found = decompose(BITS, 2 * a + b, [[0], [1], [2]], judged=1)
    np.testing.assert_allclose(found.mains, [0.8])
    assert found.pairs.shape == (1, 1)
    assert found.higher == pytest.approx(0.2)
    estimator = FanovaImportance()
    rng = np.random.default_rng
    some = estimator.effects(np.repeat(BITS, 4, axis=0), np.repeat(2 * a + b, 4), [[1]], rng(0))
    every = estimator.effects(
        np.repeat(BITS, 4, axis=0), np.repeat(2 * a + b, 4), [[1], [0], [2]], rng(0)
    )
    np.testing.assert_allclose(some.mains, every.mains[:1])


def test_the_measure_decides_what_counts():
    """One value in ten is high: uniform over the two values it is one in two."""
    x = np.column_stack([np.repeat([0.0, 1.0], [18, 2]), np.tile([0.0, 1.0], 10)])
    y = x[:, 0] + x[:, 1]
    np.testing.assert_allclose(decompose(x, y, [[0], [1]]).mains, [0.5, 0.5])
    # Variances .1 x .9 and .5 x .5.
    observed = decompose(x, y, [[0], [1]], "observed").mains
    np.testing.assert_allclose(observed, np.array([0.09, 0.25]) / 0.34)


def test_constant_trees_are_left_out_of_the_mean():
    codes = BITS[:, :2]
    forest = forest_of(codes, codes[:, 0], trees=1, bootstrap=False)
    constant = forest_of(codes, np.full(8, 0.3), trees=2, bootstrap=False)
    mixed = Forest(constant.trees + forest.trees)
    measures = Domain.of_values(codes).measures(codes, [[0], [1]], "space")
    found = functional_anova(mixed, measures)
    np.testing.assert_allclose(found.mains, [1, 0], atol=1e-12)
    assert (found.trees, found.constant_trees) == (1, 2)
    nothing = functional_anova(constant, measures)
    np.testing.assert_array_equal(nothing.mains, [0, 0])
    assert (nothing.trees, nothing.constant_trees, nothing.higher) == (0, 2, 0.0)


def test_what_varies_only_where_the_measure_is_nothing_is_constant():
    x = BITS[:, :1]
    domain = Domain((Axis.ordered("a", [0, 1], [1.0, 0.0]),))
    forest = forest_of(x, x[:, 0], trees=1, bootstrap=False)
    assert functional_anova(forest, domain.measures(x, [[0]], "space")).trees == 0


# --- Analytic functions ------------------------------------------------------------------------


def test_ishigami_within_two_hundredths():
    """Ishigami & Homma (1990) with a = 7, b = 0.1: S₁ = .314, S₂ = .442, S₁₃ = .244."""
    unit = qmc.Sobol(3, seed=1).random(2**14)
    x = PI * (2 * unit - 1)
    y = np.sin(x[:, 0]) + 7 * np.sin(x[:, 1]) ** 2 + 0.1 * x[:, 2] ** 4 * np.sin(x[:, 0])
    domain = Domain(tuple(Axis.real(name, -PI, PI) for name in "abc"))
    forest = forest_of(x, y, trees=2, bootstrap=False, min_samples_leaf=5)
    found = functional_anova(forest, domain.measures(x, [[0], [1], [2]], "space"))
    whole = 7**2 / 8 + 0.1 * PI**4 / 5 + 0.1**2 * PI**8 / 18 + 1 / 2
    first, second = (1 + 0.1 * PI**4 / 5) ** 2 / 2 / whole, 7**2 / 8 / whole
    together = 0.1**2 * PI**8 * (1 / 18 - 1 / 50) / whole
    np.testing.assert_allclose(found.mains, [first, second, 0], atol=0.02)
    np.testing.assert_allclose(found.pairs[[0, 0, 1], [1, 2, 2]], [0, together, 0], atol=0.02)
    assert abs(found.higher) < 0.02


def test_additive_function_by_a_bootstrapped_forest_within_two_hundredths():
    x = PI * (2 * qmc.Sobol(3, seed=2).random(2**12) - 1)
    y = 2 * np.sin(x[:, 0]) + x[:, 1] ** 2 + x[:, 2] / 2
    domain = Domain(tuple(Axis.real(name, -PI, PI) for name in "abc"))
    forest = forest_of(x, y, trees=10, min_samples_leaf=3)
    found = functional_anova(forest, domain.measures(x, [[0], [1], [2]], "space"))
    variances = np.array([2, PI**4 * 4 / 45, PI**2 / 12])
    np.testing.assert_allclose(found.mains, variances / variances.sum(), atol=0.02)


# --- Optuna ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def optunas():
    """Optuna's answer for settings on three intervals, the settings, and its forest."""
    optuna = pytest.importorskip("optuna")
    rng = np.random.default_rng(5)
    x = rng.uniform(-1, 1, (60, 3))
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
    forest = Forest(tuple(evaluator._evaluator._forest.estimators_))
    return np.array([found[name] for name in "abc"]), x, y, forest


DOMAIN = Domain(tuple(Axis.real(name, -1, 1) for name in "abc"))


def test_agrees_with_optuna_on_its_forest(optunas):
    theirs, x, _, forest = optunas
    found = functional_anova(forest, DOMAIN.measures(x, [[0], [1], [2]], "space"))
    np.testing.assert_allclose(found.mains, theirs, rtol=0, atol=1e-9)


def test_agrees_with_optuna_on_the_same_problem(optunas):
    """Within 0.03: both fit 64 bootstrapped trees, but not the same; a seed moves it by 0.01."""
    theirs, x, y, _ = optunas
    estimator = FanovaImportance(domain=DOMAIN)
    ours = [
        estimator.effects(x, y, [[0], [1], [2]], np.random.default_rng(seed)).mains
        for seed in range(5)
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


def effects_of(x, y, seeds, **options):
    groups = [[column] for column in range(x.shape[1])]
    estimator = FanovaImportance(**options)
    found = [estimator.effects(x, y, groups, np.random.default_rng(s)) for s in range(seeds)]
    return np.array([effects.mains for effects in found])


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
    estimator = FanovaImportance(trees=9)
    mains = estimator.effects(x, y, groups, np.random.default_rng(3)).mains
    found = estimator.importances(x, y, groups, np.random.default_rng(3))
    np.testing.assert_allclose(found, mains / mains.sum())


def test_copies_of_a_column_joined_count_as_the_column(published_settings):
    """Whichever of two copies the trees split on."""
    x, y = published_settings
    twice = np.column_stack([x[:, :2], x[:, 0] * 2])
    alone, joined = (
        FanovaImportance(trees=300).effects(settings, y, groups, np.random.default_rng(0))
        for settings, groups in ((x[:, :2], [[0], [1]]), (twice, [[0, 2], [1]]))
    )
    np.testing.assert_allclose(joined.mains, alone.mains, atol=0.03)
    np.testing.assert_allclose(joined.pairs, alone.pairs, atol=0.03)
    forest = fit_forest(twice, y, np.random.default_rng(0))
    split = np.concatenate([tree.tree_.feature for tree in forest.trees])
    assert min(np.bincount(split[split >= 0])) > 50


def test_measure_and_domain_are_checked(published_settings):
    x, y = published_settings
    with pytest.raises(UnknownNameError, match=r"unknown measure 'spce'.*; there are: space, obs"):
        FanovaImportance(measure="spce")
    narrow = FanovaImportance(domain=Domain.of_values(x[:5]))
    with pytest.raises(SelectionError, match=r"column 0 = .* is not on its axis"):
        narrow.importances(x, y, [[0]], np.random.default_rng(0))
