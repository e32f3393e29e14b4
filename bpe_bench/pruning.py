"""Minimum importance pruning (MIP): which hyper-parameters of a budget to stop varying.

Zheng et al., CVPR 2020, section 3, as restated in ``docs/mip.md``. In every
round a model of the correlation says which hyper-parameter matters least; it is
pinned at its cheapest value, and the rest is judged again. The paper leaves
open how many settings to start with, how many to add, when to stop and what to
pick; here these are parameters.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .budget import Budget, BudgetSpace, Value, encode
from .correlation import BudgetRow, correlate, pareto_front
from .errors import SelectionError, unknown_name
from .evidence import Evidence, covering
from .importance import get_estimator
from .inference import FloatArray
from .prediction import CostModel, predict
from .table import Split, Table

if TYPE_CHECKING:
    import pandas as pd

EvidenceKind = Literal["table", "sequential"]
EVIDENCE: tuple[EvidenceKind, ...] = ("table", "sequential")

_FEWEST_SETTINGS = 4
_ROOMY = 4096
"""An image size that any cutout fits into, where only costs are compared."""


@dataclass(frozen=True)
class Importance:
    """How much a hyper-parameter matters in one round."""

    mean: float
    """Share of what all hyper-parameters explain, averaged over the resamples."""
    low: float
    high: float
    """Percentile interval over the resamples."""
    eligible: bool
    """Whether it varied enough to be judged (see `Evidence.eligible`)."""
    moves_with: tuple[str, ...] = ()
    """Hyper-parameters that move with it; the importance is that of all of them together."""


@dataclass(frozen=True)
class Round:
    """One round of pruning."""

    evaluated: int
    """Settings in the evidence."""
    added: tuple[str, ...]
    """Labels of the settings that this round added to it."""
    importances: Mapping[str, Importance]
    """By hyper-parameter, of those not yet pinned that vary."""
    pruned: tuple[str, ...]
    """What was pruned; empty if nothing was eligible."""
    pinned_to: Mapping[str, Value]
    """The values they stay at from now on."""
    next_least: tuple[str, ...]
    """What would have been pruned otherwise."""
    separable: bool
    """Whether the interval of the difference in importance to the next least is above 0."""
    stability: float
    """Share of the resamples in which the same group is the least important."""


@dataclass(frozen=True)
class Recommendation:
    """A budget to use."""

    row: BudgetRow
    """The row of an observed setting, or the prediction in the same shape."""
    observed: bool
    """Whether it was measured in the table; else it is predicted."""
    in_remaining_space: bool
    """Whether its pruned hyper-parameters have the values that they were pinned at."""
    best_under_hours: tuple[float, ...] = ()
    """The allowances under which it is the best observed budget."""

    def to_json(self) -> dict[str, Any]:
        """Return the recommendation as JSON values."""
        return {
            **self.row.to_json(),
            "observed": self.observed,
            "in_remaining_space": self.in_remaining_space,
            "best_under_hours": list(self.best_under_hours),
        }


@dataclass(frozen=True)
class PruningReport:
    """What minimum importance pruning did and what it recommends."""

    space: str
    table: str
    statistic: str
    confidence: float
    importance_estimator: str
    evidence: str
    resamples: int
    rounds: tuple[Round, ...]
    pruning_order: tuple[str, ...]
    """Pruned hyper-parameters, first pruned first; those pinned together are neighbours."""
    kept: tuple[str, ...]
    """Hyper-parameters left, the most important first."""
    recommended: tuple[Recommendation, ...]
    """By cost: the observed Pareto front, and predicted budgets that would improve it."""
    cost_hours: float
    """Device hours of the trainings that the evidence rests on, over all architectures."""
    stop_reason: str
    warnings: tuple[str, ...]
    rows: tuple[BudgetRow, ...] = field(repr=False, default=())
    """All settings of the table, for figures."""

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        plain = (
            "space", "table", "statistic", "confidence", "importance_estimator", "evidence",
            "resamples", "cost_hours", "stop_reason",
        )  # fmt: skip
        return {
            **{name: getattr(self, name) for name in plain},
            "rounds": [_round_json(r) for r in self.rounds],
            "pruning_order": list(self.pruning_order),
            "kept": list(self.kept),
            "recommended": [r.to_json() for r in self.recommended],
            "warnings": list(self.warnings),
        }

    def to_frame(self) -> pd.DataFrame:
        """Return one line per recommended budget, hyper-parameters as columns."""
        import pandas as pd

        rows = [r.to_json() for r in self.recommended]
        return pd.DataFrame([{**row.pop("budget"), **row} for row in rows]).set_index("label")


def minimum_importance_pruning(
    table: Table,
    *,
    rng: np.random.Generator,
    name: str = "",
    importance: str = "forest",
    evidence: EvidenceKind = "table",
    statistic: str = "spearman",
    split: Split | None = None,
    labels: Sequence[str] | None = None,
    where: Mapping[str, Value] | None = None,
    max_cost_hours: Sequence[float] = (),
    keep: int = 2,
    initial: int = 12,
    per_round: int = 4,
    resamples: int = 50,
    predictions: int = 5,
    top_k: int = 10,
    confidence: float = 0.95,
    progress: Callable[[float], None] | None = None,
) -> PruningReport:
    """Prune the hyper-parameters of a table's budgets by importance, and recommend budgets.

    Parameters
    ----------
    table
        Finished trainings, with costs and a reference.
    rng
        Drives the resampling and the models; nothing else is random.
    name
        What to call the table in the report.
    importance
        A key of `bpe_bench.importance.ESTIMATORS`.
    evidence
        ``"table"``: every round looks at the whole table, whose trainings are paid
        for (backward elimination). ``"sequential"``: it looks only at settings
        sampled so far, a cheap covering design first, and asks a surrogate
        fitted to the table where the table has no setting left.
    statistic, split, labels, where, top_k, confidence
        As for `bpe_bench.correlation.correlate`.
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
    get_estimator(importance)
    _check_counts(keep=keep, initial=initial, per_round=per_round, resamples=resamples)
    report = correlate(
        table, name=name, statistic=statistic, split=split, labels=labels, where=where,
        epochs="last", top_k=top_k, confidence=confidence,
    )  # fmt: skip
    rows = tuple(
        r for r in report.rows if math.isfinite(r.correlation) and math.isfinite(r.cost_seconds)
    )
    if len(rows) < _FEWEST_SETTINGS:
        raise SelectionError(
            f"pruning needs at least {_FEWEST_SETTINGS} settings with a correlation and a cost, "
            f"found {len(rows)}; widen the selection or use a larger table"
        )
    whole = Evidence(rows)
    if not whole.varied:
        raise SelectionError("all settings are the same budget, so there is nothing to prune")
    notes = list(report.warnings) + _notes(whole)
    run = _Run(
        whole,
        CostModel.fit(rows),
        importance,
        keep,
        per_round,
        resamples,
        confidence,
        rng,
        progress,
    )
    run.prune(initial if evidence == "sequential" else None)
    recommended = _recommend(run, max_cost_hours, predictions, notes)
    notes += [
        f"round {i}: the data do not separate {_join(r.pruned)} from {_join(r.next_least)}, the "
        f"next least important (least in {r.stability:.0%} of the resamples)"
        if r.next_least
        else f"round {i}: only {_join(r.pruned)} varied enough to be judged, so the data do not "
        "separate it from anything"
        for i, r in enumerate(run.rounds, 1)
        if r.pruned and not r.separable
    ]
    if run.answered:
        notes.append(
            f"{run.answered} settings of the sequential evidence are a surrogate's answers, as the "
            "table holds no such setting"
        )
    seconds = sum(row.cost_seconds for row in run.evidence.rows)
    return PruningReport(
        space=table.space,
        table=name,
        statistic=statistic,
        confidence=confidence,
        importance_estimator=importance,
        evidence=evidence,
        resamples=resamples,
        rounds=tuple(run.rounds),
        pruning_order=tuple(n for r in run.rounds for n in r.pruned),
        kept=run.kept(),
        recommended=recommended,
        cost_hours=seconds * len(table.architectures) / 3600,
        stop_reason=run.stop_reason,
        warnings=tuple(notes),
        rows=report.rows,
    )


class _Run:
    """The state of one pruning: what is known, what is pinned, what was done."""

    def __init__(
        self,
        whole: Evidence,
        costs: CostModel,
        importance: str,
        keep: int,
        per_round: int,
        resamples: int,
        confidence: float,
        rng: np.random.Generator,
        progress: Callable[[float], None] | None,
    ) -> None:
        self.whole, self.costs = whole, costs
        self.estimator = get_estimator(importance)
        self.keep, self.per_round, self.resamples = keep, per_round, resamples
        self.tail = (1 - confidence) / 2
        self.rng = rng
        self.progress = progress
        self.evidence = whole
        self.pinned: dict[str, Value] = {}
        self.rounds: list[Round] = []
        self.answered = 0
        self.stop_reason = ""

    def prune(self, initial: int | None) -> None:
        """Run all rounds; ``initial`` settings first, or the whole table if None."""
        added: tuple[BudgetRow, ...] = self.whole.rows
        if initial is not None:
            added = tuple(covering(self.whole.rows, (), initial))
            self.evidence = Evidence(added)
        rounds_expected = max(1, len(self.whole.groups(self.whole.varied)) - self.keep)
        while True:
            names = [n for n in self.evidence.varied if n not in self.pinned]
            groups = [
                tuple(n for n in g if n in names) for g in self.whole.groups(self.whole.varied)
            ]
            groups = [g for g in groups if g]
            eligible = [g for g in groups if all(map(self.evidence.eligible, g))]
            if len(self._open_groups()) <= self.keep:
                self.stop_reason = (
                    f"{len(self._open_groups())} groups of hyper-parameters are left, as many as "
                    f"are to be kept"
                )
                return
            done = self._round(groups, eligible, [row.label for row in added])
            self.rounds.append(done)
            self._report(len(self.rounds) / (rounds_expected + 1))
            if initial is not None:
                added = self._sample()
                self.evidence = Evidence(self.evidence.rows + added, self.evidence.surrogate_error)
            if not done.pruned and (initial is None or not added):
                self.stop_reason = "no hyper-parameter that is left varied enough to be judged"
                return

    def _open_groups(self) -> list[tuple[str, ...]]:
        """Return the groups that pruning could still reach: not pinned, and varied in the table."""
        names = [n for n in self.whole.varied if n not in self.pinned]
        return [g for g in self.whole.groups(names) if all(map(self.whole.eligible, g))]

    def kept(self) -> tuple[str, ...]:
        """Return what was not pruned, the most important in the last round first."""
        left = [n for g in self._open_groups() for n in g]
        last = self.rounds[-1].importances if self.rounds else {}
        return tuple(sorted(left, key=lambda n: -last[n].mean if n in last else 0.0))

    def _round(
        self,
        groups: list[tuple[str, ...]],
        eligible: list[tuple[str, ...]],
        added: Sequence[str],
    ) -> Round:
        shares = self._resample(groups)
        importances = {
            name: Importance(
                mean=float(shares[:, place].mean()),
                low=float(np.quantile(shares[:, place], self.tail)),
                high=float(np.quantile(shares[:, place], 1 - self.tail)),
                eligible=group in eligible,
                moves_with=tuple(other for other in group if other != name),
            )
            for place, group in enumerate(groups)
            for name in group
        }
        places = [place for place, group in enumerate(groups) if group in eligible]
        ranked = sorted(places, key=lambda place: float(shares[:, place].mean()))
        pruned: tuple[str, ...] = ()
        following: tuple[str, ...] = ()
        separable, stability = False, math.nan
        if len(ranked) > self.keep or (ranked and len(self._open_groups()) > self.keep):
            least = ranked[0]
            pruned = groups[least]
            stability = _share_least(shares[:, places], places.index(least))
            if len(ranked) > 1:
                following = groups[ranked[1]]
                lead = shares[:, ranked[1]] - shares[:, least]
                separable = bool(np.quantile(lead, self.tail) > 0)
        pins = self._cheapest(pruned) if pruned else {}
        self.pinned.update(pins)
        return Round(
            evaluated=len(self.evidence.rows),
            added=tuple(added),
            importances=importances,
            pruned=pruned,
            pinned_to=pins,
            next_least=following,
            separable=separable,
            stability=stability,
        )

    def _resample(self, groups: list[tuple[str, ...]]) -> FloatArray:
        """Return importances (B, G), each from other settings and other architectures."""
        names = [name for group in groups for name in group]
        x = encode(self.evidence.budgets, names)
        columns = [[names.index(name) for name in group] for group in groups]
        drawn = self.evidence.draw(self.resamples, self.rng)
        shares = np.empty((self.resamples, len(groups)))
        for b, y in enumerate(drawn):
            chosen = self.rng.integers(len(x), size=len(x))
            shares[b] = self.estimator.importances(x[chosen], y[chosen], columns, self.rng)
        return shares

    def _cheapest(self, group: tuple[str, ...]) -> dict[str, Value]:
        """Return the observed values of a group that cost least, all else being equal.

        Of values that cost the same (a schedule costs nothing) it is the most usual.
        """
        seen = Counter(tuple(getattr(b, n) for n in group) for b in self.evidence.budgets)
        usual = [values for values, _ in seen.most_common()]
        base = self.whole.budgets[0].replace(cutout=0, image_size=_ROOMY)
        variants = [base.replace(**dict(zip(group, values, strict=True))) for values in usual]
        best = usual[int(np.argmin(self.costs.seconds(variants).round(6)))]
        return dict(zip(group, best, strict=True))

    def _sample(self) -> tuple[BudgetRow, ...]:
        """Return the settings to evaluate next: from the table while it lasts, else answered."""
        known = set(self.evidence.budgets)
        pool = [r for r in self.whole.rows if r.budget not in known and self._allows(r.budget)]
        chosen = covering(pool, self.evidence.rows, self.per_round)
        if len(chosen) < self.per_round:
            known |= {row.budget for row in chosen}
            asked, error = predict(self.whole, self.costs, self.remaining(), known, self.rng)
            answered = covering(asked, (*self.evidence.rows, *chosen), self.per_round - len(chosen))
            self.answered += len(answered)
            chosen += answered
            self.evidence = Evidence(self.evidence.rows, error)
        return tuple(chosen)

    def _allows(self, budget: Budget) -> bool:
        return all(getattr(budget, name) == value for name, value in self.pinned.items())

    def remaining(self) -> BudgetSpace:
        """Return the space that is left: pruned ones pinned, unjudged ones at their usual value."""
        space = BudgetSpace.of(self.whole.budgets)
        open_names = {name for group in self._open_groups() for name in group}
        for name in space.free:
            if name in self.pinned:
                space = space.pin(name, self.pinned[name])
            elif name not in open_names:
                space = space.pin(name, self.whole.usual_value(name))
        return space

    def _report(self, share: float) -> None:
        if self.progress is not None:
            self.progress(min(1.0, share))


def _recommend(
    run: _Run, max_cost_hours: Sequence[float], predictions: int, notes: list[str]
) -> tuple[Recommendation, ...]:
    """Return the observed front with the best per allowance, and predictions that improve it."""
    front = [row for row in run.whole.rows if row.pareto]
    best: dict[str, list[float]] = {}
    for hours in max_cost_hours:
        if not 0 < hours < math.inf:
            raise SelectionError(f"an allowance must be above 0 GPU hours, found {hours:g}")
        within = [r for r in run.whole.rows if r.cost_seconds <= hours * 3600]
        if within:
            winner = max(within, key=lambda r: (r.correlation, -r.cost_seconds))
            best.setdefault(winner.label, []).append(hours)
        else:
            cheapest = min(run.whole.rows, key=lambda r: r.cost_seconds)
            notes.append(
                f"no observed budget costs at most {hours:g} hours per network; the cheapest is "
                f"{cheapest.label} at {cheapest.cost_seconds / 3600:.3g} hours"
            )
    space = run.remaining()
    chosen = [
        Recommendation(row, True, row.budget in space, tuple(best.get(row.label, ())))
        for row in front
    ]
    asked: list[BudgetRow] = []
    if predictions:
        asked, error = predict(run.whole, run.costs, space, set(run.whole.budgets), run.rng)
    better = _improving(asked, run.whole.rows)[:predictions]
    chosen += [Recommendation(row, False, True) for row in better]
    if better:
        notes.append(
            f"predicted budgets were never trained: out of bag the predictions miss by "
            f"{error:.3f} (root mean square), and their cost, stated for {run.costs.device}, by a "
            f"factor of {math.exp(run.costs.error):.2f}"
        )
    return tuple(sorted(chosen, key=lambda r: (r.row.cost_seconds, r.row.label)))


def _improving(asked: Sequence[BudgetRow], observed: Sequence[BudgetRow]) -> list[BudgetRow]:
    """Return predictions on their own front and above the observed one, largest gain first."""
    on_front = pareto_front([r.cost_seconds for r in asked], [r.correlation for r in asked])
    gains = []
    for row, on in zip(asked, on_front, strict=True):
        cheaper = [o.correlation for o in observed if o.cost_seconds <= row.cost_seconds]
        gain = row.correlation - max(cheaper, default=0.0)
        if on and gain > 0:
            gains.append((gain, row))
    gains.sort(key=lambda pair: -pair[0])
    return [replace(row, pareto=True) for _, row in gains]


def _notes(evidence: Evidence) -> list[str]:
    """Say what in the evidence limits any conclusion about importance."""
    notes = []
    groups = evidence.groups(evidence.varied)
    notes += [
        f"{_join(group)} move together, so their effects cannot be told apart; they are judged and "
        "pinned together"
        for group in groups
        if len(group) > 1
    ]
    for name in evidence.varied:
        if not evidence.eligible(name):
            usual = evidence.usual_value(name)
            odd = sum(getattr(b, name) != usual for b in evidence.budgets)
            notes.append(
                f"{name} hardly varies ({odd} of {len(evidence.rows)} settings differ from "
                f"{usual}) and is not eligible for pruning"
            )
    still = [n for n in BudgetSpace.of(evidence.budgets).values if n not in evidence.varied]
    if still:
        notes.append(f"{_join(still)}: the same in all settings, so nothing is known of it")
    devices = sorted({row.device for row in evidence.rows if row.device})
    if len(devices) > 1:
        notes.append(f"costs were measured on different devices ({', '.join(devices)})")
    return notes


def _share_least(shares: FloatArray, place: int) -> float:
    """Return the share of rows (B, G) in which one column is the least, ties counting in part."""
    least = shares == shares.min(axis=1, keepdims=True)
    return float(np.mean(least[:, place] / least.sum(axis=1)))


def _check_counts(**counts: int) -> None:
    for name, value in counts.items():
        least = 2 if name in ("resamples", "initial") else 1
        if value < least:
            raise SelectionError(f"{name} must be at least {least}, found {value}")


def _join(names: Sequence[str]) -> str:
    return " and ".join(names) if len(names) < 3 else ", ".join(names[:-1]) + f" and {names[-1]}"


def _round_json(done: Round) -> dict[str, Any]:
    return {
        "evaluated": done.evaluated,
        "added": list(done.added),
        "importances": {
            name: {**vars(value), "moves_with": list(value.moves_with)}
            for name, value in done.importances.items()
        },
        "pruned": list(done.pruned),
        "pinned_to": dict(done.pinned_to),
        "next_least": list(done.next_least),
        "separable": done.separable,
        "stability": None if math.isnan(done.stability) else done.stability,
    }
