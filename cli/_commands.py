"""Commands and groups of commands that take nothing silently and name the option at fault."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

import click

_GIVEN = f"{__name__}.given"
"""Where a context keeps the texts that stand on the command line, by parameter."""


class Command(click.Command):
    """A command that refuses an option given twice, unless it takes several values.

    Of a repeated option click would silently take the last value. An error of the library
    gets the name of the option or argument that it is about.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse a command line."""
        if not ctx.resilient_parsing:
            ctx.meta[_GIVEN] = given = self._given(ctx, args)
            for option, values in given.items():
                if isinstance(option, click.Option) and not option.multiple:
                    _refuse_repeated(ctx, option, values)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        given = ctx.meta.get(_GIVEN, {})
        try:
            return super().invoke(ctx)
        except Exception as error:
            from bpe_bench.errors import BpeBenchError

            if not isinstance(error, BpeBenchError):
                raise
            raise click.ClickException(_with_name(ctx, str(error), given)) from error

    def _given(self, ctx: click.Context, args: list[str]) -> dict[click.Parameter, list[Any]]:
        """Return all values of each parameter on the command line."""
        parser = self.make_parser(ctx)
        parameters = self.get_params(ctx)
        for option in parameters:
            if isinstance(option, click.Option) and not option.multiple:
                collecting = copy.copy(option)
                collecting.multiple = True
                collecting.add_to_parser(parser, ctx)
        values, *_ = parser.parse_args(args=list(args))
        given: dict[click.Parameter, list[Any]] = {}
        for parameter in parameters:
            found = values.get(str(parameter.name))
            texts = [found] if isinstance(found, str) else found
            given[parameter] = list(texts) if isinstance(texts, (list, tuple)) else []
        return given


class Group(Command, click.Group):
    """A group whose own options are refused before one of its commands, which does not see them."""

    command_class = Command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands with their first sentences, whole."""
        with formatter.section("Commands"):
            commands = [self.get_command(ctx, name) for name in self.list_commands(ctx)]
            formatter.write_dl(
                [(str(c.name), c.get_short_help_str(limit=1000)) for c in commands if c]
            )

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return a command's name, the command, and what follows it."""
        name, command, rest = super().resolve_command(ctx, args)
        for option, values in ctx.meta.get(_GIVEN, {}).items():
            if values:
                raise click.UsageError(
                    f"{option.opts[0]} stands before {name}, where it has no use; options of "
                    f"{name} come after its name",
                    ctx,
                )
        return name, command, rest


def _refuse_repeated(ctx: click.Context, option: click.Option, values: Sequence[Any]) -> None:
    if option.is_flag:
        if len(set(values)) > 1:
            both = " and ".join((option.opts[0], option.secondary_opts[0]))
            raise click.UsageError(f"{both} exclude each other; leave one out", ctx)
    elif len(values) > 1:
        found = ", ".join(map(repr, values))
        raise click.UsageError(
            f"{option.opts[-1]} is given {len(values)} times, with {found}; it takes one value, "
            "leave the others out",
            ctx,
        )


def _with_name(
    ctx: click.Context, message: str, given: Mapping[click.Parameter, Sequence[Any]]
) -> str:
    """Add the name of the parameter to a message about its value, if the message lacks it."""
    found: list[tuple[bool, int, str]] = []
    for parameter, values in given.items():
        words = str(parameter.name).replace("_", " ").rstrip("s")
        places = [at for v in values for part in _parts(v) if (at := _place(message, part)) >= 0]
        if values and f"'{parameter.name}'" in message:
            places.append(-1)
        if places:
            found.append((words not in message, min(places), _name(ctx, parameter)))
    # The same value may stand in several options: then the message's words decide.
    best = [name for *rank, name in found if rank == list(min(found)[:2])]
    return message if len(best) != 1 or best[0] in message else f"{message} (in {best[0]})"


def _name(ctx: click.Context, parameter: click.Parameter) -> str:
    is_option = isinstance(parameter, click.Option)
    return parameter.opts[-1] if is_option else parameter.make_metavar(ctx).strip("[].")


def _parts(value: Any) -> list[str]:
    """Return the texts by which a message may quote a value: the whole, or a part of it."""
    if isinstance(value, tuple):
        return [part for one in value for part in _parts(one)]
    return [value, *re.split("[,:=@]", value)] if isinstance(value, str) else []


def _place(message: str, text: str) -> int:
    """Return where a message has a text as words of its own; -1 if nowhere."""
    found = re.search(rf"(?<![\w.-]){re.escape(text)}(?![\w-])", message) if text else None
    return found.start() if found else -1
