"""Regressions from hyper-parameters to correlation, which measure importance.

The only importers of scikit-learn and xgboost. The data are tens of settings with a handful of
hyper-parameters, fitted hundreds of times, so a single small fit has to be cheap.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..randomness import integer_seed, settled

FloatArray = npt.NDArray[np.float64]


class _Model(Protocol):
    """A fitted regression."""

    def predict(self, x: FloatArray) -> FloatArray:
        """Return predictions of shape (S,) for settings of shape (S, d)."""

    def importances(self) -> FloatArray:
        """Return how much each of the d columns lowered the training error, shape (d,), ≥ 0."""


_Fit = Callable[[FloatArray, FloatArray, np.random.Generator], _Model]
"""Fits settings (S, d) and correlations (S,)."""


@dataclass(frozen=True)
class _Forest:
    """Bagged scikit-learn regression trees (Breiman, 2001), all columns tried at every split."""

    trees: tuple[Any, ...]

    def predict(self, x: FloatArray) -> FloatArray:
        """Return the mean over trees."""
        single = np.ascontiguousarray(x, dtype=np.float32)
        total = np.zeros(len(x))
        for tree in self.trees:
            total += tree.predict(single, check_input=False)
        return total / len(self.trees)

    def importances(self) -> FloatArray:
        """Return the mean decrease of impurity."""
        decreases = [t.tree_.compute_feature_importances(normalize=False) for t in self.trees]
        mean: FloatArray = np.mean(decreases, axis=0)
        return mean


def fit_forest(x: FloatArray, y: FloatArray, rng: np.random.Generator, trees: int = 30) -> _Forest:
    """Fit a forest.

    The trees are grown one by one, because for tens of settings the checks of scikit-learn's
    own forest take longer than the trees.
    """
    from sklearn import config_context
    from sklearn.tree import DecisionTreeRegressor

    single = np.ascontiguousarray(x, dtype=np.float32)
    target = settled(np.asarray(y, dtype=np.float64)).reshape(-1, 1)
    grown = []
    with config_context(skip_parameter_validation=True):
        for _ in range(trees):
            drawn = rng.integers(len(x), size=len(x))
            tree = DecisionTreeRegressor(random_state=integer_seed(rng))
            grown.append(tree.fit(single[drawn], target[drawn], check_input=False))
    return _Forest(tuple(grown))


@dataclass(frozen=True)
class _Boosted:
    """Gradient-boosted trees by XGBoost (Chen & Guestrin, KDD 2016)."""

    booster: Any
    columns: int

    def predict(self, x: FloatArray) -> FloatArray:
        """Return the booster's predictions."""
        import xgboost

        predicted: FloatArray = self.booster.predict(xgboost.DMatrix(x, nthread=1)).astype(float)
        return predicted

    def importances(self) -> FloatArray:
        """Return the total gain of each column."""
        gains = self.booster.get_score(importance_type="total_gain")
        return np.array([gains.get(f"f{column}", 0.0) for column in range(self.columns)])

    def contributions(self, x: FloatArray) -> FloatArray:
        """Return what each column adds to each prediction, shape (S, d), by exact TreeSHAP.

        Lundberg, Erion & Lee (2018). The sum of a row is its prediction minus the mean
        prediction of the settings that the model was fitted to.
        """
        import xgboost

        data = xgboost.DMatrix(x, nthread=1)
        found: FloatArray = self.booster.predict(data, pred_contribs=True).astype(float)
        return found[:, :-1]


def _fit_boosted(
    x: FloatArray, y: FloatArray, rng: np.random.Generator, rounds: int = 100
) -> _Boosted:
    """Fit shallow boosted trees: depth 3, step 0.1, each on 80 % of the settings."""
    import xgboost

    parameters = {
        "max_depth": 3,
        "eta": 0.1,
        "subsample": 0.8,
        "nthread": 1,
        "seed": integer_seed(rng),
        "tree_method": "exact",
        "verbosity": 0,
    }
    data = xgboost.DMatrix(x, label=settled(y), nthread=1)
    return _Boosted(xgboost.train(parameters, data, rounds), x.shape[1])
