"""Run the same jobs on other kernels of linear algebra, and compare what they print byte by byte.

Each variant changes one thing against the base run: the kernels of OpenBLAS (those that this
processor can run), numpy's own vector instructions, those of the C library, the number of
threads, the hash seed; the last variant takes the oldest of all. Run as::

    python benchmarks/platforms.py [--only TEXT] [--jobs 2]

With another interpreter, in which other versions of the dependencies are installed, figures
are compared instead of bytes, each job within its stated tolerance::

    python benchmarks/platforms.py --python /path/to/python

Exit status 1 on any difference. See docs/platforms.md.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).resolve().parents[1]
MIP = ("mip", "--space", "darts", "--quiet", "--format", "json")
TABLE = "../cells.h5"
"""A table of the whole space, made up for the search."""
FITTED = "fitted.surrogate"
IMPORTANCES = (
    "forest", "permutation", "fanova", "xgboost", "xgboost-permutation", "xgboost-shap",
    "ped-anova",
)  # fmt: skip

JOBS: dict[str, tuple[str, ...]] = {
    "correlate": ("correlate", "darts-bpe", "--compare", "BPE-1", "BPE-2", "--format", "json"),
    "correlate, bootstrap": (
        "correlate", "darts-bpe", "--interval", "bootstrap", "--statistic", "kendall", "--format",
        "json",
    ),
    "correlate, curves": ("correlate", "nas-bench-201-curves", "--format", "json"),
    **{
        f"mip, {name}": (*MIP, "--importance", name, "--max-cost-hours", "0.6")
        for name in IMPORTANCES
    },
    "mip, force": (*MIP, "--force", "--max-cost-hours", "0.6"),
    "mip, sequential": (*MIP, "--evidence", "sequential", "--force", "--resamples", "20"),
    "mip evaluate": (
        "mip", "evaluate", "--repeats", "3", "--jobs", "1", "--quiet", "--format", "json",
    ),
    "surrogate, accuracy": (
        "surrogate", "evaluate", "nas-bench-201-curves", "--quiet", "--format", "json",
    ),
    "surrogate, correlation": (
        "surrogate", "evaluate", "darts-bpe", "--target", "correlation", "--quiet", "--format",
        "json",
    ),
    "surrogate, cost": (
        "surrogate", "evaluate", "darts-bpe", "--target", "cost", "--quiet", "--format", "json",
    ),
    "surrogate fit": ("surrogate", "fit", "nas-bench-201-curves", "--quiet", "-o", FITTED),
    "surrogate predict": ("surrogate", "predict", FITTED, "--quiet", "--format", "json"),
    "mip, by a surrogate": (*MIP, "--objective", "surrogate", "--vary", "epochs=20,40,80"),
    "train plan": (
        "train", "plan", "--hours", "50", "--budget", "BPE-1,epochs=20", "--quiet", "--format",
        "json",
    ),
    "search, by a surrogate": (
        "search", "--space", "nas-bench-201", "--estimator", "surrogate", "--surrogate", FITTED,
        "--searcher", "evolution", "--evaluations", "40", "--repeats", "3", "--jobs", "1",
        "--quiet", "--format", "json",
    ),
    "search": (
        "search", "--space", "nas-bench-201", "--table", TABLE, "--searcher", "all",
        "--repeats", "10", "--jobs", "1", "--quiet", "--format", "json",
    ),
}  # fmt: skip
MAIN_JOB = "main job"
TOLERANCES = (
    ("mip evaluate", r"p_\w+", 0.5),
    ("mip evaluate", r".*", 0.02),
    ("mip", r"mean|correlation", 0.02),
    ("mip", r".*", 0.1),
    ("train plan", r".*", 0.02),
    ("surrogate", r".*", 1e-6),
    ("search, by a surrogate", r".*", 1e-6),  # what it finds are predictions
    ("", r".*", 1e-9),
)
"""How much a figure may differ under other versions: the first words of the job, the figure's
name, absolute. Importances and predictions come from forests, which other versions of
scikit-learn and XGBoost grow otherwise."""

KERNELS = {
    "Prescott": "SSE3",
    "Sandybridge": "AVX",
    "Haswell": "AVX2",
    "Zen": "AVX2",
    "SkylakeX": "AVX512_SKX",
}
"""Kernels of OpenBLAS, and the feature that the processor must have."""
_NO_FMA = "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4,-AVX2_Usable,-FMA_Usable,-FMA4_Usable"


def variants() -> dict[str, dict[str, str]]:
    """Return the environment of each variant that this processor can run, the base first."""
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

    kernels = [name for name, needs in KERNELS.items() if __cpu_features__.get(needs)]
    found = [name for name in __cpu_dispatch__ if __cpu_features__.get(name)]
    wide = [name for name in found if "AVX512" in name or name == "X86_V4"]
    no_wide = {"NPY_DISABLE_CPU_FEATURES": " ".join(wide)}
    plain = {"NPY_DISABLE_CPU_FEATURES": " ".join(found)}
    return {
        "base": {},
        **{f"OpenBLAS {name}": {"OPENBLAS_CORETYPE": name} for name in kernels},
        **({"numpy without AVX-512": no_wide} if wide else {}),
        **({"numpy without any dispatch": plain} if found else {}),
        "C library without FMA": {"GLIBC_TUNABLES": _NO_FMA},
        "1 thread": {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        "2 threads": {"OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"},
        "another hash seed": {"PYTHONHASHSEED": "1"},
        "oldest of all": {
            **plain, "OPENBLAS_CORETYPE": "Prescott", "GLIBC_TUNABLES": _NO_FMA,
            "OPENBLAS_NUM_THREADS": "1",
        },
    }  # fmt: skip


@click.command()
@click.option("--only", default="", help="Variants whose name has this text.")
@click.option("--job", "chosen", default="", help="Jobs whose name has this text.")
@click.option("--jobs", default=os.cpu_count() or 1, help="Variants that run at the same time.")
@click.option("--python", "other", help="Compare figures with those of this interpreter.")
@click.option("--keep", type=click.Path(path_type=Path), help="Keep the outputs in this folder.")
@click.option("--worker", type=click.Path(path_type=Path), hidden=True)
def main(
    only: str, chosen: str, jobs: int, other: str | None, keep: Path | None, worker: Path | None
) -> None:
    """Compare what the jobs print."""
    if worker is not None:
        _work(worker, chosen)
        return
    with contextlib.ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        _make_table(folder / Path(TABLE).name)
        if other is not None:
            _run("base", {}, folder, chosen)
            _run("other", {}, folder, chosen, python=other)
            sys.exit(_compare_figures(folder / "base", folder / "other"))
        wanted = {n: e for n, e in variants().items() if n == "base" or only in n}
        with ThreadPoolExecutor(jobs) as pool:
            runs = pool.map(lambda v: _run(v[0], v[1], folder, chosen), wanted.items())
            sys.exit(_compare_bytes(list(zip(wanted, runs, strict=True)), folder))


def _run(
    name: str, environment: dict[str, str], folder: Path, chosen: str, python: str = sys.executable
) -> float:
    """Run all jobs in another process, and return the seconds that they took."""
    out = folder / name
    out.mkdir(exist_ok=True)
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("OPENBLAS", "OMP", "NPY"))}
    start = time.monotonic()
    done = subprocess.run(
        [python, str(Path(__file__).resolve()), "--worker", str(out.resolve()), "--job", chosen],
        env={**plain, "PYTHONHASHSEED": "0", **environment},
        cwd=out,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise click.ClickException(f"{name}: {done.stderr.strip() or done.stdout.strip()}")
    return time.monotonic() - start


def _work(out: Path, chosen: str) -> None:
    """Run the jobs one by one in this process, and write what each prints to a file."""
    from bpe_bench_cli.main import run

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"<!-- main job -->\n```bash\n(.*?)\n```", readme, re.DOTALL)
    assert block is not None
    main_job = tuple(block[1].partition("bin/bpe-bench ")[2].split())
    for name, arguments in {MAIN_JOB: main_job, **JOBS}.items():
        if chosen not in name:
            continue
        printed, said = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(said):
            status = run(arguments)
        if status:
            raise click.ClickException(f"{name} ended with {status}: {said.getvalue()}")
        (out / f"{name}.txt").write_text(printed.getvalue(), encoding="utf-8")
    (out / "kernels").write_text(", ".join(_kernels()), encoding="utf-8")


def _kernels() -> list[str]:
    """Return the kernels that the libraries of linear algebra use."""
    import numpy
    import scipy.linalg
    import threadpoolctl

    assert numpy
    assert scipy
    libraries = threadpoolctl.threadpool_info()
    return sorted({library.get("architecture") or "" for library in libraries} - {""})


def _compare_bytes(runs: list[tuple[str, float]], folder: Path) -> int:
    differ = 0
    base = folder / "base"
    files = sorted([*base.glob("*.txt"), *base.glob("*.surrogate")])
    click.echo(f"{len(files)} jobs: {'; '.join(path.stem for path in files)}\n")
    click.echo(f"{'variant':28} {'kernels':24} {'seconds':>8}  jobs that print the same bytes")
    for name, seconds in runs:
        unequal = [p for p in files if p.read_bytes() != (folder / name / p.name).read_bytes()]
        kernels = (folder / name / "kernels").read_text(encoding="utf-8")
        click.echo(
            f"{name:28} {kernels:24} {seconds:8.1f}  {len(files) - len(unequal)} of {len(files)}"
        )
        for path in unequal:
            pair = [
                p.read_text(encoding="utf-8", errors="replace")
                for p in (path, folder / name / path.name)
            ]
            line, first, second = _first_difference(*pair)
            click.echo(f"    {path.stem}, line {line}:\n      base: {first}\n      here: {second}")
        differ += len(unequal)
    if (base / f"{MAIN_JOB}.txt").exists():
        readme = (ROOT / "README.md").read_text(encoding="utf-8")
        shown = re.search(r"<!-- mip output -->\n```text\n(.*?)```", readme, re.DOTALL)
        same = bool(shown) and shown[1] == (base / f"{MAIN_JOB}.txt").read_text(encoding="utf-8")
        click.echo(f"\nthe main job prints what README.md shows: {'yes' if same else 'no'}")
        differ += not same
    return 1 if differ else 0


def _first_difference(one: str, other: str) -> tuple[int, str, str]:
    lines, others = one.splitlines(), other.splitlines()
    for place in range(max(len(lines), len(others))):
        pair = [part[place] if place < len(part) else "" for part in (lines, others)]
        if pair[0] != pair[1]:
            return place + 1, pair[0], pair[1]
    return 0, "(the same lines)", "(the same lines)"


def _compare_figures(base: Path, other: Path) -> int:
    """Print by how much the figures of each job differ, and return 1 if any differs by too much."""
    too_much = 0
    click.echo(f"{'job, figure':40} figures  differ   largest   allowed")
    for path in sorted(base.glob("*.txt")):
        if path.stem in (MAIN_JOB, "surrogate fit"):
            continue
        one, two = (
            dict(_leaves(json.loads((folder / path.name).read_text(encoding="utf-8"))))
            for folder in (base, other)
        )
        gaps: dict[tuple[str, float], list[float]] = {}
        for key in one.keys() & two.keys():
            if _number(one[key]) and _number(two[key]):
                rule = next(
                    (name, most)
                    for words, name, most in TOLERANCES
                    if path.stem.startswith(words) and re.fullmatch(name, key.split("/")[-1])
                )
                gaps.setdefault(rule, []).append(abs(one[key] - two[key]))
        for (name, allowed), found in sorted(gaps.items(), key=lambda item: -item[0][1]):
            unequal = sum(gap > 1e-9 for gap in found)
            title = f"{path.stem}, {name}".removesuffix(", .*")
            click.echo(f"{title:40} {len(found):7} {unequal:7} {max(found):9.2g} {allowed:9.2g}")
            too_much += max(found) > allowed
        rows = {key.rpartition("/")[0] for key in one.keys() ^ two.keys()}
        if rows:
            click.echo(f"    in one of the two only: {len(rows)} rows")
    return 1 if too_much else 0


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Return every number and text with its path; a row of a list goes by its names."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _leaves(part, f"{path}/{key}")
    elif isinstance(value, list):
        for place, part in enumerate(value):
            names = [part[k] for k in _NAMES if k in part] if isinstance(part, dict) else []
            yield from _leaves(part, f"{path}/{' '.join(names) or place}")
    else:
        yield path, value


_NAMES = ("label", "name", "first", "second", "model", "grouping", "searcher")


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _make_table(path: Path) -> None:
    """Write a table of the whole space of NAS-Bench-201, whose accuracies are made up."""
    import numpy as np
    from bpe_bench_tables.build._nas_bench_201 import table_of

    from bpe_bench.spaces import Architecture
    from bpe_bench.tables.curves import Curves, Split
    from bpe_bench.tables.storage import write_table
    from bpe_bench.tables.table import Provenance

    rng = np.random.default_rng(0)
    genes = list(itertools.product(range(5), repeat=6))
    worth = (np.array([0, 2, 9, 10, 4])[np.array(genes)] * [3, 2, 1, 2, 3, 2]).sum(axis=1)
    curves, seconds = {}, {}
    for epochs, luck in ((12, 600), (200, 150)):
        label = f"cifar10-valid-{epochs}"
        counts = 15_000 + 60 * worth + rng.integers(-luck, luck, (2, len(genes)))
        counts = counts.astype(np.int32)[:, None]
        curves[label, Split.VALIDATION] = Curves(counts, 25_000, np.array([epochs]), np.arange(2))
        seconds[label, "seconds"] = rng.uniform(5, 15, len(genes)) * epochs
    cells = tuple(Architecture("nas-bench-201", gene) for gene in genes)
    source = Provenance("made up", "none", "none")
    write_table(table_of(cells, curves, source, measures=seconds), path)


if __name__ == "__main__":
    main()
