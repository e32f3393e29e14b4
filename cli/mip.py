"""``bpe-bench mip``: prune the hyper-parameters of a budget by importance."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import click

from ._commands import Group
from ._mip_options import mip_options, refuse_unused
from ._mip_output import pruning_tables, search_lines
from ._options import common, is_given, of_fields, ranking
from ._output import Output
from .mip_evaluate import evaluate

if TYPE_CHECKING:
    from bpe_bench.pruning import PruningReport
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
    if space is None:
        raise click.MissingParameter(param_hint="'--space'", param_type="option", ctx=ctx)
    from bpe_bench.budget import parse_candidates, parse_values
    from bpe_bench.pruning import ObjectivePlan, Rules, make_objective, plan_search, prune
    from bpe_bench.randomness import as_generator
    from bpe_bench.search import make_searcher, run_plan
    from bpe_bench.tables.table import Split

    rng, training = as_generator(seed), options["objective"] == "train"
    for name, trained, replayed in (("initial", 8, 12), ("per_round", 3, 4)):
        if options[name] is None:
            options[name] = trained if training else replayed
    sequential = evidence == "sequential" or (evidence is None and training)
    rules = Rules(sequential=sequential, **of_fields(Rules, options))
    refuse_unused(options["objective"], sequential=sequential, then_search=bool(then_search))
    if then_search is not None:
        make_searcher(then_search)  # refuses an unknown one before hours of work
    if not is_given(ctx, "statistic"):
        options["statistic"] = None
    options["split"] = options["split"] and Split(options["split"])
    options["where"] = options["where"] and parse_values(options["where"])
    options["vary"] = parse_candidates(options["vary"])
    plan = ObjectivePlan(space, **of_fields(ObjectivePlan, options))
    objective = make_objective(plan, rng, out.progress)
    # Trainings show their own progress.
    with nullcontext() if training else out.progress("pruning") as progress:
        report = prune(
            objective,
            rules,
            rng=rng,
            max_cost_hours=max_cost_hours,
            predictions=predictions,
            progress=progress,
        )
    found = None
    if then_search is not None:
        search, notes = plan_search(report, then_search, plan, evaluations=evaluations, seed=seed)
        out.warn(notes)
        with out.progress(f"searching by {then_search}") as progress:
            (found,) = run_plan(search, progress).reports
    out.emit(
        lambda: _json(report, found),
        report.to_frame,
        lambda: [*pruning_tables(report), *search_lines(report, found)],
    )
    draw("pruning_figure", report)
    out.warn([*report.warnings, *(found.warnings if found else ())], report.table)


def _json(report: PruningReport, found: SearchReport | None) -> dict[str, Any]:
    values = report.to_json()
    if found is not None:
        values["search"] = found.to_json()
        values["costs"] = {
            "pruning_hours": report.cost_hours,
            "search_hours": found.simulated_seconds / 3600,
        }
    return values


mip.add_command(evaluate)
