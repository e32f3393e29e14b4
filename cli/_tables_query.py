"""``bpe-bench tables query``: what a table says of one architecture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from ._commands import Command
from ._options import common
from ._output import Output, duration, frame, grid, number, shape, whole

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bpe_bench.tables.table import Table


@click.command(cls=Command)
@click.argument("table")
@click.argument("cell")
@click.option(
    "--budget", metavar="LABEL[@EPOCH]", help="Only this setting.  [default: all of them]"
)
@click.option(
    "--split",
    type=click.Choice(["train", "validation", "test", "heldout"]),
    help="Only accuracies on this split.  [default: all; the first line takes validation if "
    "recorded, else test]",
)
@click.option(
    "--table-seed",
    type=int,
    help="Only trainings of this recorded seed.  [default: the mean over seeds]",
)
@common
def query(
    table: str,
    cell: str,
    budget: str | None,
    split: str | None,
    table_seed: int | None,
    out: Output,
) -> None:
    """Say how accurate an architecture of TABLE is, and what its training costs.

    CELL is the architecture's text, or its place in the table, counted from 0. The
    first line is about full training, or about --budget; then there is a line for
    every setting.

    \b
    Example:
      bpe-bench tables query darts-bpe 11
    """
    from bpe_bench.spaces import get_space
    from bpe_bench.tables.catalog import open_table

    opened = open_table(table)
    place = opened.index(_architecture(opened, cell))
    seed: Any = "mean" if table_seed is None else table_seed
    rows = opened.results_of(place, budget, split=split, seed=seed)
    answer = f"{table}, architecture {place}: {_answer(opened, rows, place, budget, split, seed)}"
    text = get_space(opened.space).format(opened.architectures[place])
    out.emit(
        lambda: {
            "answer": answer,
            "table": table,
            "architecture": text,
            "place": place,
            "rows": rows,
        },
        lambda: frame(rows),
        lambda: [answer, whole(text), _grid(opened, rows)],
    )


def _architecture(table: Table, cell: str) -> str | int:
    """Return a place as a number; some spaces write architectures in digits, too."""
    from bpe_bench.errors import GenotypeError
    from bpe_bench.spaces import get_space

    try:
        get_space(table.space).parse(cell)
    except GenotypeError as error:
        if cell.isdecimal():
            return int(cell)
        last = len(table.architectures) - 1
        raise GenotypeError(
            f"{error}; CELL is an architecture of {table.space}, or a place from 0 to {last}"
        ) from error
    return cell


def _answer(
    table: Table,
    rows: Sequence[Mapping[str, Any]],
    place: int,
    budget: str | None,
    split: str | None,
    seed: Any,
) -> str:
    if budget is None and not table.references:
        return "the table names no full training; --budget names a setting"
    found = table.query(place, budget, split=split, seed=seed)
    (row,) = (r for r in rows if (r["setting"], r["split"]) == (found.setting, found.split))
    rank = "" if row["rank"] is None else f"; rank {row['rank']} of {row['ranked']}"
    return found.answer + rank


def _grid(table: Table, rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    lines = [
        {
            "setting": f"{row['setting']} ({row['name']})" if row["name"] else row["setting"],
            "split": row["split"],
            "accuracy": number(row["accuracy"], "{:.2%}").replace("%", " %"),
            "rank": number(row["rank"], "{}"),
            "of": str(row["ranked"]),
            "seeds": f"only {row['seed']}"
            if row["seed"] != "mean"
            else str(row["trainings"] or "mean"),
            "epoch": str(row["epoch"]),
            "cost": number(None) if row["seconds"] is None else duration(row["seconds"]),
            "device": row["device"] or "–",
            "training": shape(table.setting(row["setting"]).budget),
        }
        for row in rows
    ]
    return grid(lines, left=["setting", "split", "device", "training"])
