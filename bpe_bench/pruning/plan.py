"""The objective of a pruning from a plan: a table, a surrogate or trainings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..budget import Budget, BudgetSpace, parse_budget, parse_candidates
from ..correlation.selection import Selection
from ..errors import SelectionError
from ..execution.campaign import choose_architectures, dataset_name, default_budgets
from ..execution.readiness import check_ready
from ..hyper_parameters import Value
from ..search import SearchPlan, make_searcher
from ..spaces import get_space
from ..surrogate import FittedSurrogate, Question, fit_surrogate, load_surrogate
from ..tables.catalog import TableLike, open_table_of
from ..tables.table import Split
from ..training.own_trainer import AnyTrainer, OwnTrainer
from .objective import Objective, ObjectiveKind, Replay
from .predicted import SurrogateObjective
from .report import PruningReport
from .trained import Trained, Watch, _unwatched, _Workplace

_DIGITS_VARY = ("epochs=1,2", "channels=2,4", "layers={layers}", "data_fraction=0.5,1")
_VARY = ("epochs=2,4,8", "layers={layers}", "channels=4,8,16", "image_size=8,16")


@dataclass(frozen=True)
class ObjectivePlan:
    """The source of correlations. None means: chosen to suit the rest."""

    space: str | None = None
    """By default that of the table or surrogate."""
    objective: ObjectiveKind = "replay"
    table: TableLike | None = None
    """Name, path or object; by default the first registered one of the space."""
    statistic: str | None = None
    """By default that of the surrogate, else Spearman's."""
    split: Split | None = None
    reference_split: Split | None = None
    """Split of the accuracies of full training; by default that of the others."""
    where: Mapping[str, Value] | None = None
    """Values that the settings of a table must have."""
    top_k: int | None = None
    confidence: float = 0.95
    vary: Mapping[str, Sequence[Value]] = field(default_factory=dict)
    """Values of hyper-parameters to vary, for a surrogate or for training."""
    surrogate: str | Path | None = None
    """File of a surrogate of correlations; by default one is fitted to the table."""
    extrapolate: bool = False
    """Whether a surrogate may predict outside of the ranges that it was fitted to."""
    architectures: str = "sample:8"
    """The architectures to train, as text (`bpe_bench.execution.campaign.choose_architectures`)."""
    budget: str | None = None
    """For training: the budget whose other values are kept."""
    reference: str | None = None
    """What counts as full training: a setting of the table, or for training a budget as text."""
    images: str | Path | None = None
    device: str = "cpu"
    trainer: AnyTrainer | None = None
    """For training: one's own trainer (`bpe_bench.training.own_trainer`)."""
    jobs: int | None = None
    store: str | Path = "bpe-bench-mip.sqlite"
    max_device_hours: float | None = None


def make_objective(
    plan: ObjectivePlan, rng: np.random.Generator, watch: Watch = _unwatched
) -> Objective:
    """Return the source of correlations that a plan describes.

    Parameters
    ----------
    plan
        The plan.
    rng
        Draws architectures and settings, and seeds a surrogate.
    watch
        Shows the progress of fitting and training.

    Raises
    ------
    SelectionError
        If parts of the plan contradict each other.
    """
    if plan.objective == "train":
        return _trained(plan, rng, watch)
    if plan.objective == "surrogate":
        return SurrogateObjective.of(
            _fitted(plan, rng, watch),
            rng=rng,
            vary=plan.vary,
            confidence=plan.confidence,
            extrapolate=plan.extrapolate,
        )
    name, table = open_table_of(plan.space, plan.table)
    if plan.reference is not None:
        table = table.with_reference(plan.reference)
    return Replay.of(
        table,
        name=name,
        statistic=plan.statistic or "spearman",
        selection=Selection(
            split=plan.split, reference_split=plan.reference_split, where=plan.where
        ),
        top_k=plan.top_k,
        confidence=plan.confidence,
    )


def plan_search(
    report: PruningReport,
    searcher: str,
    plan: ObjectivePlan,
    *,
    evaluations: int | None = None,
    seed: int = 0,
) -> tuple[SearchPlan, tuple[str, ...]]:
    """Plan one search with the budget that a pruning recommends.

    Over its table, which may hold a part of the space; by training if the plan names images,
    or no table holds the budget.

    Parameters
    ----------
    report
        The report of the pruning.
    searcher
        A key of `bpe_bench.search.SEARCHERS`.
    plan
        The plan of the pruning's objective, with table, split, images, device and store.
    evaluations
        By default 6 by training; over a table a quarter of its architectures, at most 100.
    seed
        Seed of the search.

    Returns
    -------
    SearchPlan, tuple of str
        The plan, and what its user has to know, one sentence each.

    Raises
    ------
    SelectionError
        If no budget is recommended.
    """
    best = report.best()
    if best is None:
        raise SelectionError(
            f"there is no budget to search with: {report.answer.splitlines()[0]} Without "
            "--then-search the pruning is shown"
        )
    if over_table(plan):
        return SearchPlan(
            report.space,
            searcher,
            table=report.table,
            budget=best.row.setting,
            dataset=report.choices["dataset"],
            split=plan.split,
            evaluations=evaluations or max(1, min(100, report.choices["architectures"] // 4)),
            repeats=1,
            seed=seed,
        ), ()
    budget, notes = best.row.budget, list[str]()
    if plan.objective == "surrogate" and plan.images is None:
        notes.append("the search trains on the bundled digits, as --data names no other images")
    if plan.device == "cpu" and not plan.trainer and budget.precision != "fp32":
        notes.append(f"the search trains in fp32: on a CPU {budget.precision} saves nothing")
        budget = budget.replace(precision="fp32")
    return SearchPlan(
        report.space,
        searcher,
        estimator="train",
        budget=str(budget),
        images=plan.images,
        device=plan.device,
        trainer=plan.trainer,
        store=plan.store,
        evaluations=evaluations or 6,
        repeats=1,
        jobs=1,
        seed=seed,
    ), tuple(notes)


def over_table(plan: ObjectivePlan) -> bool:
    """Return whether a search that follows looks up accuracies instead of training."""
    return plan.objective == "replay" and plan.images is None


def check_search(searcher: str, objective: Objective, plan: ObjectivePlan) -> None:
    """Check before the pruning whether a search may follow.

    Raises
    ------
    UnknownNameError
        If there is no such searcher.
    SelectionError
        If test accuracies of a table would steer it, and nobody asked for that, or if it has
        to train on images and none are named.
    """
    make_searcher(searcher)
    if over_table(plan) and searcher == "darts":
        raise SelectionError(
            "darts trains a network on images and asks no table, found --then-search darts without "
            "--data; name images, for instance --data digits, or take another searcher"
        )
    if not over_table(plan):
        check_ready(plan.store, None if plan.trainer else plan.device)
    if over_table(plan) and plan.split is None and objective.choices["split"] == Split.TEST:
        raise SelectionError(
            f"a search over {objective.name} would be steered by test accuracies, as it has no "
            "others; allow that with --split test, or train on images with --data, for instance "
            "--data digits"
        )


def _trained(plan: ObjectivePlan, rng: np.random.Generator, watch: Watch) -> Trained:
    if plan.space is None:
        raise SelectionError(
            "real training needs a space, found none; name one, for instance --space darts"
        )
    own = None if plan.trainer is None else OwnTrainer.of(plan.trainer)
    get_space(plan.space, having=None if own else "network")
    check_ready(plan.store, plan.device if own is None else None)
    if plan.split not in (None, Split.VALIDATION):
        raise SelectionError(
            f"real training ranks by validation images, found --split {plan.split}; leave it out"
        )
    budget, reference = _own_budgets(plan) if own else _budgets(plan, plan.space)
    return Trained(
        settings=BudgetSpace.around(budget, plan.vary or _default_vary(plan.space, plan.images)),
        reference=reference,
        architectures=choose_architectures(plan.architectures, plan.space, rng),
        workplace=_Workplace(
            store=plan.store,
            dataset=own.dataset if own else dataset_name(plan.images),
            source=plan.images,
            device=plan.device,
            jobs=plan.jobs,
            trainer=own,
        ),
        rng=rng,
        statistic=plan.statistic or "spearman",
        confidence=plan.confidence,
        max_device_hours=math.inf if plan.max_device_hours is None else plan.max_device_hours,
        watch=watch,
    )


def _budgets(plan: ObjectivePlan, space: str) -> tuple[Budget, Budget]:
    """Return the budget to vary, and the reference."""
    defaults = default_budgets(space, plan.images)
    if plan.reference is None and len(defaults) < 2:
        raise SelectionError(
            "--reference must say what counts as full training on these images, for instance "
            "--reference BPE-2; there is a default for the digits only"
        )
    return parse_budget(plan.budget or defaults[0]), parse_budget(plan.reference or defaults[1])


def _own_budgets(plan: ObjectivePlan) -> tuple[Budget, Budget]:
    """Return the same for one's own trainer, which has no defaults but the reference to vary."""
    if plan.reference is None or not plan.vary:
        raise SelectionError(
            "a trainer of your own needs --reference and --vary, because its budgets have no "
            "default; for instance --reference epochs=8 --vary epochs=1,2,4 --vary "
            "data_fraction=0.25,1"
        )
    reference = parse_budget(plan.reference, complete=False)
    return parse_budget(plan.budget, complete=False) if plan.budget else reference, reference


def _default_vary(space: str, images: str | Path | None) -> dict[str, tuple[Value, ...]]:
    layers, texts = get_space(space).layers_to_vary, _VARY
    if images in (None, "digits"):
        layers, texts = layers[:2], _DIGITS_VARY
    return parse_candidates([text.format(layers=",".join(map(str, layers))) for text in texts])


def _fitted(plan: ObjectivePlan, rng: np.random.Generator, watch: Watch) -> FittedSurrogate:
    """Read the named surrogate, or fit one to the table."""
    if plan.surrogate is None:
        name, table = open_table_of(plan.space, plan.table)
        question = Question("correlation", split=plan.split, statistic=plan.statistic or "spearman")
        with watch("fitting the surrogate") as progress:
            return fit_surrogate(table, question, rng=rng, name=name, progress=progress)
    fitted = load_surrogate(plan.surrogate)
    if plan.space not in (None, fitted.space):
        raise SelectionError(
            f"the surrogate {plan.surrogate} is of space {fitted.space!r}, not of {plan.space!r}"
        )
    asked = (("statistic", plan.statistic, fitted.statistic), ("split", plan.split, fitted.split))
    for option, found, has in asked:
        if found is not None and str(found) != has:
            raise SelectionError(
                f"the surrogate {plan.surrogate} predicts by {option} {has!r}, found --{option} "
                f"{found}; leave it out, or fit another surrogate"
            )
    if plan.table is not None:
        fitted.check_table(open_table_of(plan.space, plan.table)[1])
    return fitted
