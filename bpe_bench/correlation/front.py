"""Which budgets no other beats in both cost and correlation."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from .candidates import Measured


def pareto_front(costs: Sequence[float], correlations: Sequence[float]) -> list[bool]:
    """Return which budgets are on the Pareto front of cost and correlation.

    A budget is beaten if another costs no more and correlates no less, and is
    strictly better in one. Unknown costs and correlations are never on the front.

    Examples
    --------
    >>> pareto_front([1.0, 2.0, 3.0], [0.5, 0.4, 0.6])
    [True, False, True]
    """
    points = list(zip(costs, correlations, strict=True))
    known = [(c, r) for c, r in points if math.isfinite(c) and math.isfinite(r)]
    return [
        (c, r) in known and not any(a <= c and b >= r and (a, b) != (c, r) for a, b in known)
        for c, r in points
    ]


def _with_front(
    rows: Sequence[Measured], better: Callable[[Measured, Measured], bool]
) -> list[Measured]:
    """Mark the Pareto front, and each row on it that the next cheaper one is not separable from.

    ``better`` says whether the data separate the second, more expensive row from the first.
    """
    on_front = pareto_front([r.cost_seconds for r in rows], [r.correlation for r in rows])
    front = sorted(itertools.compress(rows, on_front), key=lambda r: r.cost_seconds)
    twins = {
        row.label: cheaper.label
        for cheaper, row in itertools.pairwise(front)
        if not better(cheaper, row)
    }
    return [
        replace(row, pareto=on, not_separable_from=twins.get(row.label))
        for row, on in zip(rows, on_front, strict=True)
    ]
