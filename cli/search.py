"""``bpe-bench search``: search with a budget, and report the result and its cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from ._output import Output, check_file, duration, grid, number, titled

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bpe_bench.search import SearchReport, SearchResult

_PARAMETERS = ("replace", "population", "tournament", "learning_rate", "entropy", "score", "order")


@click.command(cls=Command)
@click.option(
    "--searcher",
    required=True,
    metavar="NAME",
    help="random, evolution, reinforce or darts; all compares them.",
)
@space_option(required=True)
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
@click.option("--repeats", type=int, help="Searches, each anew.  [default: 100; with training 2]")
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
    from bpe_bench.search import SearchPlan, run_plan, write_traces
    from bpe_bench.spaces import get_space

    kind = f"--estimator {options['estimator']}"
    by_training = (options["estimator"] == "train", "--estimator train", kind)
    refuse_stray({"trainer": by_training, **of_recipe(options["trainer"])})
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
        lambda: _tables(result),
    )

    draw("search_figure", result.reports)
    out.warn(result.warnings)
    if several and plan.estimator != "train" and "supernet" in get_space(plan.space).abilities:
        out.note(
            "darts is left out, because it trains a supernet; --searcher darts runs it over a table"
        )


def _tables(result: SearchResult) -> list[RenderableType]:
    first = result.reports[0]
    title = titled(
        f"{first.space} on {first.dataset}",
        f": {first.repeats} repeats, {_source(first)}",
    )
    rows = [_row(report) for report in result.reports]
    unknown = {name for name in rows[0] if all(row[name] == "–" for row in rows)}
    rows = [{name: cell for name, cell in row.items() if name not in unknown} for row in rows]
    parts: list[RenderableType] = [title, grid(rows, left=["searcher"])]
    parts += _optimum(first)
    parts += _coverage(result.reports)
    for key, name in (("nasnet", "NASNet"), ("amoebanet", "AmoebaNet")):
        times = [(r.searcher, getattr(r.speedup, key)) for r in result.reports]
        if not math.isnan(times[0][1]):
            said = ", ".join(f"{searcher} {_rounded(value)}" for searcher, value in times)
            parts.append(f"times cheaper than {name}'s search: {said}")
    parts.append(f"assumptions: {first.speedup.assumptions}")
    parts += [f"best found by {r.searcher}: {r.best}" for r in result.reports if r.best]
    parts += [comparison.verdict for comparison in result.comparisons]
    if result.comparisons:
        parts.append("p: two-sided Mann-Whitney test, corrected for all comparisons (Holm)")
    return parts


def _optimum(report: SearchReport) -> list[str]:
    """Say the best accuracies that there are to find, if they are known."""
    best = vars(report.optimum) if report.optimum else {}
    known = [f"{s} {100 * value:.2f} %" for s, value in best.items() if not math.isnan(value)]
    return [f"the optimum: {', '.join(known)}"] if known else []


def _coverage(reports: Sequence[SearchReport]) -> list[str]:
    """Say how much of the space a table holds, and how many evaluations failed, if any did."""
    first, lines = reports[0], []
    known, size = first.known_architectures, first.space_size
    if known is not None and known < size:
        shown = f"{size:,}" if size < 10**9 else f"{size:.3g}"
        use = "the others are never proposed, and regret and optimum are of these"
        if first.missing == "failed":
            use = "the others count as failed evaluations"
        lines.append(f"the table holds {known:,} of {shown} architectures: {use}")
    counts = [
        f"{r.searcher} {r.failed_evaluations:,} of {r.evaluations_mean * r.repeats:,.0f}"
        for r in reports
        if r.failed_evaluations
    ]
    if counts:
        lines.append(f"failed evaluations, over all repeats: {', '.join(counts)}")
    return lines


def _source(report: SearchReport) -> str:
    """Say where evaluations came from, and the data set of the final figures."""
    said = f"by table {report.table}" if report.table else "by real training"
    if report.estimator == "surrogate":
        said = f"by a surrogate of {report.table or 'a table'}"
    if report.budget is not None:
        b = report.budget
        said += f" under {b['epochs']} epochs"
        said += "".join(f" x {b[n]} {n}" for n in ("layers", "channels") if b[n] is not None)
        said += f", {b['image_size']} pixels" if b["image_size"] is not None else ""
    if report.report_dataset != report.dataset:
        said += f"; final figures on {report.report_dataset}"
    return said


def _row(report: SearchReport) -> dict[str, str]:
    row = {
        "searcher": report.searcher,
        "evaluations": f"{report.evaluations_mean:.1f}",
        "clock": duration(report.simulated_seconds),
        "validation %": _spread(report.validation_mean, report.validation_std),
        "test %": _spread(report.test_mean, report.test_std),
    }
    if report.optimum is not None:
        row["regret"] = number(100 * report.regret_mean, "{:.2f}")
    if not math.isnan(report.target):
        time = f"in {duration(report.seconds_to_target)}"
        if math.isinf(report.seconds_to_target):
            time = "not reached"
        row[f"to {100 * report.target:.2f} %"] = f"{time} ({report.target_reached:.0%})"
    if not math.isnan(report.speedup.full_training):
        times = report.speedup.full_training
        cheaper = f"{times:.1f} x cheaper" if times >= 1 else f"{1 / times:.1f} x more expensive"
        row["against full"] = cheaper
    return row


def _spread(mean: float, deviation: float) -> str:
    middle = number(100 * mean, "{:.2f}")
    return middle if math.isnan(deviation) else f"{middle} ± {100 * deviation:.2f}"


def _rounded(value: float) -> str:
    """Return a large number with three digits that count."""
    return f"{float(f'{value:.3g}'):,.0f}"
