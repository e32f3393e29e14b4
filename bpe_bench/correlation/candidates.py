"""What is asked, what was measured, and what is predicted: one type for each."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from ..budget import Budget
from ..files import to_json_value
from ..inference import Estimate
from ..tables.curves import Split

if TYPE_CHECKING:
    from .topk import TopK


@dataclass(frozen=True)
class Cost:
    """Cost of training one network."""

    amount: float = math.nan
    """NaN if unknown."""
    unit: Literal["seconds", "multiply-adds", "relative"] = "seconds"
    """Seconds are those of a device; the others only compare settings with one another."""
    device: str = ""
    """The device that the seconds were measured on; empty if unknown."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A setting that may be evaluated for how well it ranks architectures."""

    label: str
    """``LABEL@EPOCH`` for a table's setting at an epoch before the last."""
    budget: Budget
    cost: Cost = Cost()
    setting: str = ""
    """The label of the table's setting, without an epoch; empty if no table has it."""
    epoch: int = 0
    """The epoch whose accuracies are ranked; by default the last."""
    split: Split | None = None
    """Split on which a table has its accuracy; None if no table has it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "epoch", self.epoch or self.budget.epochs)

    @property
    def cost_seconds(self) -> float:
        """Device seconds per network; NaN if they are unknown."""
        return self.cost.amount if self.cost.unit == "seconds" else math.nan

    @property
    def device(self) -> str:
        """The device that the seconds were measured on; empty if unknown."""
        return self.cost.device

    def to_json(self) -> dict[str, Any]:
        """Return a row of JSON values, None where there is nothing to say."""
        top = getattr(self, "top", None)
        row: dict[str, Any] = {
            "label": self.label,
            "budget": self.budget.to_dict(),
            "epoch": self.epoch,
        }
        for name in _ROW:
            row[name] = to_json_value(getattr(top if "_at_k" in name else self, name, None))
        return row

    def measured(self, estimate: Estimate) -> Measured:
        """Return the candidate with what was measured of it."""
        return Measured(**_shared(self), estimate=estimate)

    def predicted(self, correlation: float, low: float, high: float) -> Predicted:
        """Return the candidate with what is predicted of it."""
        return Predicted(**_shared(self), correlation=correlation, low=low, high=high)


@dataclass(frozen=True, kw_only=True)
class Measured(Candidate):
    """A candidate with its correlation to full training."""

    estimate: Estimate
    """The correlation with its interval and number of architectures."""
    pareto: bool = False
    """Whether it is on the Pareto front of cost and correlation."""
    not_separable_from: str | None = None
    """The next cheaper candidate on the front, if the data do not separate the two; else None."""
    share_of_ceiling: float = math.nan
    """The correlation divided by the noise ceiling; NaN if that is unknown."""
    top: TopK | None = None
    """How well it finds the best architectures; None if that was not asked for."""

    @property
    def correlation(self) -> float:
        """The rank correlation; NaN if it is not defined."""
        return self.estimate.correlation

    @property
    def low(self) -> float:
        """Lower bound of its interval."""
        return self.estimate.low

    @property
    def high(self) -> float:
        """Upper bound of its interval."""
        return self.estimate.high

    @property
    def p_value(self) -> float:
        """Two-sided, of the hypothesis that budget and reference are unrelated."""
        return self.estimate.p_value

    @property
    def n_architectures(self) -> int:
        """Architectures that the correlation rests on."""
        return self.estimate.n

    @property
    def above_chance(self) -> bool:
        """Whether its interval lies above 0, which is what a random order has.

        A perfect ranking has no interval; that of 5 comes about by chance once in 120 times.
        """
        if math.isnan(self.low):
            return round(self.correlation, 9) == 1 and self.n_architectures >= _FEWEST_PERFECT
        return self.low > 0


@dataclass(frozen=True, kw_only=True)
class Predicted(Candidate):
    """A candidate that was not measured, with its predicted correlation."""

    correlation: float
    low: float
    high: float
    """Bounds of the interval at the confidence that was asked for."""

    @property
    def above_chance(self) -> bool:
        """Whether its interval lies above 0, which is what a random order has."""
        return self.low > 0


Ranked = Measured | Predicted
"""A candidate with a correlation."""

_FEWEST_PERFECT = 5
_ROW = (
    "correlation", "low", "high", "p_value", "precision_at_k", "precision_at_k_chance",
    "regret_at_k", "regret_at_k_chance", "best_rank_at_k", "best_rank_at_k_chance",
    "cost_seconds", "device", "pareto", "share_of_ceiling", "not_separable_from", "setting",
    "n_architectures",
)  # fmt: skip


def _shared(candidate: Candidate) -> dict[str, Any]:
    return {f.name: getattr(candidate, f.name) for f in fields(Candidate)}
