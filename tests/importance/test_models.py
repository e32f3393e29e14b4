"""The models behind importances, against trees done by hand, scikit-learn and XGBoost."""

import numpy as np
import pytest
import xgboost
from sklearn.ensemble import RandomForestRegressor

from bpe_bench.importance.estimators import _ModelImportance, _PermutationImportance
from bpe_bench.importance.models import _fit_boosted, _Forest, fit_forest
from bpe_bench.randomness import integer_seed

# One split: 30 settings with the low value have 0.2, 30 with the high value 0.8.
SPLIT_X = np.column_stack([np.repeat([1.0, 9.0], 30), np.ones(60)])
SPLIT_Y = np.repeat([0.2, 0.8], 30)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(1)
    x = rng.integers(0, 5, (40, 3)).astype(float)
    return x, x @ [0.1, 0.05, 0.0] + rng.normal(0, 0.05, 40)


def test_forest_predicts_one_split_by_hand():
    model = fit_forest(SPLIT_X, SPLIT_Y, np.random.default_rng(0))
    # The threshold is half way between the values seen, at 5.
    asked = np.array([[1.0, 1.0], [4.9, 1.0], [5.1, 1.0], [9.0, 1.0], [50.0, 7.0]])
    np.testing.assert_allclose(model.predict(asked), [0.2, 0.2, 0.8, 0.8, 0.8])


def test_forest_importance_of_one_split_by_hand():
    model = fit_forest(SPLIT_X, SPLIT_Y, np.random.default_rng(7), trees=1)
    # The tree's first draw from the generator chose the settings; one split takes all of their
    # variance, which for a share p of high ones is 0.6² p (1 - p).
    share = np.mean(np.random.default_rng(7).integers(60, size=60) >= 30)
    np.testing.assert_allclose(model.importances(), [0.36 * share * (1 - share), 0.0])


def test_forest_adds_up_its_trees_as_scikit_learn_does(data):
    x, y = data
    theirs = RandomForestRegressor(n_estimators=10, random_state=0).fit(x, y)
    ours = _Forest(tuple(theirs.estimators_))
    np.testing.assert_allclose(ours.predict(x), theirs.predict(x))


def test_forest_importance_of_a_single_tree_is_scikit_learns(data):
    x, y = data
    theirs = RandomForestRegressor(n_estimators=1, bootstrap=False, random_state=0).fit(x, y)
    found = _Forest(tuple(theirs.estimators_)).importances()
    np.testing.assert_allclose(found / found.sum(), theirs.feature_importances_)
    # A tree grown to the end explains all there is, so the decreases add up to the variance
    # but for settings that are equal in every column.
    left = np.mean((y - theirs.predict(x)) ** 2)
    assert found.sum() == pytest.approx(np.var(y) - left)


def test_forest_predicts_about_as_scikit_learn_does(data):
    x, y = data
    theirs = RandomForestRegressor(n_estimators=300, random_state=0).fit(x, y)
    ours = fit_forest(x, y, np.random.default_rng(0), trees=300)
    assert np.abs(ours.predict(x) - theirs.predict(x)).max() < 0.02


def test_boosted_gains_are_xgboosts(data):
    x, y = data
    model = _fit_boosted(x, y, np.random.default_rng(2))
    theirs = xgboost.XGBRegressor(
        n_estimators=100, max_depth=3, learning_rate=0.1, subsample=0.8, tree_method="exact",
        n_jobs=1, random_state=integer_seed(np.random.default_rng(2)),
    ).fit(x, y)  # fmt: skip
    nodes = theirs.get_booster().trees_to_dataframe()
    gains = nodes[nodes.Feature != "Leaf"].groupby("Feature").Gain.sum()
    expected = [gains.get(f"f{column}", 0.0) for column in range(3)]
    np.testing.assert_allclose(model.importances(), expected, rtol=1e-4)
    np.testing.assert_allclose(model.predict(x), theirs.predict(x), rtol=1e-6)


def test_boosted_knows_columns_that_it_never_split_on():
    model = _fit_boosted(SPLIT_X, SPLIT_Y, np.random.default_rng(0))
    used, unused = model.importances()
    assert used > 0
    assert unused == 0


class Sum:
    """A model that predicts the sum of the first two columns, and accounts for three."""

    def predict(self, x):
        return x[:, 0] + x[:, 1]

    def importances(self):
        return np.array([3.0, 1.0, 4.0])


def test_model_importance_adds_up_the_columns_of_a_group():
    estimator = _ModelImportance(lambda x, y, rng: Sum(), "sum")
    found = estimator.importances(np.zeros((2, 3)), np.arange(2), [[1, 2], [0]], None)
    np.testing.assert_allclose(found, [5 / 8, 3 / 8])


def test_permutation_importance_of_a_known_model():
    """Shuffling a column of variance v adds 2 v to the squared error of an exact model.

    Two columns that cancel, shuffled together, add nothing; apart they would.
    """
    rng = np.random.default_rng(0)
    a, b = rng.normal(3, 1, 4000), rng.normal(0, 2, 4000)
    estimator = _PermutationImportance(lambda x, y, rng: Sum(), "sum", repeats=20)
    x = np.column_stack([a, b, rng.normal(0, 9, 4000)])
    found = estimator.importances(x, a + b, [[0], [1], [2]], np.random.default_rng(1))
    np.testing.assert_allclose(found, [1 / 5, 4 / 5, 0], atol=0.02)
    cancelling = np.column_stack([a, -a, a])
    together = estimator.importances(cancelling, b, [[0, 1], [2]], np.random.default_rng(1))
    np.testing.assert_array_equal(together, [0, 0])
    apart = estimator.importances(cancelling, b, [[0], [1], [2]], np.random.default_rng(1))
    np.testing.assert_allclose(apart, [1 / 2, 1 / 2, 0], atol=0.05)
