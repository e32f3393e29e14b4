"""``bpe-bench surrogate``: fit, judge and use models that predict what nobody trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ._commands import Group
from ._options import (
    FILE,
    Option,
    combined,
    common,
    confidence_option,
    is_given,
    making,
    refuse_stray,
    split_option,
    statistic_option,
    top_k_option,
)
from ._output import Output, frame
from ._surrogate_output import answer_parts, fitted_parts, report_parts

if TYPE_CHECKING:
    from bpe_bench.surrogate import FittedSurrogate, Question
    from bpe_bench.tables.table import Table

_MODELS = ["forest", "xgboost"]


@click.group(cls=Group)
def surrogate() -> None:
    """Fit, evaluate and use models that predict what nobody trained.

    \b
    Example:
      bpe-bench surrogate evaluate darts-bpe --target correlation --folds 5
    """


_question_options = combined(
    click.option(
        "--target",
        type=click.Choice(["accuracy", "cost", "correlation"]),
        default="accuracy",
        show_default=True,
        help="Accuracy or cost of an architecture under a budget, or a budget's correlation.",
    ),
    click.option("--dataset", help="Data set of the settings.  [default: the table's own]"),
    split_option("Split that accuracy was measured on."),
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
        metavar="LABEL[@EPOCH]",
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
        help="Encoding of architectures (docs/surrogates.md).",
    ),
)


def _folds_option(least: int) -> Option:
    return click.option(
        "--folds",
        type=click.IntRange(min=least),
        help="Cross-validation.  [default: 10; up to 40 settings' correlations one by one]",
    )


@surrogate.command()
@click.argument("table", default="darts-bpe")
@_question_options
@_folds_option(least=2)
@click.option(
    "--model",
    type=click.Choice(_MODELS),
    help="Regression.  [default: xgboost; of correlations forest]",
)
@making("surrogate")
def fit(
    table: str,
    model: str | None,
    folds: int | None,
    output: Path,
    seed: int,
    out: Output,
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

    opened = open_table(table)
    question = _question(options, opened)
    with out.progress("fitting") as progress:
        fitted = fit_surrogate(
            opened,
            question,
            rng=as_generator(seed),
            name=table,
            model=model,
            folds=folds,
            progress=progress,
        )
        save_surrogate(output, fitted)
    said = {"answer": fitted.answer, "file": str(output), **fitted.describe()}
    out.emit(
        lambda: said,
        lambda: frame([{name: said[name] for name in said if name != "answer"}]),
        lambda: fitted_parts(said),
    )
    out.warn(fitted.notes, table)


@surrogate.command()
@click.argument("table", default="darts-bpe")
@_question_options
@_folds_option(least=3)  # one is judged, one calibrates, the others are learned from
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
@top_k_option
@confidence_option
@common
def evaluate(
    table: str,
    models: tuple[str, ...],
    groupings: tuple[str, ...],
    folds: int | None,
    top_k: int | None,
    confidence: float,
    seed: int,
    out: Output,
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

    opened = open_table(table)
    question = _question(options, opened)
    with out.progress("evaluating") as progress:
        report = evaluate_surrogates(
            opened,
            question,
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
    out.warn(report.warnings, table)


@surrogate.command()
@click.argument("file", type=FILE, required=False)
@click.option(
    "--architectures",
    metavar="TABLE:0-19|sample:N|FILE",
    help="Architectures: places in a table, a random sample, or a file of one per line.  "
    "[default: sample:10; with given accuracies of the table]",
)
@click.option(
    "--budget",
    "budgets",
    multiple=True,
    metavar="LABEL|NAME|NAME=VALUE[,...]",
    help="Budget of their training; may be repeated.  [default: those it was fitted to]",
)
@click.option("--table", help="Table of known accuracies, by name or path; refused if it changed.")
@click.option("--extrapolate", is_flag=True, help="Allow budgets outside of its ranges.")
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
    budgets: tuple[str, ...],
    table: str | None,
    seed: int,
    out: Output,
    **options: Any,
) -> None:
    """Ask the surrogate in FILE for accuracy and cost, or for a budget's correlation.

    \b
    Example:
      bpe-bench surrogate predict fitted.surrogate --budget BPE-1,epochs=20
    """
    from bpe_bench.randomness import as_generator
    from bpe_bench.surrogate import ask, load_surrogate
    from bpe_bench.tables.catalog import open_table

    if file is None:
        raise click.UsageError(
            "FILE is missing; make one with: bpe-bench surrogate fit TABLE -o FILE"
        )
    fitted = load_surrogate(file)
    _refuse_seed(fitted, options["architectures"])
    answers = ask(
        fitted,
        tuple(dict.fromkeys(budgets)),
        rng=as_generator(seed),
        table=None if table is None else open_table(table),
        **options,
    )
    out.emit(
        lambda: {"answer": answers.answer, "file": str(file), **answers.to_json()},
        answers.to_frame,
        lambda: answer_parts(answers),
    )
    out.warn(answers.warnings)


def _refuse_seed(fitted: FittedSurrogate, architectures: str | None) -> None:
    """Refuse a seed where nothing is drawn."""
    drawn = not fitted.by_setting and (architectures or "sample").startswith("sample")
    found = f"--architectures {architectures}" if architectures else "a surrogate of settings"
    refuse_stray({"seed": (drawn, "--architectures sample:N", found)})


def _question(options: dict[str, Any], table: Table) -> Question:
    """Return what is asked of a table; options that it does not use are refused."""
    from bpe_bench.surrogate import Question
    from bpe_bench.tables.curves import Split

    target = options["target"]
    refuse_stray(
        {
            "statistic": (target == "correlation", "--target correlation", f"--target {target}"),
            "split": (target != "cost", "--target accuracy or correlation", "--target cost"),
        }
    )
    _refuse_architectures(target, table)
    return Question(
        target=target,
        dataset=options["dataset"],
        split=Split(options["split"]) if options["split"] else None,
        statistic=options["statistic"],
        budgets=options["budgets"] or None,
        given=options["given"],
        architectures=_count(options["architectures"]),
        encoding=options["encoding"],
    )


def _refuse_architectures(target: str, table: Table) -> None:
    """Refuse options of single architectures where a value is that of a whole setting."""
    context = click.get_current_context()
    given = [f"--{n}" for n in ("architectures", "encoding") if is_given(context, n)]
    single = any(kind == "seconds" for _, kind in table.measures)
    if not given or target == "accuracy" or (target == "cost" and single):
        return
    where = " of a setting in this table" if target == "cost" else ""
    others = "--target accuracy or cost" if single else "--target accuracy"
    raise click.UsageError(
        f"--target {target} has one value for all architectures{where}, found "
        f"{' and '.join(given)}; leave out, or take {others}"
    )


def _count(text: str) -> int | None:
    if text == "all":
        return None
    if not text.isdigit() or int(text) < 1:
        raise click.UsageError(
            f"--architectures wants a number of at least 1, or all; found {text!r}"
        )
    return int(text)
