"""Predictions of a surrogate for budgets and architectures given as text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..budget import Budget
from ..errors import SelectionError
from ..execution.campaign import choose_architectures
from ..files import Shown
from ..spaces import get_space
from ..tables.catalog import TableLike, given_table
from ..tables.table import Table
from .conclusions import answer_of_predictions
from .fitted import FittedSurrogate
from .forecast import CONFIDENCE, Forecast
from .question import TargetName

if TYPE_CHECKING:
    import pandas as pd

QUANTITIES: dict[str, TargetName] = {
    "accuracy": "accuracy", "correlation": "correlation", "cost_seconds": "cost",
}  # fmt: skip
"""The quantities that a row can have, in the order in which they are shown."""


_SAMPLE = 10
"""So many architectures are drawn if none is named."""


@dataclass(frozen=True, repr=False)
class Answers(Shown):
    """Predictions of a surrogate, a row per budget and architecture."""

    _columns = (
        "architecture", "accuracy", "accuracy_low", "accuracy_high", "correlation",
        "correlation_low", "correlation_high", "cost_seconds",
    )  # fmt: skip

    fitted: FittedSurrogate
    confidence: float
    rows: tuple[dict[str, Any], ...]
    """``label``, ``budget``, ``architecture``, and each of `QUANTITIES` with ``_low`` and
    ``_high``; None where unknown."""
    warnings: tuple[str, ...]

    @property
    def answer(self) -> str:
        """The prediction with its interval; of several the best one."""
        return answer_of_predictions(self)

    def budget(self, row: Mapping[str, Any]) -> Budget:
        """Return the budget of a row."""
        return Budget(**row["budget"])

    def to_json(self) -> dict[str, Any]:
        """Return the answers as JSON values."""
        fitted = self.fitted
        return {
            "answer": self.answer,
            "table": fitted.table, "space": fitted.space, "target": fitted.target,
            "model": fitted.model, "dataset": fitted.dataset, "split": fitted.split,
            "device": fitted.device, "confidence": self.confidence,
            "warnings": list(self.warnings), "rows": list(self.rows),
        }  # fmt: skip

    def to_frame(self) -> pd.DataFrame:
        """Return a line per row, the budget's hyper-parameters in their own columns."""
        import pandas as pd

        spread = [{**row, **row["budget"]} for row in self.rows]
        return pd.DataFrame(spread).drop(columns="budget").set_index("label")


def ask(
    fitted: FittedSurrogate,
    budgets: Sequence[str] = (),
    *,
    rng: np.random.Generator,
    architectures: str | None = None,
    table: TableLike | None = None,
    confidence: float = CONFIDENCE,
    extrapolate: bool = False,
) -> Answers:
    """Ask a surrogate for accuracy and cost of architectures, or for a budget's correlation.

    Parameters
    ----------
    fitted
        The surrogate.
    budgets
        Labels of its settings or budgets as text; by default all that it was fitted to.
    rng
        Draws a sample of architectures.
    architectures
        As text (`bpe_bench.execution.campaign.choose_architectures`); by default a sample
        of ten, of the table if accuracies must be given. None if it predicts only budgets.
    table
        Has the accuracies that must be given.
    confidence, extrapolate
        As for `FittedSurrogate.accuracy`.

    Raises
    ------
    SelectionError
        If it cannot predict this, or architectures are named and it predicts only budgets.
    SurrogateFileError
        If it was fitted to another table.
    """
    if table is not None:
        table, _ = given_table(table)
        fitted.check_table(table)
    elif fitted.given:
        raise SelectionError(
            f"accuracies under {', '.join(fitted.given)} must be given, and no table is; name the "
            f"one that has them (--table {fitted.table or 'TABLE'})"
        )
    named = [
        (text, fitted.budget_of(text)) for text in budgets or [s.label for s in fitted.settings]
    ]
    options = {"confidence": confidence, "extrapolate": extrapolate}
    if fitted.by_setting:
        if architectures is not None:
            raise SelectionError(
                f"the surrogate predicts a budget's {fitted.target}, for all architectures "
                "together; leave out "
                "--architectures"
            )
        rows = _of_budgets(fitted, named, options)
    else:
        rows = _of_architectures(fitted, named, architectures, table, rng, options)
    notes = (*fitted.notes, *_without_intervals(fitted, named, rows, confidence))
    return Answers(fitted, confidence, tuple(rows), notes)


def _of_budgets(
    fitted: FittedSurrogate, named: Sequence[tuple[str, Budget]], options: dict[str, Any]
) -> list[dict[str, Any]]:
    budgets = [budget for _, budget in named]
    found = {}
    if "correlation" in fitted.models:
        found["correlation"] = fitted.correlation(budgets, **options)
    if "cost" in fitted.models:
        found["cost_seconds"] = fitted.budget_cost(budgets, **options)
    return [
        {"label": text, "budget": budget.to_dict(), **_values(found, place)}
        for place, (text, budget) in enumerate(named)
    ]


def _of_architectures(
    fitted: FittedSurrogate,
    named: Sequence[tuple[str, Budget]],
    text: str | None,
    table: Table | None,
    rng: np.random.Generator,
    options: dict[str, Any],
) -> list[dict[str, Any]]:
    if text is None and table is not None and fitted.given:  # others have no given accuracies
        chosen = tuple(table.architectures[place] for place in _drawn(table, rng))
    else:
        chosen = choose_architectures(text or f"sample:{_SAMPLE}", fitted.space, rng)
    given = fitted.given_from(table, chosen) if table is not None and fitted.given else None
    formatted = [get_space(fitted.space).format(architecture) for architecture in chosen]
    known = [fitted.knows_cost(b, extrapolate=options["extrapolate"]) for _, b in named]
    rows = []
    for (label, budget), known_cost in zip(named, known, strict=True):
        found = {}
        if "accuracy" in fitted.models:
            found["accuracy"] = fitted.accuracy(chosen, budget, given=given, **options)
        if known_cost or "cost" in fitted.models:
            found["cost_seconds"] = fitted.cost(chosen, budget, **options)
        elif any(known):  # a row has what any row has
            found["cost_seconds"] = Forecast.unknown(len(chosen))
        rows += [
            {"label": label, "budget": budget.to_dict(), "architecture": architecture,
             **_values(found, place)}
            for place, architecture in enumerate(formatted)
        ]  # fmt: skip
    return rows


def _drawn(table: Table, rng: np.random.Generator) -> list[int]:
    known = len(table.architectures)
    return sorted(rng.choice(known, min(_SAMPLE, known), replace=False).tolist())


def _values(found: dict[str, Forecast], place: int) -> dict[str, float | None]:
    """Return the values and bounds of one row by name, None where unknown."""
    values = {}
    for name, forecast in found.items():
        parts = {"": forecast.value, "_low": forecast.low, "_high": forecast.high}
        for suffix, array in parts.items():
            value = float(array[place])
            values[name + suffix] = value if math.isfinite(value) else None
    return values


def _without_intervals(
    fitted: FittedSurrogate,
    named: Sequence[tuple[str, Budget]],
    rows: Sequence[dict[str, Any]],
    confidence: float,
) -> list[str]:
    """Return why rows have no value or no interval, one sentence per reason."""
    labels: dict[str, list[str]] = {}
    for name, target in QUANTITIES.items():
        for label, budget in named:
            # Rows whose given accuracies are missing know nothing; that is no interval's fault.
            same = [row for row in rows if row["label"] == label and name in row]
            bare = [row for row in same if row[f"{name}_low"] is None]
            reason = fitted.bare(target, budget, confidence) if bare else ""
            if reason:
                lacking = "no" if bare[0][name] is None else f"no {confidence:.0%} interval of"
                labels.setdefault(f"{lacking} {target} under {{}}: {reason}", []).append(label)
    return [text.replace("{}", ", ".join(dict.fromkeys(of))) for text, of in labels.items()]
