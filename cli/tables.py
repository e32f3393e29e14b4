"""``bpe-bench tables``: which tables there are, what they hold, whether they are whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ._options import common
from ._output import Output, duration, number

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import RenderableType


@click.group()
def tables() -> None:
    """List, describe, check and export tables of finished trainings.

    \b
    Example:
      bpe-bench tables info darts-bpe
    """


@tables.command("list")
@common
def list_(format_: str, output: Path | None, seed: int, quiet: bool) -> None:
    """List the registered tables and whether they are on this machine.

    \b
    Example:
      bpe-bench tables list
    """
    from bpe_bench.catalog import entries

    rows = [
        {
            "name": entry.name,
            "space": entry.space,
            "here": entry.path is not None,
            "summary": entry.summary,
            "licence": entry.licence,
        }
        for entry in entries().values()
    ]
    _emit_rows(Output(format_, output, quiet), rows)


@tables.command()
@click.argument("table")
@click.option(
    "--architecture", metavar="TEXT", help="What the table says of this architecture only."
)
@common
def info(
    table: str, architecture: str | None, format_: str, output: Path | None, seed: int, quiet: bool
) -> None:
    """Describe TABLE: space, data set, settings, costs, source and licence.

    \b
    Example:
      bpe-bench tables info darts-bpe
    """
    from bpe_bench.catalog import open_table
    from bpe_bench.spaces import get_space
    from bpe_bench.storage import content_hash

    opened = open_table(table)
    out = Output(format_, output, quiet)
    if architecture is not None:
        _emit_rows(out, opened.results_of(get_space(opened.space).parse(architecture)))
        return
    description = {**opened.describe(), "content_sha256": content_hash(opened)}
    out.emit(
        lambda: {"table": table, **description},
        lambda: _frame(description["settings"]),
        lambda: _describe(table, description),
    )


@tables.command()
@click.argument("names", nargs=-1, required=True, metavar="TABLE...")
@common
def verify(
    names: tuple[str, ...], format_: str, output: Path | None, seed: int, quiet: bool
) -> None:
    """Check that each TABLE is whole: structure, shapes, and the hash of its content.

    A registered table is checked against the registry's hash, too.

    \b
    Example:
      bpe-bench tables verify darts-bpe
    """
    from bpe_bench.catalog import verify_registered
    from bpe_bench.errors import BpeBenchError

    rows: list[dict[str, Any]] = []
    failure: BpeBenchError | None = None
    for name in names:
        try:
            rows.append({"table": name, "whole": True, "content_sha256": verify_registered(name)})
        except BpeBenchError as error:
            failure = failure or error
            rows.append({"table": name, "whole": False, "content_sha256": None})
    _emit_rows(Output(format_, output, quiet), rows)
    if failure is not None:
        raise failure


@tables.command()
@click.argument("table")
@common
def export(table: str, format_: str, output: Path | None, seed: int, quiet: bool) -> None:
    """Write every result of TABLE as text: one line per training and recorded epoch.

    \b
    Example:
      bpe-bench tables export darts-bpe --format csv -o darts-bpe.csv
    """
    from bpe_bench.catalog import open_table

    frame = open_table(table).to_frame()
    out = Output(format_, output, quiet)
    if format_ == "json":
        out.write(frame.to_json(orient="records", lines=True))
    elif format_ == "csv":
        out.write(frame.to_csv(index=False))
    else:
        out.write(frame.to_string(index=False) + "\n")


def _emit_rows(out: Output, rows: list[dict[str, Any]]) -> None:
    out.emit(lambda: {"rows": rows}, lambda: _frame(rows), lambda: [_plain_table(rows)])


def _frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(rows).set_index(next(iter(rows[0])))


def _plain_table(rows: list[dict[str, Any]]) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in rows[0]:
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row.values()))
    return table


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "–"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _describe(name: str, description: dict[str, Any]) -> list[RenderableType]:
    from rich.table import Table
    from rich.text import Text

    head = Table.grid(padding=(0, 2))
    plain = ("space", "dataset", "architectures", "references", "splits", "source", "licence")
    for key in (*plain, "citation", "created", "builder", "content_sha256"):
        value = description[key]
        text = ", ".join(value) if isinstance(value, list) else str(value)
        head.add_row(Text(key.replace("_", " "), style="bold"), Text(text))
    for caveat in description["caveats"]:
        head.add_row(Text("note", style="bold"), Text(caveat))
    table = Table(box=None, pad_edge=False, header_style="bold")
    columns = (
        "epochs", "batch_size", "learning_rate", "lr_schedule", "layers", "channels",
        "image_size", "precision", "cutout", "data_fraction",
    )  # fmt: skip
    for column in ("setting", *columns, "cost", "device"):
        table.add_column(column.replace("_", "\n"), overflow="fold")
    for row in description["settings"]:
        seconds = row["seconds"]
        table.add_row(
            row["label"],
            *(str(row[column]) for column in columns),
            number(None) if seconds is None else duration(seconds),
            row["device"] or "–",
        )
    return [Text(name, style="bold"), head, Text(""), table]
