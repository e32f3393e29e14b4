"""Results of judging surrogates: frozen, with `to_json` and `to_frame`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import unknown_name
from ..files import Shown, to_json_object
from .conclusions import answer_of_report
from .crossfit import Grouping
from .metrics import Figure

if TYPE_CHECKING:
    import pandas as pd

_FIGURES = (
    "r2", "kendall", "sparse_kendall", "kendall_within_budget", "share_of_ceiling",
    "precision_at_k", "regret_at_k", "best_rank_at_k", "coverage_90", "straight_line",
    "above_straight_line", "without_twins", "coverage_without_twins",
)  # fmt: skip


@dataclass(frozen=True)
class SurrogateRow:
    """How well a model predicts one kind of held-out groups."""

    model: str
    """A key of `bpe_bench.surrogate.models.MODELS`."""
    grouping: Grouping
    """What was held out: architectures, budgets, or both at once."""
    n_rows: int
    """Number of held-out rows."""
    n_groups: tuple[int, ...]
    """Number of held-out groups; architectures and settings if both are held out."""
    r2: Figure
    """R² of accuracies, of correlations, or of the logarithm of seconds."""
    kendall: Figure
    """Over all held-out rows; with several budgets it mostly ranks budgets."""
    sparse_kendall: Figure
    """The same after rounding to 0.1 %; not defined for costs."""
    kendall_within_budget: Figure
    """Mean over settings of the correlation over held-out architectures."""
    share_of_ceiling: Figure
    """`kendall_within_budget` divided by the report's noise ceiling."""
    precision_at_k: Figure
    regret_at_k: Figure
    best_rank_at_k: Figure
    """Means over settings; correlations and mean costs are ranked over the settings."""
    precision_at_k_chance: float
    regret_at_k_chance: float
    best_rank_at_k_chance: float
    """What random orders have of them on average."""
    coverage_90: Figure
    """Share of held-out rows inside their nominal 90 % interval; unknown without intervals."""
    width: float
    """Mean width of those intervals; of costs, relative to the prediction; NaN without any."""
    straight_line: Figure
    """`skill` of the simplest alternative, a straight line (ridge regression on the same columns)
    fitted without the same folds."""
    above_straight_line: Figure
    """How much higher `skill` is, over the same rows."""
    n_twins: int
    """Held-out architectures that another one of the table's is isomorphic to, so that it may have
    been learned from."""
    without_twins: Figure
    """`skill` over the other architectures; unknown if there are no twins."""
    coverage_without_twins: Figure
    """`coverage_90` likewise."""

    @property
    def skill(self) -> Figure:
        """How well it ranks: Kendall within a setting, or over the settings if rows are settings.

        A random order has 0.
        """
        within = self.kendall_within_budget
        return self.kendall if math.isnan(within.value) else within

    def to_json(self) -> dict[str, Any]:
        """Return the row as JSON values, None where unknown."""
        return to_json_object(vars(self))


@dataclass(frozen=True, repr=False)
class SurrogateReport(Shown):
    """Surrogates of a table, judged by cross-validation."""

    _columns = ("grouping", "n_rows", "r2", "kendall", "kendall_within_budget", "coverage_90")

    table: str
    space: str
    dataset: str
    split: str
    target: str
    statistic: str
    """The predicted correlation; empty for other targets."""
    encoding: str
    """Encoding of the architectures; empty if they are not used."""
    given: tuple[str, ...]
    n_architectures: int
    n_budgets: int
    folds: int
    confidence: float
    """Confidence of the figures' intervals; those of predictions have 90 %."""
    top_k: int
    noise_ceiling: float
    """Kendall's correlation of a setting with itself across seeds, mean over settings."""
    rows: tuple[SurrogateRow, ...]
    warnings: tuple[str, ...] = ()
    settings: tuple[str, ...] = field(default=())
    """Labels of the settings that were learned from."""

    @property
    def answer(self) -> str:
        """How well it ranks what nobody trained, against chance and a straight line.

        Of several models the one that ranks best.
        """
        return answer_of_report(self)

    def row(self, model: str, grouping: Grouping) -> SurrogateRow:
        """Return the row of a model and a grouping."""
        for row in self.rows:
            if (row.model, row.grouping) == (model, grouping):
                return row
        known = [f"{row.model} by {row.grouping}" for row in self.rows]
        raise unknown_name("row", f"{model} by {grouping}", known)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {"answer": self.answer, **to_json_object(vars(self))}

    def to_frame(self) -> pd.DataFrame:
        """Return one line per model and grouping."""
        import pandas as pd

        lines = []
        for row in self.rows:
            line = {"model": row.model, "grouping": row.grouping, "n_rows": row.n_rows}
            for name in _FIGURES:
                figure = getattr(row, name)
                line |= {name: figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}
            lines.append({**line, "width": row.width})
        return pd.DataFrame(lines).set_index("model")
