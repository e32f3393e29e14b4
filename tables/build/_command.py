"""The command that each builder has: a directory of sources in, a table file out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from bpe_bench.errors import BpeBenchError
from bpe_bench.tables.storage import write_table
from bpe_bench.tables.table import Table


def builder_command(name: str, build: Callable[[Path], Table]) -> click.Command:
    """Return the command that builds a table from the files in a directory."""

    @click.command(help=f"Build {name}.h5 from the published files in DIRECTORY.")
    @click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
    @click.option("-o", "--output", type=click.Path(path_type=Path), default=f"{name}.h5")
    def command(directory: Path, output: Path) -> None:
        try:
            digest = write_table(build(directory), output)
        except BpeBenchError as error:
            raise click.ClickException(str(error)) from error
        click.echo(f"{output}: content SHA-256 {digest}")

    return command
