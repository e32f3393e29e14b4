"""Where ``bpe-bench mip`` takes its correlations from: options, and the objective they mean."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ._output import Output
from .train import default_budgets

if TYPE_CHECKING:
    import numpy as np

    from bpe_bench.pruning import Objective

Command = TypeVar("Command", bound=Callable[..., Any])

DEFAULT_STORE = Path("bpe-bench-mip.sqlite")
_DIGITS_VARY = ("epochs=1,2", "channels=2,4", "layers={layers}", "data_fraction=0.5,1")
_VARY = ("epochs=2,4,8", "layers={layers}", "channels=4,8,16", "image_size=8,16")


def objective_options(function: Command) -> Command:
    """Add the options that say where correlations come from."""
    options: list[Callable[[Any], Any]] = [
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
            help="surrogate, train: candidates of a hyper-parameter; may be repeated.",
        ),
        click.option(
            "--surrogate",
            type=click.Path(path_type=Path, dir_okay=False),
            help="surrogate: a file of `surrogate fit --target correlation`.  [default: fitted to "
            "the table]",
        ),
        click.option(
            "--extrapolate", is_flag=True, help="surrogate: allow values that it was not fitted on."
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
            help="train: what does not vary.  [default: as `bpe-bench train`]",
        ),
        click.option(
            "--reference",
            metavar="NAME|NAME=VALUE[,...]",
            help="train: what counts as full training.  [default: a longer one on the digits]",
        ),
        click.option("--data", help="train: images (docs/training.md).  [default: digits]"),
        click.option(
            "--device", default="cpu", show_default=True, help="train: cpu, cuda, cuda:N."
        ),
        click.option("--jobs", type=click.IntRange(min=1), help="train: trainings at a time."),
        click.option(
            "--store",
            type=click.Path(path_type=Path, dir_okay=False),
            default=DEFAULT_STORE,
            show_default=True,
            help="train: where trainings report; what is there is not trained again.",
        ),
        click.option(
            "--max-device-hours",
            type=float,
            help="train: train nothing more once the store holds so many device hours.",
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def make_objective(
    space: str,
    table: str | None,
    given: Collection[str],
    options: dict[str, Any],
    ranking: dict[str, Any],
    rng: np.random.Generator,
    out: Output,
) -> Objective:
    """Return the source of correlations that options mean.

    Parameters
    ----------
    space, table
        As given to the command.
    given
        Names of the options on the command line.
    options
        The values of `objective_options`.
    ranking
        Statistic, split, where, top_k and confidence.
    """
    kind = options["objective"]
    if kind == "train":
        return _trained(space, options, ranking, rng, out)
    if kind == "surrogate":
        return _predicted(space, table, given, options, ranking, rng, out)
    from bpe_bench.pruning import Replay
    from bpe_bench.tables.catalog import open_table_of

    name, opened = open_table_of(space, table)
    return Replay.of(opened, name=name, **ranking)


_OWNERS = {
    "vary": ("surrogate", "train"),
    "surrogate": ("surrogate",),
    "extrapolate": ("surrogate",),
    "architectures": ("train",),
    "budget": ("train",),
    "reference": ("train",),
    "max_device_hours": ("train",),
    "table": ("replay", "surrogate"),
    "where": ("replay",),
}
"""Options that some kinds of objective alone have a use for."""
_TRAINING = ("data", "device", "jobs", "store")
_SEQUENTIAL = ("initial", "per_round", "patience")


def refuse_stray(given: Collection[str], kind: str, *, sequential: bool, then_search: bool) -> None:
    """Refuse options that were given and that nothing has a use for.

    Parameters
    ----------
    given
        Names of the options on the command line.
    kind
        Of objective.
    sequential
        Whether the evidence is sampled.
    then_search
        Whether a search follows.
    """
    for name in (*_OWNERS, *_TRAINING, *_SEQUENTIAL, "evaluations"):
        if name in _OWNERS:
            good = kind in _OWNERS[name]
            where = f"--objective {' or '.join(_OWNERS[name])}"
        elif name in _TRAINING:
            good, where = kind == "train" or then_search, "--objective train or --then-search"
        elif name in _SEQUENTIAL:
            good, where = sequential, "--evidence sequential"
        else:
            good, where = then_search, "--then-search"
        if name in given and not good:
            found = "--evidence table" if name in _SEQUENTIAL else f"--objective {kind}"
            option = f"--{name.replace('_', '-')}"
            raise click.UsageError(f"{option} goes with {where}, found {found}")


def _trained(
    space: str,
    options: dict[str, Any],
    ranking: dict[str, Any],
    rng: np.random.Generator,
    out: Output,
) -> Objective:
    from bpe_bench.budget import BudgetSpace, parse_budget, parse_candidates
    from bpe_bench.execution.campaign import choose_architectures, dataset_name
    from bpe_bench.pruning.trained import Trained, Workplace
    from bpe_bench.spaces import get_space

    get_space(space)
    if ranking["split"] not in (None, "validation"):
        raise click.UsageError(
            f"real training ranks by validation images, found --split {ranking['split']}"
        )
    data = options["data"]
    defaults = default_budgets(space, data)
    if options["reference"] is None and len(defaults) < 2:
        raise click.UsageError(
            "--reference must say what counts as full training on these images, for instance "
            "--reference BPE-2; there is a default for the digits only"
        )
    base = parse_budget(options["budget"] or defaults[0])
    vary = parse_candidates(options["vary"] or _default_vary(space, data))
    hours = options["max_device_hours"]
    return Trained(
        settings=BudgetSpace.around(base, vary),
        reference=parse_budget(options["reference"] or defaults[1]),
        architectures=choose_architectures(options["architectures"], space, rng),
        workplace=Workplace(
            store=options["store"],
            dataset=dataset_name(data),
            source=data,
            device=options["device"],
            jobs=options["jobs"],
        ),
        rng=rng,
        statistic=ranking["statistic"],
        confidence=ranking["confidence"],
        max_device_hours=float("inf") if hours is None else hours,
        watch=out.progress,
    )


def _default_vary(space: str, data: str | None) -> list[str]:
    from bpe_bench.spaces import get_space

    layers, texts = get_space(space).layers_to_vary, _VARY
    if data in (None, "digits"):
        layers, texts = layers[:2], _DIGITS_VARY
    return [text.format(layers=",".join(map(str, layers))) for text in texts]


def _predicted(
    space: str,
    table: str | None,
    given: Collection[str],
    options: dict[str, Any],
    ranking: dict[str, Any],
    rng: np.random.Generator,
    out: Output,
) -> Objective:
    from bpe_bench.budget import parse_candidates
    from bpe_bench.errors import SelectionError
    from bpe_bench.pruning.predicted import Predicted
    from bpe_bench.surrogate import Question, fit_surrogate, load_surrogate
    from bpe_bench.tables.catalog import open_table_of

    if options["surrogate"] is not None:
        fitted = load_surrogate(options["surrogate"])
        if fitted.space != space:
            raise SelectionError(
                f"the surrogate {options['surrogate']} is of space {fitted.space!r}, not of "
                f"{space!r}"
            )
        for name, has in (("statistic", fitted.statistic), ("split", fitted.split)):
            if name in given and str(ranking[name]) != has:
                raise SelectionError(
                    f"the surrogate {options['surrogate']} predicts by {name} {has!r}, found "
                    f"--{name} {ranking[name]}; leave it out, or fit another surrogate"
                )
        if table is not None:
            fitted.check_table(open_table_of(space, table)[1])
    else:
        name, opened = open_table_of(space, table)
        question = Question("correlation", split=ranking["split"], statistic=ranking["statistic"])
        with out.progress("fitting the surrogate") as progress:
            fitted = fit_surrogate(opened, question, rng=rng, name=name, progress=progress)
    return Predicted.of(
        fitted,
        rng=rng,
        vary=parse_candidates(options["vary"]),
        confidence=ranking["confidence"],
        extrapolate=options["extrapolate"],
    )
