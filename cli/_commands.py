"""Commands and groups of commands that take nothing silently and name the option at fault."""

from __future__ import annotations

import copy
import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

_GIVEN = f"{__name__}.given"
"""Where a context keeps the texts that stand on the command line, by parameter."""
_SUBJECTS = ("surrogate", "trainer")
"""Options that a message is about if it begins with their name."""


class Command(click.Command):
    """A command that refuses an option given twice, unless it takes several values.

    Of a repeated option click would silently take the last value. An error of the library
    gets the name of the option or argument that it is about.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse a command line."""
        if ctx.resilient_parsing:
            return super().parse_args(ctx, args)
        try:
            ctx.meta[_GIVEN] = given = self._given(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx
            raise
        for option, values in given.items():
            if isinstance(option, click.Option) and not option.multiple:
                _refuse_repeated(ctx, option, values)
        with _naming(ctx):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with _naming(ctx):
            return super().invoke(ctx)

    def _given(self, ctx: click.Context, args: list[str]) -> dict[click.Parameter, list[Any]]:
        """Return all values of each parameter on the command line."""
        parser = self.make_parser(ctx)
        parameters = self.get_params(ctx)
        for option in parameters:
            if isinstance(option, click.Option) and not option.multiple:
                collecting = copy.copy(option)
                collecting.multiple = True
                collecting.add_to_parser(parser, ctx)
        values, rest, _ = parser.parse_args(args=list(args))
        if rest and not ctx.allow_extra_args:
            names = [_name(ctx, p) for p in parameters if isinstance(p, click.Argument)]
            raise click.UsageError(
                f"{ctx.command_path} takes {' and '.join(names) or 'no argument'}, found "
                f"{' '.join(map(repr, rest))} as well; leave it out"
            )
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
        if not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            from bpe_bench.errors import unknown_name

            unknown = unknown_name("command", args[0], self.list_commands(ctx), of=ctx.command_path)
            raise click.UsageError(str(unknown), ctx)
        name, command, rest = super().resolve_command(ctx, args)
        for option, values in ctx.meta.get(_GIVEN, {}).items():
            if values:
                raise click.UsageError(
                    f"{option.opts[0]} stands before {name}, where it has no use; options of "
                    f"{name} come after its name",
                    ctx,
                )
        return name, command, rest


def refuse_overwriting(path: Path, option: str) -> None:
    """Refuse to write, by an option, the file that another one or an argument names."""
    ctx = click.get_current_context(silent=True)
    if ctx is None or (path.exists() and not path.is_file()):
        return
    for parameter, values in ctx.meta.get(_GIVEN, {}).items():
        paths = [v for v in values if isinstance(v, str) and (Path(v).suffix or os.sep in v)]
        if option not in parameter.opts and os.path.realpath(path) in map(os.path.realpath, paths):
            raise click.UsageError(
                f"{option} would overwrite {path}, which {_name(ctx, parameter)} names; give "
                "another file",
                ctx,
            )


@contextmanager
def _naming(ctx: click.Context) -> Iterator[None]:
    """Say in an error what an option wants, and name the one that the error is about."""
    given = ctx.meta.get(_GIVEN, {})
    try:
        yield
    except click.BadParameter as error:
        if error.param is None or not given.get(error.param):
            raise
        wanted = _unfit(ctx, error, error.param, given[error.param])
        raise click.UsageError(wanted, ctx) from None
    except Exception as error:
        from bpe_bench.errors import BpeBenchError

        if not isinstance(error, BpeBenchError):
            raise
        raise click.ClickException(_with_name(ctx, str(error), given)) from error


def _unfit(
    ctx: click.Context, error: click.BadParameter, parameter: click.Parameter, values: Sequence[Any]
) -> str:
    """Return what a parameter wants instead of the value that it was given."""
    kind, name = parameter.type, _name(ctx, parameter)
    found = next((v for v in values if error.message.startswith((repr(v), str(v)))), values[-1])
    if isinstance(kind, click.Choice):
        close = difflib.get_close_matches(str(found), kind.choices, n=1)
        guess = f" (did you mean {close[0]!r}?)" if close else ""
        return f"{name} wants one of {', '.join(kind.choices)}; found {found!r}{guess}"
    if isinstance(kind, click.Path):
        if error.message.endswith("is a directory."):
            return f"{name} wants a file, found the folder {str(found)!r}; name a file in it"
        return error.format_message()
    number = "a whole number" if isinstance(kind, click.types.IntParamType) else "a number"
    return f"{name} wants {number}{_range(kind)}, found {found!r}"


def _range(kind: click.ParamType[Any]) -> str:
    """Return in words where a number has to lie."""
    if not isinstance(kind, (click.IntRange, click.FloatRange)):
        return ""
    words = []
    if kind.min is not None:
        words.append(f"{'above' if kind.min_open else 'of at least'} {kind.min:g}")
    if kind.max is not None:
        words.append(f"{'below' if kind.max_open else 'at most'} {kind.max:g}")
    return " " + " and ".join(words)


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
        if values and re.match(rf"(a|the) {words}\b", message) and words in _SUBJECTS:
            places.append(len(message))
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
