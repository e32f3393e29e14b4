"""``bpe-bench train``: fill a table's gaps by real training."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from ._commands import Group
from ._mip_output import chosen_text
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

    from bpe_bench.budget import Budget
    from bpe_bench.correlation.planning import Plan
    from bpe_bench.execution.campaign import Expected, Status
    from bpe_bench.execution.report import CampaignReport
    from bpe_bench.training.trial import Trial

_MOST_SEEDS = 10_000
_PROTOCOLS = {
    "split": "split (a fifth of the training images validates)",
    "paper": "paper (all training images train, accuracy is on test images)",
}

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
    from bpe_bench.execution.campaign import (
        choose_architectures,
        dataset_name,
        default_budgets,
        default_jobs,
        make_trials,
    )
    from bpe_bench.execution.readiness import check_ready, check_space
    from bpe_bench.execution.report import done_in
    from bpe_bench.pruning.answers import brief
    from bpe_bench.randomness import as_generator
    from bpe_bench.spaces import get_space
    from bpe_bench.training.own_trainer import OwnTrainer

    drawn = architectures.startswith("sample:")
    seeded = (drawn, "--architectures sample:N", f"--architectures {architectures}")
    refuse_stray({**of_recipe(trainer), "seed": seeded})
    own = None if trainer is None else OwnTrainer.of(trainer)
    get_space(space, having=None if own else "network")
    if own is not None and not budgets:
        raise click.UsageError(
            "--trainer needs --budget, because its budgets have no default; for instance --budget "
            "epochs=2"
        )
    found = choose_architectures(architectures, space, as_generator(seed))
    chosen = tuple(dict.fromkeys(found))
    parsed = _parsed(budgets or default_budgets(space, source), complete=own is None)
    numbers = _seeds(seeds)
    if not dry_run:
        check_ready(store, None if own else options["device"])
    dataset = own.dataset if own else dataset_name(source)
    trials = make_trials(
        chosen, parsed, dataset=dataset, seeds=numbers, protocol=protocol, trainer=own
    )
    choices: dict[str, Any] = {
        "space": space,
        "images": "those of the trainer" if own else source or "digits (of scikit-learn)",
        "dataset": dataset,
        "architectures": f"{len(chosen)} ({architectures}{f', --seed {seed}' if drawn else ''})",
        "budgets": list(map(brief, parsed)),
        "seeds": numbers,
    }
    if own is None:
        choices |= {"protocol": _PROTOCOLS[protocol], "device": options["device"]}
    else:
        choices["trainer"] = own.name
    if len(chosen) < len(found):
        out.warn([f"{len(found) - len(chosen)} of {len(found)} architectures repeat others"])
    if dry_run:
        _show_expected(out, trials, done_in(store, trials), choices)
        return
    choices["jobs"] = options["jobs"] = options["jobs"] or default_jobs(options["device"])
    if own is None:
        check_space(store, trials, options["jobs"])
    report = _trained(out, store, trials, choices, source=source, trainer=own, **options)
    out.emit(report.to_json, lambda: frame([report.status.to_json()]), lambda: _lines(report))
    out.note(f"a table of it: bpe-bench tables import journal {quoted(store)} -o trained.h5")
    if report.status.failures:
        raise click.exceptions.Exit(1)


def _show_expected(
    out: Output, trials: Sequence[Trial], done: int, choices: dict[str, Any]
) -> None:
    """Show what trainings would cost."""
    from bpe_bench.execution.campaign import expected_costs

    expected = expected_costs(trials)
    rows = [one.to_json() for one in expected]
    seconds = sum(one.trainings * one.seconds_each for one in expected)
    time = (
        f"their time is unknown, as no table has costs on {expected[0].dataset}; train one network "
        "first, with --architectures sample:1"
        if math.isnan(seconds)
        else f"in all they take about {duration(seconds)} on one {expected[0].device}"
    )
    before = f", {done} of them done before" if done else ""
    answer = f"{len(trials)} trainings{before}: {time}."
    out.emit(
        lambda: {"answer": answer, "rows": rows, "done_before": done, "choices": choices},
        lambda: frame(rows),
        lambda: [answer, _expected_grid(expected), _chosen(choices)],
    )


def _trained(
    out: Output, store: Path, trials: Sequence[Trial], choices: dict[str, Any], **options: Any
) -> CampaignReport:
    """Train, and say what it brought."""
    from bpe_bench.execution.campaign import run_campaign
    from bpe_bench.execution.report import done_in, report_campaign

    before, start = done_in(store, trials), time.monotonic()
    count = len(trials) - before
    if count:
        networks = "1 network is" if count == 1 else f"{count} networks are"
        out.note(
            f"{networks} trained on {choices['dataset']}, {choices['jobs']} at a time; "
            "Ctrl-C stops, and the same command goes on"
        )
    with out.progress(f"training {count} networks") as progress:
        status = run_campaign(store, trials, on_progress=lambda now: progress(now.share), **options)
    seconds = time.monotonic() - start
    return report_campaign(trials, status, done_before=before, seconds=seconds, choices=choices)


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
    out.emit(
        lambda: {"answer": found.answer, **found.to_json()},
        lambda: frame([found.to_json()]),
        lambda: [found.answer, *_status_lines(found)],
    )


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


def _parsed(texts: Sequence[str], *, complete: bool) -> list[Budget]:
    """Return budgets, each once."""
    from bpe_bench.budget import parse_budget

    found: dict[Budget, str] = {}
    for text in texts:
        budget = parse_budget(text, complete=complete)
        if budget in found:
            raise click.UsageError(
                f"--budget {text} is the same as --budget {found[budget]}; leave one out"
            )
        found[budget] = text
    return list(found)


def _seeds(text: str) -> list[int]:
    """Return the seeds that a text names."""
    from bpe_bench.tables.curves import LARGEST

    seeds: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\d{1,18})(?:-(\d{1,18}))?\s*", part)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if not first <= last <= min(LARGEST, first + _MOST_SEEDS):
            raise click.UsageError(
                f"--seeds wants whole numbers from 0 to {LARGEST}, as 0 or 0,1,2 or 0-2, found "
                f"{text!r}"
            )
        seeds += range(first, last + 1)
    if len(set(seeds)) < len(seeds):
        raise click.UsageError(f"--seeds {text} names a seed twice; name each once")
    return seeds


def _emit(out: Output, row: dict[str, Any], lines: Callable[[], list[RenderableType]]) -> None:
    out.emit(lambda: row, lambda: frame([row]), lines)


def _expected_grid(expected: Sequence[Expected]) -> RenderableType:
    from bpe_bench.pruning.answers import brief

    rows = [
        {
            "budget": brief(one.budget),
            "data set": one.dataset,
            "trainings": str(one.trainings),
            "each": duration(one.seconds_each),
            "all": duration(one.trainings * one.seconds_each),
            "as predicted for": one.device or "–",
        }
        for one in expected
    ]
    return grid(rows, left=["budget", "data set", "as predicted for"])


def _lines(report: CampaignReport) -> list[RenderableType]:
    best = [] if report.best is None else [f"best network: {report.best.architecture}"]
    return [report.answer, *best, *_status_lines(report.status), _chosen(report.choices)]


def _chosen(choices: Mapping[str, Any]) -> str:
    texts = {
        name: " and ".join(map(str, value)) if isinstance(value, list) else value
        for name, value in choices.items()
    }
    return f"choices: {chosen_text(texts)}"


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
    return [plan.answer, title, *([grid(rows, left=["budget", "device"])] if rows else [])]
