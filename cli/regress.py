"""``bpe-bench regress``: does a table still say what is promised of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ._options import common
from ._output import Output

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bpe_bench.correlation.regression import RegressionReport


@click.command()
@click.argument("tables", nargs=-1, metavar="[TABLE]...")
@click.option(
    "--junit",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write a JUnit XML report, which CI services show.",
)
@common
def regress(
    tables: tuple[str, ...],
    junit: Path | None,
    format_: str,
    output: Path | None,
    seed: int,
    quiet: bool,
) -> None:
    """Recompute what the registry promises of each TABLE, and compare.

    All registered tables that are on this machine by default. Exits with status
    1 if a promise is not kept.

    \b
    Example:
      bpe-bench regress darts-bpe
    """
    from bpe_bench.correlation.regression import regress as regress_tables

    out = Output(format_, output, quiet)
    with out.progress("regressing") as progress:
        report = regress_tables(tables, progress=progress)
    out.emit(report.to_json, report.to_frame, lambda: _tables(report))
    if junit is not None:
        Output("table", junit, quiet).write(report.to_junit())
    out.warn([f"{name} is registered but not on this machine" for name in report.skipped])
    if not report.passed:
        raise click.exceptions.Exit(1)


def _tables(report: RegressionReport) -> list[RenderableType]:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("table", "figure"):
        table.add_column(column, overflow="fold")
    for column in ("promised", "found", "difference"):
        table.add_column(column, justify="right")
    table.add_column("")
    for check in report.checks:
        row = check.to_json()
        table.add_row(
            *(Text(_cell(row[name])) for name in ("table", "figure", "expected", "found")),
            Text("" if row["difference"] is None else f"{row['difference']:+.2g}"),
            Text("ok" if check.passed else "MISSED", style="" if check.passed else "bold red"),
        )
    missed = sum(not check.passed for check in report.checks)
    return [table, Text(f"{len(report.checks) - missed} kept, {missed} missed")]


def _cell(value: float | str) -> str:
    if isinstance(value, str):
        return value[:12] + "…" if len(value) == 64 else value
    return f"{value:.6g}"
