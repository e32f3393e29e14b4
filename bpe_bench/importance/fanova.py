"""Functional ANOVA of a forest: how much of its variance each hyper-parameter explains alone.

Hutter, Hoos & Leyton-Brown (ICML 2014). Groups of columns are independent, and a group takes
one of a few points, all equally likely. A regression tree is constant on boxes, so its
marginals are exact sums over its leaves. With v_l the value of leaf l less the tree's mean, and
p_h(l) the share of the points of group h that lie in the leaf,

    V      = Σ_l v_l² Π_h p_h(l)                         the variance of the tree
    f_g(i) = Σ_{l that holds i} v_l Π_{h ≠ g} p_h(l)     its marginal at point i of g
    V_g    = mean over i of f_g(i)²                      the main effect of g

The rest of V is due to interactions (Sobol, 1993).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .base import _check_evidence, _Groups, _places, _shares
from .models import FloatArray, _Forest, fit_forest


@dataclass(frozen=True)
class _FanovaImportance:
    """Main effects of a functional ANOVA of a random forest.

    The forest sees the rank of each value among those that the settings have, so only their
    order counts. The points of a group are the combinations of values that the settings have,
    all equally likely.

    Parameters
    ----------
    trees
        Bootstrapped trees, grown to the end, all columns tried at every split.
    """

    summary: str = "random forest, functional ANOVA"
    trees: int = 64

    def importances(
        self, x: FloatArray, y: FloatArray, groups: _Groups, rng: np.random.Generator
    ) -> FloatArray:
        """Return the main effect of each group, divided by the sum of the main effects.

        See `ImportanceEstimator.importances`; `effects` has them undivided.
        """
        return _shares(self.effects(x, y, groups, rng), 1e-12)

    def effects(
        self, x: FloatArray, y: FloatArray, groups: _Groups, rng: np.random.Generator
    ) -> FloatArray:
        """Return main effects as shares of the variance of a fitted forest, shape (G,).

        Parameters and errors are those of `ImportanceEstimator.importances`.
        """
        _check_evidence(x, y, groups)
        codes = np.column_stack([_places(x, [column]) for column in range(x.shape[1])]).astype(
            float
        )
        forest = fit_forest(codes, y, rng, trees=self.trees)
        named = {column for group in groups for column in group}
        rest = [[column] for column in range(x.shape[1]) if column not in named]
        every = [*groups, *rest]
        points = [np.unique(codes[:, list(group)], axis=0) for group in every]
        return _main_effects(forest, every, points)[: len(groups)]


def _main_effects(forest: _Forest, groups: _Groups, points: Sequence[FloatArray]) -> FloatArray:
    """Return the main effect of each group as a share of the variance of a forest's trees.

    Parameters
    ----------
    forest
        Regression trees on d columns.
    groups
        G disjoint lists of columns that together hold all columns.
    points
        The points of each group, an array (number of points, columns of the group).

    Returns
    -------
    array of shape (G,)
        The mean of V_g / V over the trees that vary; 0 if no tree does.

    Examples
    --------
    Two independent columns that add up, one with four times the variance of the other:

    >>> x = np.array([[a, b] for a in (0.0, 1.0) for b in (0.0, 1.0)] * 10)
    >>> forest = fit_forest(x, 2 * x[:, 0] + x[:, 1], np.random.default_rng(0), trees=9)
    >>> values = np.array([[0.0], [1.0]])
    >>> _main_effects(forest, [[0], [1]], [values, values]).round(9).tolist()
    [0.8, 0.2]
    """
    held, value, starts = _leaves(forest.trees, groups, points)
    ends = np.cumsum([len(p) for p in points])
    held_by_group = np.split(held, ends[:-1], axis=1)
    along = np.column_stack([of_group.mean(axis=1) for of_group in held_by_group])
    volume = along.prod(axis=1)
    mean = np.add.reduceat(volume * value, starts)
    size = np.add.reduceat(volume * value**2, starts)
    centred = value - np.repeat(mean, np.diff([*starts, len(value)]))
    variance = np.add.reduceat(volume * centred**2, starts)
    varies = variance > 1e-12 * size
    found = np.zeros(len(groups))
    if varies.any():
        for place, of_group in enumerate(held_by_group):
            others = centred * np.delete(along, place, axis=1).prod(axis=1)
            marginal = np.add.reduceat(others[:, None] * of_group, starts, axis=0)
            found[place] = np.mean((marginal**2).mean(axis=1)[varies] / variance[varies])
    return found


def _leaves(
    trees: Sequence[Any], groups: _Groups, points: Sequence[FloatArray]
) -> tuple[npt.NDArray[np.bool_], FloatArray, npt.NDArray[np.intp]]:
    """Return which points of each group lie in each leaf, and the leaves' values.

    Returns
    -------
    held
        Shape (leaves of all trees, points of all groups).
    value
        Shape (leaves of all trees,).
    starts
        The first leaf of each tree, shape (trees,).
    """
    nodes = [tree.tree_ for tree in trees]
    firsts = np.cumsum([0, *(node.node_count for node in nodes)])
    feature = np.concatenate([node.feature for node in nodes])
    threshold = np.concatenate([node.threshold for node in nodes])
    left, right = (
        np.concatenate([getattr(n, side) + s for n, s in zip(nodes, firsts, strict=False)])
        for side in ("children_left", "children_right")
    )
    coordinates = np.full((nodes[0].n_features, sum(map(len, points))), np.nan)
    start = 0
    for group, of_group in zip(groups, points, strict=True):
        end = start + len(of_group)
        coordinates[list(group), start:end] = of_group.T.astype(np.float32)  # as the trees do
        start = end
    held = np.ones((len(feature), coordinates.shape[1]), dtype=bool)
    level = firsts[:-1]
    while (level := level[feature[level] >= 0]).size:
        asked, limit = coordinates[feature[level]], threshold[level, None]
        # A split on a column of another group, NaN here, leaves a point on both sides.
        held[left[level]] = held[level] & ~(asked > limit)
        held[right[level]] = held[level] & ~(asked <= limit)
        level = np.concatenate([left[level], right[level]])
    leaves = np.flatnonzero(feature < 0)
    value = np.concatenate([node.value.ravel() for node in nodes])[leaves]
    return held[leaves], value, np.searchsorted(leaves, firsts[:-1])
