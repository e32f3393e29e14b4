"""What is known against an importance before any model looks: settings that do not tell it."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

import numpy as np

from ..ranking import spearman
from .base import Groups
from .models import FloatArray

MOVES_TOGETHER = 0.95
"""Absolute rank correlation from which two groups count as not to be told apart."""


def reasons(
    x: FloatArray, y: FloatArray, columns: Groups, labels: Sequence[str]
) -> tuple[str, ...]:
    """Say of each group what is known against its figures; empty if nothing is."""
    if np.ptp(y) == 0:
        return ("all correlations are the same, so nothing matters for them",) * len(columns)
    return tuple(_reason(x, columns, labels, place) for place in range(len(columns)))


def _reason(x: FloatArray, columns: Groups, labels: Sequence[str], place: int) -> str:
    values = [tuple(row) for row in x[:, list(columns[place])]]
    counts = Counter(values)
    if len(counts) == 1:
        return "the same in all settings, so nothing is known of it"
    like = [
        labels[other]
        for other in range(len(columns))
        if other != place and _move_together(x, columns[place], columns[other])
    ]
    if like:
        return f"moves together with {' and '.join(like)}, so their effects cannot be told apart"
    if sum(count >= 2 for count in counts.values()) < 2:
        return "hardly varies: fewer than two of its values were seen twice"
    return ""


def _move_together(x: FloatArray, one: Sequence[int], other: Sequence[int]) -> bool:
    """Return whether any two varying columns of two groups have nearly the same ranks."""
    return any(
        abs(spearman(x[:, i], x[:, j]).value) >= MOVES_TOGETHER
        for i, j in itertools.product(one, other)
        if np.ptp(x[:, i]) > 0 and np.ptp(x[:, j]) > 0
    )
