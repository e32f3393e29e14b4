"""``bpe-bench search``: drive a searcher with a budget, and say what it found and what it cost."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ._options import common
from ._output import Output, duration, number
from .train import DEFAULT_STORE, default_budgets

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bpe_bench.budget import Budget
    from bpe_bench.estimators import Estimator
    from bpe_bench.search import Comparison, Searcher, SearchReport, SearchTrace
    from bpe_bench.surrogate import FittedSurrogate
    from bpe_bench.tables.table import Setting, Table

_TABLE_SECONDS = 12_000.0
"""Default allowance over a table, that of the published NAS-Bench-201 searches."""
_EVALUATIONS = {"train": 6, "surrogate": 100}
"""Default allowance where it is not in seconds."""
_TABLE_REPEATS, _TRAINED_REPEATS = 100, 2
_WORTH_PROCESSES = 50
"""Repeats over a table from which on processes save more time than starting them takes."""


@click.command()
@click.option(
    "--searcher",
    required=True,
    metavar="NAME",
    help="random, evolution, reinforce or darts; all compares them.",
)
@click.option("--space", required=True, help="Search space, for instance darts.")
@click.option(
    "--estimator",
    "estimator_name",
    type=click.Choice(["table", "surrogate", "train"]),
    default="table",
    show_default=True,
    help="Where evaluations come from.",
)
@click.option("--table", help="Table by name or path.  [default: the one of the whole space]")
@click.option("--dataset", help="Data set of the table to search on.  [default: the table's]")
@click.option("--report-dataset", help="Data set of the final figures.  [default: the same]")
@click.option(
    "--budget",
    metavar="LABEL|NAME|NAME=VALUE[,...]",
    help="How evaluations are trained.  [default: the table's cheapest; the surrogate's longest; "
    "for training, as train]",
)
@click.option(
    "--surrogate",
    type=click.Path(path_type=Path, dir_okay=False),
    help="surrogate: a file of `bpe-bench surrogate fit`; with --table, judged by that table.",
)
@click.option(
    "--extrapolate",
    is_flag=True,
    help="surrogate: allow a budget outside of what it was fitted on.",
)
@click.option(
    "--table-seeds",
    type=click.Choice(["mean", "random"]),
    default="mean",
    show_default=True,
    help="Look at the mean of a table's trainings, or at one drawn for each evaluation.",
)
@click.option(
    "--evaluations",
    type=int,
    help=f"Most evaluations.  [default: {_EVALUATIONS['train']} with real training, "
    f"{_EVALUATIONS['surrogate']} with a surrogate]",
)
@click.option(
    "--seconds",
    type=float,
    help=f"Most simulated device seconds.  [default: {_TABLE_SECONDS:g} over a table]",
)
@click.option(
    "--repeats",
    type=int,
    help=f"Searches, each anew.  [default: {_TABLE_REPEATS}; with training {_TRAINED_REPEATS}]",
)
@click.option("--jobs", type=int, help="Processes to share the repeats.  [default: one per core]")
@click.option("--with-replacement/--without-replacement", default=True, help="random: draw again?")
@click.option(
    "--population",
    type=int,
    help="evolution: members.  [default: 10, or a third of fewer than 30 evaluations]",
)
@click.option(
    "--tournament", type=int, default=3, show_default=True, help="evolution: candidates to mutate."
)
@click.option(
    "--learning-rate", type=float, default=0.2, show_default=True, help="reinforce: step."
)
@click.option(
    "--entropy", type=float, default=0.01, show_default=True, help="reinforce: entropy's weight."
)
@click.option(
    "--published",
    is_flag=True,
    help="evolution and reinforce as Zheng et al. ran them: population 50, tournament 10; step "
    "0.1 and their baseline.",
)
@click.option(
    "--score",
    type=click.Choice(["pruned", "full"]),
    default="pruned",
    show_default=True,
    help="evolution, reinforce: score DARTS cells as built, or with all edges.",
)
@click.option(
    "--order", type=click.IntRange(1, 2), default=1, show_default=True, help="darts: of gradient."
)
@click.option(
    "--supernet-budget",
    metavar="NAME|NAME=VALUE[,...]",
    help="darts: how the supernet is trained.  [default: as --budget]",
)
@click.option("--data", help="Images for training (docs/training.md).  [default: digits]")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option(
    "--store",
    type=click.Path(path_type=Path, dir_okay=False),
    default=DEFAULT_STORE,
    show_default=True,
    help="Where trainings report; what is there is not trained again.",
)
@click.option(
    "--target",
    type=click.FloatRange(0, 1, min_open=True),
    help="Accuracy, as 0.93, whose time to reach is reported.  [default: 0.005 below the optimum]",
)
@click.option(
    "--confidence", type=float, default=0.95, show_default=True, help="Coverage of intervals."
)
@click.option(
    "--traces",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write every evaluation of every search to this file, a line of JSON per search.",
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a figure of the best so far (.png, .svg or .pdf).",
)
@common
def search(
    searcher: str,
    space: str,
    estimator_name: str,
    traces: Path | None,
    target: float | None,
    confidence: float,
    repeats: int | None,
    evaluations: int | None,
    seconds: float | None,
    jobs: int | None,
    table: str | None,
    plot: Path | None,
    format_: str,
    output: Path | None,
    seed: int,
    quiet: bool,
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
    from bpe_bench.search import (
        check_allowance,
        compare_searchers,
        summarise,
        to_frame,
        write_traces,
    )
    from bpe_bench.spaces import get_space

    from ._plot import figure_saver

    out = Output(format_, output, quiet)
    save = figure_saver(plot)
    get_space(space)
    training = estimator_name == "train"
    if evaluations is None and seconds is None:
        evaluations = _EVALUATIONS.get(estimator_name)
        seconds = None if evaluations else _TABLE_SECONDS
    check_allowance(evaluations, seconds)
    if traces is not None and not traces.parent.is_dir():
        raise click.UsageError(f"--traces: there is no folder {traces.parent}; make it first")
    if repeats is None:
        repeats = _TRAINED_REPEATS if training else _TABLE_REPEATS
    searchers = _searchers(searcher, space, training, evaluations, options)
    name, estimator = _estimator(estimator_name, space, table, options)
    reports: list[SearchReport] = []
    every: list[SearchTrace] = []
    for place, one in enumerate(searchers):
        with out.progress(f"{one.name}: {repeats} searches") as progress:
            found = _run(
                one, estimator, repeats, seed + place, evaluations, seconds, jobs, progress
            )
        every += found
        reports.append(summarise(found, estimator, table=name, target=target))
    if traces is not None:
        write_traces(traces, every)
    comparisons = compare_searchers(reports, confidence=confidence)
    several = searcher == "all"
    out.emit(
        lambda: _json(reports, comparisons) if several else reports[0].to_json(),
        lambda: to_frame(reports),
        lambda: _tables(reports, comparisons),
    )
    if save is not None:
        from bpe_bench.report.figures import search_figure

        save(search_figure(reports))
    out.warn(list(dict.fromkeys(w for report in reports for w in report.warnings)))
    if several and len(searchers) < 4 and "supernet" in get_space(space).abilities:
        out.note(
            "darts is left out, for it trains a supernet: --searcher darts runs it over a table"
        )


def defaults() -> dict[str, Any]:
    """Return the options of a search where none is given."""
    return dict(search.make_context("search", ["--searcher", "random", "--space", "any"]).params)


def search_once(
    searcher: str,
    space: str,
    estimator_name: str,
    table: str | None,
    options: dict[str, Any],
    *,
    evaluations: int,
    seed: int,
    out: Output,
) -> SearchReport:
    """Run one search as `search` would, with the options that `defaults` has."""
    from bpe_bench.search import summarise

    training = estimator_name == "train"
    (one,) = _searchers(searcher, space, training, evaluations, options)
    name, estimator = _estimator(estimator_name, space, table, options)
    with out.progress(f"{one.name}: one search") as progress:
        found = _run(one, estimator, 1, seed, evaluations, None, None, progress)
    return summarise(found, estimator, table=name)


def _run(
    searcher: Searcher,
    estimator: Estimator,
    repeats: int,
    seed: int,
    evaluations: int | None,
    seconds: float | None,
    jobs: int | None,
    progress: Any,
) -> list[SearchTrace]:
    from bpe_bench.search import repeat_search

    if jobs is None:
        few = estimator.source != "training" and repeats < _WORTH_PROCESSES
        jobs = 1 if few else os.cpu_count() or 1
    return repeat_search(
        searcher,
        estimator,
        repeats=repeats,
        seed=seed,
        evaluations=evaluations,
        seconds=seconds,
        # A trained network's result is kept, so a second question costs nothing.
        charge_repeats=estimator.source != "training",
        jobs=jobs,
        on_progress=progress,
    )


def _searchers(
    name: str, space: str, training: bool, evaluations: int | None, options: dict[str, Any]
) -> list[Searcher]:
    """Return the searchers asked for, with the options that are theirs."""
    from bpe_bench.budget import parse_budget
    from bpe_bench.search import SEARCHERS, Reinforce, make_searcher
    from bpe_bench.spaces import get_space

    if name == "all":
        # Over a table darts would have to train on images that others never see.
        able = training and "supernet" in get_space(space).abilities
        names = [known for known in SEARCHERS if able or known != "darts"]
        return [
            one
            for known in names
            for one in _searchers(known, space, training, evaluations, options)
        ]
    if name == "random":
        return [make_searcher(name, replace=options["with_replacement"])]
    published, score = options["published"], options["score"]
    if name == "evolution":
        population, tournament = options["population"], options["tournament"]
        if population is None:
            population = 10 if evaluations is None else min(10, max(2, evaluations // 3))
        if published:
            population, tournament = 50, 10
        return [make_searcher(name, population=population, tournament=tournament, score=score)]
    if name == "reinforce":
        if published:
            return [Reinforce.published(score)]
        parameters = {key: options[key] for key in ("learning_rate", "entropy", "score")}
        return [make_searcher(name, **parameters)]
    if name == "darts":
        text = options["supernet_budget"] or (options["budget"] if training else None)
        text = text or default_budgets(space, options["data"])[0]
        return [
            make_searcher(
                name,
                budget=parse_budget(text),
                order=options["order"],
                images=options["data"],
                device=options["device"],
                checkpoints=options["store"].with_suffix(".supernets"),
            )
        ]
    return [make_searcher(name)]


def _estimator(
    kind: str, space: str, table: str | None, options: dict[str, Any]
) -> tuple[str, Estimator]:
    """Return where evaluations come from, and the table's name if it is one."""
    if kind == "surrogate":
        return _surrogate(space, table, options)
    if kind == "table":
        from bpe_bench.estimators import TableEstimator

        name, opened = whole_table(space, table)
        return name, TableEstimator(
            opened,
            options["budget"],
            dataset=options["dataset"],
            report_dataset=options["report_dataset"],
            seeds=options["table_seeds"],
        )
    from bpe_bench.budget import parse_budget
    from bpe_bench.estimators import ProxyEstimator
    from bpe_bench.execution.campaign import dataset_name

    text = options["budget"] or default_budgets(space, options["data"])[0]
    return "", ProxyEstimator(
        space,
        parse_budget(text),
        options["store"],
        dataset_name(options["data"]),
        images=options["data"],
        device=options["device"],
    )


def _surrogate(space: str, table: str | None, options: dict[str, Any]) -> tuple[str, Estimator]:
    """Return a fitted surrogate at a budget; where the table is whole, judged by it."""
    from bpe_bench.errors import SelectionError
    from bpe_bench.estimators import SurrogateEstimator, TableEstimator
    from bpe_bench.spaces import get_space
    from bpe_bench.surrogate import load_surrogate
    from bpe_bench.tables.catalog import open_table_of

    if options["surrogate"] is None:
        raise click.UsageError(
            "--estimator surrogate needs --surrogate FILE; make one with: bpe-bench surrogate fit "
            "TABLE -o FILE"
        )
    fitted = load_surrogate(options["surrogate"])
    if fitted.space != space:
        raise SelectionError(
            f"the surrogate {options['surrogate']} is of space {fitted.space!r}, not of {space!r}"
        )
    name, opened, judge = fitted.table, None, None
    if table is not None:
        name, opened = open_table_of(space, table)
        fitted.check_table(opened)
        if len(opened.architectures) >= get_space(space).size:
            judge = TableEstimator(
                opened, dataset=fitted.dataset, report_dataset=options["report_dataset"]
            )
    if fitted.given and judge is None:
        raise SelectionError(
            f"the surrogate must know the accuracy under {', '.join(fitted.given)} of whatever a "
            "search asks for; name a table of the whole space (--table)"
        )
    for name, has in (("dataset", fitted.dataset), ("table_seeds", "mean")):
        if options[name] not in (None, has):
            raise click.UsageError(
                f"--{name.replace('_', '-')} {options[name]}: the surrogate predicts {has!r}"
            )
    budget = _budget_of(fitted, options["budget"])
    one = fitted.at(budget, table=opened, extrapolate=options["extrapolate"])
    return name, SurrogateEstimator(
        one, judge=judge, dataset=fitted.dataset, budget=budget, notes=fitted.notes
    )


def _length(setting: Setting) -> tuple[int, float]:
    return setting.budget.epochs, setting.seconds if math.isfinite(setting.seconds) else math.inf


def _budget_of(fitted: FittedSurrogate, text: str | None) -> Budget:
    """Return the budget that is asked for; by default the longest that the surrogate knows."""
    from bpe_bench.budget import parse_budget

    if text is None:
        return max(fitted.settings, key=_length).budget
    setting = fitted.setting(text)
    return parse_budget(text) if setting is None else setting.budget


def whole_table(space: str, table: str | None) -> tuple[str, Table]:
    """Open the table asked for, or the registered one that holds a whole space."""
    from bpe_bench.tables.catalog import entries, open_table_of

    # nas-bench-201-curves comes first among those of its space, but holds 200 architectures.
    if table is None and space in entries():
        table = space
    return open_table_of(space, table)


def _json(reports: list[SearchReport], comparisons: list[Comparison]) -> dict[str, Any]:
    return {
        "rows": [report.to_json() for report in reports],
        "comparisons": [comparison.to_json() for comparison in comparisons],
    }


def _tables(reports: list[SearchReport], comparisons: list[Comparison]) -> list[RenderableType]:
    from rich.table import Table as Grid
    from rich.text import Text

    first = reports[0]
    title = Text.assemble(
        (f"{first.space} on {first.dataset}", "bold"),
        f": {first.repeats} repeats, {_source(first)}",
    )
    grid = Grid(box=None, pad_edge=False, header_style="bold")
    grid.add_column("searcher", no_wrap=True)
    known = first.optimum is not None
    columns = ["evaluations", "clock", "validation %", "test %"]
    columns += ["regret"] if known else []
    columns += [f"to {100 * first.target:.2f} %"] if not math.isnan(first.target) else []
    columns += ["against full"] if not math.isnan(first.speedup.full_training) else []
    for column in columns:
        grid.add_column(column, justify="right", no_wrap=True)
    for report in reports:
        grid.add_row(report.searcher, *_cells(report))
    parts: list[RenderableType] = [title, grid]
    if first.optimum is not None:
        best = first.optimum
        parts.append(
            f"the optimum: validation {number(100 * best.validation, '{:.2f}')} %, "
            f"test {number(100 * best.test, '{:.2f}')} %"
        )
    for key, name in (("nasnet", "NASNet"), ("amoebanet", "AmoebaNet")):
        times = [(r.searcher, getattr(r.speedup, key)) for r in reports]
        if not math.isnan(times[0][1]):
            said = ", ".join(f"{searcher} {_rounded(value)}" for searcher, value in times)
            parts.append(f"times cheaper than {name}'s search: {said}")
    parts.append(f"assumptions: {first.speedup.assumptions}")
    parts += [Text(f"best found by {r.searcher}: {r.best}") for r in reports if r.best]
    parts += [Text(comparison.verdict) for comparison in comparisons]
    if comparisons:
        parts.append("p: two-sided Mann-Whitney test, corrected for all comparisons (Holm)")
    return parts


def _source(report: SearchReport) -> str:
    """Say where evaluations came from, and what the final figures are on."""
    said = f"by table {report.table}" if report.table else "by real training"
    if report.estimator == "surrogate":
        said = f"by a surrogate of {report.table or 'a table'}"
    if report.budget is not None:
        b = report.budget
        shape = f"{b['epochs']} epochs x {b['layers']} layers x {b['channels']} channels"
        said += f" under {shape}, {b['image_size']} pixels"
    if report.report_dataset != report.dataset:
        said += f"; final figures on {report.report_dataset}"
    return said


def _cells(report: SearchReport) -> list[str]:
    cells = [
        f"{report.evaluations_mean:.1f}",
        duration(report.simulated_seconds),
        _spread(report.validation_mean, report.validation_std),
        _spread(report.test_mean, report.test_std),
    ]
    if report.optimum is not None:
        cells.append(number(100 * report.regret_mean, "{:.2f}"))
    if not math.isnan(report.target):
        time = "not reached" if math.isinf(report.seconds_to_target) else "in "
        time += "" if math.isinf(report.seconds_to_target) else duration(report.seconds_to_target)
        cells.append(f"{time} ({report.target_reached:.0%})")
    if not math.isnan(report.speedup.full_training):
        cells.append(f"{report.speedup.full_training:.1f} x cheaper")
    return cells


def _spread(mean: float, deviation: float) -> str:
    middle = number(100 * mean, "{:.2f}")
    return middle if math.isnan(deviation) else f"{middle} ± {100 * deviation:.2f}"


def _rounded(value: float) -> str:
    """Return a large number with three digits that count."""
    return f"{float(f'{value:.3g}'):,.0f}"
