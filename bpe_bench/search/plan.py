"""A whole search from a plan: searchers, estimator, repeats and comparisons."""

from __future__ import annotations

import copy
import itertools
import os
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..budget import parse_budget
from ..errors import unknown_name
from ..estimators import Estimator
from ..execution.campaign import default_budgets
from ..execution.readiness import check_ready
from ..files import Shown
from ..inference import check_confidence
from ..spaces import get_space
from ..tables.catalog import TableLike
from ..training.own_trainer import AnyTrainer, OwnTrainer
from .answers import answer_of_several
from .base import Searcher
from .comparison import SearcherComparison, compare_searchers
from .darts import Darts
from .evolution import RegularizedEvolution
from .loop import _check_allowance, repeat_search
from .random_search import RandomSearch
from .reinforce import Reinforce
from .sources import estimator_of
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
    table: TableLike | None = None
    """Name, path or object; by default the registered table of the whole space. For a surrogate,
    the table that it was fitted to, whose accuracies then judge what is found."""
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

    @property
    def trains_on_images(self) -> bool:
        """Whether networks or a supernet are trained here, not by one's own trainer."""
        return self.searcher == "darts" or (self.estimator == "train" and self.trainer is None)


@dataclass(frozen=True, repr=False)
class SearchResult(Shown):
    """Results of the searches of a plan."""

    _columns = SearchReport._columns

    reports: tuple[SearchReport, ...]
    """One per searcher."""
    comparisons: tuple[SearcherComparison, ...]
    """Comparisons of every two searchers."""
    traces: tuple[SearchTrace, ...]
    warnings: tuple[str, ...]

    @property
    def answer(self) -> str:
        """What was found and what it is worth, in a sentence or two; of several, by which."""
        if len(self.reports) == 1:
            return self.reports[0].answer
        return answer_of_several(self.reports, self.comparisons)

    def to_json(self) -> dict[str, Any]:
        """Return reports and comparisons as JSON values."""
        return {
            "answer": self.answer,
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
    by_default = _not_given(plan)
    if "allowance" in by_default:
        evaluations = _EVALUATIONS.get(plan.estimator)
        plan = replace(
            plan, evaluations=evaluations, seconds=None if evaluations else _TABLE_SECONDS
        )
    _check_allowance(plan.evaluations, plan.seconds)
    check_confidence(plan.confidence)
    trains = training or plan.searcher == "darts"
    if trains:
        check_ready(plan.store, None if plan.trainer else plan.device)
    repeats = (2 if trains else 100) if plan.repeats is None else plan.repeats
    processes = (os.cpu_count() or 1) if trains or repeats >= _WORTH_PROCESSES else 1
    name, estimator = estimator_of(plan)
    searchers = _searchers(plan)
    choices = _choices(plan, estimator, repeats, by_default)
    space = getattr(estimator, "search_space", None) or get_space(plan.space)
    for searcher in searchers:  # all of them before the first one's work
        copy.copy(searcher).start(space, np.random.default_rng(0), plan.evaluations)
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
        report = summarise(
            found, estimator, table=name, target=plan.target, confidence=plan.confidence
        )
        reports.append(replace(report, choices=choices))
    warnings = [warning for report in reports for warning in report.warnings]
    if training and any(report.failed_evaluations for report in reports):
        store = shlex.quote(str(plan.store))
        reasons = f"the reasons why trainings failed: bpe-bench train status --store {store}"
        warnings.insert(0, reasons)
    counts = [r.evaluations_mean for r in reports if r.searcher != "darts"]  # it makes one
    if "allowance" in by_default and plan.seconds and min(counts, default=2) < 2:
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


def _not_given(plan: SearchPlan) -> list[str]:
    """Return what a plan leaves to be chosen, of what its searches use."""
    left = {
        "allowance": plan.evaluations is None and plan.seconds is None,
        "repeats": plan.repeats is None,
        "budget": plan.budget is None,
        "images": plan.trains_on_images and plan.images is None,
    }
    return [name for name, is_left in left.items() if is_left]


def _choices(
    plan: SearchPlan, estimator: Estimator, repeats: int, by_default: list[str]
) -> dict[str, Any]:
    """Return what searches were made with, whoever chose it."""
    trains = plan.trains_on_images
    return {
        "budget": getattr(estimator, "budget_name", None) or str(estimator.budget),
        "evaluations": plan.evaluations,
        "seconds": plan.seconds,
        "repeats": repeats,
        "seed": plan.seed,
        "images": str(plan.images or "digits") if trains else None,
        "device": plan.device if trains else None,
        "trainer": None if plan.trainer is None else OwnTrainer.of(plan.trainer).name,
        "by_default": by_default,
    }


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
