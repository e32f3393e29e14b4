"""Time `correlate` over a table of the size of NAS-Bench-201, and scipy on the same columns.

15,625 architectures x 200 epochs x 3 seeds, made up: a quality per network and
noise that falls with the epoch. Both statistics, with intervals, top-of-ranking
metrics and the Pareto front; scipy computes the statistic and its p-value only.
Run as::

    python benchmarks/correlate.py [--architectures 15625] [--epochs 200]
"""

from __future__ import annotations

import datetime
import os
import platform
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import click
import numpy as np
from bpe_bench_tables.build._nas_bench_201 import table_of
from scipy import stats

from bpe_bench.correlation import correlate, with_top_k
from bpe_bench.spaces import get_space
from bpe_bench.tables.curves import Curves, Split
from bpe_bench.tables.storage import read_table, write_table
from bpe_bench.tables.table import Provenance, Table

IMAGES = 25_000
LABEL = "cifar10-valid-200"


def make_table(architectures: int, epochs: int, rng: np.random.Generator) -> Table:
    """Return a table of made-up learning curves."""
    quality = rng.normal(0.85, 0.05, architectures)
    counts = np.empty((3, epochs, architectures), dtype=np.int32)
    for epoch in range(epochs):
        noise = rng.normal(0.0, 0.1 / np.sqrt(1 + epoch), (3, architectures))
        counts[:, epoch] = np.rint(np.clip(quality + noise, 0, 1) * IMAGES)
    curves = Curves(counts, IMAGES, np.arange(1, epochs + 1), np.arange(3))
    space = get_space("nas-bench-201")
    cells = [space.sample(rng) for _ in range(architectures)]
    return table_of(
        cells,
        {(LABEL, Split.VALIDATION): curves},
        Provenance("made up", "none", "none"),
        measures={(LABEL, "seconds"): np.full(architectures, 2400.0)},
    )


@click.command()
@click.option("--architectures", default=15_625, show_default=True)
@click.option("--epochs", default=200, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(architectures: int, epochs: int, seed: int) -> None:
    """Print seconds for each statistic, and the ratio to scipy."""
    table = make_table(architectures, epochs, np.random.default_rng(seed))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.h5"
        write_table(table, path)
        print(
            f"{architectures} architectures x {epochs} epochs x 3 seeds, {path.stat().st_size:,} B"
        )
        total = 0.0
        for statistic, reference in (("spearman", stats.spearmanr), ("kendall", stats.kendalltau)):
            start = time.perf_counter()
            opened = read_table(path)
            report = with_top_k(opened, correlate(opened, statistic=statistic))
            ours = time.perf_counter() - start
            total += ours
            truth = table.accuracy(LABEL, Split.VALIDATION)
            columns = [
                table.accuracy(LABEL, Split.VALIDATION, epoch=row.epoch) for row in report.rows
            ]
            start = time.perf_counter()
            theirs = [reference(column, truth).statistic for column in columns]
            scipy_seconds = time.perf_counter() - start
            difference = max(
                abs(a - row.correlation) for a, row in zip(theirs, report.rows, strict=True)
            )
            print(
                f"{statistic}: correlate {ours:.2f} s (reading, statistic, interval, metrics), "
                f"scipy {scipy_seconds:.2f} s (statistic, p-value), "
                f"ratio {ours / scipy_seconds:.2f}; largest difference {difference:.1e}"
            )
        print(f"both statistics: {total:.2f} s (target: 10 s)")
    versions = ", ".join(f"{n} {version(n)}" for n in ("numpy", "scipy", "h5py"))
    print(
        f"{datetime.date.today()}, {platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, {versions}"
    )


if __name__ == "__main__":
    main()
