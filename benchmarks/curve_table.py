"""Measure a table of learning curves: import, correlate, export, and import again.

Made-up curves of 15,000 NAS-Bench-201 cells over 100 epochs, validation accuracy after every
epoch and test accuracy after the last, 1.5 million rows of CSV. Run as::

    nice python benchmarks/curve_table.py [-o docs/benchmarks-curve-table.csv]

Every step is a command in a process of its own, whose peak memory the kernel tells. The exit
status is 1 if the table that was exported and imported again has another content, or if the
export takes more than 500 MB.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np

from bpe_bench import get_space

EPOCHS, IMAGES = 100, 10_000
MOST_MB = 500
HEADER = (
    "architecture,epochs,batch_size,learning_rate,layers,channels,image_size,seed,epoch,split,"
    "split_size,correct,seconds,device,reference\n"
)


def make(path: Path, networks: int, rng: np.random.Generator) -> int:
    """Write curves that rise to each network's own end, with noise; return the number of rows."""
    space = get_space("nas-bench-201")
    ends = rng.beta(20, 3, networks)
    slowness = rng.uniform(3, 20, networks)
    rows = 0
    with path.open("w", encoding="utf-8") as file:
        file.write(HEADER)
        for place in range(networks):
            text = space.format(space.from_index(place))
            start = f"{text},{EPOCHS},256,0.1,17,16,32,0"
            end = f"{float(60 + place % 97)!r},V100,true\n"
            shares = ends[place] * (1 - np.exp(-np.arange(1, EPOCHS + 1) / slowness[place]))
            counts = np.clip(IMAGES * shares + rng.normal(0, 40, EPOCHS), 0, IMAGES).astype(int)
            for epoch, count in enumerate(counts.tolist(), 1):
                file.write(f"{start},{epoch},validation,{IMAGES},{count},{end}")
            last = int(np.clip(counts[-1] + rng.normal(0, 30), 0, IMAGES))
            file.write(f"{start},{EPOCHS},test,{IMAGES},{last},{end}")
            rows += EPOCHS + 1
    return rows


def run(*words: object) -> tuple[float, float, str]:
    """Run a command of bpe-bench; return its seconds, its peak memory in MB, and what it said."""
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        command = [sys.executable, "-m", "bpe_bench_cli", *map(str, words)]
        process = subprocess.Popen(command, stdout=said)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        if status:
            raise SystemExit(f"{' '.join(command)} failed with {status}")
        said.seek(0)
        return seconds, usage.ru_maxrss / 1000, said.read()


def hash_of(said: str) -> str:
    """Return the content hash that a command said."""
    return said.strip().rpartition(" ")[2]


@click.command()
@click.option("--networks", default=15_000, show_default=True, help="Cells in the table.")
@click.option("--seed", default=0, show_default=True, help="Seed of the made-up curves.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="CSV file of the result.")
def main(networks: int, seed: int, output: Path | None) -> None:
    """Import, correlate, export and import again; see the head of this file."""
    rows: list[tuple[str, float, float]] = []

    def step(name: str, *words: object) -> str:
        seconds, megabytes, said = run(*words)
        rows.append((name, seconds, megabytes))
        click.echo(f"{name}: {seconds:.1f} s, {megabytes:,.0f} MB", err=True)
        return said

    with tempfile.TemporaryDirectory(prefix="bpe-bench-") as temporary:
        folder = Path(temporary)
        source, table = folder / "curves.csv", folder / "curves.h5"
        lines = make(source, networks, np.random.default_rng(seed))
        click.echo(f"{lines:,} rows, {source.stat().st_size / 1e6:,.0f} MB", err=True)
        first = hash_of(step("import", "tables", "import", "long-csv", source, "-o", table))
        step("correlate", "correlate", table, "--reference-split", "test", "--format", "csv")
        text = folder / "again.csv"
        step("export", "tables", "export", table, "-o", text)
        again = ("tables", "import", "long-csv", text, "-o", folder / "again.h5")
        second = hash_of(step("import of the export", *again))
    _write(rows, output)
    if first != second:
        raise SystemExit(f"the content hash was {first}, and is {second} after export and import")
    click.echo(f"content hash {first} before and after", err=True)
    if {name: megabytes for name, _, megabytes in rows}["export"] > MOST_MB:
        raise SystemExit(f"the export took more than {MOST_MB} MB")


def _write(rows: Sequence[tuple[str, float, float]], output: Path | None) -> None:
    with output.open("w", newline="") if output else open(1, "w", closefd=False) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["step", "seconds", "peak_megabytes"])
        writer.writerows((name, f"{s:.2f}", f"{m:.0f}") for name, s, m in rows)


if __name__ == "__main__":
    main()
