"""The settings to choose among, and halves of the architectures that judge the choice."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ...correlation.candidates import Candidate, Measured
from ...correlation.correlating import correlate
from ...correlation.evidence import Design
from ...correlation.holdout import correlations
from ...correlation.prediction import CostModel
from ...correlation.selection import Selection
from ...errors import ConstantInputWarning, SelectionError
from ...inference import Estimate, FloatArray, correlation
from ...randomness import settled
from ...tables.catalog import TableLike, given_table
from ...tables.table import Split
from ..objective import _accuracies_of, _usable_row

_FEWEST_SETTINGS = 4
"""With fewer settings there is nothing to choose among."""
_FEWEST_ARCHITECTURES = 8
"""Four in each half; fewer cannot be ranked."""
_FEWEST_RANKED = 3

_IntArray = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Pool:
    """The settings that every method chooses among, with the accuracies of all architectures."""

    name: str
    """Name of the table."""
    space: str
    dataset: str
    statistic: str
    """A key of `bpe_bench.ranking.STATISTICS`."""
    rows: tuple[Measured, ...]
    """The S settings, with their correlations over all architectures and seconds per network."""
    truth: FloatArray
    """Accuracy of full training, shape (A,), finite."""
    accuracies: FloatArray
    """Shape (A, S), NaN where missing."""
    notes: tuple[str, ...] = ()
    """Limits of any conclusion, one sentence each."""
    choices: Mapping[str, Any] = field(default_factory=dict)
    """What the correlations rest on, given or by default: split and reference."""

    @classmethod
    def of(
        cls,
        table: TableLike,
        *,
        name: str = "",
        statistic: str = "spearman",
        split: Split | None = None,
        labels: Sequence[str] | None = None,
        max_cost_hours: float | None = None,
    ) -> Pool:
        """Return the settings of a table that have a correlation and a cost.

        Parameters
        ----------
        table
            Finished trainings, with costs and a reference.
        name
            What to call the table.
        statistic, split, labels
            As for `bpe_bench.correlation.correlate`.
        max_cost_hours
            The highest cost of a setting, in device hours per network.

        Raises
        ------
        SelectionError
            For an allowance that is not above 0, for fewer than 4 settings, and for fewer
            than 8 architectures with full training.
        """
        table, name = given_table(table, name)
        most = _checked(max_cost_hours)
        wanted = Selection(split=split, labels=labels, epochs="last")
        report = correlate(table, wanted, name=name, statistic=statistic)
        known = [row for row in report.rows if _usable_row(row)]
        rows = tuple(row for row in known if row.cost_seconds <= most)
        if len(rows) < _FEWEST_SETTINGS:
            raise SelectionError(
                f"judging needs at least {_FEWEST_SETTINGS} settings with a correlation and a "
                f"cost, found {len(rows)}{_within(max_cost_hours, known)}; widen the selection or "
                "use a larger table"
            )
        truth = table.accuracy(report.reference, Split(report.reference_split))
        trained = np.isfinite(truth)
        pool = cls(
            name, table.space, report.dataset, statistic, rows, truth[trained],
            _accuracies_of(table, rows)[trained], _limits(rows, table.caveats),
            {
                "split": report.split, "reference": report.reference,
                "max_cost_hours": max_cost_hours,
            },
        )  # fmt: skip
        pool.check_architectures()
        return pool

    def check_architectures(self) -> None:
        """Raise `SelectionError` if there are too few architectures for two halves."""
        if len(self.truth) < _FEWEST_ARCHITECTURES:
            raise SelectionError(
                f"halves need at least {_FEWEST_ARCHITECTURES} architectures with full training, "
                f"found {len(self.truth)}; use a larger table"
            )

    @cached_property
    def seconds(self) -> FloatArray:
        """Device seconds per network, shape (S,)."""
        return np.array([row.cost_seconds for row in self.rows])

    @cached_property
    def by_cost(self) -> list[int]:
        """Places of the settings, cheapest first."""
        return [int(place) for place in np.argsort(self.seconds, kind="stable")]

    @cached_property
    def best(self) -> int:
        """The place of the best setting by all architectures, among equals the cheapest."""
        return max(self.by_cost, key=lambda place: self.rows[place].correlation)

    @cached_property
    def costs(self) -> CostModel:
        """The cost model of the hyper-parameters."""
        return CostModel.fit(self.rows)

    @cached_property
    def unseen(self) -> Design:
        """The settings as a method sees them at first: with costs, without correlations."""
        return _Unseen(
            tuple(Candidate(label=row.label, budget=row.budget, cost=row.cost) for row in self.rows)
        )

    @property
    def choosing(self) -> int:
        """Number of architectures of the choosing half."""
        return len(self.truth) // 2

    @property
    def hours(self) -> float:
        """Device hours of evaluating every setting on a choosing half."""
        return float(self.seconds.sum()) * self.choosing / 3600


@dataclass(frozen=True)
class _Unseen(Design):
    """Evidence that keeps which hyper-parameters move together, because that is needed often."""

    _kept: dict[tuple[str, ...], list[tuple[str, ...]]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def groups(self, names: Sequence[str]) -> list[tuple[str, ...]]:
        """Return groups of hyper-parameters; those that move together are in one group."""
        key = tuple(names)
        if key not in self._kept:
            self._kept[key] = super().groups(names)
        return self._kept[key]


class Deal:
    """A pool's architectures, divided at random into a half to choose by and a half to score by."""

    def __init__(self, pool: Pool, rng: np.random.Generator) -> None:
        self.pool = pool
        dealt = rng.permutation(len(pool.truth))
        self._choosing: _IntArray = dealt[: pool.choosing]
        scoring = dealt[pool.choosing :]
        self.scores = correlations(pool.truth[scoring], pool.accuracies[scoring], pool.statistic)
        """Correlation of every setting on the scoring half, shape (S,); NaN if undefined."""
        self._known: dict[tuple[int, int], Estimate] = {}

    def estimate(self, place: int, architectures: int) -> Estimate:
        """Return the correlation of a setting over so many architectures of the choosing half.

        Without an interval, which no method uses; NaN if it is not defined.
        """
        if (place, architectures) not in self._known:
            few = self._choosing[:architectures]
            x, y = self.pool.accuracies[few, place], self.pool.truth[few]
            both = np.isfinite(x)
            self._known[place, architectures] = _correlated(x[both], y[both], self.pool.statistic)
        return self._known[place, architectures]


def _correlated(x: FloatArray, y: FloatArray, statistic: str) -> Estimate:
    value, influence = math.nan, np.full(x.size, math.nan)
    if x.size >= _FEWEST_RANKED:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConstantInputWarning)  # it is NaN
            found = correlation(x, y, statistic)
        value, influence = settled(found.value), found.influence
    return Estimate(value, math.nan, math.nan, math.nan, x.size, influence, statistic, 0)


def _checked(max_cost_hours: float | None) -> float:
    """Return the most seconds per network."""
    if max_cost_hours is None:
        return math.inf
    if not 0 < max_cost_hours < math.inf:
        raise SelectionError(
            f"an allowance per network must be above 0 hours and finite, found {max_cost_hours:g}"
        )
    return max_cost_hours * 3600


def _within(max_cost_hours: float | None, known: Sequence[Measured]) -> str:
    if max_cost_hours is None or not known:
        return ""
    ordered = sorted(row.cost_seconds for row in known)
    enough = ordered[min(_FEWEST_SETTINGS, len(ordered)) - 1] / 3600
    return (
        f" within {max_cost_hours:g} hours per network ({len(known)} in all, "
        f"{min(_FEWEST_SETTINGS, len(known))} of them within {enough:.3g})"
    )


def _limits(rows: Sequence[Measured], caveats: Sequence[str]) -> tuple[str, ...]:
    notes = list(caveats)
    devices = sorted({row.device for row in rows if row.device})
    if len(devices) > 1:
        notes.append(
            f"costs were measured on different devices ({', '.join(devices)}) and are compared as "
            "recorded"
        )
    return tuple(notes)
