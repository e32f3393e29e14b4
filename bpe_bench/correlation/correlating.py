"""How well each budget of a table ranks: its correlation with the reference."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from ..errors import BpeBenchWarning, RankingError, SelectionError, unknown_name
from ..inference import (
    Estimate,
    FloatArray,
    check_confidence,
    estimate,
    noise_ceiling,
)
from ..ranking import STATISTICS
from ..tables.catalog import TableLike, given_table
from ..tables.table import Setting
from .candidates import Candidate, Measured
from .choice import choose
from .comparison import Comparison, compare
from .front import _with_front
from .report import CorrelationReport, _find_row
from .selection import Selection, _select, _Selected, accuracy_of

_FEWEST = 3
"""Architectures below which there is no rank correlation."""


def correlate(
    table: TableLike,
    selection: Selection | None = None,
    *,
    name: str = "",
    statistic: str = "spearman",
    confidence: float = 0.95,
    bootstrap: np.random.Generator | None = None,
    comparing: Sequence[tuple[str, str]] = (),
    seed: int | np.random.Generator = 0,
    progress: Callable[[float], None] | None = None,
) -> CorrelationReport:
    """Correlate every budget of a table with its reference.

    Budgets that share fewer than 3 architectures with the reference are left out.

    Parameters
    ----------
    table
        The finished trainings: the object, its name or its path.
    selection
        What to rank by and against what; by default all settings after every recorded
        epoch against full training.
    name
        What to call the table in the report; by default how it was given.
    statistic
        A key of `bpe_bench.ranking.STATISTICS`.
    confidence
        Nominal coverage of the intervals.
    bootstrap
        Makes the intervals by a bootstrap with these random numbers; by default they
        are made from the influence of each architecture.
    comparing
        Pairs of budgets to compare over the same architectures.
    seed
        Divides the architectures, to judge the recommended budget by those that it was not
        chosen by.
    progress
        Called with the share of the work that is done.

    Raises
    ------
    UnknownNameError
        For a statistic, or something selected, that does not exist.
    MissingReferenceError
        If the table does not name its full training.
    SelectionError
        If nothing is left to correlate.
    RankingError
        If no budget at all can be ranked, as its accuracies or those of the
        reference are all equal.
    """
    table, name = given_table(table, name)
    check_confidence(confidence)
    if statistic not in STATISTICS:
        raise unknown_name("statistic", statistic, STATISTICS)
    wanted = selection or Selection()
    selected = _select(table, wanted)
    notes = list(selected.notes)
    reference, split = selected.reference, selected.reference_split
    with _noting(reference.label, notes):
        seeds = table.curves_of(reference.label, split).accuracy()
        ceiling = noise_ceiling(seeds, statistic)
    evidence = _Accuracies(statistic, selected.truth, {})
    rows: list[Measured] = []
    for done, candidate in enumerate(selected.candidates, 1):
        with _noting(candidate.label, notes):
            found = evidence.add(candidate, accuracy_of(table, candidate), confidence, bootstrap)
        if found is not None:
            share = found.correlation / ceiling if ceiling > 0 else math.nan
            rows.append(replace(found, share_of_ceiling=share))
        if progress is not None:
            progress(done / len(selected.candidates))
    _check_rows(rows, selected, notes)
    _note_missing(rows, len(table.architectures), notes)

    def better(cheaper: Measured, row: Measured) -> bool:
        pair = evidence.pair(cheaper, row)
        if pair is None:
            return False
        (found,) = compare((cheaper.label, row.label), pair, confidence=confidence)
        return found.separable and found.difference > 0

    rows = _with_front(rows, better)
    _note_devices(rows, wanted, notes)
    recommended = choose(
        rows,
        (reference.label, _seconds(reference, wanted)),
        better,
        truth=evidence.truth,
        accuracies=evidence.budgets,
        statistic=statistic,
        confidence=confidence,
        seed=seed,
    )
    names = table.published_names()
    return CorrelationReport(
        table=name,
        space=table.space,
        dataset=selected.dataset,
        reference_dataset=reference.dataset,
        reference=reference.label,
        split=str(rows[0].split),
        reference_split=str(split),
        statistic=statistic,
        confidence=confidence,
        interval="influence" if bootstrap is None else "bootstrap",
        n_architectures=len(table.architectures),
        noise_ceiling=ceiling,
        rows=tuple(rows),
        comparisons=tuple(_compare(rows, names, evidence, comparing, confidence)),
        warnings=(*notes, *table.caveats),
        names=names,
        recommended=recommended,
    )


def _seconds(reference: Setting, wanted: Selection) -> float:
    return reference.seconds * (wanted.device_factors or {}).get(reference.device, 1.0)


def _check_rows(rows: Sequence[Measured], selected: _Selected, notes: list[str]) -> None:
    """Say what was left out, and raise an error if that is everything."""
    measured = {row.label for row in rows}
    few = [c for c in selected.candidates if c.label not in measured]
    reference = selected.reference.label
    said = (
        f"share fewer than {_FEWEST} architectures with the reference {reference!r} and are left "
        "out"
    )
    if not rows:
        raise SelectionError(
            f"nothing can be ranked: all {len(few)} budgets {said}; train more architectures under "
            "both, or widen the selection"
        )
    for setting in dict.fromkeys(c.setting for c in few):
        left_out = [c.label for c in few if c.setting == setting]
        shown = left_out[0] if len(left_out) == 1 else f"{setting} at {len(left_out)} epochs"
        notes.append(
            f"{shown}: fewer than {_FEWEST} architectures in common with the reference "
            f"{reference!r}, so it is left out"
        )
    if all(math.isnan(row.correlation) for row in rows):
        raise RankingError(
            f"nothing can be ranked: all accuracies of the reference {reference!r} or of every "
            "budget are equal"
        )


def _note_missing(rows: Sequence[Measured], whole: int, notes: list[str]) -> None:
    """Return a note for each setting whose rows have fewer architectures than the table."""
    for label in dict.fromkeys(row.setting for row in rows):
        fewer = [r for r in rows if r.setting == label and r.n_architectures < whole]
        if fewer:
            least = min(r.n_architectures for r in fewer)
            where = "" if len(fewer) == 1 else f" at {len(fewer)} epochs"
            notes.append(f"{label}: {whole - least} architectures are missing{where}")


def _note_devices(rows: Sequence[Measured], wanted: Selection, notes: list[str]) -> None:
    devices = sorted({row.device for row in rows if row.pareto and row.device})
    if len(devices) > 1 and not wanted.device_factors:
        notes.append(
            f"the Pareto front mixes costs measured on different devices ({', '.join(devices)}); "
            "they are compared as recorded"
        )


@contextmanager
def _noting(label: str, notes: list[str]) -> Iterator[None]:
    """Turn warnings into notes, each once."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", BpeBenchWarning)
        yield
    notes.extend(dict.fromkeys(f"{label}: {w.message}" for w in caught))


@dataclass(frozen=True)
class _Accuracies:
    """The accuracies behind the rows: shape (A,) each, NaN where missing."""

    statistic: str
    truth: FloatArray
    budgets: dict[str, FloatArray]

    def add(
        self,
        candidate: Candidate,
        accuracy: FloatArray,
        confidence: float,
        bootstrap: np.random.Generator | None,
    ) -> Measured | None:
        """Measure a candidate by its accuracies; None if it shares too few with the reference."""
        both = np.isfinite(accuracy) & np.isfinite(self.truth)
        if both.sum() < _FEWEST:
            return None
        self.budgets[candidate.label] = accuracy
        found = estimate(
            accuracy[both],
            self.truth[both],
            statistic=self.statistic,
            confidence=confidence,
            method="influence" if bootstrap is None else "bootstrap",
            rng=bootstrap,
        )
        return candidate.measured(found)

    def pair(self, first: Measured, second: Measured) -> tuple[Estimate, Estimate] | None:
        """Return two budgets' estimates over the architectures that both have, if there are 3."""
        accuracies = [self.budgets[row.label] for row in (first, second)]
        shared = np.isfinite([*accuracies, self.truth]).all(axis=0)
        n = int(shared.sum())
        if n < _FEWEST:
            return None
        if first.estimate.n == second.estimate.n == n:
            return first.estimate, second.estimate
        with _noting("", []):  # an undefined correlation shows as NaN
            a, b = (
                estimate(x[shared], self.truth[shared], statistic=self.statistic)
                for x in accuracies
            )
        return a, b


def _compare(
    rows: Sequence[Measured],
    published: Mapping[str, str],
    evidence: _Accuracies,
    comparing: Sequence[tuple[str, str]],
    confidence: float,
) -> list[Comparison]:
    names: list[str] = []
    estimates: list[Estimate] = []
    for pair in comparing:
        first, second = (_find_row(rows, published, name) for name in pair)
        if first is second:
            raise SelectionError(
                f"cannot compare {pair[0]!r} with itself, found {pair[1]!r} as the second; choose "
                "another budget with --compare"
            )
        found = evidence.pair(first, second)
        if found is None:
            raise SelectionError(
                f"cannot compare {pair[0]!r} and {pair[1]!r}: they share fewer than {_FEWEST} "
                "architectures; choose others with --compare"
            )
        names.extend(pair)
        estimates.extend(found)
    places = [(i, i + 1) for i in range(0, len(names), 2)]
    return compare(names, estimates, confidence=confidence, pairs=places)
