"""``bpe-bench train``: fill a table's gaps by real training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ._options import common
from ._output import Output, duration, number

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bpe_bench.correlation.planning import Plan
    from bpe_bench.execution.campaign import Status
    from bpe_bench.training.trial import Trial

DEFAULT_STORE = Path("bpe-bench-trainings.sqlite")
_DIGITS_BUDGETS = (
    "epochs=2,batch_size=64,learning_rate=0.05,layers={layers},channels=4,image_size=8",
    "epochs=7,batch_size=64,learning_rate=0.05,layers={layers},channels=8,image_size=8",
)
"""What is trained on the bundled digits by default: a cheap budget, and one to rank against."""


def store_option(function: Any) -> Any:
    """Add the option that names the journal."""
    return click.option(
        "--store",
        type=click.Path(path_type=Path, dir_okay=False),
        default=DEFAULT_STORE,
        show_default=True,
        help="Where trainings report: an SQLite file, made if it is not there.",
    )(function)


@click.group(invoke_without_command=True)
@click.option("--space", default="darts", show_default=True, help="Search space.")
@click.option(
    "--budget",
    "budgets",
    multiple=True,
    metavar="NAME|NAME=VALUE[,...]",
    help="BPE-1, BPE-2, full, or hyper-parameters; may be repeated.  [default: two for the digits]",
)
@click.option(
    "--architectures",
    default="sample:6",
    show_default=True,
    metavar="TABLE:0-19|sample:N|FILE",
    help="What to train: places in a table, a random sample, or a file of one per line.",
)
@click.option(
    "--data",
    help="Images: Parquet files, an archive or a folder (docs/training.md).  [default: digits]",
)
@click.option("--seeds", default="0", show_default=True, help="Seeds, as 0 or 0,1,2 or 0-2.")
@click.option(
    "--protocol",
    type=click.Choice(["split", "paper"]),
    default="split",
    show_default=True,
    help="Validate on held-out training images, or train on all and record test only.",
)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N.")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="Trainings at a time.  [default: one per core, four on a GPU]",
)
@click.option("--executor", default="local", show_default=True, help="Where trainings run: local.")
@click.option("--dry-run", is_flag=True, help="List the trainings and their cost; train nothing.")
@store_option
@common
@click.pass_context
def train(
    ctx: click.Context,
    space: str,
    budgets: tuple[str, ...],
    architectures: str,
    data: str | None,
    seeds: str,
    protocol: str,
    device: str,
    jobs: int | None,
    executor: str,
    dry_run: bool,
    store: Path,
    format_: str,
    output: Path | None,
    seed: int,
    quiet: bool,
) -> None:
    """Train architectures under budgets, for real, and keep every epoch.

    Without data it trains on the digits that come with scikit-learn. Ctrl-C
    stops cleanly, and the same command goes on where it stopped. What was
    trained becomes a table with: bpe-bench tables import journal STORE -o FILE

    \b
    Example:
      bpe-bench train --space darts --architectures sample:2 --dry-run
    """
    if ctx.invoked_subcommand is not None:
        return
    from bpe_bench.budget import parse_budget
    from bpe_bench.execution import get_executor
    from bpe_bench.execution.campaign import (
        choose_architectures,
        dataset_name,
        make_trials,
        run_campaign,
    )
    from bpe_bench.randomness import as_generator
    from bpe_bench.spaces import get_space

    out = Output(format_, output, quiet)
    get_space(space)
    get_executor(executor)
    chosen = choose_architectures(architectures, space, as_generator(seed))
    trials = make_trials(
        chosen,
        [parse_budget(text) for text in budgets or default_budgets(space, data)],
        dataset=dataset_name(data),
        seeds=_seeds(seeds),
        protocol="paper" if protocol == "paper" else "split",
    )
    if dry_run:
        rows = _predicted(trials, space)
        out.emit(lambda: {"rows": rows}, lambda: _frame(rows), lambda: [_trial_table(rows)])
        return
    with out.progress(f"training {len(trials)} networks") as progress:
        status = run_campaign(
            store,
            trials,
            source=data,
            device=device,
            jobs=jobs,
            executor=executor,
            on_progress=lambda now: progress(_share(now.epochs, trials)),
        )
    out.emit(status.to_json, lambda: _frame([status.to_json()]), lambda: _status_table(status))
    out.note(f"a table of it: bpe-bench tables import journal {store} -o trained.h5")
    if status.failures:
        raise click.exceptions.Exit(1)


@train.command()
@store_option
@common
def status(store: Path, format_: str, output: Path | None, seed: int, quiet: bool) -> None:
    """Say how far the trainings of a store are, and what failed.

    \b
    Example:
      bpe-bench train status --store trainings.sqlite
    """
    from bpe_bench.execution.campaign import status_of

    found = status_of(store)
    Output(format_, output, quiet).emit(
        found.to_json, lambda: _frame([found.to_json()]), lambda: _status_table(found)
    )


@train.command()
@store_option
@click.option(
    "--state",
    "states",
    type=click.Choice(["failed", "diverged"]),
    multiple=True,
    default=("failed",),
    show_default=True,
    help="Which trainings to start over; may be repeated.",
)
@common
def retry(
    store: Path,
    states: tuple[str, ...],
    format_: str,
    output: Path | None,
    seed: int,
    quiet: bool,
) -> None:
    """Plan failed trainings again; `bpe-bench train` with the same store runs them.

    \b
    Example:
      bpe-bench train retry --store trainings.sqlite
    """
    from bpe_bench.execution.campaign import status_of
    from bpe_bench.execution.journal import Journal

    status_of(store)  # refuses a store that is not there, which opening would make
    with Journal(store) as journal:
        count = journal.retry([s for s in ("failed", "diverged") if s in states])
    Output(format_, output, quiet).emit(
        lambda: {"planned_again": count},
        lambda: _frame([{"planned_again": count}]),
        lambda: [f"{count} trainings planned again"],
    )


@train.command()
@click.option("--table", default="darts-bpe", show_default=True, help="Table by name or path.")
@click.option("--hours", type=float, required=True, help="Allowance in device hours.")
@click.option(
    "--budget",
    "budgets",
    multiple=True,
    metavar="NAME|NAME=VALUE[,...]",
    help="A budget to consider beside the table's own; may be repeated.",
)
@common
def plan(
    table: str,
    hours: float,
    budgets: tuple[str, ...],
    format_: str,
    output: Path | None,
    seed: int,
    quiet: bool,
) -> None:
    """Propose the trainings that would narrow a table's intervals most per device second.

    \b
    Example:
      bpe-bench train plan --table darts-bpe --hours 5 --budget BPE-1,epochs=20
    """
    from bpe_bench.budget import parse_budget
    from bpe_bench.correlation.planning import plan_trainings
    from bpe_bench.randomness import as_generator
    from bpe_bench.tables.catalog import open_table

    out = Output(format_, output, quiet)
    found = plan_trainings(
        open_table(table),
        hours=hours,
        rng=as_generator(seed),
        budgets=[parse_budget(text) for text in budgets],
        name=table,
    )
    out.emit(found.to_json, found.to_frame, lambda: _plan_table(found))
    out.warn(found.warnings)


def default_budgets(space: str, data: str | None) -> tuple[str, ...]:
    """Return the budgets of trainings where none is named: small ones for the digits."""
    from bpe_bench.budget import BPE_1
    from bpe_bench.spaces import get_space

    known = get_space(space)
    layers = known.default_layers
    if data not in (None, "digits"):
        return ("BPE-1" if BPE_1.layers in known.layers_to_vary else f"BPE-1,layers={layers}",)
    return tuple(text.format(layers=layers) for text in _DIGITS_BUDGETS)


def _seeds(text: str) -> list[int]:
    seeds: list[int] = []
    try:
        for part in text.split(","):
            first, dash, last = part.partition("-")
            seeds += range(int(first), int(last) + 1) if dash else [int(first)]
    except ValueError:
        seeds = []
    if not seeds or len(set(seeds)) < len(seeds):
        raise click.UsageError(f"--seeds wants numbers as 0 or 0,1,2 or 0-2, found {text!r}")
    return seeds


def _share(epochs: int, trials: list[Trial]) -> float:
    return min(1.0, epochs / sum(trial.budget.epochs for trial in trials))


def _predicted(trials: list[Trial], space: str) -> list[dict[str, Any]]:
    """Return a row per budget: how many trainings, and what the space's table says they cost."""
    from bpe_bench.execution.campaign import predict_costs
    from bpe_bench.tables.catalog import entries, open_table_of

    budgets = list(dict.fromkeys(trial.budget for trial in trials))
    costs, device = [float("nan")] * len(budgets), ""
    if any(entry.space == space for entry in entries().values()):
        table = open_table_of(space)[1]
        if trials[0].dataset.startswith(table.dataset):  # costs of other images say nothing
            costs, device = predict_costs(budgets, table)
    rows = []
    for budget, cost in zip(budgets, costs, strict=True):
        count = sum(trial.budget == budget for trial in trials)
        known = cost == cost  # not NaN
        rows.append(
            {
                "budget": str(budget),
                "dataset": trials[0].dataset,
                "trainings": count,
                "predicted_seconds_each": cost if known else None,
                "predicted_seconds": cost * count if known else None,
                "device": device,
            }
        )
    return rows


def _frame(rows: list[dict[str, Any]]) -> Any:
    import pandas as pd

    return pd.DataFrame(rows).set_index(next(iter(rows[0])))


def _trial_table(rows: list[dict[str, Any]]) -> RenderableType:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("budget", overflow="fold")
    for column in ("data set", "trainings", "each", "all", "as predicted for"):
        table.add_column(column, no_wrap=True)
    for row in rows:
        each, whole = row["predicted_seconds_each"], row["predicted_seconds"]
        table.add_row(
            row["budget"],
            row["dataset"],
            str(row["trainings"]),
            number(None) if each is None else duration(each),
            number(None) if whole is None else duration(whole),
            row["device"] or "–",
        )
    return table


def _status_table(status: Status) -> list[RenderableType]:
    from rich.text import Text

    counts = ", ".join(f"{count} {state}" for state, count in status.counts.items())
    left = status.estimated_seconds_left
    lines = [f"{status.store}: {counts}; {duration(status.device_seconds)} of device time"]
    if left:
        lines[0] += f", about {duration(left)} left"
    return [Text(line) for line in (*lines, *status.failures)]


def _plan_table(plan: Plan) -> list[RenderableType]:
    from rich.table import Table
    from rich.text import Text

    title = Text(
        f"{plan.table}: {plan.hours_planned:.3g} of {plan.hours:g} device hours planned; "
        "--format json or csv names the architectures"
    )
    if not plan.gaps:
        return [title]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("budget", "trained", "to train", "each", "correlation"):
        table.add_column(column)
    table.add_column(f"± now, then ({plan.confidence:.0%})")
    table.add_column("device")
    for gap in plan.gaps:
        table.add_row(
            gap.label,
            str(gap.trained),
            str(len(gap.architectures)),
            duration(gap.cost_seconds),
            number(gap.correlation),
            f"{gap.half_width:.2f}, {gap.expected_half_width:.2f}",
            gap.device or "–",
        )
    return [title, table]
