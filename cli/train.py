"""``bpe-bench train``: fill a table's gaps by real training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from ._commands import Group
from ._options import (
    common,
    of_recipe,
    refuse_stray,
    space_option,
    store_option,
    trainer_option,
)
from ._output import Output, duration, frame, grid, number, quoted

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bpe_bench.correlation.planning import Plan
    from bpe_bench.execution.campaign import Expected, Status

_store_option = store_option("bpe-bench-trainings.sqlite")


@click.group(cls=Group, invoke_without_command=True)
@space_option(default="darts", show_default=True)
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
    "source",
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
@trainer_option()
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="Trainings at a time.  [default: one per core, four on a GPU]",
)
@click.option("--dry-run", is_flag=True, help="List the trainings and their cost; train nothing.")
@_store_option
@common
@click.pass_context
def train(
    ctx: click.Context,
    /,
    space: str,
    budgets: tuple[str, ...],
    architectures: str,
    source: str | None,
    seeds: str,
    protocol: Literal["split", "paper"],
    trainer: str | None,
    dry_run: bool,
    store: Path,
    seed: int,
    out: Output,
    **options: Any,
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
    from bpe_bench.execution.campaign import (
        choose_architectures,
        dataset_name,
        default_budgets,
        expected_costs,
        make_trials,
        run_campaign,
    )
    from bpe_bench.randomness import as_generator
    from bpe_bench.spaces import get_space
    from bpe_bench.training.own_trainer import OwnTrainer

    refuse_stray(of_recipe(trainer))
    own = None if trainer is None else OwnTrainer.of(trainer)
    get_space(space, having=None if own else "network")
    if own is not None and not budgets:
        raise click.UsageError(
            "--trainer needs --budget, because its budgets have no default; for instance --budget "
            "epochs=2"
        )
    chosen = choose_architectures(architectures, space, as_generator(seed))
    texts = budgets or default_budgets(space, source)
    trials = make_trials(
        chosen,
        [parse_budget(text, complete=own is None) for text in texts],
        dataset=own.dataset if own else dataset_name(source),
        seeds=_seeds(seeds),
        protocol=protocol,
        trainer=own,
    )
    if dry_run:
        expected = expected_costs(trials)
        rows = [one.to_json() for one in expected]
        out.emit(lambda: {"rows": rows}, lambda: frame(rows), lambda: [_expected_grid(expected)])
        return
    epochs = sum(trial.budget.epochs for trial in trials)
    with out.progress(f"training {len(trials)} networks") as progress:
        status = run_campaign(
            store,
            trials,
            source=source,
            trainer=own,
            on_progress=lambda now: progress(min(1.0, now.epochs / epochs)),
            **options,
        )
    _emit(out, status.to_json(), lambda: _status_lines(status))
    out.note(f"a table of it: bpe-bench tables import journal {quoted(store)} -o trained.h5")
    if status.failures:
        raise click.exceptions.Exit(1)


@train.command()
@_store_option
@common
def status(store: Path, out: Output) -> None:
    """Say how many trainings of a store are done, and which failed.

    \b
    Example:
      bpe-bench train status --store trainings.sqlite
    """
    from bpe_bench.execution.campaign import status_of

    found = status_of(store)
    _emit(out, found.to_json(), lambda: _status_lines(found))


@train.command()
@_store_option
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
def retry(store: Path, states: tuple[str, ...], out: Output) -> None:
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
    _emit(out, {"planned_again": count}, lambda: [f"{count} trainings planned again"])


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
def plan(table: str, hours: float, budgets: tuple[str, ...], seed: int, out: Output) -> None:
    """Propose the trainings that would narrow a table's intervals most per device second.

    \b
    Example:
      bpe-bench train plan --table darts-bpe --hours 5 --budget BPE-1,epochs=20
    """
    from bpe_bench.budget import parse_budget
    from bpe_bench.correlation.planning import plan_trainings
    from bpe_bench.randomness import as_generator
    from bpe_bench.tables.catalog import open_table

    found = plan_trainings(
        open_table(table),
        hours=hours,
        rng=as_generator(seed),
        budgets=[parse_budget(text) for text in budgets],
        name=table,
    )
    out.emit(found.to_json, found.to_frame, lambda: _plan_table(found))
    out.warn(found.warnings)


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


def _emit(out: Output, row: dict[str, Any], lines: Callable[[], list[RenderableType]]) -> None:
    out.emit(lambda: row, lambda: frame([row]), lines)


def _expected_grid(expected: Sequence[Expected]) -> RenderableType:
    rows = [
        {
            "budget": str(one.budget),
            "data set": one.dataset,
            "trainings": str(one.trainings),
            "each": duration(one.seconds_each),
            "all": duration(one.trainings * one.seconds_each),
            "as predicted for": one.device or "–",
        }
        for one in expected
    ]
    return grid(rows, left=["budget", "data set", "as predicted for"])


def _status_lines(status: Status) -> list[RenderableType]:
    counts = ", ".join(f"{count} {state}" for state, count in status.counts.items())
    left = status.estimated_seconds_left
    line = f"{status.store}: {counts}; {duration(status.device_seconds)} of device time"
    if left:
        line += f", about {duration(left)} left"
    return [line, *status.failures]


def _plan_table(plan: Plan) -> list[RenderableType]:
    title = (
        f"{plan.table}: {plan.hours_planned:.3g} of {plan.hours:g} device hours planned; "
        "--format json or csv names the architectures"
    )
    rows = [
        {
            "budget": gap.label,
            "trained": str(gap.trained),
            "to train": str(len(gap.architectures)),
            "each": duration(gap.cost_seconds),
            "correlation": number(gap.correlation),
            f"± now, then ({plan.confidence:.0%})": (
                f"{gap.half_width:.2f}, {gap.expected_half_width:.2f}"
            ),
            "device": gap.device or "–",
        }
        for gap in plan.rows
    ]
    return [title, *([grid(rows, left=["budget", "device"])] if rows else [])]
