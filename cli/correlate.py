"""``bpe-bench correlate``: every budget of a table against full training."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import click

from ._commands import Command
from ._options import common, ranking
from ._output import (
    Output,
    duration,
    grid,
    interval,
    number,
    titled,
    training_notes,
    usual_trainings,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bpe_bench.correlation import CorrelationReport
    from bpe_bench.correlation.candidates import Measured

DEFAULT_TABLE = "darts-bpe"
_MOST_ROWS = 60
"""If there are more rows, only some are shown on the terminal."""
_FRONT = "● on the Pareto front; ○ on it, but not separable from the next cheaper budget on it"


@click.command(cls=Command)
@click.argument("table", default=DEFAULT_TABLE)
@click.option(
    "--compare",
    "comparing",
    nargs=2,
    multiple=True,
    metavar="A B",
    help="Compare two budgets over the same architectures; several pairs are Holm-corrected.",
)
@click.option(
    "--reference",
    metavar="LABEL",
    help="Setting to take as full training.  [default: the table's own]",
)
@click.option("--dataset", help="Data set of the budgets.  [default: the table's own]")
@click.option(
    "--reference-dataset", help="Data set of the full training.  [default: that of the budgets]"
)
@click.option(
    "--reference-split",
    type=click.Choice(["train", "validation", "test"]),
    help="Accuracies of full training to rank against.  [default: those of --split]",
)
@click.option(
    "--epochs",
    default="all",
    show_default=True,
    metavar="all|last|N[,N...]",
    help="Which recorded epochs of a learning curve count as budgets.",
)
@click.option("--device", help="Only budgets whose cost was measured on this device.")
@click.option(
    "--normalise-devices",
    "factors",
    metavar="DEVICE=FACTOR[,...]",
    help="Multiply the cost measured on a device, to compare costs across devices.",
)
@click.option(
    "--interval",
    type=click.Choice(["influence", "bootstrap"]),
    default="influence",
    show_default=True,
    help="How intervals are made; docs/intervals.md has their coverage.",
)
@ranking
@common
def correlate(
    table: str,
    reference: str | None,
    epochs: str,
    factors: str | None,
    split: str | None,
    reference_split: str | None,
    where: str | None,
    interval: str,
    comparing: tuple[tuple[str, str], ...],
    statistic: str,
    confidence: float,
    top_k: int | None,
    draw: Callable[[str, Any], None],
    out: Output,
    seed: int,
    **options: Any,
) -> None:
    """Say which cheap budget of TABLE ranks as full training does, and correlate all with it.

    TABLE is a registered name or a path (default: darts-bpe). Correlations come
    with intervals over architectures, top-of-ranking metrics, cost and the
    Pareto front. Recommended is the best that costs at most a tenth of full
    training, or of the dearest budget where that is not known.

    \b
    Example:
      bpe-bench correlate darts-bpe --compare BPE-1 BPE-2
    """
    from bpe_bench.budget import parse_values
    from bpe_bench.correlation import Selection, with_top_k
    from bpe_bench.correlation import correlate as correlate_table
    from bpe_bench.randomness import as_generator
    from bpe_bench.tables.catalog import open_table
    from bpe_bench.tables.table import Split

    if comparing and out.format == "csv":
        raise click.UsageError(
            "a CSV has a line per budget and no room for comparisons, found --compare with "
            "--format csv; take --format json, or leave out --compare"
        )
    selection = Selection(
        split=Split(split) if split else None,
        reference_split=Split(reference_split) if reference_split else None,
        epochs=_epochs(epochs),
        where=parse_values(where) if where else None,
        device_factors=_factors(factors),
        **options,
    )
    opened = open_table(table)
    if reference is not None:
        opened = opened.with_reference(reference)
    with out.progress("correlating") as progress:
        report = correlate_table(
            opened,
            selection,
            name=table,
            statistic=statistic,
            confidence=confidence,
            bootstrap=as_generator(seed) if interval == "bootstrap" else None,
            comparing=comparing,
            seed=seed,
            progress=progress,
        )
        report = with_top_k(opened, report, top_k)
    out.emit(report.to_json, report.to_frame, lambda: _tables(report))
    draw("correlation_figure", report)
    out.warn(report.warnings, table)


def _epochs(text: str) -> list[int] | Literal["all", "last"]:
    if text == "all":
        return "all"
    if text == "last":
        return "last"
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise click.UsageError(f"--epochs wants all, last or N[,N...], found {text!r}") from None


def _factors(text: str | None) -> dict[str, float] | None:
    if text is None:
        return None
    factors = {}
    for part in text.split(","):
        name, sign, value = part.rpartition("=")
        try:
            factors[name.strip()] = float(value)
        except ValueError:
            sign = ""
        if not sign:
            raise click.UsageError(
                f"--normalise-devices wants DEVICE=FACTOR, found {part.strip()!r}"
            )
    return factors


def _tables(report: CorrelationReport) -> list[RenderableType]:
    ceiling = number(report.noise_ceiling)
    if ceiling == "–":
        ceiling = "unknown (one seed)"
    title = titled(
        f"{report.table or report.space}",
        f": {report.n_architectures} {report.space} architectures on {report.dataset}, "
        f"{_against(report)}; noise ceiling: {ceiling}",
    )
    if len(_devices(report)) == 1 and _devices(report)[0]:
        title.append(f"; cost on {_devices(report)[0]}")
    rows = _worth_showing(report)
    differ, usual = usual_trainings([row.budget for row in rows])
    cells = [_row(report, row) for row in rows]
    if any(differ):
        cells = [c | {"training": text} for c, text in zip(cells, differ, strict=True)]
    table = grid(cells, left=["budget", "device", "", "training"])
    parts: list[RenderableType] = [report.answer, "", title, table]
    if len(rows) < len(report.rows):
        parts.append(
            f"{len(rows)} of {len(report.rows)} rows; --epochs chooses, --format csv has them all"
        )
    notes = [*training_notes(differ, usual), _FRONT, _chance(report), *_held_out(report)]
    return [*parts, *notes]


def _held_out(report: CorrelationReport) -> list[str]:
    """Return how the held-out figure of the answer comes about."""
    choice = report.recommended
    if report.comparisons or choice is None or choice.held_out is None:
        return []
    limit = f" of at most {duration(choice.limit_seconds)}" if choice.is_cheap else ""
    return [
        f"held out: half of the architectures choose the best budget{limit}, and the other half "
        "judges it"
    ]


def _chance(report: CorrelationReport) -> str:
    """Return the chance levels of the top-k columns; a range if rows differ."""
    tops = [row.top for row in report.rows if row.top is not None]
    said = []
    for name, figure in (("P", "precision"), ("regret", "regret"), ("BR", "best_rank")):
        values = [getattr(top, f"{figure}_at_k_chance") for top in tops]
        n = max(row.n_architectures for row in report.rows)
        bounds = dict.fromkeys(_figure(name, bound, n) for bound in (min(values), max(values)))
        said.append(f"{name}@{report.top_k} {' to '.join(bounds)}")
    return f"a random order has on average {', '.join(said)}"


def _figure(name: str, value: float, n: int) -> str:
    """Return precision, regret or best rank as text; ranks of n have the digits they need."""
    if name == "regret":
        return number(100 * value, "{:.2f} %")
    digits = 2 if name == "P" else max(3, 1 + math.ceil(math.log10(n)))
    return number(value, f"{{:.{digits}f}}")


def _against(report: CorrelationReport) -> str:
    full = f"{report.reference_split} accuracy of {report.reference!r}"
    if report.reference_dataset != report.dataset:
        return f"against {full} on {report.reference_dataset}"
    same = report.split == report.reference_split
    return f"{report.split} accuracy against {repr(report.reference) if same else full}"


def _devices(report: CorrelationReport) -> list[str]:
    return sorted({row.device for row in report.rows})


def _worth_showing(report: CorrelationReport) -> list[Measured]:
    """Return the rows by cost; for long learning curves about a dozen epochs, evenly in the log."""
    rows = sorted(report.rows, key=lambda row: (row.cost_seconds, row.label))
    if len(rows) <= _MOST_ROWS:
        return rows
    chosen: list[Measured] = []
    shown: dict[str, int] = {}
    for row in sorted(rows, key=lambda row: row.epoch):
        if row.epoch >= 1.45 * shown.get(row.setting, 0) or row.label == row.setting:
            shown[row.setting] = row.epoch
            chosen.append(row)
    return sorted(chosen, key=lambda row: (row.cost_seconds, row.label))


def _row(report: CorrelationReport, row: Measured) -> dict[str, str]:
    published, k, top, n = report.names.get(row.label), report.top_k, row.top, row.n_architectures
    cells = {
        "budget": f"{row.label} ({published})" if published else row.label,
        report.statistic.capitalize(): number(row.correlation),
        f"{report.confidence:.0%} interval": interval(row.low, row.high),
        f"P@{k}": _figure("P", top.precision_at_k, n) if top else "–",
        f"regret@{k}": _figure("regret", top.regret_at_k, n) if top else "–",
        f"BR@{k}": _figure("BR", top.best_rank_at_k, n) if top else "–",
        "cost": duration(row.cost_seconds),
    }
    if len({other.n_architectures for other in report.rows}) > 1:
        cells["n"] = str(n)
    if not math.isnan(report.noise_ceiling):
        cells["of ceiling"] = number(row.share_of_ceiling, "{:.0%}")
    if len(_devices(report)) > 1:
        cells["device"] = row.device or "–"
    cells[""] = "" if not row.pareto else "○" if row.not_separable_from else "●"
    return cells
