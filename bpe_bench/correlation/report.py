"""How well each budget of a table ranks, by its correlation with the reference."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..budget import Budget
from ..errors import BpeBenchWarning, RankingError, SelectionError, unknown_name
from ..files import to_json_value
from ..hyper_parameters import Value, check_hyper_parameter
from ..inference import (
    Estimate,
    FloatArray,
    IntervalMethod,
    check_confidence,
    estimate,
    noise_ceiling,
)
from ..ranking import STATISTICS, best_rank_at_k, precision_at_k, regret_at_k
from ..tables.curves import ranges
from ..tables.table import Setting, Split, Table
from .comparison import Comparison, compare

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class BudgetRow:
    """What a table says of one budget."""

    label: str
    """The setting's label in the table; ``LABEL@EPOCH`` for an epoch before the last."""
    budget: Budget
    epoch: int
    """The recorded epoch whose accuracies are ranked."""
    correlation: float
    low: float
    high: float
    """Bounds of the interval at the report's confidence."""
    p_value: float
    """Two-sided, of the hypothesis that budget and reference are unrelated."""
    precision_at_k: float
    regret_at_k: float
    """As a fraction (0.01 is one point of accuracy)."""
    best_rank_at_k: float
    cost_seconds: float
    """Device seconds per network; NaN if unknown."""
    device: str
    """The device that the seconds were measured on."""
    pareto: bool
    """Whether it is on the Pareto front of cost and correlation."""
    share_of_ceiling: float = math.nan
    """The correlation divided by the noise ceiling; NaN if that is unknown."""
    not_separable_from: str | None = None
    """The next cheaper budget on the front, if the data do not separate the two; else None."""
    setting: str = ""
    """The setting's label without an epoch."""
    n_architectures: int = 0
    """Number of architectures with both accuracies."""
    estimate: Estimate | None = field(default=None, repr=False, compare=False)
    """The estimate behind the row, with its influence."""

    @classmethod
    def untrained(
        cls,
        label: str,
        budget: Budget,
        *,
        correlation: float = math.nan,
        low: float = math.nan,
        high: float = math.nan,
        cost_seconds: float = math.nan,
        device: str = "",
    ) -> BudgetRow:
        """Return the row of a budget that nobody trained, with what is predicted for it."""
        return cls(
            label=label,
            budget=budget,
            epoch=budget.epochs,
            correlation=correlation,
            low=low,
            high=high,
            p_value=math.nan,
            precision_at_k=math.nan,
            regret_at_k=math.nan,
            best_rank_at_k=math.nan,
            cost_seconds=cost_seconds,
            device=device,
            pareto=False,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the row as JSON values, None where unknown."""
        row = {
            k: to_json_value(v) for k, v in vars(self).items() if k not in ("budget", "estimate")
        }
        return {"label": row.pop("label"), "budget": self.budget.to_dict(), **row}


@dataclass(frozen=True)
class CorrelationReport:
    """All budgets of a table against its reference."""

    table: str
    space: str
    dataset: str
    reference_dataset: str
    reference: str
    split: str
    statistic: str
    confidence: float
    interval: str
    """How the intervals were made."""
    top_k: int
    n_architectures: int
    """Architectures in the table; rows with missing accuracies have fewer."""
    noise_ceiling: float
    """Correlation of the reference with itself across seeds; NaN if it has one seed."""
    rows: tuple[BudgetRow, ...]
    """In the table's order."""
    comparisons: tuple[Comparison, ...] = ()
    warnings: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    """Names of published budgets (BPE-1) by label, for those that the table holds."""

    def row(self, name: str) -> BudgetRow:
        """Return the row of a budget by its label or published name."""
        for row in self.rows:
            if name in (row.label, self.names.get(row.label)):
                return row
        raise unknown_name("budget", name, [r.label for r in self.rows])

    def front(self) -> list[BudgetRow]:
        """Return the Pareto front, cheapest first."""
        return sorted((r for r in self.rows if r.pareto), key=lambda r: r.cost_seconds)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        plain = (
            "table", "space", "dataset", "reference_dataset", "reference", "split", "statistic",
            "confidence", "interval", "top_k", "n_architectures", "noise_ceiling",
        )  # fmt: skip
        return {
            **{name: to_json_value(getattr(self, name)) for name in plain},
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


def correlate(
    table: Table,
    *,
    name: str = "",
    statistic: str = "spearman",
    split: Split | None = None,
    dataset: str | None = None,
    reference_dataset: str | None = None,
    epochs: Sequence[int] | Literal["all", "last"] = "all",
    labels: Sequence[str] | None = None,
    where: Mapping[str, Value] | None = None,
    device: str | None = None,
    top_k: int = 10,
    confidence: float = 0.95,
    interval: IntervalMethod = "influence",
    comparing: Sequence[tuple[str, str]] = (),
    device_factors: Mapping[str, float] | None = None,
    rng: np.random.Generator | None = None,
    progress: Callable[[float], None] | None = None,
) -> CorrelationReport:
    """Correlate every budget of a table with its reference.

    Parameters
    ----------
    table
        The finished trainings.
    name
        What to call the table in the report.
    statistic
        A key of `bpe_bench.ranking.STATISTICS`.
    split
        Images that accuracy is measured on; validation if the table has it, else test.
    dataset
        Data set of the settings; the table's own by default.
    reference_dataset
        Data set of the full training to correlate with; by default the same.
    epochs
        Which recorded epochs of each setting count as budgets: all of them, only the
        last, or those listed.
    labels
        Budgets to keep; all by default.
    where
        Keep only budgets with these values of hyper-parameters.
    device
        Keep only budgets whose cost was measured on this device.
    top_k
        How many of the best count for precision, regret and best rank.
    confidence
        Nominal coverage of the intervals.
    interval, rng
        How intervals are made; the bootstrap needs a generator.
    comparing
        Pairs of budgets to compare over the same architectures.
    device_factors
        Multiplies the seconds of each device, to compare costs across devices.
    progress
        Called with the share that is done.

    Raises
    ------
    UnknownNameError
        For a statistic, budget, device or split that does not exist.
    MissingReferenceError
        If the table does not name its full training.
    SelectionError
        If nothing is left to correlate.
    RankingError
        For k larger than the number of architectures; and if no budget can be ranked, because
        all its accuracies or all of the reference are equal.
    """
    check_confidence(confidence)
    if statistic not in STATISTICS:
        raise unknown_name("statistic", statistic, STATISTICS)
    notes = list(table.caveats)
    reference = _reference(table, dataset or table.dataset, reference_dataset, notes)
    settings = _select(table, dataset or table.dataset, labels, where or {}, device)
    proxies, truth_split = _proxies(table, reference, settings, split, epochs, notes)
    truth = table.accuracy(reference.label, truth_split)
    costs = _costs(settings, device_factors, notes)
    with _noting(reference.label, notes):
        seeds = table.curves_of(reference.label, truth_split).accuracy()
        ceiling = noise_ceiling(seeds, statistic)

    rows: list[BudgetRow] = []
    evidence = _Evidence(statistic, truth, {})
    for done, proxy in enumerate(proxies):
        accuracy = table.accuracy(proxy.setting.label, proxy.split, epoch=proxy.epoch)
        evidence.budgets[proxy.label] = accuracy
        both = np.isfinite(accuracy) & np.isfinite(truth)
        x, y = accuracy[both], truth[both]
        if x.size < 3:
            raise SelectionError(
                f"budget {proxy.label!r} shares {x.size} architectures with the reference "
                f"{reference.label!r}; at least 3 are needed"
            )
        with _noting(proxy.label, notes):
            found = estimate(
                x, y, statistic=statistic, confidence=confidence, method=interval, rng=rng
            )
        share = proxy.epoch / proxy.setting.budget.epochs
        rows.append(
            BudgetRow(
                label=proxy.label,
                budget=proxy.setting.budget,
                epoch=proxy.epoch,
                correlation=found.correlation,
                low=found.low,
                high=found.high,
                p_value=found.p_value,
                precision_at_k=precision_at_k(x, y, top_k),
                regret_at_k=regret_at_k(x, y, top_k),
                best_rank_at_k=best_rank_at_k(x, y, top_k),
                cost_seconds=costs[proxy.setting.label] * share,
                device=proxy.setting.device,
                pareto=False,
                share_of_ceiling=found.correlation / ceiling if ceiling > 0 else math.nan,
                setting=proxy.setting.label,
                n_architectures=x.size,
                estimate=found,
            )
        )
        if progress is not None:
            progress((done + 1) / len(proxies))
    if all(math.isnan(row.correlation) for row in rows):
        raise RankingError(
            f"nothing can be ranked: all accuracies of the reference {reference.label!r} or of "
            "every budget are equal"
        )
    _note_missing(rows, len(table.architectures), notes)
    rows = _with_front(rows, evidence, confidence, notes, normalised=bool(device_factors))
    names = table.published_names()
    return CorrelationReport(
        table=name,
        space=table.space,
        dataset=dataset or table.dataset,
        reference_dataset=reference.dataset,
        reference=reference.label,
        split=str(truth_split),
        statistic=statistic,
        confidence=confidence,
        interval=interval,
        top_k=top_k,
        n_architectures=len(table.architectures),
        noise_ceiling=ceiling,
        rows=tuple(rows),
        comparisons=tuple(_compare(rows, names, evidence, comparing, confidence)),
        warnings=tuple(notes),
        names=names,
    )


def pareto_front(costs: Sequence[float], correlations: Sequence[float]) -> list[bool]:
    """Return which budgets are on the Pareto front of cost and correlation.

    A budget is beaten if another costs no more and correlates no less, and is
    strictly better in one. Unknown costs and correlations are never on the front.

    Examples
    --------
    >>> pareto_front([1.0, 2.0, 3.0], [0.5, 0.4, 0.6])
    [True, False, True]
    """
    points = list(zip(costs, correlations, strict=True))
    known = [(c, r) for c, r in points if math.isfinite(c) and math.isfinite(r)]
    return [
        (c, r) in known and not any(a <= c and b >= r and (a, b) != (c, r) for a, b in known)
        for c, r in points
    ]


@dataclass(frozen=True)
class _Proxy:
    """What is ranked in place of full training: a setting after a recorded epoch."""

    setting: Setting
    split: Split
    epoch: int

    @property
    def label(self) -> str:
        whole = self.epoch == self.setting.budget.epochs
        return self.setting.label if whole else f"{self.setting.label}@{self.epoch}"


def _reference(table: Table, dataset: str, wanted: str | None, notes: list[str]) -> Setting:
    """Return the full training of the data set wanted, by default that of the budgets.

    If the table has a single reference, of another data set, that one is taken.
    """
    if wanted is None and len(table.references) == 1:
        (label,) = table.references
        reference = table.setting(label)
        if reference.dataset != dataset and any(s.dataset == dataset for s in table.settings):
            notes.append(
                f"the reference {label!r} is of data set {reference.dataset}, and ranked by its "
                "own split; the budgets are ranked by theirs"
            )
            return reference
    return table.reference(wanted or dataset)


def _select(
    table: Table,
    dataset: str,
    labels: Sequence[str] | None,
    where: Mapping[str, Value],
    device: str | None,
) -> list[Setting]:
    known = sorted({s.dataset for s in table.settings})
    if dataset not in known:
        raise unknown_name("data set", dataset, known)
    settings = [s for s in table.settings if s.dataset == dataset]
    for name, value in where.items():
        check_hyper_parameter(name)
        settings = [s for s in settings if getattr(s.budget, name) == value]
    if labels is not None:
        wanted = {table.setting(label).label for label in labels}
        settings = [s for s in settings if s.label in wanted]
    if device is not None:
        if device not in table.devices():
            raise unknown_name("device", device, table.devices())
        settings = [s for s in settings if s.device == device]
    return settings


def _proxies(
    table: Table,
    reference: Setting,
    settings: Sequence[Setting],
    split: Split | None,
    epochs: Sequence[int] | Literal["all", "last"],
    notes: list[str],
) -> tuple[list[_Proxy], Split]:
    """Return what to rank by, in the table's order, and the split of the reference.

    The reference itself is left out; its earlier epochs are budgets like others.
    """
    ranked_by = split or table.ranking_split(reference.label)
    table.curves_of(reference.label, ranked_by)  # refuses a split that does not exist
    recorded: set[int] = set()
    proxies = []
    for setting in settings:
        # Another data set's reference need not have the split that these should be ranked by.
        own = split or (
            ranked_by if setting.dataset == reference.dataset else _own_split(table, setting)
        )
        if (setting.label, own) not in table.curves:
            if setting.label not in table.references:
                notes.append(f"{setting.label} has no {own} accuracies and is left out")
            continue
        known = table.curves_of(setting.label, own).epochs.tolist()
        recorded.update(known)
        chosen = known if epochs == "all" else known[-1:] if epochs == "last" else epochs
        proxies += [_Proxy(setting, own, epoch) for epoch in chosen if epoch in known]
    if not isinstance(epochs, str):
        for epoch in epochs:
            if epoch not in recorded:
                raise unknown_name("epoch", str(epoch), ranges(sorted(recorded)))
    last = table.curves_of(reference.label, ranked_by).epochs[-1]
    proxies = [p for p in proxies if not (p.setting is reference and p.epoch == last)]
    if any(p.setting is reference for p in proxies):
        notes.append(
            f"earlier epochs of {reference.label} are of the same trainings as the reference and "
            "share their luck, so their correlation can exceed the noise ceiling"
        )
    if not proxies:
        raise SelectionError(
            f"no budget is left to correlate with the reference {reference.label!r}; the table has "
            f"{len(table.settings)} settings, so widen the selection"
        )
    return proxies, ranked_by


def _own_split(table: Table, setting: Setting) -> Split:
    """Return the split that a setting is ranked by: validation if it has it, else test."""
    measured = table.splits(setting.label)
    return Split.VALIDATION if Split.VALIDATION in measured else Split.TEST


def _note_missing(rows: Sequence[BudgetRow], whole: int, notes: list[str]) -> None:
    """Return a note for each setting whose rows have fewer architectures than the table."""
    for label in dict.fromkeys(row.setting for row in rows):
        fewer = [r for r in rows if r.setting == label and r.n_architectures < whole]
        if fewer:
            least = min(r.n_architectures for r in fewer)
            where = "" if len(fewer) == 1 else f" at {len(fewer)} epochs"
            notes.append(f"{label}: {whole - least} architectures are missing{where}")


def _costs(
    settings: Sequence[Setting], factors: Mapping[str, float] | None, notes: list[str]
) -> dict[str, float]:
    if not factors:
        return {s.label: s.seconds for s in settings}
    devices = sorted({s.device for s in settings if s.device})
    for name, factor in factors.items():
        if name not in devices:
            raise unknown_name("device", name, devices)
        if not 0 < factor < math.inf:
            raise SelectionError(f"the factor of device {name!r} must be above 0, found {factor}")
    said = ", ".join(f"{name} x {factors.get(name, 1.0):g}" for name in devices)
    notes.append(f"costs are normalised across devices by the factors given: {said}")
    return {s.label: s.seconds * factors.get(s.device, 1.0) for s in settings}


@contextmanager
def _noting(label: str, notes: list[str]) -> Iterator[None]:
    """Turn warnings into notes, each once."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", BpeBenchWarning)
        yield
    notes.extend(dict.fromkeys(f"{label}: {w.message}" for w in caught))


@dataclass(frozen=True)
class _Evidence:
    """The accuracies behind the rows: shape (A,) each, NaN where missing."""

    statistic: str
    truth: FloatArray
    budgets: dict[str, FloatArray]

    def pair(self, first: BudgetRow, second: BudgetRow) -> tuple[Estimate, Estimate] | None:
        """Return two budgets' estimates over the architectures that both have, if there are 3."""
        accuracies = [self.budgets[row.label] for row in (first, second)]
        shared = np.isfinite([*accuracies, self.truth]).all(axis=0)
        n = int(shared.sum())
        if n < 3:
            return None
        a, b = first.estimate, second.estimate
        if a is not None and b is not None and a.n == b.n == n:
            return a, b
        with _noting("", []):  # an undefined correlation shows as NaN
            a, b = (
                estimate(x[shared], self.truth[shared], statistic=self.statistic)
                for x in accuracies
            )
        return a, b


def _with_front(
    rows: Sequence[BudgetRow],
    evidence: _Evidence,
    confidence: float,
    notes: list[str],
    *,
    normalised: bool,
) -> list[BudgetRow]:
    """Mark the Pareto front, and its budgets that are not separable from the next cheaper one."""
    on_front = pareto_front([r.cost_seconds for r in rows], [r.correlation for r in rows])
    front = sorted(
        (r for r, on in zip(rows, on_front, strict=True) if on), key=lambda r: r.cost_seconds
    )
    devices = sorted({r.device for r in front if r.device})
    if len(devices) > 1 and not normalised:
        notes.append(
            f"the Pareto front mixes costs measured on different devices ({', '.join(devices)}); "
            "they are compared as recorded"
        )
    twins: dict[str, str] = {}
    for cheaper, row in itertools.pairwise(front):
        pair = evidence.pair(cheaper, row)
        names = (cheaper.label, row.label)
        found = None if pair is None else compare(names, pair, confidence=confidence)[0]
        if found is None or not (found.separable and found.difference > 0):
            twins[row.label] = cheaper.label
    return [
        BudgetRow(
            **{**vars(row), "pareto": on, "not_separable_from": twins.get(row.label)},
        )
        for row, on in zip(rows, on_front, strict=True)
    ]


def _compare(
    rows: Sequence[BudgetRow],
    published: Mapping[str, str],
    evidence: _Evidence,
    comparing: Sequence[tuple[str, str]],
    confidence: float,
) -> list[Comparison]:
    by_name = {row.label: row for row in rows}
    by_name |= {name: by_name[label] for label, name in published.items() if label in by_name}
    names: list[str] = []
    estimates: list[Estimate] = []
    for pair in comparing:
        for name in pair:
            if name not in by_name:
                raise unknown_name("budget", name, by_name)
        found = evidence.pair(by_name[pair[0]], by_name[pair[1]])
        if found is None:
            raise SelectionError(
                f"cannot compare {pair[0]!r} and {pair[1]!r}: they share fewer than 3 architectures"
            )
        names.extend(pair)
        estimates.extend(found)
    places = [(i, i + 1) for i in range(0, len(names), 2)]
    return compare(names, estimates, confidence=confidence, pairs=places)
