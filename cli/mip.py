"""``bpe-bench mip``: prune the hyper-parameters of a budget by importance."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import click

from ._commands import Group
from ._mip_options import mip_options, refuse_unused
from ._mip_output import pruning_tables, whole_answer
from ._options import common, is_given, of_fields, of_recipe, ranking, refuse_stray
from ._output import Output
from .mip_evaluate import evaluate

if TYPE_CHECKING:
    from bpe_bench.pruning import ObjectivePlan, PruningReport, Rules
    from bpe_bench.search import SearchReport


@click.group(cls=Group, invoke_without_command=True)
@mip_options
@ranking
@common
@click.pass_context
def mip(
    ctx: click.Context,
    /,
    space: str | None,
    evidence: str | None,
    max_cost_hours: tuple[float, ...],
    predictions: int,
    then_search: str | None,
    evaluations: int | None,
    seed: int,
    draw: Callable[[str, Any], None],
    out: Output,
    **options: Any,
) -> None:
    """Find out which hyper-parameters of a budget matter, and which budgets to use.

    Minimum importance pruning (Zheng et al., CVPR 2020): round by round the
    hyper-parameter that matters least for the correlation with full training
    is pinned at its cheapest value. Says of every step whether the data carry
    it, and prunes nothing that they do not, unless told to with --force.

    \b
    Example:
      bpe-bench mip --space darts --max-cost-hours 0.1 --max-cost-hours 0.6

    \b
    With real training, on the digits that come with scikit-learn:
      bpe-bench mip --space darts --objective train
    """
    if ctx.invoked_subcommand is not None:
        return
    if not (space or options["table"] or options["surrogate"]):
        raise click.UsageError(
            "mip needs --space or --table, found neither; for instance --space darts"
        )
    from bpe_bench.pruning import check_search, make_objective, prune
    from bpe_bench.randomness import as_generator

    rng = as_generator(seed)
    rules = _rules(options, evidence)
    refuse_stray(of_recipe(options["trainer"]))
    refuse_unused(
        options["objective"],
        sequential=rules.sequential,
        searches=then_search is not None,
        trains=options["images"] is not None,
    )
    plan = _plan(space, options, statistic_given=is_given(ctx, "statistic"))
    objective = make_objective(plan, rng, out.progress)
    if then_search is not None:
        check_search(then_search, objective, plan)
    # Trainings show their own progress.
    training = options["objective"] == "train"
    with nullcontext() if training else out.progress("pruning") as progress:
        report = prune(
            objective,
            rules,
            rng=rng,
            max_cost_hours=max_cost_hours,
            predictions=predictions,
            progress=progress,
        )
    found, notes = None, list(report.warnings)
    if then_search is not None:
        found, said = _search(report, then_search, plan, evaluations, seed, out)
        notes = [*said, *notes]
    out.emit(lambda: _json(report, found), report.to_frame, lambda: pruning_tables(report, found))
    draw("pruning_figure", report)
    out.warn(notes, None if training else report.table)


def _rules(options: dict[str, Any], evidence: str | None) -> Rules:
    from bpe_bench.pruning import Rules

    training = options["objective"] == "train"
    for name, trained, replayed in (("initial", 8, 12), ("per_round", 3, 4)):
        if options[name] is None:
            options[name] = trained if training else replayed
    sequential = evidence == "sequential" or (evidence is None and training)
    return Rules(sequential=sequential, **of_fields(Rules, options))


def _plan(space: str | None, options: dict[str, Any], *, statistic_given: bool) -> ObjectivePlan:
    from bpe_bench.budget import parse_candidates, parse_values
    from bpe_bench.pruning import ObjectivePlan
    from bpe_bench.tables.table import Split

    if not statistic_given:
        options["statistic"] = None
    for name in ("split", "reference_split"):
        options[name] = options[name] and Split(options[name])
    options["where"] = options["where"] and parse_values(options["where"])
    options["vary"] = parse_candidates(options["vary"])
    return ObjectivePlan(space, **of_fields(ObjectivePlan, options))


def _search(
    report: PruningReport,
    searcher: str,
    plan: ObjectivePlan,
    evaluations: int | None,
    seed: int,
    out: Output,
) -> tuple[SearchReport, list[str]]:
    """Search with the recommended budget; return what was found and what to know of it."""
    from bpe_bench.pruning import plan_search
    from bpe_bench.search import run_plan

    search, notes = plan_search(report, searcher, plan, evaluations=evaluations, seed=seed)
    with out.progress(f"searching by {searcher}") as progress:
        result = run_plan(search, progress)
    return result.reports[0], [*notes, *result.warnings]


def _json(report: PruningReport, found: SearchReport | None) -> dict[str, Any]:
    values = report.to_json()
    if found is not None:
        values["answer"] = whole_answer(report, found)
        values["search"] = found.to_json()
        values["costs"] = {
            "pruning_hours": report.cost_hours,
            "search_hours": found.simulated_seconds / 3600,
        }
    return values


mip.add_command(evaluate)
