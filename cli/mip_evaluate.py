"""``bpe-bench mip evaluate``: pruning judged against simpler ways, at equal device hours."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from ._commands import Command
from ._mip_output import chosen_text
from ._options import common, confidence_option, plotting, split_option, statistic_option
from ._output import Output, grid, interval, number, titled

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bpe_bench.pruning.judging import JudgingReport

_WORTH_PROCESSES = 10
"""From so many repeats on, several processes save time."""


@click.command(cls=Command)
@click.option(
    "--space", help="Search space of the architectures.  [default: the table's, else darts]"
)
@click.option("--table", help="Table by name or path.  [default: the one shipped for the space]")
@click.option(
    "--repeats", type=int, default=200, show_default=True, help="Deals of the architectures."
)
@click.option(
    "--methods",
    metavar="NAME[,...]",
    help="mip for pruning by every importance estimator, mip-NAME for one, random, "
    "cheapest-first, covering, halving, tpe.  [default: all]",
)
@statistic_option("Rank correlation")
@split_option("Accuracies to rank by.")
@click.option(
    "--max-cost-hours",
    type=float,
    help="Only settings that cost at most so many hours per network.",
)
@click.option(
    "--hours",
    type=float,
    help="Device hours that a method may spend.  [default: those of the whole pool]",
)
@click.option(
    "--keep", type=int, default=2, show_default=True, help="mip: groups at which pruning stops."
)
@click.option(
    "--initial", type=int, default=12, show_default=True, help="mip: settings to start with."
)
@click.option("--per-round", type=int, default=4, show_default=True, help="mip: settings to add.")
@click.option("--jobs", type=int, help="Processes to share the repeats.  [default: one per core]")
@confidence_option
@plotting
@common
def evaluate(
    space: str | None,
    table: str | None,
    methods: str | None,
    split: str | None,
    keep: int,
    initial: int,
    per_round: int,
    statistic: str,
    max_cost_hours: float | None,
    draw: Callable[[str, Any], None],
    out: Output,
    **options: Any,
) -> None:
    """Judge minimum importance pruning against simpler ways of finding a budget.

    At equal device hours, over a table: a budget is chosen by the correlation
    on half of the architectures and scored on the other half. Says which way
    finds the better budgets, which importance estimator to trust, and how
    optimistic the correlation is that a budget was chosen by.

    \b
    Example:
      bpe-bench mip evaluate --repeats 20 --methods mip-forest,cheapest-first,random
    """
    from bpe_bench.pruning.judging import Pool, judge, make_methods
    from bpe_bench.tables.catalog import open_table_of
    from bpe_bench.tables.table import Split

    names = [name.strip() for name in methods.split(",")] if methods else []
    chosen, notes = make_methods(names, keep=keep, initial=initial, per_round=per_round)
    name, opened = open_table_of(space if space or table else "darts", table)
    pool = Pool.of(
        opened,
        name=name,
        statistic=statistic,
        split=Split(split) if split else None,
        max_cost_hours=max_cost_hours,
    )
    if options["jobs"] is None:
        options["jobs"] = (os.cpu_count() or 1) if options["repeats"] >= _WORTH_PROCESSES else 1
    with out.progress(f"{len(chosen)} methods, {options['repeats']} repeats") as progress:
        report = judge(pool, chosen, on_progress=progress, **options)
    out.emit(report.to_json, report.to_frame, lambda: _tables(report))
    draw("judging_figure", report)
    out.warn([*notes, *report.warnings], name)


def _tables(report: JudgingReport) -> list[RenderableType]:
    title = titled(
        report.table or report.space,
        f": {report.settings} settings, chosen on {report.choosing} of {report.architectures} "
        f"architectures and scored on the others, {report.repeats} repeats; "
        f"{report.hours[0]:.3g} to {report.hours[-1]:,.0f} device hours",
    )
    rows = [
        {
            "method": m.name,
            "regret": number(m.regret.mean),
            f"{report.confidence:.0%} interval": (
                "–" if math.isnan(m.regret.low) else interval(m.regret.low, m.regret.high)
            ),
            **{f"at {hours:g} h": number(regret) for hours, regret in m.regret_at.items()},
            "held out": number(m.held_out),
            "optimism": number(m.optimism, "{:+.3f}"),
            "p": number(m.p_against_best, "{:.2g}"),
        }
        for m in report.methods
    ]
    return [
        report.answer,
        "",
        title,
        grid(rows, left=["method"]),
        f"regret: {report.statistic} correlation on the other half, below that of {report.best} "
        f"({report.best_correlation:.3f}), the best of the pool;",
        "  mean over the logarithm of the hours, and at single allowances",
        "held out: correlation there at the end of the hours",
        "optimism: correlation chosen by minus held out",
        "p: as good as the first (corrected resampled t-test, Holm over all pairs)",
        "",
        *report.conclusion[1:],
        titled("choices: ", chosen_text({**report.choices, **report.rules})),
    ]
