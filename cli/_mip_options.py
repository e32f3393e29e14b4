"""The options of ``bpe-bench mip``, and which of them go together."""

from __future__ import annotations

from typing import Any

import click

from ._options import (
    FILE,
    combined,
    refuse_stray,
    space_option,
    store_option,
    trainer_option,
)

_objective_options = combined(
    click.option(
        "--objective",
        type=click.Choice(["replay", "surrogate", "train"]),
        default="replay",
        show_default=True,
        help="Settings of a table; any setting, by a surrogate; or real training.",
    ),
    click.option(
        "--vary",
        multiple=True,
        metavar="NAME=VALUE,...",
        help="surrogate, train: values of a hyper-parameter to vary; may be repeated.",
    ),
    click.option(
        "--surrogate",
        type=FILE,
        help="surrogate: a file of `surrogate fit --target correlation`.  [default: fitted to "
        "the table]",
    ),
    click.option(
        "--extrapolate", is_flag=True, help="surrogate: allow values outside of its ranges."
    ),
    click.option(
        "--architectures",
        default="sample:8",
        show_default=True,
        metavar="TABLE:0-19|sample:N|FILE",
        help="train: whose ranking counts.",
    ),
    click.option(
        "--budget",
        metavar="NAME|NAME=VALUE[,...]",
        help="train: the budget to vary.  [default: as `bpe-bench train`]",
    ),
    click.option(
        "--reference",
        metavar="NAME|NAME=VALUE[,...]",
        help="What counts as full training: a setting of the table, or with --objective train a "
        "budget.  [default: the table's; a longer one on the digits]",
    ),
    click.option(
        "--data",
        "images",
        help="train: images (docs/training.md).  [default: digits]  --then-search: train on them "
        "instead of searching the table.",
    ),
    click.option("--device", default="cpu", show_default=True, help="train: cpu, cuda, cuda:N."),
    trainer_option("train: "),
    click.option("--jobs", type=click.IntRange(min=1), help="train: trainings at a time."),
    store_option("bpe-bench-mip.sqlite"),
    click.option(
        "--max-device-hours",
        type=float,
        help="train: stop when the store holds so many device hours.",
    ),
)

_rule_options = combined(
    click.option(
        "--evidence",
        type=click.Choice(["table", "sequential"]),
        help="Evidence of a round: the whole table, or only settings sampled so far.  "
        "[default: table; with --objective train, sequential]",
    ),
    click.option(
        "--importance",
        default="forest",
        show_default=True,
        help="forest, permutation, fanova, xgboost, xgboost-permutation, xgboost-shap or "
        "ped-anova (docs/importance.md).",
    ),
    click.option(
        "--max-cost-hours",
        type=float,
        multiple=True,
        help="Name the best budget within this many device hours per network; may be repeated.",
    ),
    click.option(
        "--keep",
        type=int,
        default=2,
        show_default=True,
        help="Stop when so many groups of hyper-parameters are left.",
    ),
    click.option(
        "--initial",
        type=int,
        help="Settings to start with (sequential).  [default: 12; with --objective train, 8]",
    ),
    click.option(
        "--per-round",
        type=int,
        help="Settings per round (sequential).  [default: 4; with --objective train, 3]",
    ),
    click.option(
        "--resamples",
        type=int,
        default=50,
        show_default=True,
        help="Draws of settings and architectures behind each importance interval.",
    ),
    click.option(
        "--predictions",
        type=click.IntRange(min=0),
        default=5,
        show_default=True,
        help="Most predicted budgets beside the measured ones.",
    ),
    click.option(
        "--patience",
        type=int,
        default=5,
        show_default=True,
        help="Rounds in a row that may abstain before pruning ends (sequential).",
    ),
    click.option(
        "--force",
        is_flag=True,
        help="Prune the least important even if the data do not separate it from the next.",
    ),
    click.option(
        "--then-search",
        metavar="SEARCHER",
        help="Search with the recommended budget: random, evolution, reinforce or darts.",
    ),
    click.option(
        "--evaluations",
        type=click.IntRange(min=1),
        help="--then-search: evaluations.  [default: 6 with real training; over a table a quarter "
        "of its architectures, at most 100]",
    ),
)

mip_options = combined(
    space_option("  [default: the table's]"),
    click.option(
        "--table", help="Table by name or path.  [default: the one shipped for the space]"
    ),
    _rule_options,
    _objective_options,
    click.option(
        "--reference-split",
        type=click.Choice(["train", "validation", "test"]),
        help="Accuracies of full training to rank against.  [default: those of --split]",
    ),
)


def refuse_unused(objective: str, *, sequential: bool, searches: bool, trains: bool) -> None:
    """Refuse options that the objective, the evidence or the search do not use."""
    kind = f"--objective {objective}"
    owners: dict[str, tuple[bool, str, str]] = {}

    def owned(names: str, *kinds: str, searching: bool = False, by: str = "") -> None:
        where = f"--objective {' or '.join(kinds)}" + f" or {by}" * bool(by)
        good = objective in kinds or searching
        owners.update(dict.fromkeys(names.split(), (good, where, kind)))

    owned("vary", "surrogate", "train")
    owned("surrogate extrapolate", "surrogate")
    owned("architectures budget max_device_hours trainer", "train")
    owned("table", "replay", "surrogate")
    owned("where reference_split top_k", "replay")
    owned("reference", "replay", "train")
    owned("images", "train", searching=searches, by="--then-search")
    training = searches and (trains or objective == "surrogate")
    owned("device store", "train", searching=training, by="--then-search --data IMAGES")
    owned("jobs", "train")
    sampled: Any = (sequential, "--evidence sequential", "--evidence table")
    owners |= dict.fromkeys(("initial", "per_round", "patience"), sampled)
    refuse_stray(owners | {"evaluations": (searches, "--then-search", kind)})
