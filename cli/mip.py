"""``bpe-bench mip``: prune the hyper-parameters of a budget by importance."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ._options import common, ranking
from ._output import Output, duration, number

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bpe_bench.pruning import PruningReport, Round


@click.command()
@click.option("--space", type=str, required=True, help="Search space of the architectures: darts.")
@click.option("--table", help="Table by name or path.  [default: the one shipped for the space]")
@click.option(
    "--evidence",
    type=click.Choice(["table", "sequential"]),
    default="table",
    show_default=True,
    help="What a round may look at: the whole table, or only settings sampled so far.",
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
    default=12,
    show_default=True,
    help="Settings to start with (sequential).",
)
@click.option(
    "--per-round", type=int, default=4, show_default=True, help="Settings per round (sequential)."
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
@ranking
@common
def mip(
    space: str,
    table: str | None,
    evidence: str,
    importance: str,
    max_cost_hours: tuple[float, ...],
    keep: int,
    initial: int,
    per_round: int,
    resamples: int,
    predictions: int,
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
) -> None:
    """Find out which hyper-parameters of a budget matter, and which budgets to use.

    Minimum importance pruning (Zheng et al., CVPR 2020): round by round the
    hyper-parameter that matters least for the correlation with full training
    is pinned at its cheapest value. Says of every step whether the data carry it.

    \b
    Example:
      bpe-bench mip --space darts --max-cost-hours 0.1 --max-cost-hours 0.6
    """
    from bpe_bench.budget import parse_values
    from bpe_bench.catalog import open_table_of
    from bpe_bench.pruning import minimum_importance_pruning
    from bpe_bench.randomness import as_generator
    from bpe_bench.table import Split

    from ._plot import figure_saver

    out = Output(format_, output, quiet)
    save = figure_saver(plot)
    name, opened = open_table_of(space, table)
    with out.progress("pruning") as progress:
        report = minimum_importance_pruning(
            opened,
            rng=as_generator(seed),
            name=name,
            importance=importance,
            evidence="sequential" if evidence == "sequential" else "table",
            statistic=statistic,
            split=Split(split) if split else None,
            where=parse_values(where) if where else None,
            max_cost_hours=max_cost_hours,
            keep=keep,
            initial=initial,
            per_round=per_round,
            resamples=resamples,
            predictions=predictions,
            top_k=top_k,
            confidence=confidence,
            progress=progress,
        )
    out.emit(report.to_json, report.to_frame, lambda: _tables(report))
    if save is not None:
        from bpe_bench.report.figures import pruning_figure

        save(pruning_figure(report))
    out.warn(report.warnings)


def _tables(report: PruningReport) -> list[RenderableType]:
    from rich.text import Text

    title = Text.assemble(
        (f"{report.table}", "bold"),
        f": minimum importance pruning by {report.importance_estimator}, {report.evidence} "
        f"evidence worth {report.cost_hours:,.0f} device hours",
    )
    order = " → ".join("+".join(r.pruned) for r in report.rounds if r.pruned) or "nothing"
    return [
        title,
        _rounds(report),
        Text.assemble(("pruned: ", "bold"), order),
        Text.assemble(("kept:   ", "bold"), ", ".join(report.kept), f"; {report.stop_reason}"),
        Text(""),
        _recommended(report),
        Text(
            "training: epochs x layers x channels, pixels, batch size, precision; (predicted): "
            "never trained; *: hardly varies, so it is not eligible for pruning"
        ),
    ]


def _rounds(report: PruningReport) -> RenderableType:
    """Return a line per hyper-parameter and a column per round."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("importance")
    for index in range(1, len(report.rounds) + 1):
        table.add_column(f"round {index}", justify="right")
    names = dict.fromkeys(n for r in report.rounds for n in r.importances)
    for name in names:
        table.add_row(name, *(_importance(done, name) for done in report.rounds))
    table.add_row("", *("" for _ in report.rounds))
    lines = {
        "settings": [str(r.evaluated) for r in report.rounds],
        "pruned": ["\n".join(r.pruned) or "–" for r in report.rounds],
        "pinned to": ["\n".join(map(str, r.pinned_to.values())) or "–" for r in report.rounds],
        "least in": [number(r.stability, "{:.0%}") for r in report.rounds],
        "separable": ["yes" if r.separable else "no" for r in report.rounds],
    }
    for name, cells in lines.items():
        table.add_row(name, *cells)
    return table


def _importance(done: Round, name: str) -> str:
    value = done.importances.get(name)
    if value is None:
        return ""
    text = f"{value.mean:.2f} ({value.low:.2f}–{value.high:.2f})"
    return text if value.eligible else f"{text}*"


def _recommended(report: PruningReport) -> RenderableType:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("recommended", no_wrap=True)
    for column in (report.statistic.capitalize(), f"{report.confidence:.0%} interval", "cost"):
        table.add_column(column, justify="right", no_wrap=True)
    for column in ("device", "best within", "training"):
        table.add_column(column, no_wrap=True)
    for item in report.recommended:
        row, budget = item.row, item.row.budget
        table.add_row(
            row.label if item.observed else "(predicted)",
            number(row.correlation),
            f"\\[{number(row.low, '{:.2f}')}, {number(row.high, '{:.2f}')}]",
            duration(row.cost_seconds),
            row.device or "–",
            ", ".join(f"{hours:g} h" for hours in item.best_under_hours),
            f"{budget.epochs} x {budget.layers} x {budget.channels}, {budget.image_size}, "
            f"{budget.batch_size}, {budget.precision}",
        )
    return table
