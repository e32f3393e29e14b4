"""How often MIP's default prunes what it should not, and what it should: simulated settings.

The design, the costs and the covariance of the noise are those of ``darts-bpe``; the truth is made
up. Writes one line per truth and hyper-parameter: its true cost when it is pinned first, how often
it was pruned, how often it was pruned although it truly cost more than the margin, and how often
the interval of the first round covers the truth.

    python benchmarks/pinning.py --data-sets 200 -o docs/pinning.csv
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import bpe_bench
from bpe_bench.correlation.evidence import Evidence
from bpe_bench.hyper_parameters import Value
from bpe_bench.inference import FloatArray
from bpe_bench.pruning import Replay
from bpe_bench.pruning.pinning import PinningModel, covariance_of

MARGIN, SUPPORT, KEEP = 0.02, 0.8, 2
TRUTHS: dict[str, Callable[[dict[str, FloatArray]], FloatArray]] = {
    "noise": lambda at: 0 * at["epochs"],
    "2 strong, 5 null": lambda at: 0.2 * at["epochs"] + 0.25 * at["layers"],
    "5 real, 2 null": lambda at: (
        0.15 * at["epochs"] + 0.15 * at["layers"] + 0.08 * at["channels"]
        + 0.06 * at["image_size"] - 0.08 * at["batch_size"]
    ),
    "interaction": lambda at: 0.4 * at["epochs"] * at["layers"],
}  # fmt: skip


@dataclass(frozen=True)
class _Simulation:
    """Made-up correlations of the settings of ``darts-bpe``."""

    truth: str
    objective: Replay
    rng: np.random.Generator

    @property
    def groups(self) -> list[tuple[str, ...]]:
        known = self.objective.known
        return [g for g in known.groups(known.varied) if all(map(known.eligible, g))]

    def lines(self, data_sets: int) -> Iterator[dict[str, Any]]:
        """Yield a line per data set and group."""
        known = self.objective.known
        root = np.linalg.cholesky(covariance_of(known) + 1e-10 * np.eye(len(known.rows)))
        model = PinningModel.fit(known, self.objective.costs, self.rng)
        level = 0.45 + self.at(model, model.process.points)
        for _ in range(data_sets):
            drawn = level + root @ self.rng.standard_normal(len(level))
            rows = [
                replace(row, estimate=replace(row.estimate, correlation=float(value)))
                for row, value in zip(known.rows, drawn, strict=True)
            ]
            evidence = Evidence(tuple(rows))
            yield from self.judge(PinningModel.fit(evidence, self.objective.costs, self.rng))

    def judge(self, model: PinningModel) -> Iterator[dict[str, Any]]:
        """Prune one group after the other, and compare with the truth."""
        first = {g: model.pin(g, margin=MARGIN) for g in self.groups}
        pruned: dict[tuple[str, ...], float] = {}
        pins: dict[str, Value] = {}
        while len(pruned) < len(first) - KEEP:
            left = [g for g in first if g not in pruned]
            judged = [model.pin(g, pinned=pins, margin=MARGIN) for g in left]
            best = max(judged, key=lambda cost: (cost.support, cost.times_cheaper))
            if best.support < SUPPORT:
                break
            pruned[best.group] = self.change(model, best.pinned_to, pins)
            pins |= best.pinned_to
        for group, cost in first.items():
            true = self.change(model, cost.pinned_to, {})
            yield {
                "truth": self.truth,
                "group": "+".join(group),
                "true change": true,
                "pruned": group in pruned,
                "pruned above margin": pruned.get(group, 0.0) < -MARGIN,
                "covered": cost.low <= true <= cost.high,
            }

    def change(
        self, model: PinningModel, values: Mapping[str, Value], pins: Mapping[str, Value]
    ) -> float:
        """Return the true change when a group is pinned after others."""
        other = [
            any(getattr(b, name) != value for name, value in values.items())
            for b in model.evidence.budgets
        ]
        before = model.at(model.process.points[other], pins)
        after = self.at(model, model.at(before, values))
        return float((after - self.at(model, before)).mean())

    def at(self, model: PinningModel, points: FloatArray) -> FloatArray:
        """Return the truth at points."""
        return TRUTHS[self.truth](dict(zip(model.names, points.T, strict=True)))


def main() -> None:
    """Simulate, print and write."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--data-sets", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    objective = Replay.of(bpe_bench.open_table("darts-bpe"), name="darts-bpe")
    lines: list[dict[str, Any]] = []
    for place, truth in enumerate(TRUTHS):
        rng = np.random.default_rng(given.seed + place)
        lines += _Simulation(truth, objective, rng).lines(given.data_sets)
    found = pd.DataFrame(lines).groupby(["truth", "group"], sort=False).mean()
    print(found.round(3).to_string())
    if given.output:
        found.round(4).to_csv(given.output)


if __name__ == "__main__":
    main()
