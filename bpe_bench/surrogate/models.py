"""The regressions behind surrogates; only this module imports scikit-learn and xgboost here.

A fitted regression is a handful of arrays (`Regression.to_arrays`), so it can be written
without pickle and read back to predict the same numbers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..errors import SurrogateFileError, unknown_name
from ..randomness import SOLVED_DIGITS, integer_seed, settled

FloatArray = npt.NDArray[np.float64]
_Array = npt.NDArray[Any]

_LEAF = -1
_PREDICTED_AT_ONCE = 2**22
"""So many rows times trees are followed at once."""


class _Regression(Protocol):
    """A fitted model from d numbers to one."""

    def predict(self, x: FloatArray) -> FloatArray:
        """Return predictions of shape (N,) for rows of shape (N, d)."""

    def to_arrays(self) -> dict[str, _Array]:
        """Return all of its parts as arrays by name."""


# --- Forest ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _SurrogateForest:
    """Regression trees as arrays over all M nodes; a prediction is the mean over T trees.

    A row goes left if its number in column ``feature`` is at most ``threshold``.
    """

    roots: npt.NDArray[np.int32]
    """Shape (T,): the first node of each tree."""
    feature: npt.NDArray[np.int32]
    """Shape (M,): the column that a node compares; -1 in a leaf."""
    threshold: npt.NDArray[np.float32]
    """Shape (M,)."""
    left: npt.NDArray[np.int32]
    right: npt.NDArray[np.int32]
    """Shape (M,): the nodes below; -1 in a leaf."""
    value: npt.NDArray[np.float64]
    """Shape (M,): what a leaf predicts."""

    def predict(self, x: FloatArray) -> FloatArray:
        """Return the mean over trees."""
        rows = np.asarray(x, dtype=np.float32)
        step = max(1, _PREDICTED_AT_ONCE // max(1, self.roots.size))
        parts = [self._walk(rows[start : start + step]) for start in range(0, len(rows), step)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _walk(self, x: npt.NDArray[np.float32]) -> FloatArray:
        places = np.arange(len(x))[:, None]
        node = np.broadcast_to(self.roots, (len(x), self.roots.size))
        while True:
            feature = self.feature[node]
            inside = feature != _LEAF
            if not inside.any():
                mean: FloatArray = self.value[node].mean(axis=1)
                return mean
            goes_left = x[places, np.maximum(feature, 0)] <= self.threshold[node]
            below = np.where(goes_left, self.left[node], self.right[node])
            node = np.where(inside, below, node)

    def to_arrays(self) -> dict[str, _Array]:
        """Return the arrays by the names of the fields."""
        return dict(vars(self))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, _Array], columns: int) -> _SurrogateForest:
        """Check arrays and return them as a forest.

        Raises
        ------
        SurrogateFileError
            If they are not a forest over so many columns.
        """
        found = {name: array.dtype.str for name, array in arrays.items()}
        if found != _FOREST_KINDS or any(array.ndim != 1 for array in arrays.values()):
            raise SurrogateFileError("a forest has unexpected arrays")
        forest = cls(**arrays)
        nodes = forest.feature.size
        sizes = {getattr(forest, n).size for n in ("threshold", "left", "right", "value")}
        inside = forest.feature != _LEAF
        below = np.stack([forest.left[inside], forest.right[inside]])
        # Below its parent means after it: so a walk down always ends.
        good = (
            sizes == {nodes}
            and forest.roots.size > 0
            and np.all((forest.roots >= 0) & (forest.roots < nodes))
            and np.all((forest.feature >= _LEAF) & (forest.feature < columns))
            and np.all((below > np.flatnonzero(inside)) & (below < nodes))
            and np.all(np.isfinite(forest.value))
        )
        if not good:
            raise SurrogateFileError("a forest has nodes that form no trees")
        return forest


_FOREST_KINDS: Mapping[str, str] = {
    "roots": "<i4",
    "feature": "<i4",
    "threshold": "<f4",
    "left": "<i4",
    "right": "<i4",
    "value": "<f8",
}


def _fit_forest(
    x: FloatArray, y: FloatArray, rng: np.random.Generator, trees: int = 50
) -> _SurrogateForest:
    """Grow extremely randomised trees (Geurts, Ernst & Wehenkel, 2006) by scikit-learn.

    Every tree sees all rows and tries all columns, each with one threshold drawn uniformly
    between the column's least and largest value. The mean over many trees is nearly smooth,
    which suits few rows. The scale of a column matters, so hyper-parameters that act by factors
    enter as logarithms.
    """
    from sklearn.tree import ExtraTreeRegressor

    # One by one: for tens of rows the checks around scikit-learn's forest take most of the time.
    single = np.ascontiguousarray(x, dtype=np.float32)
    target = np.ascontiguousarray(y, dtype=np.float64).reshape(-1, 1)
    grown = []
    for _ in range(trees):
        tree = ExtraTreeRegressor(max_features=1.0, random_state=integer_seed(rng))
        grown.append(tree.fit(single, target, check_input=False).tree_)
    starts = np.cumsum([0, *(tree.node_count for tree in grown)])[:-1]

    def joined(name: str, offset: bool) -> _Array:
        arrays = [getattr(tree, name) for tree in grown]
        if offset:
            arrays = [
                np.where(array == _LEAF, _LEAF, array + start)
                for array, start in zip(arrays, starts, strict=True)
            ]
        return np.concatenate(arrays)

    feature = joined("feature", offset=False)
    return _SurrogateForest(
        roots=starts.astype(np.int32),
        feature=np.where(feature < 0, _LEAF, feature).astype(np.int32),
        threshold=_rounded_down(joined("threshold", offset=False)),
        left=joined("children_left", offset=True).astype(np.int32),
        right=joined("children_right", offset=True).astype(np.int32),
        value=np.concatenate([tree.value[:, 0, 0] for tree in grown]),
    )


def _rounded_down(threshold: FloatArray) -> npt.NDArray[np.float32]:
    """Return thresholds in 32 bits that split numbers of 32 bits as those of 64 bits did."""
    single = threshold.astype(np.float32)
    too_high = single > threshold
    single[too_high] = np.nextafter(single[too_high], np.float32(-np.inf))
    return single


# --- XGBoost ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _SurrogateBooster:
    """Gradient-boosted trees by XGBoost (Chen & Guestrin, KDD 2016), as XGBoost's own JSON."""

    document: bytes

    def predict(self, x: FloatArray) -> FloatArray:
        """Return the booster's predictions."""
        rows = np.ascontiguousarray(x, dtype=np.float32)
        if not len(rows):
            return np.zeros(0)
        predicted: FloatArray = self._booster.inplace_predict(rows).astype(np.float64)
        return predicted

    @cached_property
    def _booster(self) -> Any:
        import xgboost

        booster = xgboost.Booster({"nthread": 1})
        booster.load_model(bytearray(self.document))
        return booster

    def __reduce__(self) -> tuple[object, ...]:
        return _SurrogateBooster, (self.document,)

    def to_arrays(self) -> dict[str, _Array]:
        """Return the JSON text as bytes."""
        return {"json": np.frombuffer(self.document, dtype=np.uint8)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, _Array], columns: int) -> _SurrogateBooster:
        """Check a booster's JSON and return the booster.

        Raises
        ------
        SurrogateFileError
            If it is not a booster over so many columns.
        """
        if set(arrays) != {"json"} or arrays["json"].dtype != np.uint8:
            raise SurrogateFileError("a booster has unexpected arrays")
        document = arrays["json"].tobytes()
        try:
            learner = json.loads(document)["learner"]
            asked = int(learner["learner_model_param"]["num_feature"])
            trees = learner["gradient_booster"]["model"]["trees"]
            good = asked == columns and len(trees) > 0 and all(_is_tree(t, columns) for t in trees)
        except (ValueError, KeyError, TypeError, IndexError, RecursionError):
            good = False
        if not good:
            raise SurrogateFileError("a booster's JSON is not one that XGBoost writes")
        return cls(document)._checked()

    def _checked(self) -> _SurrogateBooster:
        """Return itself if XGBoost can read it."""
        import xgboost

        try:
            _ = self._booster
        except xgboost.core.XGBoostError as error:
            raise SurrogateFileError("XGBoost does not read a booster's JSON") from error
        return self


_PER_NODE = (
    "left_children", "right_children", "split_indices", "split_conditions", "default_left",
    "base_weights", "parents", "loss_changes", "sum_hessian", "split_type",
)  # fmt: skip
"""What XGBoost's JSON holds for each node of a tree."""


def _is_tree(tree: Mapping[str, Any], columns: int) -> bool:
    """Return whether each path down a tree of XGBoost stays inside the tree and ends."""
    sizes = {len(tree[name]) for name in _PER_NODE}
    left, right, asked = (np.array(tree[name], dtype=np.int64) for name in _PER_NODE[:3])
    inside = left != _LEAF
    below = np.stack([left[inside], right[inside]])
    return bool(
        len(sizes) == 1
        and left.size > 0
        and int(tree["tree_param"]["num_nodes"]) == left.size
        and not any(tree["split_type"])
        and np.all(right[~inside] == _LEAF)
        and np.all((below > np.flatnonzero(inside)) & (below < left.size))
        and np.all((asked >= 0) & (asked < columns))
    )


_BOOSTING: Mapping[str, float | int | str] = MappingProxyType(
    {
        "max_depth": 6,
        "eta": 0.05,
        "subsample": 0.6,
        "colsample_bynode": 0.3,
        "tree_method": "hist",
        "nthread": 1,
        "verbosity": 0,
    }
)
"""Parameters of `_fit_boosted`: many small steps, each on a part of rows and columns."""


def _fit_boosted(
    x: FloatArray, y: FloatArray, rng: np.random.Generator, rounds: int = 300
) -> _SurrogateBooster:
    """Boost trees by XGBoost with the parameters `_BOOSTING`."""
    import xgboost

    parameters = {**_BOOSTING, "base_score": float(y.mean()), "seed": integer_seed(rng)}
    data = xgboost.DMatrix(np.ascontiguousarray(x, dtype=np.float32), label=y, nthread=1)
    booster = xgboost.train(parameters, data, rounds)
    return _SurrogateBooster(bytes(booster.save_raw("json")))


# --- Both ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _ModelKind:
    """A kind of regression: how it is fitted and read back."""

    fit: Callable[[FloatArray, FloatArray, np.random.Generator], _Regression]
    """Fits it to rows (n, d) and targets (n,)."""
    from_arrays: Callable[[Mapping[str, _Array], int], _Regression]
    """Reads it from the arrays of `Regression.to_arrays` and the number of columns."""
    summary: str


MODELS: Mapping[str, _ModelKind] = MappingProxyType(
    {
        "forest": _ModelKind(
            _fit_forest, _SurrogateForest.from_arrays, "extremely randomised trees, scikit-learn"
        ),
        "xgboost": _ModelKind(
            _fit_boosted, _SurrogateBooster.from_arrays, "boosted trees, XGBoost"
        ),
    }
)
"""The kinds of regression by the name under which the command line knows them."""


def _get_model(name: str) -> _ModelKind:
    """Return a kind of regression by name.

    Raises
    ------
    UnknownNameError
        If no regression has that name.
    """
    if name not in MODELS:
        raise unknown_name("model", name, MODELS)
    return MODELS[name]


@dataclass(frozen=True)
class _Trend:
    """A ridge regression on standardised columns; another regression learns its residuals.

    For quantities that grow by powers: trees cannot continue a trend, nor find it in few rows.
    """

    intercept: float
    slopes: FloatArray
    """Shape (d,), per unit of each column."""

    @classmethod
    def fit(cls, x: FloatArray, y: FloatArray, penalty: float = 0.1) -> _Trend:
        """Minimise the squared error plus the penalty times the squared standardised slopes."""
        centre, spread = x.mean(axis=0), x.std(axis=0)
        scaled = (x - centre) / np.where(spread > 0, spread, 1.0)
        d = x.shape[1]
        solved = np.linalg.solve(scaled.T @ scaled + penalty * np.eye(d), scaled.T @ (y - y.mean()))
        slopes = solved / np.where(spread > 0, spread, 1.0)
        return cls(float(y.mean() - centre @ slopes), slopes)

    def settled(self, x: FloatArray, y: FloatArray) -> _Trend:
        """Return it with the digits that are the same everywhere, given what it was fitted to.

        Digits count in units of the standard deviations: a slope of columns that are nearly
        each other's sum is a small difference of large numbers.
        """
        spread = x.std(axis=0)
        unit = (float(y.std()) or 1.0) / np.where(spread > 0, spread, 1.0)
        slopes = settled(self.slopes / unit, SOLVED_DIGITS, least=1e-9) * unit
        return _Trend(float(y.mean() - (x.mean(axis=0) * slopes).sum()), slopes)

    def predict(self, x: FloatArray) -> FloatArray:
        """Return the straight line, shape (N,)."""
        # Row by row, not by BLAS: a row gets the same bits alone and among others.
        line: FloatArray = self.intercept + (x * self.slopes).sum(axis=1)
        return line
