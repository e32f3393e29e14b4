"""Measure how often the intervals of `bpe_bench.inference` hold the true correlation.

Samples of n architectures are drawn from a normal distribution whose rank
correlations are known, with and without ties, and the nominal 95 % intervals of
every sample are checked against the truth. Run as::

    python benchmarks/intervals.py [--samples 4000] [--seed 0] [-o docs/intervals.csv]

The figures, and what they mean, are in ``docs/intervals.md``. Tables go to
standard output, every figure to the CSV file. The exit status is 1 if a row of
the main grid lies outside 93 to 97 % by more than two standard errors.

The truth is computed here, without any code of the library: in closed form
without ties, by numerical integration over the cells that rounding makes with
ties. Needs scipy 1.15 or newer (the yardstick, `scipy.stats.bootstrap`).
"""

from __future__ import annotations

import csv
import dataclasses
import datetime
import itertools
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.special import ndtr

from bpe_bench.inference import compare, estimate

FloatArray = npt.NDArray[np.float64]
Sampler = Callable[[np.random.Generator], tuple[float, float]]
"""Draws one sample and returns its interval."""

CONFIDENCE = 0.95
WANTED = (0.93, 0.97)
SIZES = (30, 100, 1000)
STATISTICS = ("spearman", "kendall")
LATENT = (0.0, 0.5, 0.9)
"""Pearson correlations of the normal distribution that samples are drawn from."""
TIES = ("none", "reference", "both")
"""What is rounded: nothing, the reference, or budget and reference."""
STEP = 0.5
"""Rounding, in standard deviations: of 30 values eight or nine different ones are left."""
PAIRS = (
    (0.0, 0.0, 0.0),
    (0.5, 0.5, 0.5),
    (0.5, 0.7, 0.6),
    (0.9, 0.9, 0.85),
    (0.8, 0.5, 0.6),
)
"""Two budgets: latent correlation of each with the reference, and with each other."""
RESAMPLES = 1000
SHARES = {"influence": 1.0, "compare": 0.25, "bootstrap": 0.15, "percentile": 0.15}
"""Share of the samples that each kind of interval gets: the slow ones get few."""
MILLISECONDS = {"influence": 0.5, "compare": 1.2, "bootstrap": 2.7, "percentile": 2.7}
"""Rough time of one interval at n = 30, only to tell how much time is left."""


@dataclass(frozen=True)
class Case:
    """One row of the result: a situation, a kind of interval, and how many samples to draw."""

    section: str
    """``grid``, ``own`` (a true value of 0.9 of the statistic itself) or ``difference``."""
    n: int
    statistic: str
    ties: str
    latent: tuple[float, ...]
    """Latent correlation, or a row of `PAIRS`."""
    truth: float
    """True value of the statistic, or of the difference of two."""
    method: str
    samples: int

    @property
    def work(self) -> float:
        """Expected milliseconds, only to tell how much time is left."""
        growth = self.n / 30 if self.method in ("bootstrap", "percentile") else 1 + self.n / 1000
        return self.samples * MILLISECONDS[self.method] * growth


@dataclass(frozen=True)
class Result:
    """How often the intervals of a case held the truth."""

    case: Case
    coverage: float
    """Share of samples; an interval that is NaN holds nothing."""
    error: float
    """Standard error of the coverage, from the number of samples."""
    width: float
    """Mean width of the intervals that are defined."""
    undefined: int
    """Samples whose interval is NaN."""

    @property
    def outside(self) -> bool:
        """Whether it is outside of what is wanted by over two standard errors at the bound."""
        low, high = WANTED
        bound = low if self.coverage < low else high
        distance = max(low - self.coverage, self.coverage - high)
        return distance > 2 * math.sqrt(bound * (1 - bound) / self.case.samples)


# --- The truth -------------------------------------------------------------------------------


def population(statistic: str, latent: float, ties: str) -> float:
    """Return the value of a statistic in the population: what n → ∞ would show.

    Without ties: ρ = 6/π · arcsin(r/2), τ = 2/π · arcsin(r) (Kruskal, 1958). With ties:
    ρ is Pearson's correlation of the mid-distribution ranks, τ_b = E[sign · sign] over
    the root of the chances that a pair is untied.
    """
    if ties == "none":
        forms = {"spearman": 6 / math.pi * math.asin(latent / 2)}
        forms["kendall"] = 2 / math.pi * math.asin(latent)
        return forms[statistic]
    if ties == "reference":
        return _rounded_reference(statistic, latent)
    return _both_rounded(statistic, latent)


def _cells() -> tuple[FloatArray, FloatArray, FloatArray, npt.NDArray[np.int64]]:
    """Return the edges of the cells of rounding and 20 Gauss-Legendre nodes in each.

    Returns
    -------
    edges, nodes, weights, cell
        Weights hold the normal density and sum to 1; ``cell`` is each node's cell.
    """
    edges = STEP * (np.arange(-18, 20) - 0.5)
    at, weight = np.polynomial.legendre.leggauss(20)
    centres = (edges[1:] + edges[:-1]) / 2
    nodes = (centres[:, None] + STEP / 2 * at).ravel()
    weights = np.tile(STEP / 2 * weight, centres.size) * stats.norm.pdf(nodes)
    return edges, nodes, weights, np.repeat(np.arange(centres.size), at.size)


def _mid_ranks(chances: FloatArray) -> FloatArray:
    """Return the mid-distribution rank of each cell, centred."""
    middle: FloatArray = np.cumsum(chances) - chances / 2 - 0.5
    return middle


def _rounded_reference(statistic: str, r: float) -> float:
    """Return the statistic of X and the rounded Y; X given Y = y is normal(ry, 1 − r²)."""
    _, y, weights, cell = _cells()
    chances = np.bincount(cell, weights)
    if statistic == "spearman":
        rank = _mid_ranks(chances)
        rank_of_x = ndtr(r * y / math.sqrt(2 - r * r)) - 0.5  # E[Φ(X) | y] − ½
        covariance = weights @ (rank_of_x * rank[cell])
        return float(covariance / math.sqrt(chances @ rank**2 / 12))
    order = np.sign(cell[:, None] - cell)
    order_of_x = 2 * ndtr(r * (y[:, None] - y) / math.sqrt(2 * (1 - r * r))) - 1
    return float(weights @ (order * order_of_x) @ weights / math.sqrt(1 - chances @ chances))


def _both_rounded(statistic: str, r: float) -> float:
    """Return the statistic of two rounded normals, from the chance of every pair of cells."""
    edges, y, weights, cell = _cells()
    below = ndtr((edges[:, None] - r * y) / math.sqrt(1 - r * r))  # P(X < edge | y)
    of_x = np.diff(below, axis=0) * weights
    joint = np.array([np.bincount(cell, row) for row in of_x])
    chances = np.bincount(cell, weights)
    if statistic == "spearman":
        rank = _mid_ranks(chances)
        return float(rank @ joint @ rank / (chances @ rank**2))
    order = np.sign(np.subtract.outer(np.arange(chances.size), np.arange(chances.size)))
    return float(np.sum(joint * (order @ joint @ order.T)) / (1 - chances @ chances))


# --- Samples and their intervals -------------------------------------------------------------


def sampler(case: Case) -> Sampler:
    """Return the function that draws a sample of a case and gives its interval."""
    if case.method == "compare":
        return _difference_sampler(case)
    interval = {"influence": _influence, "bootstrap": _bootstrap, "percentile": _percentile}

    def sample(rng: np.random.Generator) -> tuple[float, float]:
        x, y = _draw_pair(case, rng)
        return interval[case.method](x, y, case.statistic, rng)

    return sample


def _draw_pair(case: Case, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    (r,) = case.latent
    y, noise = rng.standard_normal((2, case.n))
    x = r * y + math.sqrt(1 - r * r) * noise
    if case.ties == "both":
        x = np.round(x / STEP)
    if case.ties != "none":
        y = np.round(y / STEP)
    return x, y


def _influence(
    x: FloatArray, y: FloatArray, statistic: str, rng: np.random.Generator
) -> tuple[float, float]:
    found = estimate(x, y, statistic=statistic, confidence=CONFIDENCE)
    return found.low, found.high


def _bootstrap(
    x: FloatArray, y: FloatArray, statistic: str, rng: np.random.Generator
) -> tuple[float, float]:
    found = estimate(
        x,
        y,
        statistic=statistic,
        confidence=CONFIDENCE,
        method="bootstrap",
        resamples=RESAMPLES,
        rng=rng,
    )
    return found.low, found.high


def _percentile(
    x: FloatArray, y: FloatArray, statistic: str, rng: np.random.Generator
) -> tuple[float, float]:
    """Return scipy's plain percentile bootstrap interval.

    A resample is fed in as places in the sample. Counting them turns both
    statistics into products with the matrix of the signs of all differences,
    which is what makes many resamples affordable.
    """
    n = x.size
    of_x, of_y = np.sign(x[:, None] - x), np.sign(y[:, None] - y)

    def resampled(places: npt.NDArray[np.int64], axis: int = -1) -> FloatArray:
        flat = places.reshape(-1, n) + n * np.arange(places.size // n)[:, None]
        counts = np.bincount(flat.ravel(), minlength=places.size).reshape(-1, n).astype(float)
        if statistic == "spearman":
            u, v = counts @ of_x.T, counts @ of_y.T  # twice the centred ranks
            sums = [(counts * a * b).sum(axis=1) for a, b in ((u, v), (u, u), (v, v))]
        else:
            sums = [((counts @ m) * counts).sum(axis=1) for m in (of_x * of_y, of_x**2, of_y**2)]
        values: FloatArray = sums[0] / np.sqrt(sums[1] * sums[2])
        return values.reshape(places.shape[:-1])

    found = stats.bootstrap(
        (np.arange(n),),
        resampled,
        vectorized=True,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=rng,
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def _difference_sampler(case: Case) -> Sampler:
    first, second, mutual = case.latent
    root = np.linalg.cholesky([[1, first, second], [first, 1, mutual], [second, mutual, 1]])

    def sample(rng: np.random.Generator) -> tuple[float, float]:
        y, *budgets = root @ rng.standard_normal((3, case.n))
        estimates = [estimate(x, y, statistic=case.statistic) for x in budgets]
        (found,) = compare(("first", "second"), estimates, confidence=CONFIDENCE)
        return found.low, found.high

    return sample


# --- The experiment --------------------------------------------------------------------------


def cases(samples: int) -> Iterator[Case]:
    """Yield every case, for a number of samples of the fastest kind of interval."""

    def case(
        section: str,
        n: int,
        statistic: str,
        ties: str,
        latent: tuple[float, ...],
        truth: float,
        method: str,
    ) -> Case:
        # The time of a bootstrap grows with n, so it gets the fewer samples, the larger n.
        share = SHARES[method] * (30 / n if method in ("bootstrap", "percentile") else 1)
        drawn = max(2, round(samples * share))
        return Case(section, n, statistic, ties, latent, truth, method, drawn)

    for n, statistic, ties, r in itertools.product(SIZES, STATISTICS, TIES, LATENT):
        truth = population(statistic, r, ties)
        for method in ("influence", "bootstrap", "percentile") if n <= 100 else ("influence",):
            yield case("grid", n, statistic, ties, (r,), truth, method)
    hardest = {"spearman": 2 * math.sin(math.pi * 0.9 / 6), "kendall": math.sin(math.pi * 0.9 / 2)}
    for n, (statistic, r) in itertools.product(SIZES, hardest.items()):
        truth = population(statistic, r, "none")
        for method in ("influence", "bootstrap", "percentile") if n == 30 else ("influence",):
            yield case("own", n, statistic, "none", (r,), truth, method)
    for n, statistic, pair in itertools.product(SIZES, STATISTICS, PAIRS):
        first, second = (population(statistic, r, "none") for r in pair[:2])
        yield case("difference", n, statistic, "none", pair, second - first, "compare")


def measure(case: Case, rng: np.random.Generator) -> Result:
    """Draw the samples of a case and count how often the interval holds the truth."""
    sample = sampler(case)
    low, high = np.array([sample(rng) for _ in range(case.samples)]).T
    coverage = float(np.mean((low <= case.truth) & (case.truth <= high)))
    error = math.sqrt(coverage * (1 - coverage) / case.samples)
    undefined = int(np.sum(np.isnan(low) | np.isnan(high)))
    return Result(case, coverage, error, float(np.nanmean(high - low)), undefined)


def measure_all(todo: Sequence[Case], seed: int) -> list[Result]:
    """Measure all cases, each with a generator of its own, telling the time left."""
    total, done, start = sum(case.work for case in todo), 0.0, time.monotonic()
    results = []
    for place, case in enumerate(todo):
        results.append(measure(case, np.random.default_rng([seed, place])))
        done += case.work
        left = (time.monotonic() - start) * (total - done) / done
        click.echo(f"\r{done / total:4.0%} done, {left:4.0f} s left ", nl=False, err=True)
    click.echo("", err=True)
    return results


# --- Tables ----------------------------------------------------------------------------------


def print_correlations(results: Iterable[Result]) -> None:
    """Print coverage in per cent: a row per situation, a column per kind of interval."""
    print("| n | statistic | ties | latent r | true value | influence | bootstrap | percentile |")
    print("|--:|---|---|--:|--:|--:|--:|--:|")
    rows: dict[tuple[object, ...], dict[str, Result]] = {}
    for found in results:
        case = found.case
        key = (case.n, case.statistic, case.ties, case.latent[0], case.truth)
        rows.setdefault(key, {})[case.method] = found
    for (n, statistic, ties, r, truth), by_method in rows.items():
        cells = [_cell(by_method.get(m)) for m in ("influence", "bootstrap", "percentile")]
        print(f"| {n} | {statistic} | {ties} | {r:.3g} | {truth:.4f} | {' | '.join(cells)} |")


def print_differences(results: Iterable[Result]) -> None:
    """Print coverage in per cent of the interval of a difference of two correlations."""
    print("| n | statistic | latent r, first | second | mutual | true difference | coverage |")
    print("|--:|---|--:|--:|--:|--:|--:|")
    for found in results:
        case = found.case
        latent = " | ".join(f"{r:g}" for r in case.latent)
        print(f"| {case.n} | {case.statistic} | {latent} | {case.truth:.4f} | {_cell(found)} |")


def _cell(found: Result | None) -> str:
    return "" if found is None else f"{100 * found.coverage:.1f} ± {100 * found.error:.1f}"


def _made_with(samples: int, seed: int) -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in ("bpe-bench", "numpy", "scipy"))
    return (
        f"Made on {datetime.date.today().isoformat()} with {versions}, Python "
        f"{platform.python_version()}; seed {seed}, --samples {samples}; one process of a machine "
        f"with {os.cpu_count()} cores ({platform.machine()}), {time.process_time():.0f} s."
    )


def write_csv(results: Sequence[Result], path: Path) -> None:
    """Write every figure, unrounded coverage included."""
    with path.open("w", newline="", encoding="utf-8") as file:
        names = [f.name for f in dataclasses.fields(Case)]
        figures = ["coverage", "error", "width", "undefined"]
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*names, *figures])
        for found in results:
            row = {**vars(found.case), **vars(found)}
            row["latent"] = " ".join(f"{r:.6g}" for r in found.case.latent)
            for name in ("truth", "coverage", "error", "width"):
                row[name] = f"{row[name]:.6f}"
            writer.writerow([row[name] for name in (*names, *figures)])


@click.command()
@click.option("--samples", type=click.IntRange(min=20), default=4000, show_default=True)
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
    """Measure the coverage of the nominal 95 % intervals; about 5 minutes on one core."""
    results = measure_all(list(cases(samples)), seed)
    write_csv(results, output)
    sections = {name: [r for r in results if r.case.section == name] for name in _TITLES}
    for name, title in _TITLES.items():
        print(f"\n{title}\n")
        (print_differences if name == "difference" else print_correlations)(sections[name])
    failed = [r for r in sections["grid"] if r.case.method == "influence" and r.outside]
    print(f"\n{_made_with(samples, seed)}")
    for found in failed:
        case = found.case
        situation = (
            f"{case.statistic}, n = {case.n}, ties: {case.ties}, latent r {case.latent[0]:g}"
        )
        click.echo(
            f"coverage should lie within {WANTED[0]:.0%} to {WANTED[1]:.0%}, found "
            f"{_cell(found)} % for {situation}",
            err=True,
        )
    sys.exit(1 if failed else 0)


_TITLES = {
    "grid": "Coverage in per cent (± standard error) of nominal 95 % intervals",
    "own": "The same where the statistic's own true value is 0.9, no ties",
    "difference": "The same for the difference of two budgets, no ties",
}


if __name__ == "__main__":
    main()
