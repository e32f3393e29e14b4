"""Measure a table of the full shape of NAS-Bench-201 side by side with the official API.

A NATS-Bench directory of 15,625 official records (both schedules, every epoch,
all seeds and data sets) is made from the three records that are published, with
the counts of correct images perturbed network by network, so that they compress
as real ones would. It is imported, opened and asked; the official package is
asked the same on the same records. Run as::

    nice python benchmarks/tables.py [--records N] [-o docs/benchmarks-tables.csv]

Every step runs in a fresh process, whose memory is read from the kernel. The
result goes to standard output, progress to standard error. The exit status is 1
if a target of the project is missed. Needs the package nats-bench, 1.3 GB of
disk and about ten minutes on two cores.
"""

from __future__ import annotations

import bz2
import contextlib
import csv
import datetime
import io
import multiprocessing
import os
import pickle
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import numpy as np

NETWORKS = 15_625
BASES = (0, 11, 284)
"""Indices of the published records."""
PUBLISHED = Path(__file__).resolve().parents[2] / "shared/published/nats-bench"
FOLDER = "NATS-tss-v1_0-3ffb9-simple"
BYTES_PER_RECORD = 100_000
SIZES = {
    "cifar10-valid": {"train": 25_000, "x-valid": 25_000, "ori-test": 10_000},
    "cifar10": {"train": 50_000, "ori-test": 10_000},
    "cifar100": {"train": 50_000, "x-valid": 5_000, "x-test": 5_000, "ori-test": 10_000},
    "ImageNet16-120": {"train": 151_700, "x-valid": 3_000, "x-test": 3_000, "ori-test": 6_000},
}
"""Images by official name; written down again, so that the importer is checked against it."""
SPREAD, NOISE = 0.1, 0.01
"""Standard deviations of the perturbation, shares of all images: by network, by figure."""
SAMPLE = 200
"""Networks that the official API is asked for a column; the rest is extrapolated."""
QUERIES = 2_000
LABEL, OFFICIAL, EPOCH, SEED = "cifar10-valid-200", "cifar10-valid", 200, 777
"""The column and query that are measured: validation accuracy after the last epoch."""


@dataclass(frozen=True)
class Row:
    """A line of the result."""

    what: str
    ours: float
    official: float | None
    unit: str
    target: float | None = None
    note: str = ""

    @property
    def missed(self) -> bool:
        """Whether the target was missed; all are upper bounds."""
        return self.target is not None and self.ours > self.target


@click.command()
@click.option("--records", default=NETWORKS, show_default=True, help="Records to make.")
@click.option("--seed", default=0, show_default=True, help="Seed of the perturbation.")
@click.option(
    "--published",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=PUBLISHED,
    show_default=True,
    help="Folder that holds the published directory.",
)
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to work in; kept, and its records used again. Default: a temporary one.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="CSV file of the result.")
def main(records: int, seed: int, published: Path, keep: Path | None, output: Path | None) -> None:
    """Import, open and ask a table of the full shape; see the head of this file."""
    with tempfile.TemporaryDirectory(prefix="bpe-bench-") as temporary:
        folder = keep or Path(temporary)
        directory, table = folder / FOLDER, folder / "table.h5"
        if not directory.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            _check_disk(folder, records)
            made = _timed(lambda: generate(published / FOLDER, directory, records, seed))
            _say(f"made {records} records in {made:.0f} s")
        packed = sum(file.stat().st_size for file in directory.iterdir())
        imported = _in_fresh_process(import_directory, directory, table)
        _say(f"imported in {imported['read']:.0f} s, written in {imported['write']:.0f} s; asking")
        ours = _in_fresh_process(ask_table, table, records, seed)
        official = _in_fresh_process(ask_official, directory, records, seed)
        rows = _rows(imported, ours, official, table.stat().st_size, records)
    if ours["answers"] != official["answers"]:
        raise click.ClickException("the table and the official API answer differently")
    click.echo(_report(rows, records, packed))
    if output:
        with output.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(asdict(rows[0])))
            writer.writeheader()
            writer.writerows(asdict(row) for row in rows)
    sys.exit(any(row.missed for row in rows))


def generate(source: Path, target: Path, records: int, seed: int) -> None:
    """Make an official directory of the first networks; the same seed makes the same bytes."""
    unfinished = target.with_name(f"{target.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    shutil.copy(source / "meta.pickle.pbz2", unfinished)
    with multiprocessing.get_context("spawn").Pool(2, _prepare, (source,)) as pool:
        jobs = ((index, unfinished, seed) for index in range(records))
        for done, _ in enumerate(pool.imap_unordered(_make, jobs, chunksize=25), 1):
            if done % 500 == 0 or done == records:
                _say(f"\rmaking records: {done} of {records}", end="" if done < records else "\n")
    unfinished.rename(target)


# Of a process that makes records: the published ones, and the texts of all architectures.
_bases: list[dict[str, Any]] = []
_texts: list[str] = []


def _prepare(source: Path) -> None:
    # The files are the ones beside this checkout, whose hashes are in its manifest.
    for index in BASES:
        _bases.append(pickle.loads(bz2.decompress(_record(source, index).read_bytes())))
    meta = pickle.loads(bz2.decompress((source / "meta.pickle.pbz2").read_bytes()))
    _texts.extend(meta["meta_archs"])


def _make(job: tuple[int, Path, int]) -> None:
    index, target, seed = job
    rng = np.random.default_rng([seed, index])
    base = _bases[int(rng.integers(len(_bases)))]
    better, slower = rng.normal(0, SPREAD), rng.uniform(0.5, 2)
    record = {}
    for key, results in base.items():
        trials = {
            place: _perturbed(trial, SIZES[place[0]], better, slower, rng)
            for place, trial in results["all_results"].items()
        }
        known = {"arch_index": index, "arch_str": _texts[index], "all_results": trials}
        record[key] = {**results, **known}
    _record(target, index).write_bytes(bz2.compress(pickle.dumps(record, protocol=4)))


def _perturbed(
    trial: dict[str, Any],
    sizes: dict[str, int],
    better: float,
    slower: float,
    rng: np.random.Generator,
) -> dict[str, Any]:
    def moved(accuracies: dict[Any, float], size: np.ndarray[Any, Any]) -> dict[Any, float]:
        share = np.array(list(accuracies.values())) / 100 + better
        share = share + rng.normal(0, NOISE, share.size)
        counts = np.rint(np.clip(share, 0, 1) * size)
        return dict(zip(accuracies, (counts / size * 100).tolist(), strict=True))

    evaluated = np.array([sizes[key.partition("@")[0]] for key in trial["eval_acc1es"]])
    return {
        **trial,
        "train_acc1es": moved(trial["train_acc1es"], np.array(sizes["train"])),
        "eval_acc1es": moved(trial["eval_acc1es"], evaluated),
        "train_times": {epoch: slower * t for epoch, t in trial["train_times"].items()},
    }


def import_directory(directory: Path, table: Path) -> dict[str, float]:
    """Import a directory and write the table."""
    from bpe_bench.tables.importers import get_importer
    from bpe_bench.tables.storage import write_table

    found = []
    read = _timed(
        lambda: found.append(get_importer("nats-bench").read(directory, _progress("importing")))
    )
    after_read = _memory("VmHWM")
    write = _timed(lambda: write_table(found[0], table))
    return {"read": read, "write": write, "read_peak": after_read, "peak": _memory("VmHWM")}


def ask_table(path: Path, records: int, seed: int) -> dict[str, Any]:
    """Open a table and ask it."""
    import h5py  # noqa: F401  # loading libraries is no part of opening
    import numpy as np

    from bpe_bench.spaces.nas_bench_201 import NasBench201Space
    from bpe_bench.tables.curves import Split
    from bpe_bench.tables.storage import read_table

    space = NasBench201Space()
    before = _memory("VmRSS")
    found: list[Any] = []
    opening = _timed(lambda: found.append(read_table(path)))
    again = statistics.median(_timed(lambda: read_table(path)) for _ in range(7))
    table = found[0]
    curves = table.curves_of(LABEL, Split.VALIDATION)
    column = _timed(lambda: curves.accuracy(epoch=EPOCH))
    networks = [space.from_index(i) for i in _sample(records, seed)]

    def ask(network: Any) -> float:
        found = table.query(network, LABEL, split="validation", seed=SEED, epoch=EPOCH)
        return float(found.accuracy)

    first = _timed(lambda: ask(networks[0]))
    warm = _median(lambda i: ask(networks[i % len(networks)]))
    mean = _median(
        lambda i: table.query(networks[i % len(networks)], LABEL, split="validation", seed="mean")
    )
    rng = np.random.default_rng(seed)
    epochs = rng.integers(1, 201, QUERIES).tolist()
    anywhere = _median(
        lambda i: table.query(
            networks[i % len(networks)], LABEL, split="train", seed=SEED, epoch=epochs[i]
        ),
        200,
    )
    return {
        "open": opening,
        "again": again,
        "column": column,
        "first": first,
        "warm": warm,
        "mean": mean,
        "anywhere": anywhere,
        "resident": _memory("VmRSS"),
        "before": before,
        "answers": [round(ask(network) * 25_000) for network in networks],
    }


def ask_official(directory: Path, records: int, seed: int) -> dict[str, Any]:
    """Open the same directory with the official package in its fast mode, and ask it."""
    from nats_bench import create  # type: ignore[import-untyped]

    found: list[Any] = []
    with contextlib.redirect_stdout(io.StringIO()):
        opening = _timed(
            lambda: found.append(create(str(directory), "tss", fast_mode=True, verbose=False))
        )
    api = found[0]
    before = _memory("VmRSS")

    def ask(index: int) -> float:
        info = api.get_more_info(index, OFFICIAL, iepoch=EPOCH - 1, hp="200", is_random=SEED)
        return float(info["valid-accuracy"])

    sample = _sample(records, seed)
    first = _timed(lambda: ask(sample[0]))
    column = _timed(lambda: [ask(index) for index in sample[1:]]) / (len(sample) - 1) * records
    resident = _memory("VmRSS")
    each = (resident - before) / len(sample)
    return {
        "open": opening,
        "column": column,
        "first": first,
        "warm": _median(lambda i: ask(sample[i % len(sample)])),
        "resident": before + each * records,
        "answers": [round(ask(index) / 100 * 25_000) for index in sample],
    }


def _sample(records: int, seed: int) -> list[int]:
    rng = np.random.default_rng(seed)
    return [int(i) for i in rng.choice(records, min(SAMPLE, records), replace=False)]


def _rows(
    imported: dict[str, float],
    ours: dict[str, Any],
    official: dict[str, Any],
    size: int,
    records: int,
) -> list[Row]:
    whole = records == NETWORKS
    extrapolated = f"official: extrapolated from {len(official['answers'])} networks"
    return [
        Row("import, reading", imported["read"], None, "s"),
        Row("import, writing the table", imported["write"], None, "s"),
        Row("import, peak memory", imported["peak"], None, "MB", 2_000 if whole else None),
        Row("table file", size / 1e6, None, "MB", 400 if whole else None),
        Row(
            "open, first in its process",
            ours["open"] * 1e3,
            official["open"] * 1e3,
            "ms",
            50,
            "official: the list of architectures, no record",
        ),
        Row("open, again", ours["again"] * 1e3, None, "ms", 50),
        Row(
            "one (split, epoch) column, all networks and seeds",
            ours["column"] * 1e3,
            official["column"] * 1e3,
            "ms",
            50,
            f"{extrapolated}, one seed",
        ),
        Row("first query", ours["first"] * 1e6, official["first"] * 1e6, "µs"),
        Row("warm query, one seed", ours["warm"] * 1e6, official["warm"] * 1e6, "µs", 20),
        Row("warm query, mean of seeds", ours["mean"] * 1e6, None, "µs", 20),
        Row("query of a column not read yet", ours["anywhere"] * 1e6, None, "µs"),
        Row("resident memory", ours["resident"], official["resident"], "MB", 200, extrapolated),
    ]


def _report(rows: list[Row], records: int, packed: int) -> str:
    names = ("bpe-bench", "nats-bench", "numpy", "h5py")
    lines = [
        f"{records} records ({packed / 1e6:.0f} MB of bz2 pickles), "
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}; {_processor()}, {os.cpu_count()} cores, "
        f"{platform.system()}; Python {platform.python_version()}, "
        f"{', '.join(f'{name} {version(name)}' for name in names)}; "
        f"command: python {' '.join(sys.argv)}",
        "",
        "| what | bpe-bench | official API | ratio | target | |",
        "|---|--:|--:|--:|--:|---|",
    ]
    for row in rows:
        official = "" if row.official is None else _figure(row.official, row.unit)
        ratio = "" if row.official is None else f"{row.official / row.ours:,.1f}"
        target = "" if row.target is None else f"{row.target:,g} {row.unit}"
        note = "; ".join(filter(None, ["**missed**" if row.missed else "", row.note]))
        ours = _figure(row.ours, row.unit)
        lines.append(f"| {row.what} | {ours} | {official} | {ratio} | {target} | {note} |")
    return "\n".join(lines)


def _figure(value: float, unit: str) -> str:
    return f"{value:,.0f} {unit}" if value >= 1000 else f"{value:.4g} {unit}"


def _in_fresh_process(step: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(step, arguments)


def _timed(step: Callable[[], Any]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def _median(step: Callable[[int], Any], times: int = QUERIES) -> float:
    """Return the median seconds of a step; every one is timed alone."""
    return statistics.median(_timed(lambda i=i: step(i)) for i in range(times))  # type: ignore[misc]


def _memory(field: str) -> float:
    """Return this process's memory in MB: VmRSS now, VmHWM at its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024 / 1e6


def _progress(what: str) -> Callable[[float], None]:
    shown: Iterator[int] = iter(range(5, 101, 5))
    following = next(shown)

    def progress(share: float) -> None:
        nonlocal following
        if share * 100 >= following:
            _say(f"\r{what}: {share:.0%}", end="\n" if share >= 1 else "")
            following = next((step for step in shown if step > share * 100), 101)

    return progress


def _check_disk(folder: Path, records: int) -> None:
    # The records, the table and the temporary file that becomes it.
    needed, free = 2 * BYTES_PER_RECORD * records, shutil.disk_usage(folder).free
    if free < needed:
        raise click.ClickException(
            f"{needed / 1e9:.1f} GB of disk are needed in {folder}, {free / 1e9:.1f} GB are free; "
            "set TMPDIR to another place, or make fewer --records"
        )


def _record(folder: Path, index: int) -> Path:
    return folder / f"{index:06d}.pickle.pbz2"


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _say(text: str, end: str = "\n") -> None:
    print(text, end=end, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
