"""``bpe-bench search``: search with a budget, and report the result and its cost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ._commands import Command
from ._options import (
    FILE,
    common,
    confidence_option,
    of_recipe,
    plotting,
    refuse_stray,
    space_option,
    store_option,
    trainer_option,
)
from ._output import Output, check_file
from ._search_output import search_tables

_PARAMETERS = ("replace", "population", "tournament", "learning_rate", "entropy", "score", "order")


@click.command(cls=Command)
@click.option(
    "--searcher",
    required=True,
    metavar="NAME",
    help="random, evolution, reinforce or darts; all compares them.",
)
@space_option("  [default: the table's]")
@click.option(
    "--estimator",
    type=click.Choice(["table", "surrogate", "train"]),
    default="table",
    show_default=True,
    help="Where evaluations come from.",
)
@click.option("--table", help="Table by name or path.  [default: the registered one of the space]")
@click.option("--dataset", help="Data set of the table to search on.  [default: the table's]")
@click.option("--report-dataset", help="Data set of the final figures.  [default: the same]")
@click.option(
    "--budget",
    metavar="LABEL[@EPOCH]|NAME|NAME=VALUE[,...]",
    help="Budget of the evaluations.  [default: the table's cheapest; the surrogate's longest; "
    "for training, as train]",
)
@click.option(
    "--surrogate",
    type=FILE,
    help="surrogate: a file of `bpe-bench surrogate fit`; with --table, judged by that table.",
)
@click.option(
    "--extrapolate",
    is_flag=True,
    help="surrogate: allow a budget outside of its ranges.",
)
@click.option(
    "--table-seeds",
    type=click.Choice(["mean", "random"]),
    default="mean",
    show_default=True,
    help="Look at the mean of a table's trainings, or at one drawn for each evaluation.",
)
@click.option(
    "--split",
    type=click.Choice(["train", "validation", "test"]),
    help="Accuracies of a table that steer; test only if you say so.  [default: validation]",
)
@click.option(
    "--missing",
    type=click.Choice(["never", "failed"]),
    default="never",
    show_default=True,
    help="Architectures that the table lacks: never propose them, or let them fail.",
)
@click.option(
    "--evaluations",
    type=int,
    help="Most evaluations.  [default: 6 with real training, 100 with a surrogate]",
)
@click.option(
    "--seconds", type=float, help="Most simulated device seconds.  [default: 12000 over a table]"
)
@click.option(
    "--repeats", type=int, help="Searches, each anew.  [default: 100; with training or darts 2]"
)
@click.option("--jobs", type=int, help="Processes to share the repeats.  [default: one per core]")
@click.option(
    "--with-replacement/--without-replacement",
    "replace",
    default=None,
    help="random: draw again?  [default: with]",
)
@click.option(
    "--population",
    type=int,
    help="evolution: members.  [default: 10, or a third of fewer than 30 evaluations]",
)
@click.option("--tournament", type=int, help="evolution: candidates to mutate.  [default: 3]")
@click.option("--learning-rate", type=float, help="reinforce: step.  [default: 0.2]")
@click.option("--entropy", type=float, help="reinforce: entropy's weight.  [default: 0.01]")
@click.option(
    "--published",
    is_flag=True,
    help="evolution and reinforce as Zheng et al. ran them: population 50, tournament 10; step "
    "0.1 and their baseline.",
)
@click.option(
    "--score",
    type=click.Choice(["pruned", "full"]),
    help="evolution, reinforce: score DARTS cells as built, or with all edges.  [default: pruned]",
)
@click.option("--order", type=click.IntRange(1, 2), help="darts: of gradient.  [default: 1]")
@click.option(
    "--supernet-budget",
    metavar="NAME|NAME=VALUE[,...]",
    help="darts: budget of the supernet.  [default: as --budget]",
)
@click.option("--data", "images", help="Images for training (docs/training.md).  [default: digits]")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@trainer_option("train: ")
@store_option("bpe-bench-trainings.sqlite")
@click.option(
    "--target",
    type=click.FloatRange(0, 1, min_open=True),
    help=(
        "Target accuracy, such as 0.93; the time to reach it is reported.  [default: 0.005 below "
        "the optimum]"
    ),
)
@confidence_option
@click.option(
    "--traces",
    type=FILE,
    help="Write every evaluation of every search to this file, a line of JSON per search.",
)
@plotting
@common
def search(
    searcher: str,
    supernet_budget: str | None,
    traces: Path | None,
    draw: Callable[[str, Any], None],
    out: Output,
    **options: Any,
) -> None:
    """Search a space, and report what was found, its cost, and how both vary.

    Validation accuracies steer; test accuracies are looked at when a search has
    ended. The clock is simulated: it adds up what evaluations cost.

    \b
    Example:
      bpe-bench search --searcher all --space nas-bench-201

    \b
    With real training, on the digits that come with scikit-learn:
      bpe-bench search --searcher evolution --space darts --estimator train
    """
    from bpe_bench.budget import parse_budget
    from bpe_bench.search import SearchPlan, make_searcher, run_plan, write_traces
    from bpe_bench.spaces import get_space
    from bpe_bench.tables.catalog import open_table

    if not (options["space"] or options["table"]):
        raise click.UsageError(
            "search needs --space or --table, found neither; for instance --space nas-bench-201"
        )
    options["space"] = options["space"] or open_table(options["table"]).space
    if searcher != "all":
        make_searcher(searcher)  # an unknown one is refused as such
    _refuse_unused(searcher, options["estimator"], options["table"], options["trainer"])
    given = {name: value for name in _PARAMETERS if (value := options.pop(name)) is not None}
    if supernet_budget is not None:
        given["budget"] = parse_budget(supernet_budget)
    plan = SearchPlan(searcher=searcher, parameters=given, **options)
    if traces is not None:
        check_file(traces, "--traces")
    with out.progress(f"searching by {searcher}") as progress:
        result = run_plan(plan, progress)
    if traces is not None:
        write_traces(traces, result.traces)
    several = searcher == "all"
    out.emit(
        result.to_json if several else result.reports[0].to_json,
        result.to_frame,
        lambda: search_tables(result),
    )

    draw("search_figure", result.reports)
    out.warn(result.warnings)
    if several and plan.estimator != "train" and "supernet" in get_space(plan.space).abilities:
        out.note(
            "darts is left out, because it trains a supernet; --searcher darts runs it over a table"
        )


def _refuse_unused(searcher: str, estimator: str, table: str | None, trainer: str | None) -> None:
    """Refuse options that the searcher or the estimator does not use."""
    trains = estimator == "train"
    owners: dict[str, tuple[bool, str, str]] = {}

    def owned(names: str, good: bool, where: str, found: str = f"--estimator {estimator}") -> None:
        owners.update(dict.fromkeys(names.split(), (good, where, found)))

    def searched(names: str, *searchers: str) -> None:
        where = f"--searcher {', '.join(searchers)} or all"
        owned(names, searcher in (*searchers, "all"), where, f"--searcher {searcher}")

    owned("surrogate extrapolate", estimator == "surrogate", "--estimator surrogate")
    owned("split missing table_seeds", estimator == "table", "--estimator table")
    owned("trainer", trains, "--estimator train")
    owned("table dataset", not trains, "--estimator table or surrogate")
    judged = estimator == "table" or (estimator == "surrogate" and table is not None)
    owned("report_dataset", judged, "--estimator table, or surrogate with --table")
    owned(
        "images device store",
        trains or searcher == "darts",
        "--estimator train or --searcher darts",
    )
    searched("replace", "random")
    searched("population tournament", "evolution")
    searched("learning_rate entropy", "reinforce")
    searched("published score", "evolution", "reinforce")
    derives = searcher == "darts" or (searcher == "all" and trains)
    where = "--searcher darts, or all with --estimator train"
    owned("order supernet_budget", derives, where, f"--searcher {searcher}")
    refuse_stray({**owners, **of_recipe(trainer)})
