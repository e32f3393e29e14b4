"""Which trainings to make next: those that narrow the intervals of correlations most per second.

The half width of a rank correlation's interval falls with the square root of the number of
architectures, so one more training under a budget that has n of them narrows it by about h /
2n. Trainings are chosen one by one, always the one that narrows most per device second.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from ..budget import Budget, BudgetSpace
from ..errors import SelectionError
from ..files import Shown
from ..inference import FloatArray
from ..randomness import settled
from ..spaces import Architecture, get_space
from ..tables.catalog import TableLike, given_table
from ..tables.table import Split, Table
from .candidates import Candidate, Cost, Measured
from .correlating import correlate
from .evidence import Evidence
from .prediction import CostModel, predict
from .selection import Selection, accuracy_of

if TYPE_CHECKING:
    import pandas as pd

_FEWEST = 10
"""So many first trainings of a budget are planned together, because fewer show nothing."""
_ERROR_ON_Z = 1.06
"""Standard error of artanh ρ times √n for Spearman's ρ (Fieller, Hartley, Pearson, 1957)."""


@dataclass(frozen=True, kw_only=True)
class Planned(Candidate):
    """A candidate with trainings that are worth making, and what they should bring."""

    architectures: tuple[Architecture, ...]
    """What to train under it, in random order."""
    trained: int
    """Architectures that were already trained under it."""
    correlation: float
    """Measured, or predicted if nothing was trained."""
    half_width: float
    """Half width of its interval now; 1 if nothing is known."""
    expected_half_width: float
    """Half width after these trainings."""

    def to_json(self) -> dict[str, Any]:
        """Return the row as JSON values, architectures as text."""
        texts = [get_space(a.space).format(a) for a in self.architectures]
        names = (
            "label", "trained", "correlation", "half_width", "expected_half_width", "cost_seconds",
            "device",
        )  # fmt: skip
        return {
            **{name: getattr(self, name) for name in names},
            "budget": self.budget.to_dict(),
            "trainings": len(texts),
            "architectures": texts,
        }


@dataclass(frozen=True, repr=False)
class Plan(Shown):
    """The trainings that fit into an allowance."""

    table: str
    hours: float
    """The allowance, in device hours."""
    hours_planned: float
    rows: tuple[Planned, ...]
    """Candidates with their trainings, the most narrowed interval first."""
    confidence: float
    warnings: tuple[str, ...]

    def _line(self) -> str:
        count = sum(len(row.architectures) for row in self.rows)
        return f"{count} trainings in {self.hours_planned:.3g} of {self.hours:.3g} device hours"

    @property
    def answer(self) -> str:
        """Say what to train first, and what that brings."""
        if not self.rows:
            reason = self.warnings[0] if self.warnings else "each costs more; allow more hours"
            return f"Nothing can be planned within {self.hours:g} device hours: {reason}."
        first = self.rows[0]
        others = f", and of {len(self.rows) - 1} other settings" if len(self.rows) > 1 else ""
        return (
            f"Train {len(first.architectures)} more architectures under {first.label}{others}: in "
            f"{first.cost_seconds * len(first.architectures) / 3600:.3g} device hours its "
            f"{'' if first.trained else 'predicted '}correlation of {first.correlation:.2f} is "
            "known to ± "
            f"{first.expected_half_width:.2f} instead of ± {first.half_width:.2f}."
        )

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        return {
            "answer": self.answer,
            "table": self.table,
            "hours": self.hours,
            "hours_planned": self.hours_planned,
            "confidence": self.confidence,
            "rows": [row.to_json() for row in self.rows],
            "warnings": list(self.warnings),
        }

    def to_frame(self) -> pd.DataFrame:
        """Return one line per training."""
        import pandas as pd

        rows = [
            {"architecture": text, "label": row["label"], **row["budget"]}
            for row in self.to_json()["rows"]
            for text in row["architectures"]
        ]
        columns = ["architecture", "label"] if not rows else None
        return pd.DataFrame(rows, columns=columns).set_index("architecture")


def plan_trainings(
    table: TableLike,
    *,
    hours: float,
    rng: np.random.Generator,
    budgets: Sequence[Budget] = (),
    name: str = "",
    split: Split | None = None,
    confidence: float = 0.95,
) -> Plan:
    """Plan trainings that narrow the intervals of a table's correlations.

    Parameters
    ----------
    table
        Finished trainings, with a reference. Only architectures with full training show how
        well a cheap budget ranks.
    hours
        Allowance in device hours.
    rng
        Draws the architectures to train; the interval needs a random sample.
    budgets
        Budgets to consider beside the table's own, trained or not.
    name
        What to call the table.
    split
        Images that accuracy is measured on; validation if the table has it, else test.
    confidence
        Nominal coverage of the intervals.

    Raises
    ------
    SelectionError
        If the allowance is not above 0.
    MissingReferenceError
        If the table names no full training.
    """
    table, name = given_table(table, name)
    if not hours > 0 or math.isinf(hours):
        raise SelectionError(f"an allowance must be above 0 hours and finite, found {hours:g}")
    wanted = Selection(split=split, epochs="last")
    report = correlate(table, wanted, name=name, confidence=confidence)
    rows = [row for row in report.rows if math.isfinite(row.correlation)]
    costs = CostModel.fit(rows)
    truth = table.accuracy(report.reference, Split(report.reference_split))
    options = [_open(table, row, truth, costs) for row in rows]
    known = {row.budget for row in rows}
    new = [budget for budget in dict.fromkeys(budgets) if budget not in known]
    options += [_new(budget, rows, costs, truth, rng) for budget in new]
    chosen, seconds = _choose(options, hours * 3600, confidence)
    planned = [
        _planned(table, option, count, confidence, rng)
        for option, count in zip(options, chosen, strict=True)
        if count
    ]
    planned.sort(key=lambda row: row.expected_half_width - row.half_width)
    return Plan(
        table=name,
        hours=hours,
        hours_planned=seconds / 3600,
        rows=tuple(planned),
        confidence=confidence,
        warnings=tuple(_notes(options, planned, costs, report.reference)),
    )


@dataclass(frozen=True, kw_only=True)
class _Open(Candidate):
    """A candidate with the architectures that could still be trained under it."""

    correlation: float
    error: float
    """Standard error of artanh r, times √n."""
    trained: int
    missing: tuple[int, ...]
    """Places of architectures that have full training, but not this budget."""

    def half_width(self, n: int, confidence: float) -> float:
        """Return half the interval's width with n architectures; 1 if there is no interval."""
        if n < 4:
            return 1.0
        quantile = stats.t.ppf((1 + confidence) / 2, n - 2)
        return settled(float(quantile * self.error / math.sqrt(n) * (1 - self.correlation**2)))


def _open(table: Table, row: Measured, truth: FloatArray, costs: CostModel) -> _Open:
    missing = np.flatnonzero(np.isfinite(truth) & ~np.isfinite(accuracy_of(table, row)))
    spread = float(np.sqrt(np.mean(row.estimate.influence**2)))
    free = max(1 - row.correlation**2, 1e-9)
    amount = row.cost_seconds
    if not math.isfinite(amount):
        amount = costs.costs([row.budget])[0].amount
    return _Open(
        label=row.label,
        budget=row.budget,
        cost=Cost(amount, device=row.device or costs.device),
        correlation=row.correlation,
        error=spread / free,
        trained=row.n_architectures,
        missing=tuple(missing.tolist()),
    )


def _new(
    budget: Budget,
    rows: Sequence[Measured],
    costs: CostModel,
    truth: FloatArray,
    rng: np.random.Generator,
) -> _Open:
    predicted, _ = predict(Evidence(tuple(rows)), costs, BudgetSpace.of([budget]), set(), rng)
    # Combinations that were never seen together get no prediction; then nothing is assumed.
    correlation = predicted[0].correlation if predicted else 0.0
    places = tuple(np.flatnonzero(np.isfinite(truth)).tolist())
    return _Open(
        label=f"epochs={budget.epochs},layers={budget.layers},channels={budget.channels}",
        budget=budget,
        cost=costs.costs([budget])[0],
        correlation=correlation,
        error=_ERROR_ON_Z,
        trained=0,
        missing=places,
    )


def _choose(options: Sequence[_Open], seconds: float, confidence: float) -> tuple[list[int], float]:
    """Return how many trainings of each option the allowance pays for, and what they cost."""
    chosen, spent = [0] * len(options), 0.0
    queue: list[tuple[float, int, int]] = []

    def offer(place: int) -> None:
        option = options[place]
        n = option.trained + chosen[place]
        batch = 1 if n >= _FEWEST else _FEWEST - n
        batch = min(batch, len(option.missing) - chosen[place])
        if batch > 0:
            gain = option.half_width(n, confidence) - option.half_width(n + batch, confidence)
            heapq.heappush(queue, (settled(-gain / (batch * option.cost_seconds)), place, batch))

    for place in range(len(options)):
        offer(place)
    while queue:
        _, place, batch = heapq.heappop(queue)
        cost = batch * options[place].cost_seconds
        if spent + cost <= seconds:
            spent += cost
            chosen[place] += batch
            offer(place)
    return chosen, spent


def _planned(
    table: Table, option: _Open, count: int, confidence: float, rng: np.random.Generator
) -> Planned:
    places = rng.permutation(np.array(option.missing))[:count]
    return Planned(
        label=option.label,
        budget=option.budget,
        cost=option.cost,
        architectures=tuple(table.architectures[int(place)] for place in places),
        trained=option.trained,
        correlation=option.correlation,
        half_width=option.half_width(option.trained, confidence),
        expected_half_width=option.half_width(option.trained + count, confidence),
    )


def _notes(
    options: Sequence[_Open], planned: Sequence[Planned], costs: CostModel, reference: str
) -> list[str]:
    notes = []
    if not any(option.missing for option in options):
        notes.append(
            f"the table has no gaps: every architecture with full training ({reference}) was "
            "trained under every budget; name another budget with --budget, or make more full "
            "trainings"
        )
    elif not planned:
        cheapest = min((o for o in options if o.missing), key=lambda o: o.cost_seconds)
        notes.append(
            f"the allowance is too small: the cheapest missing training is of "
            f"{cheapest.label} at {cheapest.cost_seconds / 3600:.3g} hours, and a new budget needs "
            f"{_FEWEST}"
        )
    if any(row.trained == 0 for row in planned):
        notes.append(
            "correlations and costs of budgets that were never trained are predicted; costs miss "
            f"by a factor of about {math.exp(costs.error):.2f}, for {costs.device}"
        )
    return notes
