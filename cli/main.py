"""The command ``bpe-bench``: finds commands, and turns errors into one line and a status."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

import click

from ._commands import Group

COMMANDS: Mapping[str, str] = {
    "correlate": "correlate:correlate",
    "mip": "mip:mip",
    "regress": "regress:regress",
    "search": "search:search",
    "surrogate": "surrogate:surrogate",
    "train": "train:train",
    "tables": "tables:tables",
}
"""Module of each command, imported when it is needed."""


class _LazyGroup(Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command = getattr(importlib.import_module(f".{module}", __package__), name)
        assert isinstance(command, click.Command)
        return command


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"bpe-bench {version('bpe-bench')}")
        ctx.exit()


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version,
    help="Print the version and exit.",
)  # fmt: skip
def bpe_bench() -> None:
    """Find a cheap way of training that ranks architectures as full training would.

    \b
    Example:
      bpe-bench mip --space darts --max-cost-hours 0.6
    """


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return the exit status: 0 done, 1 a run failed, 2 bad input."""
    try:
        result = bpe_bench.main(arguments, prog_name="bpe-bench", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "bpe-bench"
        return _fail(f"{error.format_message()} (see {command} --help)")
    except click.ClickException as error:
        return _fail(error.format_message())
    except (click.Abort, KeyboardInterrupt):
        click.echo("bpe-bench: stopped", err=True)
        return 1
    except BrokenPipeError:
        # Whoever read the output has gone; let nothing be flushed into the void at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        from bpe_bench.errors import BpeBenchError

        if not isinstance(error, BpeBenchError):
            raise
        return _fail(str(error))


def _fail(message: str) -> int:
    click.echo(f"bpe-bench: error: {' '.join(message.split())}", err=True)
    return 2


def main() -> NoReturn:
    """Entry point of the installed command."""
    sys.exit(run())
