"""Functional ANOVA of a forest: how much of its variance each hyper-parameter explains.

Hutter, Hoos & Leyton-Brown (ICML 2014). A regression tree is constant on boxes,
so its marginals need no sampling: they are sums over boxes. Here they are sums
over *pairs* of boxes, which needs no grid, whatever the axes are. With v_l the
value of leaf l less the tree's mean, p_g(l) the weight of its box along group g,
a_l = v_l Π_g p_g(l), and p_g(l, m) the weight that two boxes share along g,

    V   = Σ_l v_l² Π_g p_g(l)
    V_U = Σ_l Σ_m a_l a_m Π_{g in U} (p_g(l, m) / (p_g(l) p_g(m)) - 1)

V_U is the variance of the pure effect of the groups U: that of their joint
marginal less the effects of all parts of U. For one group it is the main effect,
for two their interaction, and over all U it adds up to V (Sobol, 1993).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import unknown_name
from .base import Groups, check_evidence, shares
from .domain import MEASURES, Domain, Interval, Measure, MeasureName, Points
from .models import FloatArray, Forest, fit_forest

_MOST_NUMBERS = 150_000
"""Numbers per array that is worked on at once: what a processor's cache holds (1.2 MB)."""


@dataclass(frozen=True)
class FunctionalAnova:
    """Shares of the variance of a forest's trees, each the mean over those that vary."""

    mains: FloatArray
    """Shape (G,): V_g / V of each group, in [0, 1]."""
    pairs: FloatArray
    """Shape (G, G), symmetric, 0 on the diagonal: V_gh / V of what two groups do only together."""
    trees: int
    """Trees that vary over the domain; the others have no shares, and count in no mean."""
    constant_trees: int
    """Trees that do not."""

    @property
    def higher(self) -> float:
        """The share of interactions of three groups and more, and of columns in no group."""
        if not self.trees:
            return 0.0
        return float(1 - self.mains.sum() - np.triu(self.pairs).sum())


@dataclass(frozen=True)
class FanovaImportance:
    """Main effects of a functional ANOVA of a random forest.

    Parameters
    ----------
    trees
        Bootstrapped trees, grown to the end, all columns tried at every split.
    measure
        ``"space"``: axes as their space has them; ``"observed"``: as the settings have them.
    domain
        The axes; None for ordered ones with the values that the settings have.
    """

    summary: str = "random forest, functional ANOVA"
    trees: int = 64
    measure: MeasureName = "space"
    domain: Domain | None = None
    seeded: bool = True

    def __post_init__(self) -> None:
        if self.measure not in MEASURES:
            raise unknown_name("measure", self.measure, MEASURES)

    def importances(
        self, x: FloatArray, y: FloatArray, groups: Groups, rng: np.random.Generator
    ) -> FloatArray:
        """Return the main effect of each group, divided by the sum of the main effects.

        See `ImportanceEstimator.importances`; `effects` has them undivided.
        """
        return shares(self.effects(x, y, groups, rng).mains, 1e-12)

    def effects(
        self, x: FloatArray, y: FloatArray, groups: Groups, rng: np.random.Generator
    ) -> FunctionalAnova:
        """Return main effects and interactions as shares of the variance of a fitted forest.

        Parameters
        ----------
        x, y, groups, rng
            As for `ImportanceEstimator.importances`.

        Raises
        ------
        SelectionError
            As there, and for settings that are not in the domain.
        """
        check_evidence(x, y, groups)
        domain = self.domain or Domain.of_values(x)
        forest = fit_forest(domain.code(x), y, rng, trees=self.trees)
        named = {column for group in groups for column in group}
        rest = [[column] for column in range(x.shape[1]) if column not in named]
        measures = domain.measures(x, [*groups, *rest], self.measure)
        return functional_anova(forest, measures, judged=len(groups))


def functional_anova(
    forest: Forest, measures: Sequence[Measure], judged: int | None = None
) -> FunctionalAnova:
    """Decompose the variance of a forest's trees over independent groups of columns.

    Parameters
    ----------
    forest
        Regression trees on c coded columns.
    measures
        What weighs on each group of columns; together they hold every column that a
        tree splits on (`Domain.measures`).
    judged
        Only the first so many groups are reported on; None for all.

    Examples
    --------
    Two independent columns that add up, one with four times the variance of the other:

    >>> x = np.array([[a, b] for a in (0.0, 1.0) for b in (0.0, 1.0)] * 10)
    >>> forest = fit_forest(x, 2 * x[:, 0] + x[:, 1], np.random.default_rng(0), trees=9)
    >>> anova = functional_anova(forest, Domain.of_values(x).measures(x, [[0], [1]], "space"))
    >>> anova.mains.round(9).tolist(), anova.pairs.round(9).tolist()
    ([0.8, 0.2], [[0.0, 0.0], [0.0, 0.0]])
    """
    count = len(measures) if judged is None else judged
    mains, pairs, varying = np.zeros(count), np.zeros((count, count)), 0
    for trees in _batches(forest.trees):
        boxes = leaf_boxes(trees)
        along = np.stack([_weights(boxes, measure) for measure in measures])
        volume = along.prod(axis=0)
        value = boxes.value - (volume * boxes.value).sum(axis=1, keepdims=True)
        variance = (volume * value**2).sum(axis=1)
        size = (volume * boxes.value**2).sum(axis=1)
        keep = variance > 1e-12 * size
        if not keep.any():
            continue
        varying += int(keep.sum())
        signed = (volume * value)[keep] / np.sqrt(variance[keep])[:, None]
        some = boxes.of(keep)
        first, second = _effects(some, measures[:count], along[:count, keep], signed)
        mains += first
        pairs += second
    divisor = max(varying, 1)
    np.fill_diagonal(pairs, 0.0)
    return FunctionalAnova(
        np.maximum(mains / divisor, 0.0),
        np.maximum(pairs / divisor, 0.0),
        varying,
        len(forest.trees) - varying,
    )


@dataclass(frozen=True)
class Boxes:
    """The boxes on which T trees are constant, padded to the L leaves of the largest."""

    low: FloatArray
    """Shape (T, L, c); a box holds what is above its low side ..."""
    high: FloatArray
    """Shape (T, L, c); ... and not above its high side."""
    value: FloatArray
    """Shape (T, L)."""

    def of(self, trees: npt.NDArray[np.bool_]) -> Boxes:
        """Return those of some of the trees, chosen by a mask (T,)."""
        return Boxes(self.low[trees], self.high[trees], self.value[trees])


def leaf_boxes(trees: Sequence[Any]) -> Boxes:
    """Return the boxes of scikit-learn regression trees; boxes that only pad are empty."""
    nodes = [tree.tree_ for tree in trees]
    starts = np.cumsum([0, *(node.node_count for node in nodes)])
    feature = np.concatenate([node.feature for node in nodes])
    threshold = np.concatenate([node.threshold for node in nodes])
    left, right = (
        np.concatenate([getattr(n, side) + s for n, s in zip(nodes, starts, strict=False)])
        for side in ("children_left", "children_right")
    )
    low = np.full((starts[-1], nodes[0].n_features), -np.inf)
    high = np.full_like(low, np.inf)
    level = starts[:-1]
    while (level := level[feature[level] >= 0]).size:
        for child, side in ((left[level], high), (right[level], low)):
            low[child], high[child] = low[level], high[level]
            side[child, feature[level]] = threshold[level]
        level = np.concatenate([left[level], right[level]])
    leaves = np.flatnonzero(feature < 0)
    tree = np.searchsorted(starts, leaves, side="right") - 1
    place = np.arange(len(leaves)) - np.searchsorted(tree, tree)
    shape = (len(nodes), place.max() + 1)
    packed = Boxes(
        np.full((*shape, low.shape[1]), np.inf),
        np.full((*shape, low.shape[1]), -np.inf),
        np.zeros(shape),
    )
    packed.low[tree, place], packed.high[tree, place] = low[leaves], high[leaves]
    packed.value[tree, place] = np.concatenate([node.value.ravel() for node in nodes])[leaves]
    return packed


def _batches(trees: Sequence[Any]) -> list[Sequence[Any]]:
    """Return the trees in batches; about ten groups with all pairs of leaves make an array."""
    leaves = max(tree.tree_.n_leaves for tree in trees)
    size = max(1, _MOST_NUMBERS // (10 * leaves**2))
    return [trees[start : start + size] for start in range(0, len(trees), size)]


def _weights(boxes: Boxes, measure: Measure) -> FloatArray:
    """Return what each box weighs along a group of columns, shape (T, L)."""
    if isinstance(measure, Interval):
        return _length(boxes.low[..., measure.column], boxes.high[..., measure.column], measure)
    weights: FloatArray = _holds(boxes, measure) @ measure.weights
    return weights


def _excess(boxes: Boxes, measure: Measure, inverse: FloatArray) -> Callable[[slice], FloatArray]:
    """Return a function of rows that gives p(l, m) / (p(l) p(m)) - 1 for l in them and all m.

    ``inverse`` is 1 / p, shape (T, L), and 0 for boxes that weigh nothing. The
    function takes a slice of R leaves and returns (T, R, L).
    """
    if isinstance(measure, Interval):
        low, high = boxes.low[..., measure.column], boxes.high[..., measure.column]

        def between(rows: slice) -> FloatArray:
            bottom = np.maximum(low[:, rows, None], low[:, None])
            top = np.minimum(high[:, rows, None], high[:, None])
            shared = _length(bottom, top, measure)
            return shared * (inverse[:, rows, None] * inverse[:, None, :]) - 1.0

        return between
    scaled = _holds(boxes, measure) * inverse[..., None]
    turned = (scaled * measure.weights).transpose(0, 2, 1)

    def among(rows: slice) -> FloatArray:
        shared: FloatArray = scaled[:, rows] @ turned
        shared -= 1.0
        return shared

    return among


def _length(low: FloatArray, high: FloatArray, measure: Interval) -> FloatArray:
    inside = np.minimum(high, measure.high) - np.maximum(low, measure.low)
    length: FloatArray = np.maximum(inside, 0.0) / (measure.high - measure.low)
    return length


def _holds(boxes: Boxes, measure: Points) -> FloatArray:
    """Return 1 where a box holds a point along the columns of a measure, shape (T, L, n)."""
    points = measure.points.astype(np.float32)  # as scikit-learn compares them
    held = np.ones((*boxes.value.shape, len(points)), dtype=bool)
    for column, at in zip(measure.columns, points.T, strict=True):
        held &= (boxes.low[..., column, None] < at) & (at <= boxes.high[..., column, None])
    return held.astype(np.float64)


def _effects(
    boxes: Boxes, measures: Sequence[Measure], along: FloatArray, signed: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the sums over trees of V_g / V, shape (G,), and of V_gh / V, shape (G, G).

    Parameters
    ----------
    boxes, measures
        T trees and G groups.
    along
        Weight of each box along each group, shape (G, T, L).
    signed
        a_l / √V, shape (T, L).
    """
    groups, trees, leaves = along.shape
    inverse = np.divide(1.0, along, out=np.zeros_like(along), where=along > 0)
    mains, pairs = np.zeros(groups), np.zeros((groups, groups))
    excesses = [_excess(boxes, m, i) for m, i in zip(measures, inverse, strict=True)]
    step = max(1, _MOST_NUMBERS // (groups * trees * leaves))
    for start in range(0, leaves, step):
        rows = slice(start, start + step)
        excess = np.stack([of(rows) for of in excesses])
        weighted = excess * (signed[:, rows, None] * signed[:, None, :])
        mains += weighted.sum(axis=(1, 2, 3))
        pairs += weighted.reshape(groups, -1) @ excess.reshape(groups, -1).T
    return mains, pairs
