"""Where the evaluations of a planned search come from: a table, a surrogate, or training."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..budget import parse_budget
from ..errors import SelectionError
from ..estimators import Estimator, ProxyEstimator, SurrogateEstimator, TableEstimator
from ..execution.campaign import dataset_name, default_budgets
from ..spaces import get_space
from ..surrogate import load_surrogate
from ..tables.catalog import TableLike, entries, open_table_of
from ..tables.table import Setting, Table

if TYPE_CHECKING:
    from .plan import SearchPlan


def estimator_of(plan: SearchPlan) -> tuple[str, Estimator]:
    """Return the estimator, and the name of the table if it is a table."""
    if plan.estimator == "surrogate":
        return _surrogate(plan)
    if plan.estimator == "table":
        name, table = _whole_table(plan.space, plan.table)
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
        split=fitted.split,
        notes=notes,
    )


def _length(setting: Setting) -> tuple[int, float]:
    return setting.budget.epochs, setting.seconds if math.isfinite(setting.seconds) else math.inf


def _whole_table(space: str, table: TableLike | None = None) -> tuple[str, Table]:
    """Open the named table, or the registered one that holds the whole space.

    Returns
    -------
    str, Table
        Its name, and the table.
    """
    # nas-bench-201-curves comes first among those of its space, but holds 200 architectures.
    return open_table_of(space, space if table is None and space in entries() else table)
