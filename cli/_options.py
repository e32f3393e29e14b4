"""Options that all or several commands share."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from ._output import Output

Option = Callable[[Callable[..., Any]], Callable[..., Any]]

FILE = click.Path(path_type=Path, dir_okay=False)


def combined(*options: Option) -> Option:
    """Return a decorator that adds several options, in the order of the help."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            function = option(function)
        return function

    return add


def common(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of every command, which gets ``out`` and, if it takes one, ``seed``."""
    return _common(function, "")


def making(what: str) -> Option:
    """Return a decorator that adds the common options to a command that makes ``output``."""
    return lambda function: _common(function, what)


def _common(function: Callable[..., Any], made: str) -> Callable[..., Any]:
    wanted = inspect.signature(function).parameters
    takes_seed = "seed" in wanted or any(p.kind is p.VAR_KEYWORD for p in wanted.values())
    where = (
        f"The {made} file to write; standard output says what it holds."
        if made
        else "Write results to this file instead of standard output."
    )

    @functools.wraps(function)
    def command(
        *arguments: Any, format_: str, output: Path | None, seed: int, quiet: bool, **options: Any
    ) -> Any:
        out = Output(format_, output, quiet)
        if made:
            options["output"], out.output = output, None
        if takes_seed:
            options["seed"] = seed
        elif is_given(context := click.get_current_context(), "seed"):
            raise click.UsageError(
                f"{context.command_path} draws nothing at random, found --seed {seed}; leave it out"
            )
        return function(*arguments, out=out, **options)

    return combined(
        click.option(
            "--format",
            "format_",
            type=click.Choice(["table", "json", "csv"]),
            default="table",
            show_default=True,
            help="How results are written.",
        ),
        click.option("-o", "--output", type=FILE, required=bool(made), help=where),
        click.option(
            "--seed",
            type=click.IntRange(min=0),
            default=0,
            show_default=True,
            help="Seed of everything that is drawn at random; the same seed gives the same bytes.",
        ),
        click.option("--quiet", is_flag=True, help="No progress and no warnings."),
    )(command)


def plotting(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--plot``; the command gets ``draw``, to call with a figure's name and content.

    Whether the figure can be written is checked before the computation.
    """

    @functools.wraps(function)
    def command(*arguments: Any, plot: Path | None, **options: Any) -> Any:
        if plot is not None:
            from bpe_bench import report

            report.check_figure_path(plot)

        def draw(figure: str, shown: Any) -> None:
            if plot is not None:
                report.save_figure(getattr(report, figure)(shown), plot)

        return function(*arguments, draw=draw, **options)

    return click.option("--plot", type=FILE, help="Write a figure (.png, .svg or .pdf).")(command)


def of_fields(kind: type, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that are fields of a dataclass."""
    return {f.name: options[f.name] for f in dataclasses.fields(kind) if f.name in options}


def refuse_stray(owners: Mapping[str, tuple[bool, str, str]]) -> None:
    """Refuse options on the command line that are not used.

    Parameters
    ----------
    owners
        By option whether it is used, what it goes with, and what was found instead.
    """
    context = click.get_current_context()
    for option in context.command.params:
        good, where, found = owners.get(str(option.name), (True, "", ""))
        if not good and is_given(context, str(option.name)):
            name = "/".join((option.opts[-1], *option.secondary_opts))
            raise click.UsageError(f"{name} goes with {where}, found {found}")


def is_given(context: click.Context, name: str) -> bool:
    """Return whether an option is on the command line."""
    return context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT


def statistic_option(what: str) -> Option:
    """Return a decorator that adds the option for the kind of rank correlation."""
    return click.option(
        "--statistic",
        type=click.Choice(["spearman", "kendall", "sparse-kendall"]),
        default="spearman",
        show_default=True,
        help=f"{what}; sparse-kendall rounds accuracies to 0.1 % first.",
    )


def split_option(what: str) -> Option:
    """Return a decorator that adds the option for the split."""
    return click.option(
        "--split",
        type=click.Choice(["train", "validation", "test"]),
        help=f"{what}  [default: validation if recorded, else test]",
    )


def store_option(default: str) -> Option:
    """Return a decorator that adds the option for the store."""
    return click.option(
        "--store",
        type=FILE,
        default=Path(default),
        show_default=True,
        help="Store of the trainings, an SQLite file; finished ones are not repeated.",
    )


def _space_name(context: click.Context, option: click.Parameter, text: str | None) -> str | None:
    """Return the name of a space that is given by it, or by the file that declares it."""
    from bpe_bench.spaces import open_space

    return open_space(text).name if text and text.endswith(".toml") else text


def space_option(default_text: str = "", **facts: Any) -> Option:
    """Return a decorator that adds the option for the search space."""
    text = "Search space, for instance darts, or a FILE.toml that declares one (docs/importing.md)."
    return click.option("--space", callback=_space_name, help=text + default_text, **facts)


def trainer_option(where: str = "") -> Option:
    """Return a decorator that adds the option for one's own trainer."""
    return click.option(
        "--trainer",
        metavar="FILE.py:FUNCTION|MODULE:FUNCTION",
        help=f"{where}train by a function of your own (docs/training.md).",
    )


def of_recipe(trainer: str | None) -> dict[str, tuple[bool, str, str]]:
    """Return for `refuse_stray` the options for which one's own trainer has no use."""
    facts = (trainer is None, "training without --trainer", f"--trainer {trainer}")
    return dict.fromkeys(("images", "source", "device", "protocol"), facts) if trainer else {}


confidence_option = click.option(
    "--confidence",
    type=float,
    default=0.95,
    show_default=True,
    help="Nominal coverage of intervals.",
)
top_k_option = click.option(
    "--top-k",
    type=int,
    help="How many of the best count for precision, regret and best rank.  [default: a third, at "
    "most 10]",
)
ranking = combined(
    statistic_option("Rank correlation"),
    split_option("Accuracies to rank by."),
    click.option(
        "--where",
        multiple=True,
        metavar="NAME=VALUE[,...]",
        callback=lambda context, option, texts: ",".join(texts) or None,
        help="Only budgets with these hyper-parameters, e.g. lr_schedule=cosine; may be repeated, "
        "and all have to hold.",
    ),
    top_k_option,
    confidence_option,
    plotting,
)
"""Options for ranking, confidence and the figure."""
