"""Measure how well surrogates predict what was held out, beside plain scikit-learn and XGBoost.

Three parts. ``settings``: the rank correlation of the 32 published settings of darts-bpe, each
left out in turn. ``nas-bench-201``: accuracies of the cells that were not among the few that a
surrogate was fitted to. ``coverage``: how often intervals hold what was held out, by what was held
out. Run as::

    python benchmarks/surrogates.py [--part settings ...] [-o docs/benchmarks-surrogates.json]

A file that exists keeps the parts that are not measured again. The second part, and a row of the
third, need the table nas-bench-201 (``bpe-bench tables fetch nas-bench-201``).
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import numpy as np
from scipy.stats import kendalltau
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor
from xgboost import XGBRegressor

from bpe_bench import get_space, open_table
from bpe_bench.budget import encode
from bpe_bench.inference import noise_ceiling
from bpe_bench.randomness import integer_seed
from bpe_bench.surrogate import Question, evaluate_surrogates, fit_surrogate
from bpe_bench.surrogate.crossfit import _Folds, _judge, _Member
from bpe_bench.surrogate.examples import _gather
from bpe_bench.tables.table import Split, Table

SETTINGS = [f"test{number}" for number in range(1, 33)]
RESAMPLES = 10_000
FULL, SHORT = "cifar10-valid-200", "cifar10-valid-12"

Array = Any
Fit = Callable[[Array, Array, np.random.Generator], Callable[[Array], Array]]


def r2(y: Array, predicted: Array) -> float:
    """Return the coefficient of determination."""
    return float(1 - np.sum((y - predicted) ** 2) / np.sum((y - y.mean()) ** 2))


def kendall(y: Array, predicted: Array) -> float:
    """Return Kendall's tau-b."""
    return float(kendalltau(y, predicted)[0])


# --- Settings --------------------------------------------------------------------------------


def plain_forest(x: Array, y: Array, rng: np.random.Generator) -> Callable[[Array], Array]:
    """Fit scikit-learn's random forest as it comes."""
    return RandomForestRegressor(random_state=integer_seed(rng), n_jobs=1).fit(x, y).predict


def plain_xgboost(x: Array, y: Array, rng: np.random.Generator) -> Callable[[Array], Array]:
    """Fit XGBoost as it comes."""
    return XGBRegressor(random_state=integer_seed(rng), n_jobs=1).fit(x, y).predict


def plain_extra_trees(x: Array, y: Array, rng: np.random.Generator) -> Callable[[Array], Array]:
    """Fit scikit-learn's extremely randomised trees as they come."""
    return ExtraTreesRegressor(random_state=integer_seed(rng), n_jobs=1).fit(x, y).predict


def one_by_one(x: Array, y: Array, fit: Fit, rng: np.random.Generator) -> Array:
    """Predict each row by a model of the others."""
    found = np.empty(y.size)
    for place in range(y.size):
        others = np.arange(y.size) != place
        found[place] = fit(x[others], y[others], rng)(x[place : place + 1])[0]
    return found


def shipped(examples: Any, model: str, trend: bool, rng: np.random.Generator) -> Array:
    """Predict each setting by the surrogate that the others would give, and its interval."""
    folds = _Folds.deal([("settings", examples.budget)], examples.y.size, rng)

    def fit(learned: Array) -> _Member:
        return _Member.fit(examples.x[learned], examples.y[learned], model, rng, trend=trend)

    judged = _judge(examples.x, examples.y, folds, fit, confidence=0.9)
    order = np.argsort(judged.place)
    return np.array([judged.value[order], judged.low[order], judged.high[order]])


def paired(y: Array, ours: Array, theirs: Array, rng: np.random.Generator) -> dict[str, Any]:
    """Return the difference of both figures, mean over seeds, and a bootstrap over settings.

    Each resample of settings is used for both models and all seeds.
    """
    drawn = rng.integers(y.size, size=(RESAMPLES, y.size))
    found: dict[str, Any] = {}
    for name, figure in (("r2", r2), ("kendall", kendall)):
        seeds = range(min(len(ours), len(theirs)))

        def difference(rows: Array, figure: Any = figure, seeds: Any = seeds) -> float:
            return float(
                np.mean([figure(y[rows], ours[s][rows]) - figure(y[rows], theirs[s][rows])
                         for s in seeds])
            )  # fmt: skip

        # Some seconds: tau of 10,000 resamples of 32, twice, for each seed.
        resampled = [difference(rows) for rows in drawn[: RESAMPLES // len(seeds)]]
        low, high = np.quantile(resampled, [0.025, 0.975])
        found[name] = {
            "difference": difference(np.arange(y.size)),
            "low": float(low),
            "high": float(high),
            "resamples": len(resampled),
        }
    return found


def measure_settings(seeds: int) -> dict[str, Any]:
    """Leave each of the 32 published settings out."""
    table = open_table("darts-bpe")
    examples = _gather(table, Question("correlation", budgets=SETTINGS), np.random.default_rng(0))
    names = examples.columns.hyper_parameters
    raw = encode([setting.budget for setting in examples.settings], names)
    y = examples.y
    predicted: dict[str, Array] = {}
    plain = {
        "plain RandomForestRegressor": (raw, plain_forest),
        "plain XGBRegressor": (raw, plain_xgboost),
        "plain ExtraTreesRegressor": (raw, plain_extra_trees),
        "RandomForestRegressor on our columns": (examples.x, plain_forest),
        "XGBRegressor on our columns": (examples.x, plain_xgboost),
    }
    for name, (x, fit) in plain.items():
        predicted[name] = np.array(
            [one_by_one(x, y, fit, np.random.default_rng(seed)) for seed in range(seeds)]
        )
        print(f"{name}: R2 {np.mean([r2(y, p) for p in predicted[name]]):.3f}", flush=True)
    bounds = {}
    variants = {
        "shipped default": ("forest", False, seeds),
        "forest on top of a straight line": ("forest", True, seeds),
        "shipped xgboost": ("xgboost", False, min(seeds, 3)),
        "xgboost on top of a straight line": ("xgboost", True, min(seeds, 3)),
    }
    for name, (model, trend, count) in variants.items():
        found = [shipped(examples, model, trend, np.random.default_rng(s)) for s in range(count)]
        predicted[name] = np.array([one[0] for one in found])
        bounds[name] = np.array([one[1:] for one in found])
        print(f"{name}: R2 {np.mean([r2(y, p) for p in predicted[name]]):.3f}", flush=True)
    rows = {}
    for name, values in predicted.items():
        row: dict[str, Any] = {"seeds": len(values)}
        for figure_name, figure in (("r2", r2), ("kendall", kendall)):
            each = [figure(y, value) for value in values]
            row[figure_name] = {"mean": float(np.mean(each)), "std": float(np.std(each))}
        if name in bounds:
            inside = [(one[0] <= y) & (y <= one[1]) for one in bounds[name]]
            row["coverage_90"] = float(np.mean(inside))
        rows[name] = row
    rng = np.random.default_rng(0)
    differences = {
        name: paired(y, predicted["shipped default"], predicted[name], rng)
        for name in ("plain RandomForestRegressor", "plain XGBRegressor")
    }
    return {"settings": y.size, "rows": rows, "shipped_default_minus": differences}


# --- NAS-Bench-201 ---------------------------------------------------------------------------


def measure_cells(draws: int) -> dict[str, Any]:
    """Fit to few cells, and judge on all others."""
    table = open_table("nas-bench-201")
    y = table.accuracy(FULL, Split.VALIDATION)
    short = table.accuracy(SHORT, Split.VALIDATION)
    one_hot = get_space(table.space).encode(list(table.architectures)).reshape(len(y), -1)
    ceiling = noise_ceiling(table.curves_of(FULL, Split.VALIDATION).accuracy(), "kendall")
    rows = []
    for count in (100, 1000):
        for given in ((), (SHORT,)):
            with_given = np.column_stack([one_hot, short]) if given else one_hot
            for model in ("plain", "xgboost", "forest"):
                found = [
                    judge_cells(table, y, with_given, count, given, model, draw)
                    for draw in range(draws)
                ]
                mean = {name: float(np.mean([f[name] for f in found])) for name in found[0]}
                tau = mean["kendall"]
                row = {
                    "architectures": count,
                    "given": list(given),
                    "model": "plain one-hot XGBRegressor" if model == "plain" else model,
                    **mean,
                    "kendall_std": float(np.std([f["kendall"] for f in found])),
                    "share_of_ceiling": tau / ceiling,
                }
                rows.append(row)
                print(row, flush=True)
    return {"draws": draws, "noise_ceiling": ceiling, "target": FULL, "rows": rows}


def judge_cells(
    table: Table,
    y: Array,
    plain_x: Array,
    count: int,
    given: tuple[str, ...],
    model: str,
    draw: int,
) -> dict[str, float]:
    """Fit one surrogate to a draw of cells, and judge it on the others."""
    places = np.sort(np.random.default_rng(draw).choice(y.size, count, replace=False))
    others = np.setdiff1d(np.flatnonzero(np.isfinite(y)), places)
    start = time.perf_counter()
    if model == "plain":
        predict = plain_xgboost(plain_x[places], y[places], np.random.default_rng(draw))
        seconds = time.perf_counter() - start
        found = predict(plain_x[others])
        return {"kendall": kendall(y[others], found), "fit_seconds": seconds}
    question = Question(budgets=[FULL], given=given, architectures=places.tolist())
    fitted = fit_surrogate(table, question, rng=np.random.default_rng(draw), model=model)
    seconds = time.perf_counter() - start
    cells = [table.architectures[int(place)] for place in others]
    known = fitted.given_from(table, cells)
    forecast = fitted.accuracy(cells, table.setting(FULL).budget, given=known)
    inside = (forecast.low <= y[others]) & (y[others] <= forecast.high)
    return {
        "kendall": kendall(y[others], forecast.value),
        "r2": r2(y[others], forecast.value),
        "coverage_90": float(inside.mean()),
        "width": float(np.mean(forecast.high - forecast.low)),
        "fit_seconds": seconds,
    }


# --- Coverage --------------------------------------------------------------------------------


def measure_coverage() -> dict[str, Any]:
    """Judge the shipped defaults by every grouping."""
    rows = []
    for name, question in (
        ("darts-bpe", Question()),
        ("darts-bpe", Question("correlation")),
        ("darts-bpe", Question("cost")),
        ("nas-bench-201", Question(budgets=[SHORT, FULL])),
        ("nas-bench-201", Question(budgets=[FULL], given=[SHORT])),
        ("nas-bench-201", Question("cost", budgets=["cifar10-12", "cifar10-200"])),
    ):
        start = time.perf_counter()
        try:
            table = open_table(name)
        except Exception as error:
            print(f"left out {name}: {error}")
            continue
        report = evaluate_surrogates(table, question, rng=np.random.default_rng(0), name=name)
        for row in report.rows:
            rows.append(
                {
                    "table": name,
                    "target": question.target,
                    "settings": report.n_budgets,
                    "architectures": report.n_architectures,
                    "given": list(report.given),
                    **row.to_json(),
                    "seconds": time.perf_counter() - start,
                }
            )
            print(name, question.target, row.grouping, row.coverage_90, flush=True)
    return {"rows": rows}


PARTS = ("settings", "nas-bench-201", "coverage")


@click.command()
@click.option("--part", "parts", multiple=True, type=click.Choice(PARTS), default=PARTS)
@click.option("--seeds", default=10, show_default=True, help="Of the part settings.")
@click.option("--draws", default=5, show_default=True, help="Of cells to fit to.")
@click.option("-o", "--output", type=click.Path(path_type=Path))
def main(parts: tuple[str, ...], seeds: int, draws: int, output: Path | None) -> None:
    """Measure, print, and keep the figures."""
    result: dict[str, Any] = {}
    if output is not None and output.exists():
        result = json.loads(output.read_text(encoding="utf-8"))
    measures = {
        "settings": lambda: measure_settings(seeds),
        "nas-bench-201": lambda: measure_cells(draws),
        "coverage": measure_coverage,
    }
    for part in parts:
        start = time.perf_counter()
        result[part] = {**measures[part](), "seconds": time.perf_counter() - start}
        result |= {
            "date": datetime.date.today().isoformat(),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "python": platform.python_version(),
            **{name: version(name) for name in ("numpy", "scikit-learn", "xgboost")},
        }
        if output is not None:
            output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
