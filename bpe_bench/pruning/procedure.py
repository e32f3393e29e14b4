"""Minimum importance pruning from beginning to end, for any objective."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..budget import BudgetSpace
from ..correlation.evidence import Design
from ..errors import listed
from ..tables.curves import ranges
from .objective import Objective
from .recommending import _check_allowances, _recommend
from .report import PruningReport, Round
from .rounds import Rules, _Pruning


def prune(
    objective: Objective,
    rules: Rules,
    *,
    rng: np.random.Generator,
    max_cost_hours: Sequence[float] = (),
    predictions: int = 5,
    progress: Callable[[float], None] | None = None,
) -> PruningReport:
    """Prune hyper-parameters by importance, and recommend budgets.

    Parameters
    ----------
    objective
        Where correlations come from: `Replay`, `SurrogateObjective` or `Trained`.
    rules
        The rules of the pruning.
    rng
        Drives the resampling, the models and the halves.
    max_cost_hours
        Allowances, in device hours per network, for which to name the best budget.
    predictions
        Largest number of predicted budgets among the recommendations.
    progress
        Called with the share of the work that is done.

    Raises
    ------
    SelectionError
        For an allowance that is not above 0.
    """
    _check_allowances(max_cost_hours)
    max_cost_hours = tuple(dict.fromkeys(max_cost_hours))
    (judging,) = rng.spawn(1)
    run = _Pruning(objective, rules, rng, progress).run()
    notes: list[str] = []
    recommended, not_shown = _recommend(run, max_cost_hours, predictions, notes, judging)
    if rules.resamples < rules.fewest_resamples and not rules.force:
        notes.append(
            f"{rules.resamples} resamples are too few to separate groups at "
            f"{rules.confidence:.0%}: at least {rules.fewest_resamples} are needed"
        )
    if run.answered:
        notes.append(
            f"{run.answered} settings of the sequential evidence were predicted, because the "
            "table holds no such setting"
        )
    notes += [*_limits(objective.pool), *_unsure(run.rounds)]
    return PruningReport(
        space=objective.space,
        table=objective.name,
        objective=objective.kind,
        statistic=objective.statistic,
        confidence=rules.confidence,
        importance_estimator=rules.importance,
        evidence="sequential" if rules.sequential else "table",
        force=rules.force,
        resamples=rules.resamples,
        allowances=max_cost_hours,
        rounds=tuple(run.rounds),
        pruning_order=tuple(n for r in run.rounds for n in r.pruned),
        kept=run.kept(),
        recommended=recommended,
        cost_hours=objective.hours(run.evidence.rows),
        stop_reason=run.stop_reason,
        warnings=tuple(dict.fromkeys([*notes, *objective.notes])),
        rows=objective.known.rows,
        not_shown_to_rank=not_shown,
        choices={**objective.choices, **_rules(rules), "predictions": predictions},
    )


def _rules(rules: Rules) -> dict[str, int]:
    """Return the numbers of the rules that are used."""
    names = ["keep", *(("initial", "per_round", "patience") if rules.sequential else ())]
    return {name: getattr(rules, name) for name in names}


def _limits(pool: Design) -> list[str]:
    """Say how the settings limit any conclusion about importance."""
    notes = [
        f"{listed(group)} move together, so their effects cannot be told apart; they are judged "
        "and pinned as "
        "one"
        for group in pool.groups(pool.varied)
        if len(group) > 1
    ]
    for name in pool.varied:
        if not pool.eligible(name):
            usual = pool.usual_value(name)
            odd = sum(getattr(b, name) != usual for b in pool.budgets)
            notes.append(
                f"{name} hardly varies ({odd} of {len(pool.rows)} settings differ from "
                f"{usual}) and is not eligible for pruning"
            )
    space = BudgetSpace.of(pool.budgets)
    if space.unknown:
        notes.append(f"{listed(space.unknown)}: unknown in some settings, and left out")
    still = [n for n in space.values if n not in (*pool.varied, *space.unknown)]
    if still:
        notes.append(f"{listed(still)}: the same in all settings, so its effect is unknown")
    devices = sorted({row.device for row in pool.rows if row.device})
    if len(devices) > 1:
        notes.append(f"costs were measured on different devices ({', '.join(devices)})")
    return notes


def _unsure(rounds: Sequence[Round]) -> list[str]:
    """Say in which rounds the data did not separate, and what was done."""
    notes = []
    abstained: dict[tuple[str, str], list[int]] = {}
    for number, done in enumerate(rounds, 1):
        least, following = listed(done.least), listed(done.next_least)
        if done.abstained:
            abstained.setdefault((least, following), []).append(number)
        elif done.pruned and not done.separable and following:
            notes.append(
                f"round {number}: the data do not separate {least} from {following}, the next "
                f"least important (least in {done.stability:.0%} of the resamples)"
            )
        elif done.pruned and not done.separable:
            notes.append(
                f"round {number}: only {least} varied enough to be judged, so the data do not "
                "separate it from anything"
            )
    for (least, following), numbers in abstained.items():
        notes.append(
            f"nothing was pruned in round {', '.join(ranges(numbers))}: "
            + (f"the data do not separate {least} from {following}" if following else "")
            + ("" if following else f"only {least} varied enough to be judged")
            + " (--force prunes it all the same)"
        )
    return notes
