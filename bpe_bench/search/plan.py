"""A whole search from a plan: searchers, estimator, repeats and comparisons."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..budget import parse_budget
from ..errors import SelectionError, unknown_name
from ..estimators import Estimator, ProxyEstimator, SurrogateEstimator, TableEstimator
from ..execution.campaign import dataset_name, default_budgets
from ..execution.readiness import check_ready
from ..spaces import get_space
from ..surrogate import load_surrogate
from ..tables.catalog import entries, open_table_of
from ..tables.table import Setting, Table
from ..training.devices import check_device
from ..training.own_trainer import AnyTrainer
from .base import Searcher
from .comparison import SearcherComparison, compare_searchers
from .darts import Darts
from .evolution import RegularizedEvolution
from .loop import _check_allowance, repeat_search
from .random_search import RandomSearch
from .reinforce import Reinforce
from .summary import SearchReport, _to_frame, summarise
from .trace import SearchTrace

if TYPE_CHECKING:
    import pandas as pd

SEARCHERS: Mapping[str, type[Searcher]] = {
    searcher.name: searcher for searcher in (RandomSearch, RegularizedEvolution, Reinforce, Darts)
}
"""All searchers by name."""
_TABLE_SECONDS = 12_000.0
"""Default allowance over a table, that of the published NAS-Bench-201 searches."""
_EVALUATIONS = {"train": 6, "surrogate": 100}
"""Default number of evaluations."""
_PUBLISHED_EVOLUTION = {"population": 50, "tournament": 10}
_WORTH_PROCESSES = 50
"""From so many repeats without training on, several processes save time."""


@dataclass(frozen=True)
class SearchPlan:
    """What to search, how, and for how long. None means: chosen to suit the rest."""

    space: str
    searcher: str = "random"
    """A key of `SEARCHERS`, or ``"all"`` to compare them; without training darts is left out."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Parameters of the searcher; with ``"all"`` each searcher takes those that it has."""
    published: bool = False
    """Whether evolution and reinforce have the parameters of Zheng et al., CVPR 2020."""
    estimator: Literal["table", "surrogate", "train"] = "table"
    table: str | None = None
    """Name or path; by default the registered table of the whole space. For a surrogate, the
    table that it was fitted to, whose accuracies then judge what is found."""
    dataset: str | None = None
    """Data set of a table's signal."""
    report_dataset: str | None = None
    """Data set of a table's final figures."""
    table_seeds: str = "mean"
    """``"mean"`` over a table's trainings, or ``"random"`` for one of them."""
    split: str | None = None
    """Split of a table's signal; None for validation. Test accuracies steer only if asked for."""
    missing: str = "never"
    """Whether architectures that a table lacks are ``"never"`` proposed, or count as
    ``"failed"``."""
    budget: str | None = None
    """Budget of the evaluations: a setting's label, or a budget as text."""
    surrogate: str | Path | None = None
    extrapolate: bool = False
    """Whether a surrogate may predict outside of the ranges that it was fitted to."""
    images: str | Path | None = None
    """Images for trainings and supernets; None for the bundled digits."""
    device: str = "cpu"
    trainer: AnyTrainer | None = None
    """One's own trainer (`bpe_bench.training.own_trainer`)."""
    store: str | Path = "bpe-bench-trainings.sqlite"
    """Store of the trainings; finished trainings in it are not repeated."""
    evaluations: int | None = None
    seconds: float | None = None
    """Simulated device seconds."""
    repeats: int | None = None
    jobs: int | None = None
    seed: int = 0
    target: float | None = None
    """Validation accuracy whose time to reach is reported."""
    confidence: float = 0.95


@dataclass(frozen=True)
class SearchResult:
    """Results of the searches of a plan."""

    reports: tuple[SearchReport, ...]
    """One per searcher."""
    comparisons: tuple[SearcherComparison, ...]
    """Comparisons of every two searchers."""
    traces: tuple[SearchTrace, ...]
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return reports and comparisons as JSON values."""
        return {
            "rows": [report.to_json() for report in self.reports],
            "comparisons": [comparison.to_json() for comparison in self.comparisons],
        }

    def to_frame(self) -> pd.DataFrame:
        """Return a line per searcher."""
        return _to_frame(self.reports)


def run_plan(plan: SearchPlan, on_progress: Callable[[float], None] | None = None) -> SearchResult:
    """Run all searches of a plan.

    Parameters
    ----------
    plan
        The plan.
    on_progress
        Called from time to time with the share of the work that is done.

    Raises
    ------
    SelectionError
        If parts of the plan contradict each other.
    UnknownNameError
        If it names something that does not exist.
    """
    if plan.table is None and plan.surrogate is None:
        get_space(plan.space)  # otherwise what is opened may declare it
    training = plan.estimator == "train"
    by_default = plan.evaluations is None and plan.seconds is None
    if by_default:
        evaluations = _EVALUATIONS.get(plan.estimator)
        plan = replace(
            plan, evaluations=evaluations, seconds=None if evaluations else _TABLE_SECONDS
        )
    _check_allowance(plan.evaluations, plan.seconds)
    repeats = (2 if training else 100) if plan.repeats is None else plan.repeats
    processes = (os.cpu_count() or 1) if training or repeats >= _WORTH_PROCESSES else 1
    if training:
        check_ready(plan.store, None if plan.trainer else plan.device)
    elif plan.searcher == "darts":
        check_device(plan.device)
    name, estimator = _estimator(plan)
    searchers = _searchers(plan)
    reports, traces = [], []
    for place, searcher in enumerate(searchers):
        found = repeat_search(
            searcher,
            estimator,
            repeats=repeats,
            seed=plan.seed + place,
            evaluations=plan.evaluations,
            seconds=plan.seconds,
            charge_repeats=not training,  # a trained network's result is kept
            jobs=processes if plan.jobs is None else plan.jobs,
            on_progress=_share(on_progress, place, len(searchers)),
        )
        traces += found
        reports.append(summarise(found, estimator, table=name, target=plan.target))
    warnings = [warning for report in reports for warning in report.warnings]
    if by_default and plan.seconds and min(r.evaluations_mean for r in reports) < 2:
        warnings.append(
            f"the default allowance of {plan.seconds:,.0f} s is used up by one evaluation under "
            "this budget; allow more with --seconds or --evaluations"
        )
    return SearchResult(
        tuple(reports),
        tuple(compare_searchers(reports, confidence=plan.confidence)),
        tuple(traces),
        tuple(dict.fromkeys(warnings)),
    )


def make_searcher(name: str, **parameters: Any) -> Searcher:
    """Return a searcher by name.

    Raises
    ------
    UnknownNameError
        If no searcher has that name, or it has no such parameter.
    """
    if name not in SEARCHERS:
        raise unknown_name("searcher", name, SEARCHERS)
    known = SEARCHERS[name]().parameters()
    for parameter in parameters:
        if parameter not in known:
            raise unknown_name("parameter", parameter, known, of=f"searcher {name!r}")
    return SEARCHERS[name](**parameters)


def _share(
    on_progress: Callable[[float], None] | None, place: int, count: int
) -> Callable[[float], None] | None:
    if on_progress is None:
        return None
    return lambda share: on_progress((place + share) / count)


def _searchers(plan: SearchPlan) -> list[Searcher]:
    """Return the searchers of a plan; with ``"all"`` each takes the parameters that it has."""
    if plan.searcher != "all":
        return [
            make_searcher(plan.searcher, **{**_defaults(plan.searcher, plan), **plan.parameters})
        ]
    # Over a table, or by one's own trainer, darts would train on images that others never see.
    able = plan.estimator == "train" and plan.trainer is None
    able = able and "supernet" in get_space(plan.space).abilities
    names = [name for name in SEARCHERS if able or name != "darts"]
    has = {name: SEARCHERS[name]().parameters() for name in names}
    for given in plan.parameters:
        if not any(given in parameters for parameters in has.values()):
            known = dict.fromkeys(itertools.chain(*has.values()))
            raise unknown_name("parameter", given, known, of="any searcher")
    parts = {n: {k: v for k, v in plan.parameters.items() if k in has[n]} for n in names}
    return [make_searcher(name, **{**_defaults(name, plan), **parts[name]}) for name in names]


def _defaults(name: str, plan: SearchPlan) -> dict[str, Any]:
    """Return the parameters of a searcher that follow from the rest of the plan."""
    if name == "evolution":
        few = plan.evaluations is not None and plan.evaluations < 30
        population = max(2, (plan.evaluations or 0) // 3) if few else 10
        return _PUBLISHED_EVOLUTION if plan.published else {"population": population}
    if name == "reinforce" and plan.published:
        return Reinforce.published("pruned").parameters()
    if name == "darts":
        text = plan.budget if plan.estimator == "train" else None
        return {
            "budget": parse_budget(text or default_budgets(plan.space, plan.images)[0]),
            "images": plan.images,
            "device": plan.device,
            "checkpoints": Path(plan.store).with_suffix(".supernets"),
        }
    return {}


def _estimator(plan: SearchPlan) -> tuple[str, Estimator]:
    """Return the estimator, and the name of the table if it is a table."""
    if plan.estimator == "surrogate":
        return _surrogate(plan)
    if plan.estimator == "table":
        name, table = whole_table(plan.space, plan.table)
        return name, TableEstimator(
            table,
            plan.budget,
            dataset=plan.dataset,
            report_dataset=plan.report_dataset,
            seeds=plan.table_seeds,
            split=plan.split,
            missing=plan.missing,
        )
    if plan.trainer is not None:
        return "", _by_own_trainer(plan)
    get_space(plan.space, having="network")
    return "", ProxyEstimator(
        plan.space,
        parse_budget(plan.budget or default_budgets(plan.space, plan.images)[0]),
        plan.store,
        dataset_name(plan.images),
        images=plan.images,
        device=plan.device,
    )


def _by_own_trainer(plan: SearchPlan) -> Estimator:
    if plan.budget is None:
        raise SelectionError(
            "a trainer of your own needs --budget, because its budgets have no default; for "
            "instance --budget epochs=2"
        )
    if plan.searcher == "darts":
        raise SelectionError(
            "darts trains a supernet of its own, not by --trainer; choose random, evolution or "
            "reinforce"
        )
    budget = parse_budget(plan.budget, complete=False)
    return ProxyEstimator(plan.space, budget, plan.store, trainer=plan.trainer)


def _surrogate(plan: SearchPlan) -> tuple[str, Estimator]:
    """Return a fitted surrogate at a budget; a table of the whole space judges it."""
    if plan.surrogate is None:
        raise SelectionError(
            "--estimator surrogate needs --surrogate FILE; make one with: bpe-bench surrogate fit "
            "TABLE -o FILE"
        )
    fitted = load_surrogate(plan.surrogate)
    if fitted.space != plan.space:
        raise SelectionError(
            f"the surrogate {plan.surrogate} is of space {fitted.space!r}, not of {plan.space!r}"
        )
    for option, found, has in (
        ("--dataset", plan.dataset, fitted.dataset),
        ("--table-seeds", plan.table_seeds, "mean"),
    ):
        if found not in (None, has):
            raise SelectionError(f"{option} {found}: the surrogate predicts {has!r}; leave it out")
    name, table, judge, notes = fitted.table, None, None, fitted.notes
    if plan.table is not None:
        name, table = open_table_of(plan.space, plan.table)
        fitted.check_table(table)
        if len(table.architectures) >= get_space(plan.space).size:
            judge = TableEstimator(
                table, dataset=fitted.dataset, report_dataset=plan.report_dataset
            )
        else:
            part = f"the table does not hold every architecture of {plan.space}"
            notes = (*notes, f"{part}, so final figures are not looked up in it")
    if fitted.given and judge is None:
        raise SelectionError(
            f"the surrogate must know the accuracy under {', '.join(fitted.given)} of every "
            "architecture of the search; "
            "name a table of the whole space (--table)"
        )
    if plan.budget is None:
        budget = max(fitted.settings, key=_length).budget
    else:
        budget = fitted.budget_of(plan.budget)
    return name, SurrogateEstimator(
        fitted.at(budget, table=table, extrapolate=plan.extrapolate),
        judge=judge,
        dataset=fitted.dataset,
        budget=budget,
        notes=notes,
    )


def _length(setting: Setting) -> tuple[int, float]:
    return setting.budget.epochs, setting.seconds if math.isfinite(setting.seconds) else math.inf


def whole_table(space: str, table: str | None = None) -> tuple[str, Table]:
    """Open the named table, or the registered one that holds the whole space.

    Returns
    -------
    str, Table
        Its name, and the table.
    """
    # nas-bench-201-curves comes first among those of its space, but holds 200 architectures.
    return open_table_of(space, space if table is None and space in entries() else table)
