"""Make docs/mip-judged.json and its figure anew, and time it.

The default comparison of `bpe-bench mip evaluate` on `darts-bpe`: 200 repeats, all methods.
Also prints what one run of each method takes, and how many device hours the covering design
that pruning starts with costs. Run as::

    python benchmarks/mip_judged.py [--repeats 200] [--jobs 2] [--output docs/mip-judged.json]
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path

import click
import numpy as np

from bpe_bench.correlation.evidence import covering
from bpe_bench.pruning.judging import Account, Deal, Pool, judge, make_methods
from bpe_bench.report import judging_figure, save_figure
from bpe_bench.tables.catalog import open_table


@click.command()
@click.option("--repeats", default=200, show_default=True)
@click.option("--jobs", default=os.cpu_count() or 1, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--output", type=click.Path(path_type=Path), default=Path("docs/mip-judged.json"))
def main(repeats: int, jobs: int, seed: int, output: Path) -> None:
    """Write the report and the figure, and print the times."""
    pool = Pool.of(open_table("darts-bpe"), name="darts-bpe")
    methods, _ = make_methods()
    first = covering(pool.unseen.rows, (), 12)
    hours = sum(row.cost_seconds for row in first) * pool.choosing / 3600
    print(f"the covering design of 12 settings costs {hours:.0f} device hours")
    for method in methods:
        deal = Deal(pool, np.random.default_rng(seed))
        start = time.perf_counter()
        method.run(Account(deal, np.inf, np.random.default_rng(seed)))
        taken = time.perf_counter() - start
        print(f"{method.name}: {taken:.3f} s a run, {method.draws} runs a repeat")
    start = time.perf_counter()
    report = judge(pool, methods, repeats=repeats, seed=seed, jobs=jobs)
    print(f"{repeats} repeats on {jobs} processes: {time.perf_counter() - start:.0f} s")
    text = json.dumps(report.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    output.write_text(text, encoding="utf-8")
    save_figure(judging_figure(report), output.with_suffix(".png"))
    print("\n".join(report.conclusion))
    versions = ", ".join(
        f"{n} {version(n)}" for n in ("numpy", "scipy", "scikit-learn", "xgboost", "optuna")
    )
    print(
        f"{datetime.date.today()}, {platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, {versions}"
    )


if __name__ == "__main__":
    main()
