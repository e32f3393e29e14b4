"""Measure the intervals and paired tests of rank correlations where the truth is known.

Many samples of n architectures are drawn from distributions whose rank correlations are
known. Counted is how often the nominal 95 % interval of a correlation holds the true
value, and of a difference too, and how often the paired test at 5 % rejects: where both
budgets correlate equally that is its type I error, elsewhere its power. Run as::

    python benchmarks/intervals.py [--samples 10000] [--seed 0] [-o docs/intervals.csv]

The figures, and what they mean, are in ``docs/intervals.md``. Tables go to standard
output, every figure to the CSV file. Exit status 1: a row of the main grid lies outside
93 to 97 %, or a type I error at .9 outside 4 to 6 %, by over two standard errors, or the
library says something else than the computation here.

Truth, statistics and intervals are computed here without the library's code, for many
samples at once; the first samples of every row are compared with what the library says.
"""

from __future__ import annotations

import datetime
import itertools
import math
import os
import platform
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import click
import numpy as np
import pandas as pd
from _simulated import FloatArray, correlated, draw, population, signs_of
from scipy import stats

from bpe_bench.correlation.comparison import compare
from bpe_bench.inference import estimate

STATISTICS = ("spearman", "kendall")
PAIRS = (
    ("normal", "none", (0.9, 0.9, 0.7)),
    ("normal", "none", (0.9, 0.9, 0.81)),
    ("normal", "none", (0.9, 0.9, 0.95)),
    ("normal", "none", (0.8, 0.9, 0.72)),
    ("normal", "none", (0.8, 0.9, 0.85)),
    ("normal", "none", (0.0, 0.0, 0.0)),
    ("normal", "none", (0.5, 0.5, 0.9)),
    ("normal", "none", (0.5, 0.7, 0.6)),
    ("normal", "none", (0.5, 0.9, 0.5)),
    ("normal", "ties", (0.9, 0.9, 0.81)),
    ("t2", "none", (0.9, 0.9, 0.81)),
)
"""Copula, ties, and latent correlation of two budgets with the reference and with each other."""
BY_LIBRARY = 10
"""So many samples of every row are given to the library, too."""


@dataclass(frozen=True)
class Case:
    """Samples to draw, and what to count in them."""

    section: str
    """``grid``, ``hard`` or ``difference``."""
    n: int
    copula: str
    ties: str
    latent: tuple[float, ...]
    """Correlation before ranking: of budget and reference, or a row of `PAIRS`."""
    method: str
    samples: int

    @property
    def wanted(self) -> tuple[float, float] | None:
        """Between what coverage, or type I error, must lie."""
        if self.section == "grid" and self.method == "influence":
            return 0.93, 0.97
        keeps_level = self.latent[:2] == (0.9, 0.9) and (self.copula, self.ties) == PAIRS[0][:2]
        return (0.04, 0.06) if keeps_level else None


@dataclass(frozen=True)
class Result:
    """What was counted in a case for one statistic."""

    case: Case
    statistic: str
    truth: float
    low: FloatArray = field(repr=False)
    high: FloatArray = field(repr=False)
    rejected: float = math.nan
    """Share of samples in which the paired test rejects at 5 %."""
    plain: float = math.nan
    """The same for the test without Fisher's z, which the library had before."""

    @property
    def undefined(self) -> float:
        """Share of samples without an interval."""
        return float(np.isnan(self.low).mean())

    @property
    def coverage(self) -> float:
        """Share of the intervals that hold the truth."""
        held = (self.low <= self.truth) & (self.truth <= self.high)
        return float(held.sum() / np.isfinite(self.low).sum())

    @property
    def missed(self) -> bool:
        """Whether it is outside of what is wanted by over two standard errors at the bound."""
        if self.case.wanted is None:
            return False
        low, high = self.case.wanted
        share = self.coverage if self.case.section == "grid" else self.rejected
        bound = low if share < low else high
        return max(low - share, share - high) > 2 * _error(bound, self.case.samples)


def _error(share: float, samples: int) -> float:
    return math.sqrt(share * (1 - share) / samples)


# --- Many samples at once --------------------------------------------------------------------


def interval(r: FloatArray, influence: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the ends of the intervals; NaN where a sample is in perfect order or constant."""
    n = influence.shape[1]
    error = np.sqrt(np.mean(influence**2, axis=1) / n)
    error[(np.abs(r) > 1 - 1e-9) | (error < 1e-9)] = np.nan
    half = stats.t.ppf(0.975, n - 2) * error / (1 - r * r)
    return np.tanh(np.arctanh(r) - half), np.tanh(np.arctanh(r) + half)


def difference(
    found: Sequence[tuple[FloatArray, FloatArray]], distinct: FloatArray, others: int
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return ends of the interval, and t of the test with and without Fisher's z."""
    (r_1, i_1), (r_2, i_2) = found
    n = i_1.shape[1]
    v_1, v_2 = 1 - r_1**2, 1 - r_2**2
    s_11, s_12, s_22 = (np.mean(a * b, axis=1) / n for a, b in ((i_1, i_1), (i_1, i_2), (i_2, i_2)))
    variance = s_11 / v_1**2 + s_22 / v_2**2 - 2 * s_12 / v_1 / v_2
    pairs = 1 / v_1 + 1 / v_2 - 2 * s_12 / np.sqrt(s_11 * s_22 * v_1 * v_2)
    excess = np.maximum(2 * pairs / (n * n * variance) - 1 / n, 0) * distinct / n
    less = n / (n - others) / (1 + excess)
    z_1, z_2 = np.arctanh(r_1), np.arctanh(r_2)
    root = np.sqrt(less) * stats.t.ppf(0.975, n - 2)
    angle = np.linspace(0, 2 * np.pi, 721)[:, None]
    along = s_12 / v_2 / np.sqrt(s_11)
    across = np.sqrt(np.maximum(s_22 / v_2**2 - along**2, 0))
    first = z_1 + root * np.sqrt(s_11) / v_1 * np.cos(angle)
    second = z_2 + root * (along * np.cos(angle) + across * np.sin(angle))
    range_ = np.tanh(second) - np.tanh(first)
    t = (z_2 - z_1) / np.sqrt(variance * less)
    return range_.min(0), range_.max(0), t, (r_2 - r_1) / np.sqrt(s_11 + s_22 - 2 * s_12)


# --- The experiment --------------------------------------------------------------------------


def cases(samples: int) -> Iterator[Case]:
    """Yield every case; bootstraps and samples of 1,000 architectures get fewer samples."""
    for n, ties, r in itertools.product((30, 100), ("none", "ties"), (0.0, 0.5, 0.9)):
        yield Case("grid", n, "normal", ties, (r,), "influence", samples)
        yield Case("grid", n, "normal", ties, (r,), "bootstrap", max(2, 2 * samples // n))
    for ties, r in itertools.product(("none", "ties"), (0.0, 0.5, 0.9)):
        yield Case("grid", 1000, "normal", ties, (r,), "influence", max(2, samples // 10))
    for n in (10, 20, 30, 50, 100):
        for copula, ties in (("normal", "none"), ("t2", "none"), ("normal", "coarse")):
            yield Case("hard", n, copula, ties, (0.9,), "influence", samples)
        yield Case("hard", n, "normal", "none", (math.sin(0.45 * math.pi),), "influence", samples)
    for (copula, ties, latent), n in itertools.product(PAIRS, (20, 30, 50, 100)):
        yield Case("difference", n, copula, ties, latent, "compare", samples)


def _drawn(case: Case, samples: int, rng: np.random.Generator) -> FloatArray:
    return draw(case.latent, case.copula, case.ties, (samples, case.n), rng)


def measure(case: Case, rng: np.random.Generator) -> list[Result]:
    """Draw the samples of a case and return what both statistics make of them."""
    at_once = max(BY_LIBRARY, 2_000_000 // case.n**2)
    if case.method == "bootstrap" or case.n > 100:
        parts = [_one_by_one(case, _drawn(case, case.samples, rng), rng)]
    else:
        sizes = [at_once] * (case.samples // at_once) + [case.samples % at_once]
        parts = [_at_once(case, _drawn(case, size, rng)) for size in sizes if size]
    results = []
    for place, statistic in enumerate(STATISTICS):
        columns = np.hstack([part[place] for part in parts])
        truth = [population(statistic, r, case.ties, case.copula) for r in case.latent[:2]]
        if case.method == "compare":
            critical = stats.t.ppf(0.975, case.n - 2)
            shares = [float(np.mean(np.abs(t) > critical)) for t in columns[2:]]
            results.append(Result(case, statistic, truth[1] - truth[0], *columns[:2], *shares))
        else:
            results.append(Result(case, statistic, truth[0], *columns))
    return results


def _one_by_one(case: Case, drawn: FloatArray, rng: np.random.Generator) -> list[FloatArray]:
    """Return ends of the library's intervals for each statistic, shape (2, samples)."""
    y, x = drawn
    found = []
    for statistic in STATISTICS:
        method = "bootstrap" if case.method == "bootstrap" else "influence"
        ends = [
            estimate(a, b, statistic=statistic, method=method, resamples=1000, rng=rng)
            for a, b in zip(x, y, strict=True)
        ]
        found.append(np.array([[e.low for e in ends], [e.high for e in ends]]))
    return found


def _at_once(case: Case, drawn: FloatArray) -> list[FloatArray]:
    """Return ends of intervals, and t for differences, for each statistic, a row each."""
    y, *budgets = drawn
    of_y, of_x = signs_of(y), [signs_of(x) for x in budgets]
    values = np.sort(drawn, axis=2)
    distinct = 1 + (np.diff(values, axis=2) != 0).sum(axis=2).min(axis=0)
    rows = []
    for statistic in STATISTICS:
        with np.errstate(invalid="ignore", divide="ignore"):
            found = [correlated(s, of_y, statistic) for s in of_x]
            if case.method == "compare":
                others = 2 if statistic == "spearman" else 1
                row = np.array(difference(found, distinct.astype(np.float64), others))
            else:
                row = np.array(interval(*found[0]))
        rows.append(row)
        _check(case, statistic, y, budgets, row)
    return rows


def _check(
    case: Case, statistic: str, y: FloatArray, budgets: Sequence[FloatArray], row: FloatArray
) -> None:
    """Raise unless the library says the same of the first samples."""
    for i in range(min(BY_LIBRARY, row.shape[1])):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # constant input
            one = [estimate(x[i], y[i], statistic=statistic) for x in budgets]
        said = compare(("a", "b"), one)[0] if case.method == "compare" else one[0]
        here = [*row[:2, i]]
        library = [said.low, said.high]
        if case.method == "compare":
            here.append(2 * stats.t.sf(abs(row[2, i]), case.n - 2))
            library.append(said.p_value)
        # The range over 721 angles is short of the ellipse's by up to 1 part in 100,000.
        if not np.allclose(here, library, rtol=1e-3, atol=1e-4, equal_nan=True):
            raise click.ClickException(
                f"{case}, {statistic}: {here} here, {library} in the library"
            )


# --- Tables ----------------------------------------------------------------------------------


def print_table(head: Sequence[str], rows: Iterable[tuple[tuple[str, ...], int, str]]) -> None:
    """Print cells in per cent, each given with its row's name and its n: a column per n."""
    table: dict[tuple[str, ...], dict[int, str]] = {}
    for name, n, cell in rows:
        table.setdefault(name, {})[n] = cell
    sizes = sorted({n for cells in table.values() for n in cells})
    print("| " + " | ".join([*head, *(f"n = {n}" for n in sizes)]) + " |")
    print("|" + "---|" * len(head) + "--:|" * len(sizes))
    for name, cells in table.items():
        print("| " + " | ".join([*name, *(cells.get(n, "") for n in sizes)]) + " |")


def print_tables(results: Sequence[Result]) -> None:
    """Print the coverage of intervals, and how often the test rejects."""
    section = {
        k: [r for r in results if r.case.section == k] for k in ("grid", "hard", "difference")
    }

    def share(value: float, case: Case) -> str:
        return f"{100 * value:.1f} ± {100 * _error(value, case.samples):.1f}"

    def row(found: Result, *more: str) -> tuple[str, ...]:
        kind = " ".join({found.case.copula, found.case.ties} - {"normal", "none"})
        latent = ", ".join(f"{r:.3g}" for r in found.case.latent)
        return (found.statistic, kind, latent, *more)

    print("\n### Coverage: the grid\n")
    print_table(
        ("statistic", "ties", "latent r", "true value", "interval"),
        (
            (
                row(r, f"{r.truth:.4f}".replace("-0.0000", "0.0000"), r.case.method),
                r.case.n,
                share(r.coverage, r.case),
            )
            for r in section["grid"]
        ),
    )
    print("\n### Coverage: hard cases\n")
    print_table(
        ("statistic", "copula or ties", "latent r", "true value"),
        (
            (
                row(r, f"{r.truth:.4f}"),
                r.case.n,
                share(r.coverage, r.case) + (f" ({100 * r.undefined:.1f})" if r.undefined else ""),
            )
            for r in section["hard"]
        ),
    )
    print("\n### The paired test: how often it rejects\n")
    print_table(
        ("statistic", "copula or ties", "latent r"),
        (
            (row(r), r.case.n, f"{share(r.rejected, r.case)} ({100 * r.plain:.1f})")
            for r in section["difference"]
        ),
    )
    print("\n### Coverage: the difference of two budgets\n")
    print_table(
        ("statistic", "copula or ties", "latent r", "true difference"),
        (
            (row(r, f"{r.truth:.4f}"), r.case.n, share(r.coverage, r.case))
            for r in section["difference"]
        ),
    )


def write_csv(results: Sequence[Result], path: Path) -> None:
    """Write every figure."""
    rows = [
        {
            **vars(found.case),
            "latent": " ".join(f"{r:.6g}" for r in found.case.latent),
            "statistic": found.statistic,
            "truth": found.truth,
            "coverage": found.coverage,
            "width": float(np.nanmean(found.high - found.low)),
            "undefined": found.undefined,
            "rejected": found.rejected,
            "rejected_before": found.plain,
        }
        for found in results
    ]
    pd.DataFrame(rows).to_csv(path, index=False, float_format="%.6f", lineterminator="\n")


@click.command()
@click.option("--samples", type=click.IntRange(min=100), default=10_000, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("docs/intervals.csv"),
    show_default=True,
    help="CSV file for all figures.",
)
def main(samples: int, seed: int, output: Path) -> None:
    """Measure the nominal 95 % intervals and the paired test; some minutes on one core."""
    results: list[Result] = []
    todo, start = list(cases(samples)), time.monotonic()
    for place, case in enumerate(todo):
        results += measure(case, np.random.default_rng([seed, place]))
        spent = time.monotonic() - start
        click.echo(f"\r{place + 1} of {len(todo)} cases, {spent:.0f} s ", nl=False, err=True)
    click.echo("", err=True)
    write_csv(results, output)
    print_tables(results)
    versions = ", ".join(f"{name} {version(name)}" for name in ("bpe-bench", "numpy", "scipy"))
    print(
        f"\nMade on {datetime.date.today().isoformat()} with {versions} and Python "
        f"{platform.python_version()}; --samples {samples} --seed {seed}; one process on a machine "
        f"with {os.cpu_count()} cores ({platform.machine()}), {time.process_time():.0f} s."
    )
    failed = [r for r in results if r.missed]
    for found in failed:
        print(f"missed: {found}")
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
