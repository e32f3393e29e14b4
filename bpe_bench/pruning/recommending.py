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
    run: _Pruning,
    max_cost_hours: Sequence[float],
    predictions: int,
    notes: list[str],
    rng: np.random.Generator,
) -> tuple[tuple[Recommendation, ...], tuple[Ranked, ...]]:
    """Return the recommended budgets, and those that are not shown to rank, by cost.

    The former are the measured Pareto front with the best per allowance, and a limited number
    of predictions that improve on it. If everything is predicted, they are the front of the
    predictions in the remaining space. All have intervals above 0. Warnings are added to
    ``notes``. ``rng`` divides the architectures and drives the predictions, whatever the rounds
    have drawn, so that the figures depend on nothing but the seed.
    """
    known, space = run.objective.known, run.remaining()
    measured = run.objective.kind != "surrogate"
    dealing, forecasting = rng.spawn(2)
    rows = run.objective.offers(space, forecasting)
    shown = [row for row in rows if row.above_chance]
    best = _best_within(shown, max_cost_hours)
    front, weak = _front(shown), [row for row in _front(rows) if not row.above_chance]
    if not measured:
        front, weak = _steps(front, best), _steps(weak, ())
    chosen = [
        Recommendation(row, row.budget in space, tuple(best.get(row.label, ()))) for row in front
    ]
    if measured:
        chosen = _with_held_out(chosen, run.objective, known, dealing, notes)
        chosen += _predicted(run, rows, predictions, notes, forecasting)
    return (
        tuple(sorted(chosen, key=lambda r: (r.row.cost_seconds, r.row.label))),
        tuple(sorted(weak, key=lambda row: (row.cost_seconds, row.label))),
    )


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


def _best_within(rows: Sequence[Ranked], max_cost_hours: Sequence[float]) -> dict[str, list[float]]:
    """Return the allowances under which each setting is the best, by label."""
    best: dict[str, list[float]] = {}
    for hours in max_cost_hours:
        within = [r for r in rows if r.cost_seconds <= hours * 3600]
        if within:
            winner = max(within, key=lambda r: (r.correlation, -r.cost_seconds))
            best.setdefault(winner.label, []).append(hours)
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
    run: _Pruning,
    rows: Sequence[Ranked],
    predictions: int,
    notes: list[str],
    rng: np.random.Generator,
) -> list[Recommendation]:
    """Return predictions that improve on the measured front."""
    if not predictions or len(rows) < _FEWEST_SETTINGS:
        return []
    costs = run.objective.costs
    measured = Evidence(tuple(rows))
    known = {row.budget for row in rows}
    space, confidence = run.remaining(), run.rules.confidence
    asked, error = predict(measured, costs, space, known, rng, confidence=confidence)
    better = [row for row in _improving(asked, rows) if row.above_chance][:predictions]
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
