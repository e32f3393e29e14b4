"""What a table says of its budgets: the report of `bpe_bench.correlation.correlate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import unknown_name
from ..files import Shown, to_json_value
from .answers import _answer
from .candidates import Measured
from .choice import Choice
from .comparison import Comparison

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class CorrelationReport(Shown):
    """All budgets of a table against its reference."""

    _columns = (
        "correlation", "low", "high", "n_architectures", "cost_seconds", "device", "pareto",
    )  # fmt: skip

    table: str
    space: str
    dataset: str
    reference_dataset: str
    reference: str
    split: str
    """Where the accuracy of budgets is taken."""
    reference_split: str
    """Where that of full training is taken."""
    statistic: str
    confidence: float
    interval: str
    """How the intervals were made: influence or bootstrap."""
    n_architectures: int
    """Architectures in the table; rows with missing accuracies have fewer."""
    noise_ceiling: float
    """Correlation of the reference with itself across seeds; NaN if it has one seed."""
    rows: tuple[Measured, ...]
    """In the table's order."""
    comparisons: tuple[Comparison, ...] = ()
    warnings: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    """Names of published budgets (BPE-1) by label, for those that the table holds."""
    top_k: int | None = None
    """How many of the best count in the rows' `Measured.top`; None if that was not asked for."""
    recommended: Choice | None = None
    """The budget to use; None if no budget ranks better than chance."""

    @property
    def answer(self) -> str:
        """Which cheap budget to use, what it costs, how sure that is, and what it is worth.

        A line per comparison instead, if budgets are compared.
        """
        return _answer(self)

    def row(self, name: str) -> Measured:
        """Return the row of a budget by its label or published name, each also with ``@EPOCH``."""
        return _find_row(self.rows, self.names, name)

    def front(self) -> list[Measured]:
        """Return the Pareto front, cheapest first."""
        return sorted((r for r in self.rows if r.pareto), key=lambda r: r.cost_seconds)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        plain = (
            "table", "space", "dataset", "reference_dataset", "reference", "split",
            "reference_split", "statistic", "confidence", "interval", "top_k", "n_architectures",
            "noise_ceiling",
        )  # fmt: skip
        return {
            "answer": self.answer,
            **{name: to_json_value(getattr(self, name)) for name in plain},
            "recommended": to_json_value(self.recommended),
            "warnings": list(self.warnings),
            "rows": [row.to_json() for row in self.rows],
            "comparisons": [
                to_json_value(c) | {"separable": c.separable, "verdict": c.verdict}
                for c in self.comparisons
            ],
        }

    def to_frame(self) -> pd.DataFrame:
        """Return one line per budget, hyper-parameters as columns."""
        import pandas as pd

        rows = [row.to_json() for row in self.rows]
        return pd.DataFrame([{**row.pop("budget"), **row} for row in rows]).set_index("label")


def _find_row(rows: Sequence[Measured], names: Mapping[str, str], wanted: str) -> Measured:
    """Return the row of a label, or of a published name by label, each also with ``@EPOCH``.

    Raises
    ------
    UnknownNameError
        If no row has that name.
    """
    label, _, epoch = wanted.partition("@")
    for row in rows:
        at = epoch or (str(row.epoch) if row.label == row.setting else "")
        if label in (row.setting, names.get(row.setting)) and at == str(row.epoch):
            return row
    labels = [row.label for row in rows]
    published = [names[label] for label in labels if label in names]
    raise unknown_name("budget", wanted, [*labels, *published])
