"""Options that every command has, and the types that several share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def common(function: Command) -> Command:
    """Add the options of every command."""
    output = click.option(
        "-o",
        "--output",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Write results to this file instead of standard output.",
    )
    return _common(function, output)


def making_table(function: Command) -> Command:
    """Add the options of every command to one that makes a table, which -o names."""
    output = click.option(
        "-o",
        "--output",
        type=click.Path(path_type=Path, dir_okay=False),
        required=True,
        help="The table file to write; what it holds is said on standard output.",
    )
    return _common(function, output)


def making_surrogate(function: Command) -> Command:
    """Add the options of every command to one that makes a surrogate, which -o names."""
    output = click.option(
        "-o",
        "--output",
        type=click.Path(path_type=Path, dir_okay=False),
        required=True,
        help="The surrogate file to write; what it holds is said on standard output.",
    )
    return _common(function, output)


def _common(function: Command, output: Callable[[Any], Any]) -> Command:
    options: list[Callable[[Any], Any]] = [
        click.option(
            "--format",
            "format_",
            type=click.Choice(["table", "json", "csv"]),
            default="table",
            show_default=True,
            help="How results are written.",
        ),
        output,
        click.option(
            "--seed",
            type=click.IntRange(min=0),
            default=0,
            show_default=True,
            help="Seed of everything that is drawn at random; the same seed gives the same bytes.",
        ),
        click.option("--quiet", is_flag=True, help="No progress and no warnings."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def statistic_option(what: str) -> Callable[[Any], Any]:
    """Return what adds the option for the kind of rank correlation."""
    return click.option(
        "--statistic",
        type=click.Choice(["spearman", "kendall", "sparse-kendall"]),
        default="spearman",
        show_default=True,
        help=f"{what}; sparse-kendall rounds accuracies to 0.1 % first.",
    )


def split_option(what: str) -> Callable[[Any], Any]:
    """Return what adds the option for the images on which accuracy was measured."""
    return click.option(
        "--split",
        type=click.Choice(["train", "validation", "test"]),
        help=f"{what}  [default: validation if recorded, else test]",
    )


def ranking(function: Command) -> Command:
    """Add the options that say what is ranked and how sure one wants to be."""
    options = [
        statistic_option("Rank correlation"),
        split_option("Accuracies to rank by."),
        click.option(
            "--where",
            metavar="NAME=VALUE[,...]",
            help="Only budgets with these hyper-parameters, e.g. lr_schedule=cosine.",
        ),
        click.option(
            "--top-k",
            type=int,
            default=10,
            show_default=True,
            help="How many of the best count for precision, regret and best rank.",
        ),
        click.option(
            "--confidence",
            type=float,
            default=0.95,
            show_default=True,
            help="Nominal coverage of intervals.",
        ),
        click.option(
            "--plot",
            type=click.Path(path_type=Path, dir_okay=False),
            help="Write a figure (.png, .svg or .pdf).",
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function
