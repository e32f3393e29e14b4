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

from ..budget import Budget
from ..errors import SelectionError
from ..inference import FloatArray
from ..randomness import settled
from ..spaces import Architecture, get_space
from ..tables.table import Split, Table
from .evidence import Evidence
from .prediction import CostModel, predict
from .report import BudgetRow, correlate

if TYPE_CHECKING:
    import pandas as pd

FEWEST = 10
"""So many first trainings of a budget are planned together, because fewer show nothing."""
_ERROR_ON_Z = 1.06
"""Standard error of artanh ρ times √n for Spearman's ρ (Fieller, Hartley, Pearson, 1957)."""


@dataclass(frozen=True)
class Gap:
    """Trainings that are missing under one budget, and what they should bring."""

    label: str
    budget: Budget
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
    cost_seconds: float
    """Device seconds per training, measured or predicted."""
    device: str

    def to_json(self) -> dict[str, Any]:
        """Return the gap as JSON values, architectures as text."""
        texts = [get_space(a.space).format(a) for a in self.architectures]
        return {
            **{k: v for k, v in vars(self).items() if k not in ("budget", "architectures")},
            "budget": self.budget.to_dict(),
            "trainings": len(texts),
            "architectures": texts,
        }


@dataclass(frozen=True)
class Plan:
    """The trainings that fit into an allowance."""

    table: str
    hours: float
    """The allowance, in device hours."""
    hours_planned: float
    gaps: tuple[Gap, ...]
    """Budgets with their trainings, the most narrowed interval first."""
    confidence: float
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        return {
            "table": self.table,
            "hours": self.hours,
            "hours_planned": self.hours_planned,
            "confidence": self.confidence,
            "rows": [gap.to_json() for gap in self.gaps],
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
    table: Table,
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
    if not hours > 0 or math.isinf(hours):
        raise SelectionError(f"an allowance must be above 0 hours and finite, found {hours:g}")
    report = correlate(table, name=name, split=split, epochs="last", confidence=confidence)
    rows = [row for row in report.rows if math.isfinite(row.correlation)]
    costs = CostModel.fit(rows)
    reference = table.reference()
    truth = table.accuracy(reference.label, Split(report.split))
    options = [_option(table, row, truth, report.split, costs) for row in rows]
    known = {row.budget for row in rows}
    new = [budget for budget in dict.fromkeys(budgets) if budget not in known]
    options += [_new_option(budget, rows, costs, truth, rng) for budget in new]
    chosen, seconds = _choose(options, hours * 3600, confidence)
    gaps = [
        _gap(table, option, count, confidence, rng)
        for option, count in zip(options, chosen, strict=True)
        if count
    ]
    gaps.sort(key=lambda gap: gap.expected_half_width - gap.half_width)
    return Plan(
        table=name,
        hours=hours,
        hours_planned=seconds / 3600,
        gaps=tuple(gaps),
        confidence=confidence,
        warnings=tuple(_notes(options, gaps, costs, reference.label)),
    )


@dataclass(frozen=True)
class _Option:
    """A budget with the architectures that could still be trained under it."""

    label: str
    budget: Budget
    correlation: float
    error: float
    """Standard error of artanh r, times √n."""
    trained: int
    missing: tuple[int, ...]
    """Places of architectures that have full training, but not this budget."""
    cost: float
    device: str

    def half_width(self, n: int, confidence: float) -> float:
        """Return half the interval's width with n architectures; 1 if there is no interval."""
        if n < 4:
            return 1.0
        quantile = stats.t.ppf((1 + confidence) / 2, n - 2)
        return settled(float(quantile * self.error / math.sqrt(n) * (1 - self.correlation**2)))


def _option(
    table: Table, row: BudgetRow, truth: FloatArray, split: str, costs: CostModel
) -> _Option:
    accuracy = table.accuracy(row.setting, Split(split))
    missing = np.flatnonzero(np.isfinite(truth) & ~np.isfinite(accuracy))
    assert row.estimate is not None
    spread = float(np.sqrt(np.mean(row.estimate.influence**2)))
    free = max(1 - row.correlation**2, 1e-9)
    cost = row.cost_seconds
    if not math.isfinite(cost):
        cost = float(costs.seconds([row.budget])[0])
    return _Option(
        row.label, row.budget, row.correlation, spread / free, row.n_architectures,
        tuple(missing.tolist()), cost, row.device or costs.device,
    )  # fmt: skip


def _new_option(
    budget: Budget,
    rows: Sequence[BudgetRow],
    costs: CostModel,
    truth: FloatArray,
    rng: np.random.Generator,
) -> _Option:
    from ..budget import BudgetSpace

    predicted, _ = predict(Evidence(tuple(rows)), costs, BudgetSpace.of([budget]), set(), rng)
    # Combinations that were never seen together get no prediction; then nothing is assumed.
    correlation = predicted[0].correlation if predicted else 0.0
    places = tuple(np.flatnonzero(np.isfinite(truth)).tolist())
    cost = float(costs.seconds([budget])[0])
    label = f"epochs={budget.epochs},layers={budget.layers},channels={budget.channels}"
    return _Option(label, budget, correlation, _ERROR_ON_Z, 0, places, cost, costs.device)


def _choose(
    options: Sequence[_Option], seconds: float, confidence: float
) -> tuple[list[int], float]:
    """Return how many trainings of each option the allowance pays for, and what they cost."""
    chosen, spent = [0] * len(options), 0.0
    queue: list[tuple[float, int, int]] = []

    def offer(place: int) -> None:
        option = options[place]
        n = option.trained + chosen[place]
        batch = 1 if n >= FEWEST else FEWEST - n
        batch = min(batch, len(option.missing) - chosen[place])
        if batch > 0:
            gain = option.half_width(n, confidence) - option.half_width(n + batch, confidence)
            heapq.heappush(queue, (settled(-gain / (batch * option.cost)), place, batch))

    for place in range(len(options)):
        offer(place)
    while queue:
        _, place, batch = heapq.heappop(queue)
        cost = batch * options[place].cost
        if spent + cost <= seconds:
            spent += cost
            chosen[place] += batch
            offer(place)
    return chosen, spent


def _gap(
    table: Table, option: _Option, count: int, confidence: float, rng: np.random.Generator
) -> Gap:
    places = rng.permutation(np.array(option.missing))[:count]
    return Gap(
        label=option.label,
        budget=option.budget,
        architectures=tuple(table.architectures[int(place)] for place in places),
        trained=option.trained,
        correlation=option.correlation,
        half_width=option.half_width(option.trained, confidence),
        expected_half_width=option.half_width(option.trained + count, confidence),
        cost_seconds=option.cost,
        device=option.device,
    )


def _notes(
    options: Sequence[_Option], gaps: Sequence[Gap], costs: CostModel, reference: str
) -> list[str]:
    notes = []
    if not any(option.missing for option in options):
        notes.append(
            f"the table has no gaps: every architecture with full training ({reference}) was "
            "trained under every budget; name another budget with --budget, or make more full "
            "trainings"
        )
    elif not gaps:
        cheapest = min((o for o in options if o.missing), key=lambda o: o.cost)
        notes.append(
            f"the allowance pays for nothing: the cheapest training that is missing is of "
            f"{cheapest.label} at {cheapest.cost / 3600:.3g} hours, and a new budget needs {FEWEST}"
        )
    if any(gap.trained == 0 for gap in gaps):
        notes.append(
            "correlations and costs of budgets that were never trained are predicted; costs miss "
            f"by a factor of about {math.exp(costs.error):.2f}, for {costs.device}"
        )
    return notes
