"""``bpe-bench regress``: does a table still have the promised figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ._commands import Command
from ._options import FILE, common
from ._output import Output, check_file, grid

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bpe_bench.correlation.regression import Check, RegressionReport


@click.command(cls=Command)
@click.argument("tables", nargs=-1, metavar="[TABLE]...")
@click.option("--junit", type=FILE, help="Also write a JUnit XML report, which CI services show.")
@common
def regress(tables: tuple[str, ...], junit: Path | None, out: Output) -> None:
    """Recompute what the registry promises of each TABLE, and compare.

    All registered tables that are on this machine by default. Exits with status
    1 if a promise is not kept.

    \b
    Example:
      bpe-bench regress darts-bpe
    """
    from bpe_bench.correlation.regression import regress as regress_tables

    if junit is not None:
        check_file(junit, "--junit")
    with out.progress("regressing") as progress:
        report = regress_tables(tables, progress=progress)
    out.emit(report.to_json, report.to_frame, lambda: _tables(report))
    if junit is not None:
        beside = Output("table", None, out.quiet)
        beside.output = junit  # checked above, as the file of --junit and not of -o
        beside.write(report.to_junit())
    out.warn(
        [
            f"{name} is not on this machine, so its figures are not compared; get it with: "
            f"bpe-bench tables fetch {name}"
            for name in report.skipped
        ]
    )
    if not report.passed:
        raise click.exceptions.Exit(1)


def _tables(report: RegressionReport) -> list[RenderableType]:
    return [
        report.answer,
        grid(list(map(_row, report.checks)), left=["table", "figure", ""]),
    ]


def _row(check: Check) -> dict[str, str]:
    found = check.to_json()
    return {
        "table": found["table"],
        "figure": found["figure"],
        "promised": _cell(found["expected"]),
        "found": _cell(found["found"]),
        "difference": "" if found["difference"] is None else f"{found['difference']:+.2g}",
        "": "ok" if check.passed else "MISSED",
    }


def _cell(value: float | str) -> str:
    if isinstance(value, str):
        return value[:12] + "…" if len(value) == 64 else value
    return f"{value:.6g}"
