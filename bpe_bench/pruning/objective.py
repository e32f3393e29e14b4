"""Objectives: sources of the correlation of settings. Here the protocol, and tables."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np

from ..budget import Budget, BudgetSpace
from ..correlation.candidates import Candidate, Ranked
from ..correlation.correlating import correlate
from ..correlation.evidence import Design, Evidence
from ..correlation.holdout import HalfCorrelations, half_correlations
from ..correlation.prediction import CostModel
from ..correlation.selection import Selection, accuracy_of
from ..correlation.topk import with_top_k
from ..errors import SelectionError
from ..hyper_parameters import written
from ..inference import FloatArray
from ..tables.catalog import TableLike, given_table
from ..tables.table import Split, Table

ObjectiveKind = Literal["replay", "surrogate", "train"]
_OBJECTIVES: tuple[ObjectiveKind, ...] = ("replay", "surrogate", "train")
"""Finished trainings of a table, predictions of a surrogate, or real training."""

_FEWEST_TO_HALVE = 6
"""Two halves need so many architectures with full training, three each."""
_FEWEST_SETTINGS = 4
"""With fewer settings importance cannot be judged."""


_RANKED = 50_000
"""Number of architectures divided into halves, over all splits."""
_FEWEST_SPLITS, _MOST_SPLITS = 20, 500


class Objective(Protocol):
    """A source of correlations: settings that can be evaluated, and their results."""

    @property
    def kind(self) -> ObjectiveKind:
        """Its name in `_OBJECTIVES`."""

    @property
    def space(self) -> str:
        """Name of the search space."""

    @property
    def name(self) -> str:
        """Name of the source in the report."""

    @property
    def statistic(self) -> str:
        """The correlation, a key of `bpe_bench.ranking.STATISTICS`."""

    @property
    def notes(self) -> Sequence[str]:
        """What its user has to know, one sentence each."""

    @property
    def choices(self) -> Mapping[str, Any]:
        """What the correlations rest on, given or by default: data set, split, device, ..."""

    @property
    def pool(self) -> Design:
        """The candidates: settings that can be evaluated, with expected costs."""

    @property
    def costs(self) -> CostModel:
        """The cost model of the settings."""

    @property
    def known(self) -> Evidence:
        """All settings whose correlation is known."""

    @property
    def precedents(self) -> Sequence[Budget]:
        """Budgets that people have used: among equally cheap values the most common is kept."""

    @property
    def predicts_beyond(self) -> bool:
        """Whether a forest fitted to `known` may predict when the pool has no setting left."""

    @property
    def stopped(self) -> str:
        """The reason why no more settings are evaluated; empty before that."""

    def evaluate(self, rows: Sequence[Candidate]) -> list[Ranked]:
        """Return candidates with their correlations; those without a correlation are left out.

        When an allowance is used up, there are fewer, and `stopped` has the reason.
        """

    def draw(self, evidence: Evidence, resamples: int, rng: np.random.Generator) -> FloatArray:
        """Draw the correlations of S settings as they might have been found, (B, S)."""

    def offers(self, space: BudgetSpace, rng: np.random.Generator) -> Sequence[Ranked]:
        """Return the settings to recommend from, given the remaining space."""

    def hours(self, rows: Sequence[Candidate]) -> float:
        """Return the device hours of the trainings behind some settings."""

    def halves(self, rng: np.random.Generator) -> HalfCorrelations | None:
        """Return the correlations of the settings of `known` on halves of the architectures.

        None if there are no architectures to divide.
        """


@dataclass(frozen=True)
class Replay:
    """The settings of a table, whose trainings are finished."""

    table: Table
    name: str
    statistic: str
    confidence: float
    truth: FloatArray
    """Accuracy of full training, shape (A,); NaN where missing."""
    pool: Evidence
    """Settings with a correlation and a cost."""
    costs: CostModel
    notes: tuple[str, ...] = ()
    choices: Mapping[str, Any] = field(default_factory=dict)
    """Data set, reference and splits, number of architectures, k."""
    predicts_beyond: bool = True
    kind: ObjectiveKind = "replay"
    stopped: str = ""

    @classmethod
    def of(
        cls,
        table: TableLike,
        *,
        name: str = "",
        statistic: str = "spearman",
        selection: Selection | None = None,
        top_k: int | None = None,
        confidence: float = 0.95,
    ) -> Replay:
        """Correlate a table at the last epoch of each setting.

        Parameters and errors as for `bpe_bench.correlation.correlate` and
        `bpe_bench.correlation.with_top_k`.

        Raises
        ------
        SelectionError
            If fewer than 4 settings have a correlation and a cost, or none varies.
        """
        table, name = given_table(table, name)
        wanted = replace(selection or Selection(), epochs="last")
        report = correlate(table, wanted, name=name, statistic=statistic, confidence=confidence)
        report = with_top_k(table, report, top_k)
        usable = tuple(row for row in report.rows if _usable_row(row))
        if len(usable) < _FEWEST_SETTINGS:
            raise SelectionError(
                f"pruning needs at least {_FEWEST_SETTINGS} settings with a correlation and a "
                f"cost, found {len(usable)}; widen the selection or use a larger table, or rank "
                f"what there is: bpe-bench correlate {shlex.quote(name or 'TABLE')}"
            )
        pool = Evidence(usable)
        _check_varied(pool)
        return cls(
            table=table,
            name=name,
            statistic=statistic,
            confidence=confidence,
            truth=table.accuracy(report.reference, Split(report.reference_split)),
            pool=pool,
            costs=CostModel.fit(usable),
            notes=report.warnings,
            choices={
                "dataset": report.dataset,
                "split": report.split,
                "reference": report.reference,
                "reference_split": report.reference_split,
                "architectures": report.n_architectures,
                "top_k": report.top_k,
            },
        )

    @property
    def space(self) -> str:
        """Name of the search space."""
        return self.table.space

    @property
    def known(self) -> Evidence:
        """The pool: all of it was trained."""
        return self.pool

    @property
    def precedents(self) -> Sequence[Budget]:
        """The settings of the pool."""
        return self.pool.budgets

    def evaluate(self, rows: Sequence[Candidate]) -> list[Ranked]:
        """Return candidates as they were measured."""
        known = {row.label: row for row in self.pool.rows}
        return [known[row.label] for row in rows]

    def draw(self, evidence: Evidence, resamples: int, rng: np.random.Generator) -> FloatArray:
        """Draw correlations as other architectures might have given them."""
        return evidence.draw(resamples, rng)

    def offers(self, space: BudgetSpace, rng: np.random.Generator) -> Sequence[Ranked]:
        """Return all settings, also those outside the remaining space, as they are paid for."""
        return self.pool.rows

    def hours(self, rows: Sequence[Candidate]) -> float:
        """Return the device hours of some settings, over all architectures."""
        return sum(row.cost_seconds for row in rows) * len(self.table.architectures) / 3600

    def halves(self, rng: np.random.Generator) -> HalfCorrelations | None:
        """Return correlations on halves of the table's architectures; None if there are too few."""
        return _halves_of(self.table, self.pool.rows, self.truth, self.statistic, rng)


def _usable_row(row: Ranked) -> bool:
    """Return whether a setting has a correlation and a cost."""
    return math.isfinite(row.correlation) and math.isfinite(row.cost_seconds)


def _check_varied(pool: Design) -> None:
    """Raise `SelectionError` if all settings are the same budget."""
    if not pool.varied:
        raise SelectionError("all settings are the same budget, so there is nothing to prune")


def _halves_of(
    table: Table,
    rows: Sequence[Candidate],
    truth: FloatArray,
    statistic: str,
    rng: np.random.Generator,
) -> HalfCorrelations | None:
    """Return the correlations of settings of a table on random halves of its architectures.

    None if fewer than 6 architectures have full training (``truth``, shape (A,)).
    """
    if np.isfinite(truth).sum() < _FEWEST_TO_HALVE:
        return None
    # Halves of many architectures hardly differ, and take long to rank.
    splits = int(np.clip(_RANKED // len(truth), _FEWEST_SPLITS, _MOST_SPLITS))
    return half_correlations(
        truth,
        _accuracies_of(table, rows),
        statistic=statistic,
        splits=splits,
        rng=rng,
    )


def _accuracies_of(table: Table, rows: Sequence[Candidate]) -> FloatArray:
    """Return the accuracies of all architectures under S settings, shape (A, S)."""
    return np.column_stack([accuracy_of(table, row) for row in rows])


def _describe(budget: Budget, names: Sequence[str]) -> str:
    """Return the values of some hyper-parameters as the label of a setting."""
    return ",".join(f"{name}={written(getattr(budget, name))}" for name in names) or "setting"
