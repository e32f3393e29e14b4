"""Minimum importance pruning from beginning to end, over any source of correlations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from ..budget import BudgetSpace
from ..correlation.evidence import Design
from ..correlation.selection import Selection
from ..errors import unknown_name
from ..tables.curves import ranges
from ..tables.table import Table
from .objective import Objective, Replay
from .recommending import _check_allowances, _recommend
from .report import PruningReport, Round
from .rounds import Rules, _Pruning

EvidenceKind = Literal["table", "sequential"]
EVIDENCE: tuple[EvidenceKind, ...] = ("table", "sequential")


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
        How to go about it.
    rng
        Drives the resampling, the models and the halves; nothing else is random.
    max_cost_hours
        Allowances, in device hours per network, for which to name the best budget.
    predictions
        At most so many predicted budgets are recommended beside the observed ones.
    progress
        Called with the share that is done.

    Raises
    ------
    SelectionError
        For an allowance that is not above 0.
    """
    _check_allowances(max_cost_hours)
    run = _Pruning(objective, rules, rng, progress).run()
    notes = [*objective.notes, *_limits(objective.pool)]
    recommended = _recommend(run, max_cost_hours, predictions, notes)
    notes += _unsure(run.rounds)
    if rules.resamples < rules.fewest_resamples and not rules.force:
        notes.append(
            f"{rules.resamples} resamples cannot separate anything at {rules.confidence:.0%}: it "
            f"takes at least {rules.fewest_resamples}"
        )
    if run.answered:
        notes.append(
            f"{run.answered} settings of the sequential evidence are a surrogate's answers, as the "
            "table holds no such setting"
        )
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
        allowances=tuple(max_cost_hours),
        rounds=tuple(run.rounds),
        pruning_order=tuple(n for r in run.rounds for n in r.pruned),
        kept=run.kept(),
        recommended=recommended,
        cost_hours=objective.hours(run.evidence.rows),
        stop_reason=run.stop_reason,
        warnings=tuple(notes),
        rows=objective.known.rows,
    )


def minimum_importance_pruning(
    table: Table,
    *,
    rng: np.random.Generator,
    name: str = "",
    importance: str = "forest",
    evidence: EvidenceKind = "table",
    statistic: str = "spearman",
    selection: Selection | None = None,
    max_cost_hours: Sequence[float] = (),
    keep: int = 2,
    initial: int = 12,
    per_round: int = 4,
    resamples: int = 50,
    predictions: int = 5,
    top_k: int | None = None,
    confidence: float = 0.95,
    force: bool = False,
    progress: Callable[[float], None] | None = None,
) -> PruningReport:
    """Prune the hyper-parameters of a table's budgets by importance, and recommend budgets.

    Parameters
    ----------
    table
        Finished trainings, with costs and a reference.
    rng
        Drives the resampling, the models and the halves; nothing else is random.
    name
        What to call the table in the report.
    importance
        A key of `bpe_bench.importance.ESTIMATORS`.
    evidence
        ``"table"``: every round looks at the whole table, whose trainings are paid
        for (backward elimination). ``"sequential"``: it looks only at settings
        sampled so far, a cheap covering design first, and asks a forest
        fitted to the table where the table has no setting left.
    statistic, selection, confidence
        As for `bpe_bench.correlation.correlate`; the last epoch of each setting counts.
    top_k
        As for `bpe_bench.correlation.with_top_k`.
    max_cost_hours
        Allowances, in device hours per network, for which to name the best budget.
    keep
        Stop when so many groups of hyper-parameters are left.
    initial, per_round
        Settings to start with and to add per round; sequential evidence only.
    resamples
        Draws of settings and architectures behind every interval.
    predictions
        At most so many predicted budgets are recommended.
    force
        Prune the least important group also where the data do not separate it from the
        next; by default nothing is pruned then.
    progress
        Called with the share that is done.

    Raises
    ------
    UnknownNameError
        For an unknown importance estimator, kind of evidence or statistic.
    SelectionError
        If fewer than 4 settings have a correlation and a cost, or none varies.
    """
    if evidence not in EVIDENCE:
        raise unknown_name("kind of evidence", evidence, EVIDENCE)
    rules = Rules(
        importance=importance,
        sequential=evidence == "sequential",
        keep=keep,
        initial=initial,
        per_round=per_round,
        resamples=resamples,
        confidence=confidence,
        force=force,
    )
    objective = Replay.of(
        table, name=name, statistic=statistic, selection=selection, top_k=top_k,
        confidence=confidence,
    )  # fmt: skip
    return prune(
        objective,
        rules,
        rng=rng,
        max_cost_hours=max_cost_hours,
        predictions=predictions,
        progress=progress,
    )


def _limits(pool: Design) -> list[str]:
    """Say what in the settings limits any conclusion about importance."""
    notes = [
        f"{_join(group)} move together, so their effects cannot be told apart; they are judged and "
        "pinned together"
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
        notes.append(f"{_join(space.unknown)}: unknown in some settings, and left out")
    still = [n for n in space.values if n not in (*pool.varied, *space.unknown)]
    if still:
        notes.append(f"{_join(still)}: the same in all settings, so nothing is known of it")
    devices = sorted({row.device for row in pool.rows if row.device})
    if len(devices) > 1:
        notes.append(f"costs were measured on different devices ({', '.join(devices)})")
    return notes


def _unsure(rounds: Sequence[Round]) -> list[str]:
    """Say which rounds pruned, or did not prune, what the data do not separate."""
    notes = []
    abstained: dict[tuple[str, str], list[int]] = {}
    for number, done in enumerate(rounds, 1):
        least, following = _join(done.least), _join(done.next_least)
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


def _join(names: Sequence[str]) -> str:
    return " and ".join(names) if len(names) < 3 else ", ".join(names[:-1]) + f" and {names[-1]}"
