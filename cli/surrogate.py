"""``bpe-bench surrogate``: fit, judge and ask models that answer for what nobody trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ._options import common, making_surrogate, split_option, statistic_option
from ._output import Output
from ._surrogate_output import (
    Rows,
    frame,
    listed,
    prediction_parts,
    report_parts,
    values,
    without_intervals,
)

if TYPE_CHECKING:
    import numpy as np

    from bpe_bench.budget import Budget
    from bpe_bench.surrogate import FittedSurrogate, Question

Command = TypeVar("Command", bound=Callable[..., Any])

_TARGETS = ["accuracy", "cost", "correlation"]
_MODELS = ["forest", "xgboost"]


@click.group()
def surrogate() -> None:
    """Fit, evaluate and ask models that predict what nobody trained.

    \b
    Example:
      bpe-bench surrogate evaluate darts-bpe --target correlation --folds 5
    """


def question_options(function: Command) -> Command:
    """Add the options that say what is predicted, and from what."""
    options: list[Callable[[Any], Any]] = [
        click.option(
            "--target",
            type=click.Choice(_TARGETS),
            default="accuracy",
            show_default=True,
            help="Accuracy or cost of an architecture under a budget, or a budget's correlation.",
        ),
        click.option("--dataset", help="Data set of the settings.  [default: the table's own]"),
        split_option("Where accuracy was measured."),
        statistic_option("Which correlation is predicted"),
        click.option(
            "--budget",
            "budgets",
            multiple=True,
            metavar="LABEL",
            help="Learn from this setting; may be repeated.  [default: all]",
        ),
        click.option(
            "--given",
            multiple=True,
            metavar="LABEL",
            help="Predict from the accuracy under this setting, too; may be repeated.",
        ),
        click.option(
            "--architectures",
            default="1000",
            show_default=True,
            metavar="N|all",
            help="How many of a larger table's architectures to learn from, drawn at random.",
        ),
        click.option(
            "--encoding",
            type=click.Choice(["structure", "operations", "all"]),
            default="structure",
            show_default=True,
            help="How architectures become numbers (docs/surrogates.md).",
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def folds_option(least: int) -> Callable[[Command], Command]:
    """Return what adds the option for cross-validation in at least so many folds."""
    return click.option(
        "--folds",
        type=click.IntRange(min=least),
        help="Cross-validation.  [default: 10; up to 40 settings' correlations one by one]",
    )


@surrogate.command()
@click.argument("table", default="darts-bpe")
@question_options
@folds_option(least=2)
@click.option(
    "--model",
    type=click.Choice(_MODELS),
    help="Regression.  [default: xgboost; of correlations forest]",
)
@making_surrogate
def fit(
    table: str,
    model: str | None,
    folds: int | None,
    format_: str,
    output: Path,
    seed: int,
    quiet: bool,
    **options: Any,
) -> None:
    """Fit a surrogate to TABLE and write it to a file.

    TABLE is a registered name or a path (default: darts-bpe). Costs are fitted
    beside, where the table has them.

    \b
    Example:
      bpe-bench surrogate fit darts-bpe --target correlation -o darts.surrogate
    """
    from bpe_bench.randomness import as_generator
    from bpe_bench.surrogate import fit_surrogate, save_surrogate
    from bpe_bench.tables.catalog import open_table

    out = Output(format_, None, quiet)
    with out.progress("fitting") as progress:
        fitted = fit_surrogate(
            open_table(table),
            _question(options),
            rng=as_generator(seed),
            name=table,
            model=model,
            folds=folds,
            progress=progress,
        )
        save_surrogate(output, fitted)
    said = {"file": str(output), **fitted.describe()}
    out.emit(lambda: said, lambda: frame([said]), lambda: [listed(said)])
    out.warn(fitted.notes)


@surrogate.command()
@click.argument("table", default="darts-bpe")
@question_options
@folds_option(least=3)  # one is judged, one calibrates, the others are learned from
@click.option(
    "--model",
    "models",
    type=click.Choice(_MODELS),
    multiple=True,
    help="Regression; may be repeated.  [default: xgboost; of correlations forest]",
)
@click.option(
    "--grouping",
    "groupings",
    type=click.Choice(["architecture", "budget", "both"]),
    multiple=True,
    help="What is held out; may be repeated.  [default: all that the table allows]",
)
@click.option(
    "--top-k",
    type=int,
    default=10,
    show_default=True,
    help="How many of the best count for precision, regret and best rank.",
)
@click.option(
    "--confidence",
    type=float,
    default=0.95,
    show_default=True,
    help="Nominal coverage of the figures' intervals; those of predictions are 90 % ones.",
)
@common
def evaluate(
    table: str,
    models: tuple[str, ...],
    groupings: tuple[str, ...],
    folds: int | None,
    top_k: int,
    confidence: float,
    format_: str,
    output: Path | None,
    seed: int,
    quiet: bool,
    **options: Any,
) -> None:
    """Judge surrogates of TABLE on architectures and budgets that were held out.

    TABLE is a registered name or a path (default: darts-bpe).

    \b
    Example:
      bpe-bench surrogate evaluate darts-bpe --budget test5 --budget test6 --folds 5
    """
    from bpe_bench.randomness import as_generator
    from bpe_bench.surrogate import GROUPINGS, evaluate_surrogates
    from bpe_bench.tables.catalog import open_table

    out = Output(format_, output, quiet)
    with out.progress("evaluating") as progress:
        report = evaluate_surrogates(
            open_table(table),
            _question(options),
            rng=as_generator(seed),
            name=table,
            models=models or None,
            groupings=[g for g in GROUPINGS if g in groupings] or None,
            folds=folds,
            top_k=top_k,
            confidence=confidence,
            progress=progress,
        )
    out.emit(report.to_json, report.to_frame, lambda: report_parts(report))
    out.warn(report.warnings)


@surrogate.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), required=False)
@click.option(
    "--architectures",
    metavar="TABLE:0-19|sample:N|FILE",
    help="Whose accuracy and cost: places in a table, a random sample, or a file of one per line.  "
    "[default: sample:10]",
)
@click.option(
    "--budget",
    "budgets",
    multiple=True,
    metavar="LABEL|NAME|NAME=VALUE[,...]",
    help="How they would be trained; may be repeated.  [default: what it was fitted to]",
)
@click.option("--table", help="Table of known accuracies, by name or path; refused if it changed.")
@click.option("--extrapolate", is_flag=True, help="Allow budgets outside of what was fitted.")
@click.option(
    "--confidence",
    type=float,
    default=0.9,
    show_default=True,
    help="Nominal coverage of intervals.",
)
@common
def predict(
    file: Path | None,
    architectures: str | None,
    budgets: tuple[str, ...],
    table: str | None,
    extrapolate: bool,
    confidence: float,
    format_: str,
    output: Path | None,
    seed: int,
    quiet: bool,
) -> None:
    """Ask the surrogate in FILE for accuracy and cost, or for a budget's correlation.

    \b
    Example:
      bpe-bench surrogate predict fitted.surrogate --budget BPE-1,epochs=20
    """
    from bpe_bench.randomness import as_generator
    from bpe_bench.surrogate import load_surrogate
    from bpe_bench.tables.catalog import open_table

    if file is None:
        raise click.UsageError(
            "FILE is missing; make one with: bpe-bench surrogate fit TABLE -o FILE"
        )
    out = Output(format_, output, quiet)
    fitted = load_surrogate(file)
    known = open_table(table) if table is not None else None
    if known is not None:
        fitted.check_table(known)
    options = {"confidence": confidence, "extrapolate": extrapolate}
    asked = [
        (text, _budget(fitted, text)) for text in budgets or [s.label for s in fitted.settings]
    ]
    if fitted.by_setting:
        if architectures is not None:
            raise click.UsageError(
                f"the surrogate predicts a budget's {fitted.target}, of all architectures "
                "together; leave out --architectures"
            )
        rows = _of_budgets(fitted, asked, options)
    else:
        rows = _of_architectures(fitted, asked, architectures, known, as_generator(seed), options)
    notes = [*fitted.notes, *without_intervals(fitted, asked, rows, confidence)]
    said = {
        "file": str(file), "table": fitted.table, "space": fitted.space, "target": fitted.target,
        "model": fitted.model, "dataset": fitted.dataset, "split": fitted.split,
        "device": fitted.device, "confidence": confidence, "warnings": notes,
        "rows": rows,
    }  # fmt: skip
    out.emit(lambda: said, lambda: frame(rows), lambda: prediction_parts(fitted, rows, confidence))
    out.warn(notes)


def _question(options: dict[str, Any]) -> Question:
    from bpe_bench.surrogate import Question
    from bpe_bench.tables.curves import Split

    if options["target"] == "correlation":
        _refuse_given("architectures", "encoding")
    return Question(
        target=options["target"],
        dataset=options["dataset"],
        split=Split(options["split"]) if options["split"] else None,
        statistic=options["statistic"],
        budgets=options["budgets"] or None,
        given=options["given"],
        architectures=_count(options["architectures"]),
        encoding=options["encoding"],
    )


def _refuse_given(*names: str) -> None:
    """Refuse options of single architectures, where a budget's correlation is of all."""
    context = click.get_current_context()
    given = [
        f"--{name}"
        for name in names
        if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT
    ]
    if given:
        raise click.UsageError(
            f"--target correlation is of all architectures together, found {' and '.join(given)}; "
            "leave out, or take --target accuracy or cost"
        )


def _count(text: str) -> int | None:
    if text == "all":
        return None
    if not text.isdigit() or int(text) < 1:
        raise click.UsageError(
            f"--architectures wants a number of at least 1, or all; found {text!r}"
        )
    return int(text)


def _budget(fitted: FittedSurrogate, text: str) -> Budget:
    from bpe_bench.budget import parse_budget
    from bpe_bench.errors import UnknownNameError, unknown_name

    setting = fitted.setting(text)
    if setting is not None:
        return setting.budget
    try:
        return parse_budget(text)
    except UnknownNameError:
        if "=" in text:
            raise
        labels = [s.label for s in fitted.settings]
        raise unknown_name(
            "setting", text, labels, hint="or give BPE-1, BPE-2, full or name=value,..."
        ) from None


def _of_budgets(
    fitted: FittedSurrogate, asked: Sequence[tuple[str, Budget]], options: dict[str, Any]
) -> Rows:
    budgets = [budget for _, budget in asked]
    found = {}
    if "correlation" in fitted.models:
        found["correlation"] = fitted.correlation(budgets, **options)
    if "cost" in fitted.models:
        found["cost_seconds"] = fitted.budget_cost(budgets, **options)
    return [
        {"label": text, "budget": budget.to_dict(), **values(found, place)}
        for place, (text, budget) in enumerate(asked)
    ]


def _of_architectures(
    fitted: FittedSurrogate,
    asked: Sequence[tuple[str, Budget]],
    text: str | None,
    table: Any,
    rng: np.random.Generator,
    options: dict[str, Any],
) -> Rows:
    from bpe_bench.execution.campaign import choose_architectures
    from bpe_bench.spaces import get_space
    from bpe_bench.surrogate import Forecast

    chosen = choose_architectures(text or "sample:10", fitted.space, rng)
    given = fitted.given_from(table, chosen) if table is not None and fitted.given else None
    formatted = [get_space(fitted.space).format(architecture) for architecture in chosen]
    known = [fitted.knows_cost(b, extrapolate=options["extrapolate"]) for _, b in asked]
    rows: Rows = []
    for (label, budget), known_cost in zip(asked, known, strict=True):
        found = {}
        if "accuracy" in fitted.models:
            found["accuracy"] = fitted.accuracy(chosen, budget, given=given, **options)
        if known_cost or "cost" in fitted.models:
            found["cost_seconds"] = fitted.cost(chosen, budget, **options)
        elif any(known):  # a row has what any row has
            found["cost_seconds"] = Forecast.unknown(len(chosen))
        rows += [
            {"label": label, "budget": budget.to_dict(), "architecture": architecture,
             **values(found, place)}
            for place, architecture in enumerate(formatted)
        ]  # fmt: skip
    return rows
