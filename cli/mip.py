"""``bpe-bench mip``: prune the hyper-parameters of a budget by importance."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ._mip_objective import make_objective, objective_options, refuse_stray
from ._mip_output import pruning_tables, search_lines
from ._options import common, ranking
from ._output import Output
from .mip_evaluate import evaluate

if TYPE_CHECKING:
    from bpe_bench.pruning import PruningReport, Rules
    from bpe_bench.search import SearchReport

_TRAINED, _REPLAYED = (8, 3), (12, 4)
"""Settings to start with and to add per round, where they are trained and where they are not."""


@click.group(invoke_without_command=True)
@click.option("--space", help="Search space of the architectures, for instance darts.")
@click.option("--table", help="Table by name or path.  [default: the one shipped for the space]")
@click.option(
    "--evidence",
    type=click.Choice(["table", "sequential"]),
    help="What a round may look at: the whole table, or only settings sampled so far.  "
    "[default: table; with --objective train, sequential]",
)
@click.option(
    "--importance",
    default="forest",
    show_default=True,
    help="forest, permutation, fanova, xgboost, xgboost-permutation, xgboost-shap or ped-anova "
    "(docs/importance.md).",
)
@click.option(
    "--max-cost-hours",
    type=float,
    multiple=True,
    help="Name the best budget within this many device hours per network; may be repeated.",
)
@click.option(
    "--keep",
    type=int,
    default=2,
    show_default=True,
    help="Stop when so many groups of hyper-parameters are left.",
)
@click.option(
    "--initial",
    type=int,
    help="Settings to start with (sequential).  [default: 12; with --objective train, 8]",
)
@click.option(
    "--per-round",
    type=int,
    help="Settings per round (sequential).  [default: 4; with --objective train, 3]",
)
@click.option(
    "--resamples",
    type=int,
    default=50,
    show_default=True,
    help="Draws of settings and architectures behind each importance interval.",
)
@click.option(
    "--predictions",
    type=click.IntRange(min=0),
    default=5,
    show_default=True,
    help="At most so many predicted budgets beside the observed ones.",
)
@click.option(
    "--patience",
    type=int,
    default=5,
    show_default=True,
    help="Rounds in a row that may abstain before it gives up (sequential).",
)
@click.option(
    "--force",
    is_flag=True,
    help="Prune the least important also where the data do not separate it from the next.",
)
@click.option(
    "--then-search",
    metavar="SEARCHER",
    help="Search with the recommended budget: random, evolution, reinforce or darts.",
)
@click.option(
    "--evaluations",
    type=click.IntRange(min=1),
    help="--then-search: evaluations.  [default: 6 with real training, 100 over a table]",
)
@objective_options
@ranking
@common
@click.pass_context
def mip(
    ctx: click.Context,
    /,
    space: str | None,
    table: str | None,
    max_cost_hours: tuple[float, ...],
    predictions: int,
    then_search: str | None,
    evaluations: int | None,
    statistic: str,
    split: str | None,
    where: str | None,
    top_k: int,
    confidence: float,
    plot: Path | None,
    format_: str,
    output: Path | None,
    seed: int,
    quiet: bool,
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
    from bpe_bench.budget import parse_values
    from bpe_bench.pruning import prune
    from bpe_bench.randomness import as_generator
    from bpe_bench.tables.table import Split

    from ._plot import figure_saver

    out = Output(format_, output, quiet)
    save = figure_saver(plot)
    rng = as_generator(seed)
    rules = _rules(options, confidence)
    if then_search is not None:
        from bpe_bench.search import SEARCHERS

        if then_search not in SEARCHERS:
            from bpe_bench.errors import unknown_name

            raise unknown_name("searcher", then_search, SEARCHERS)
    wanted: dict[str, Any] = {"statistic": statistic, "top_k": top_k, "confidence": confidence}
    wanted["split"] = Split(split) if split else None
    wanted["where"] = parse_values(where) if where else None
    given = {name for name in ctx.params if _is_given(ctx, name)}
    refuse_stray(
        given,
        options["objective"],
        sequential=rules.sequential,
        then_search=then_search is not None,
    )
    objective = make_objective(space, table, given, options, wanted, rng, out)
    # Trainings show their own progress.
    with out.progress("pruning") if objective.kind != "train" else nullcontext() as progress:
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
        found = _search(report, then_search, table, evaluations, options, seed, out)
    out.emit(
        lambda: _json(report, found),
        report.to_frame,
        lambda: [*pruning_tables(report), *search_lines(report, found)],
    )
    if save is not None:
        from bpe_bench.report.figures import pruning_figure

        save(pruning_figure(report))
    out.warn([*report.warnings, *(found.warnings if found else ())])


def _is_given(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) is not ParameterSource.DEFAULT


def _rules(options: dict[str, Any], confidence: float) -> Rules:
    from bpe_bench.pruning import Rules

    training = options["objective"] == "train"
    initial, per_round = _TRAINED if training else _REPLAYED
    evidence = options["evidence"] or ("sequential" if training else "table")
    return Rules(
        importance=options["importance"],
        sequential=evidence == "sequential",
        keep=options["keep"],
        initial=initial if options["initial"] is None else options["initial"],
        per_round=per_round if options["per_round"] is None else options["per_round"],
        resamples=options["resamples"],
        confidence=confidence,
        patience=options["patience"],
        force=options["force"],
    )


def _search(
    report: PruningReport,
    searcher: str,
    table: str | None,
    evaluations: int | None,
    options: dict[str, Any],
    seed: int,
    out: Output,
) -> SearchReport:
    """Search with the budget that the report recommends: over its table, or by training."""
    from bpe_bench.errors import SelectionError
    from bpe_bench.spaces import get_space

    from .search import defaults, search_once, whole_table

    best = report.best()
    if best is None:
        raise SelectionError("no budget is recommended, so there is nothing to search with")
    whole = None
    if report.objective == "replay":
        whole = whole_table(report.space, table)
        if len(whole[1].architectures) < get_space(report.space).size:
            whole = None
    given = defaults() | {name: options[name] for name in ("data", "device", "store")}
    given["budget"] = best.row.setting
    if whole is None:
        budget = best.row.budget
        if options["device"] == "cpu" and budget.precision != "fp32":
            out.warn([f"the search trains in fp32: on a CPU {budget.precision} saves nothing"])
            budget = budget.replace(precision="fp32")
        given["budget"] = str(budget)
    return search_once(
        searcher,
        report.space,
        "train" if whole is None else "table",
        table if whole is None else whole[0],
        given,
        evaluations=evaluations or (6 if whole is None else 100),
        seed=seed,
        out=out,
    )


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
