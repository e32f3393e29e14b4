"""The regressions: against the libraries that grow them, and read back from arrays."""

import numpy as np
import pytest
import xgboost
from sklearn.linear_model import Ridge
from sklearn.tree import ExtraTreeRegressor

from bpe_bench.errors import SurrogateFileError, UnknownNameError
from bpe_bench.randomness import integer_seed
from bpe_bench.surrogate.models import (
    _BOOSTING,
    _fit_boosted,
    _fit_forest,
    _get_model,
    _rounded_down,
    _SurrogateBooster,
    _SurrogateForest,
    _Trend,
)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 5)).round(1)  # rounded, so that rows lie on thresholds
    return x, x[:, 0] - x[:, 1] ** 2 + 0.1 * rng.normal(size=80)


def test_the_forest_predicts_the_mean_of_the_trees_of_scikit_learn(data):
    x, y = data
    forest = _fit_forest(x, y, np.random.default_rng(3), trees=7)
    rng = np.random.default_rng(3)
    trees = [
        ExtraTreeRegressor(max_features=1.0, random_state=integer_seed(rng)).fit(x, y)
        for _ in range(7)
    ]
    asked = np.vstack([x, np.random.default_rng(1).normal(size=(200, 5))])
    np.testing.assert_allclose(
        forest.predict(asked), np.mean([t.predict(asked) for t in trees], axis=0), rtol=1e-12
    )


def test_thresholds_in_32_bits_split_as_those_in_64_bits_did():
    """A threshold just below a number of 32 bits must not become that number."""
    thresholds = np.array([1 - 1e-12, 1.0, 1 + 1e-12, -1 - 1e-12, 0.1])
    single = _rounded_down(thresholds)
    around = np.float32([1.0, np.nextafter(np.float32(1), np.float32(0)), -1.0, 0.1, 0.3])
    for number in around:
        np.testing.assert_array_equal(number <= single, np.float64(number) <= thresholds)


def test_a_row_gets_the_same_bits_alone_and_among_others(data):
    x, y = data
    for fit in (_fit_forest, _fit_boosted, lambda x, y, rng: _Trend.fit(x, y)):
        model = fit(x, y, np.random.default_rng(0))
        alone = np.concatenate([model.predict(x[i : i + 1]) for i in range(len(x))])
        np.testing.assert_array_equal(alone, model.predict(x))


def test_the_booster_predicts_what_xgboost_predicts(data):
    x, y = data
    boosted = _fit_boosted(x, y, np.random.default_rng(4), rounds=20)
    seed = integer_seed(np.random.default_rng(4))
    parameters = {**_BOOSTING, "base_score": float(y.mean()), "seed": seed}
    theirs = xgboost.train(parameters, xgboost.DMatrix(x.astype(np.float32), label=y), 20)
    np.testing.assert_array_equal(
        boosted.predict(x), theirs.predict(xgboost.DMatrix(x.astype(np.float32)))
    )


def test_the_trend_is_ridge_regression_on_standardised_columns(data):
    x, y = data
    scaled = (x - x.mean(axis=0)) / x.std(axis=0)
    ridge = Ridge(alpha=0.1).fit(scaled, y)
    np.testing.assert_allclose(_Trend.fit(x, y).predict(x), ridge.predict(scaled), rtol=1e-9)


def test_a_trend_is_the_mean_of_collinear_columns_and_ignores_constant_ones(data):
    x, y = data
    one = x[:, :1]
    twice = _Trend.fit(np.hstack([one, one, np.full_like(one, 7.0)]), y)
    assert twice.slopes[0] == pytest.approx(twice.slopes[1])
    assert twice.slopes[2] == 0
    np.testing.assert_allclose(twice.predict(np.hstack([one, one, one])),
                               _Trend.fit(one, y).predict(one), atol=1e-2)  # fmt: skip


@pytest.mark.parametrize(
    ("fit", "kind"), [(_fit_forest, _SurrogateForest), (_fit_boosted, _SurrogateBooster)]
)
def test_arrays_and_back(fit, kind, data):
    x, y = data
    model = fit(x, y, np.random.default_rng(0))
    again = kind.from_arrays(model.to_arrays(), 5)
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
    assert model.predict(x[:0]).shape == (0,)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda a: {**a, "left": a["left"] * 0},  # a walk that never ends
        lambda a: {**a, "right": a["right"] + a["right"].size},
        lambda a: {**a, "feature": a["feature"] + 5},
        lambda a: {**a, "roots": a["roots"][:0]},
        lambda a: {**a, "roots": a["roots"] - 1},
        lambda a: {**a, "value": a["value"] * np.nan},
        lambda a: {**a, "value": a["value"][:-1]},
    ],
)
def test_arrays_that_form_no_trees_are_refused(spoil, data):
    arrays = _fit_forest(*data, np.random.default_rng(0), trees=2).to_arrays()
    with pytest.raises(SurrogateFileError, match=r"^a forest has nodes that form no trees$"):
        _SurrogateForest.from_arrays(spoil(arrays), 5)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda a: {**a, "left": a["left"].astype(float)},
        lambda a: {**a, "left": a["left"].reshape(1, -1)},
        lambda a: {k: v for k, v in a.items() if k != "left"},
        lambda a: {**a, "more": a["left"]},
    ],
)
def test_other_arrays_are_no_forest(spoil, data):
    arrays = _fit_forest(*data, np.random.default_rng(0), trees=2).to_arrays()
    with pytest.raises(SurrogateFileError, match=r"^a forest has unexpected arrays$"):
        _SurrogateForest.from_arrays(spoil(arrays), 5)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"num_feature":"5"', b'"num_feature":"6"'),
        (b'"split_indices":[', b'"split_indices":[999,'),
        (b'"left_children":[', b'"left_children":[0,'),
        (b'"base_weights":[', b'"base_weights":[1E0,'),
        (b'"trees":[', b'"shrubs":['),
        (b"{", b""),
    ],
)
def test_documents_that_xgboost_did_not_write_are_refused(old, new, data):
    document = _fit_boosted(*data, np.random.default_rng(0), rounds=3).document
    assert old in document
    spoilt = np.frombuffer(document.replace(old, new), dtype=np.uint8)
    with pytest.raises(SurrogateFileError, match=r"JSON is not one that XGBoost writes$"):
        _SurrogateBooster.from_arrays({"json": spoilt}, 5)


def test_the_same_seed_gives_the_same_and_another_another(data):
    x, y = data
    new = np.random.default_rng(9).normal(size=(20, 5))  # trees agree on what they saw
    for fit in (_fit_forest, _fit_boosted):
        one, same, other = (fit(x, y, np.random.default_rng(s)) for s in (0, 0, 1))
        arrays = one.to_arrays()
        assert all(np.array_equal(v, same.to_arrays()[k]) for k, v in arrays.items())
        assert not np.array_equal(one.predict(new), other.predict(new))


def test_unknown_models_are_named():
    with pytest.raises(UnknownNameError, match=r"unknown model 'forrest'.*; there are: forest, xg"):
        _get_model("forrest")
