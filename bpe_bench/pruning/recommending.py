"""Recommended budgets: the measured front, the best within allowances, and predicted gains."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from ..correlation.candidates import Predicted, Ranked
from ..correlation.evidence import Evidence
from ..correlation.front import pareto_front
from ..correlation.holdout import held_out
from ..correlation.prediction import predict
from ..errors import SelectionError
from .objective import _FEWEST_SETTINGS, _FEWEST_TO_HALVE, Objective
from .report import Recommendation
from .rounds import _Pruning

_LEAST_GAIN = 0.02
"""Predicted budgets that gain less over a cheaper one are not shown."""


def _recommend(
    run: _Pruning, max_cost_hours: Sequence[float], predictions: int, notes: list[str]
) -> tuple[Recommendation, ...]:
    """Return the recommended budgets by cost; warnings are added to ``notes``.

    They are the measured Pareto front with the best per allowance, and a limited number of
    predictions that improve on it. If everything is predicted, they are the front of the
    predictions in the remaining space.

    """
    known, space = run.objective.known, run.remaining()
    measured = run.objective.kind != "surrogate"
    rows = run.objective.offers(space, run.rng)
    best = _best_within(rows, max_cost_hours, notes, measured=measured)
    front = _front(rows)
    if not measured:
        front = _steps(front, best)
    chosen = [
        Recommendation(row, row.budget in space, tuple(best.get(row.label, ()))) for row in front
    ]
    if measured:
        chosen = _with_held_out(chosen, run.objective, known, run.rng, notes)
        chosen += _predicted(run, rows, predictions, notes)
    return tuple(sorted(chosen, key=lambda r: (r.row.cost_seconds, r.row.label)))


def _check_allowances(max_cost_hours: Sequence[float]) -> None:
    """Raise `SelectionError` for an allowance that is not above 0, or not finite."""
    for hours in max_cost_hours:
        if not 0 < hours < math.inf:
            raise SelectionError(f"an allowance must be above 0 GPU hours, found {hours:g}")


def _front(rows: Sequence[Ranked]) -> list[Ranked]:
    on_front = pareto_front([r.cost_seconds for r in rows], [r.correlation for r in rows])
    return list(itertools.compress(rows, on_front))


def _steps(front: Sequence[Ranked], named: Collection[str]) -> list[Ranked]:
    """Return the budgets of a predicted front that gain enough, and those that are named."""
    chosen: list[Ranked] = []
    for row in sorted(front, key=lambda r: r.cost_seconds):
        last = chosen[-1].correlation if chosen else -1.0
        if row.label in named or row.correlation >= last + _LEAST_GAIN:
            chosen.append(row)
    return chosen


def _best_within(
    rows: Sequence[Ranked], max_cost_hours: Sequence[float], notes: list[str], *, measured: bool
) -> dict[str, list[float]]:
    """Return the allowances under which each setting is the best, by label."""
    what = "measured budget" if measured else "predicted budget of the remaining space"
    best: dict[str, list[float]] = {}
    for hours in max_cost_hours:
        within = [r for r in rows if r.cost_seconds <= hours * 3600]
        if within:
            winner = max(within, key=lambda r: (r.correlation, -r.cost_seconds))
            best.setdefault(winner.label, []).append(hours)
        elif rows:
            cheapest = min(rows, key=lambda r: r.cost_seconds)
            notes.append(
                f"no {what} costs at most {hours:g} hours per network; the cheapest is "
                f"{cheapest.label} at {cheapest.cost_seconds / 3600:.3g} hours"
            )
    return best


def _with_held_out(
    chosen: Sequence[Recommendation],
    objective: Objective,
    known: Evidence,
    rng: np.random.Generator,
    notes: list[str],
) -> list[Recommendation]:
    """Add the held-out correlation of choosing the best at each budget's cost."""
    halves = objective.halves(rng)
    if halves is None:
        if chosen:
            notes.append(
                f"fewer than {_FEWEST_TO_HALVE} architectures have full training, too few to hold "
                "half of them out, so it is unknown how much of a choice is luck"
            )
        return list(chosen)
    costs = np.array([row.cost_seconds for row in known.rows])
    places = {row.label: place for place, row in enumerate(known.rows)}
    done = [
        replace(r, held_out=held_out(halves, costs, r.row.cost_seconds, places[r.row.label]))
        for r in chosen
    ]
    largest = max((r.held_out.optimism for r in done if r.held_out), default=math.nan)
    if math.isfinite(largest):
        notes.append(
            "each recommended budget was chosen by the correlation shown beside it; chosen on "
            f"half of the architectures, it is up to {largest:.3f} lower on the other half (held "
            "out)"
        )
    return done


def _predicted(
    run: _Pruning, rows: Sequence[Ranked], predictions: int, notes: list[str]
) -> list[Recommendation]:
    """Return predictions that improve on the measured front."""
    if not predictions or len(rows) < _FEWEST_SETTINGS:
        return []
    costs = run.objective.costs
    measured = Evidence(tuple(rows))
    known = {row.budget for row in rows}
    asked, error = predict(measured, costs, run.remaining(), known, run.rng)
    better = _improving(asked, rows)[:predictions]
    if better:
        notes.append(
            f"predicted budgets were never trained: out of bag the predictions miss by "
            f"{error:.3f} (root mean square), and their cost, stated for {costs.device}, by a "
            f"factor of {math.exp(costs.error):.2f}"
        )
    return [Recommendation(row, True) for row in better]


def _improving(asked: Sequence[Predicted], measured: Sequence[Ranked]) -> list[Predicted]:
    """Return predictions on their own front and above the measured one, largest gain first."""
    on_front = pareto_front([r.cost_seconds for r in asked], [r.correlation for r in asked])
    gains = []
    for row, on in zip(asked, on_front, strict=True):
        cheaper = [o.correlation for o in measured if o.cost_seconds <= row.cost_seconds]
        gain = row.correlation - max(cheaper, default=0.0)
        if on and gain > 0:
            gains.append((gain, row))
    gains.sort(key=lambda pair: -pair[0])
    return [row for _, row in gains]
