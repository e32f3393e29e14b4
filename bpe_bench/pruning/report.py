"""Results of a pruning: frozen, with `to_json` and `to_frame`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..correlation.candidates import Measured, Ranked
from ..correlation.choice import CHEAP
from ..correlation.holdout import HeldOut
from ..files import Shown, to_json_value
from ..hyper_parameters import Value
from .answers import _answer, _name_of, brief, published_name

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Importance:
    """How much a hyper-parameter matters in one round."""

    mean: float
    """Its share of the importance of all hyper-parameters, mean over the resamples."""
    low: float
    high: float
    """Percentile interval over the resamples."""
    eligible: bool
    """Whether it varied enough to be judged (see `Evidence.eligible`)."""
    moves_with: tuple[str, ...] = ()
    """Hyper-parameters that move with it; the importance is that of the whole group."""


@dataclass(frozen=True)
class Round:
    """One round of pruning."""

    evaluated: int
    """Settings in the evidence."""
    added: tuple[str, ...]
    """Labels of the settings that this round added to it."""
    importances: Mapping[str, Importance]
    """Importance of each hyper-parameter that varies and is not yet pinned."""
    pruned: tuple[str, ...]
    """The pruned hyper-parameters; empty if none was eligible, or the round abstained."""
    pinned_to: Mapping[str, Value]
    """The values that they are pinned at."""
    least: tuple[str, ...]
    """The least important eligible group."""
    next_least: tuple[str, ...]
    """The least important group that stays."""
    separable: bool
    """Whether the data separate the pruned groups (or `least`) from all eligible ones that stay."""
    stability: float
    """Share of the resamples in which it is the least important; NaN if nothing was eligible."""

    @property
    def abstained(self) -> bool:
        """Whether a group was eligible, but the data did not separate it."""
        return bool(self.least) and not self.pruned

    def to_json(self) -> dict[str, Any]:
        """Return the round as JSON values."""
        return {**to_json_value(vars(self)), "abstained": self.abstained}


@dataclass(frozen=True)
class Recommendation:
    """A recommended budget."""

    row: Ranked
    in_remaining_space: bool
    """Whether its pruned hyper-parameters have the values that they were pinned at."""
    best_under_hours: tuple[float, ...] = ()
    """The allowances under which it is the best measured budget."""
    held_out: HeldOut | None = None
    """Held-out correlation of choosing the best budget at this cost."""

    @property
    def measured(self) -> bool:
        """Whether it was measured; else it is predicted."""
        return isinstance(self.row, Measured)

    def to_json(self) -> dict[str, Any]:
        """Return the recommendation as JSON values."""
        values = to_json_value(vars(self))
        # It would not be recommended if it were not on the front.
        # JSON fields keep their names, this one from when measured was called observed.
        return {
            **values.pop("row"),
            "published": published_name(self.row.budget),
            "budget_text": brief(self.row.budget),
            "pareto": True,
            "observed": self.measured,
            **values,
        }


@dataclass(frozen=True, repr=False)
class PruningReport(Shown):
    """The rounds and recommendations of minimum importance pruning."""

    _columns = (
        "correlation", "low", "high", "cost_seconds", "device", "held_out_correlation",
        "best_under_hours",
    )  # fmt: skip

    space: str
    table: str
    """Name of the table, of the surrogate's table, or of the store."""
    objective: str
    """Source of the correlations: replay, surrogate or train."""
    statistic: str
    confidence: float
    importance_estimator: str
    evidence: str
    force: bool
    """Whether it pruned even where the data did not separate."""
    resamples: int
    allowances: tuple[float, ...]
    """Allowances in hours per network, each with its best budget."""
    rounds: tuple[Round, ...]
    pruning_order: tuple[str, ...]
    """Pruned hyper-parameters, first pruned first; those pinned together are neighbours."""
    kept: tuple[str, ...]
    """Hyper-parameters left, the most important first."""
    recommended: tuple[Recommendation, ...]
    """By cost: the measured Pareto front of the budgets whose interval lies above 0, and predicted
    budgets that would improve it."""
    cost_hours: float
    """Device hours of the trainings behind the evidence, over all architectures."""
    stop_reason: str
    warnings: tuple[str, ...]
    rows: tuple[Ranked, ...] = field(repr=False, default=())
    """All settings whose correlation is known, for figures."""
    not_shown_to_rank: tuple[Ranked, ...] = ()
    """By cost: what would be recommended if its interval lay above 0."""
    choices: Mapping[str, Any] = field(default_factory=dict)
    """What the pruning rests on, given or by default: data set, split, reference, rules, ..."""

    @property
    def answer(self) -> str:
        """Which budgets to use, a line per allowance, and a line on what was pruned and why."""
        return _answer(self)

    def name_of(self, row: Ranked) -> str:
        """Return a label of the table with its published name, else the budget as text."""
        return _name_of(self, row)

    def best(self) -> Recommendation | None:
        """Return the budget to search with: the best measured one under the largest allowance.

        Without allowances it is the best measured one of those that cost little, as for
        `correlate`, or the best of all if none does; the predicted one if none was measured. None
        if no budget is recommended or meets an allowance.
        """
        if self.allowances:
            allowed = [r for r in self.recommended if r.best_under_hours]
            return max(allowed, key=lambda r: max(r.best_under_hours), default=None)
        known = [r for r in self.recommended if r.measured] or list(self.recommended)
        cheap = [r for r in known if r.row.cost_seconds <= self.little]
        return max(cheap or known, key=lambda r: r.row.correlation, default=None)

    @property
    def little(self) -> float:
        """Seconds that a cheap budget costs at most: a share of the dearest; NaN without costs."""
        costs = [row.cost_seconds for row in self.rows if math.isfinite(row.cost_seconds)]
        return CHEAP * max(costs, default=math.nan)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        shown = {name: value for name, value in vars(self).items() if name != "rows"}
        values: dict[str, Any] = to_json_value({"answer": self.answer, **shown})
        return values

    def to_frame(self) -> pd.DataFrame:
        """Return one line per recommended budget, hyper-parameters as columns."""
        import pandas as pd

        rows = []
        for item in self.recommended:
            row = item.to_json()
            held_out = row.pop("held_out") or {}
            row |= {f"held_out_{name}": value for name, value in held_out.items()}
            rows.append({**row.pop("budget"), **row})
        return pd.DataFrame(rows, columns=None if rows else ["label"]).set_index("label")
