"""Contributions by TreeSHAP, against Shapley values by enumeration of subsets."""

import itertools
import math

import numpy as np
import pytest

from bpe_bench.importance.models import _fit_boosted
from bpe_bench.importance.shap import _ShapImportance


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(1)
    x = rng.integers(0, 5, (40, 3)).astype(float)
    return x, 0.1 * x[:, 0] + 0.05 * x[:, 1] * x[:, 2] + rng.normal(0, 0.05, 40)


def expected(nodes, node, row, known):
    """A tree's prediction with some columns known, the others averaged by training settings."""
    here = nodes.loc[node]
    if here.Feature == "Leaf":
        return here.Gain
    column = int(here.Feature[1:])
    if column in known:
        return expected(nodes, here.Yes if row[column] < here.Split else here.No, row, known)
    yes, no = nodes.loc[here.Yes].Cover, nodes.loc[here.No].Cover
    return (
        yes * expected(nodes, here.Yes, row, known) + no * expected(nodes, here.No, row, known)
    ) / (yes + no)


def shapley(booster, row):
    """Shapley values of the columns for one prediction (Shapley, 1953)."""
    table = booster.trees_to_dataframe()
    trees = [nodes.set_index("ID") for _, nodes in table.groupby("Tree")]
    columns = range(len(row))
    worth = {
        known: sum(expected(nodes, nodes.index[0], row, known) for nodes in trees)
        for size in range(len(row) + 1)
        for known in itertools.combinations(columns, size)
    }
    values = np.zeros(len(row))
    for column in columns:
        for known in worth:
            if column not in known:
                weight = 1 / (len(row) * math.comb(len(row) - 1, len(known)))
                joined = tuple(sorted((*known, column)))
                values[column] += weight * (worth[joined] - worth[known])
    return values


def test_contributions_are_shapley_values(data):
    x, y = data
    model = _fit_boosted(x, y, np.random.default_rng(0), rounds=15)
    rows = x[:4]
    by_hand = [shapley(model.booster, row) for row in rows]
    np.testing.assert_allclose(model.contributions(rows), by_hand, atol=1e-6)


def test_contributions_add_up_to_the_predictions_but_for_one_constant(data):
    x, y = data
    model = _fit_boosted(x, y, np.random.default_rng(0))
    rest = model.predict(x) - model.contributions(x).sum(axis=1)
    np.testing.assert_allclose(rest, rest[0], atol=1e-5)


class Contributions:
    """A model with known contributions."""

    def contributions(self, x):
        return np.array([[3.0, -3.0, 1.0], [-1.0, 1.0, 2.0]])


def test_a_group_is_added_up_before_the_absolute_value(data):
    estimator = _ShapImportance(lambda x, y, rng: Contributions())
    x, y = np.ones((2, 3)), np.ones(2)
    apart = estimator.importances(x, y, [[0], [1], [2]], None)
    np.testing.assert_allclose(apart, np.array([4, 4, 3]) / 11)
    joined = estimator.importances(x, y, [[0, 1], [2]], None)
    np.testing.assert_allclose(joined, [0, 1])
    crossed = estimator.importances(x, y, [[0, 2], [1]], None)
    np.testing.assert_allclose(crossed, np.array([4 + 1, 4]) / 9)
