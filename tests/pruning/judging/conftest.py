"""Pools whose every figure is known."""

import itertools

import numpy as np
import pytest

from bpe_bench.budget import BPE_1
from bpe_bench.correlation.candidates import Candidate, Cost
from bpe_bench.correlation.holdout import correlations
from bpe_bench.inference import Estimate
from bpe_bench.pruning.judging import Pool

ARCHITECTURES = 24
TRUTH = np.linspace(0.90, 0.97, ARCHITECTURES)


@pytest.fixture(scope="session")
def make_pool():
    """Return a function from accuracies (A, S), seconds and budgets to a pool."""

    def make(accuracies, seconds, budgets=None, truth=TRUTH, statistic="spearman"):
        accuracies = np.asarray(accuracies, dtype=float)
        count = accuracies.shape[1]
        budgets = budgets or [BPE_1.replace(epochs=10 + place) for place in range(count)]
        found = correlations(truth, accuracies, statistic)
        nothing = np.zeros(len(truth))
        estimates = [
            Estimate(float(value), *[np.nan] * 3, len(truth), nothing, statistic, 0)
            for value in found
        ]
        candidates = [
            Candidate(label=f"s{place}", budget=budget, cost=Cost(float(cost), device="x"))
            for place, (budget, cost) in enumerate(zip(budgets, seconds, strict=True))
        ]
        rows = [c.measured(e) for c, e in zip(candidates, estimates, strict=True)]
        return Pool("toy", "darts", "cifar10", statistic, tuple(rows), truth, accuracies)

    return make


@pytest.fixture(scope="session")
def signs(make_pool):
    """Return a function from signs to settings that rank perfectly (+1) or upside down (-1)."""

    def make(values, seconds):
        return make_pool(np.array([sign * TRUTH for sign in values]).T, seconds)

    return make


@pytest.fixture(scope="session")
def layered(make_pool):
    """Seven numbers of layers matter, and nothing else does; batch size and channels only cost.

    The best settings are those of most layers, so the cheapest-first order meets all others
    before.
    """
    rng = np.random.default_rng(5)
    truth = rng.normal(0.95, 0.01, 80)
    grid = list(itertools.product(range(2, 9), (32, 64, 128), (4, 8, 16)))
    budgets = [BPE_1.replace(layers=a, batch_size=b, channels=c) for a, b, c in grid]
    seconds = [100.0 * a**2 * (1 + c / 200) * (1 + 1 / b) for a, b, c in grid]
    noise = {a: rng.normal(0.0, 0.05 / (a - 1) ** 1.5, 80) for a in range(2, 9)}
    return make_pool(np.array([truth + noise[a] for a, _, _ in grid]).T, seconds, budgets, truth)


@pytest.fixture(scope="session")
def bait(make_pool):
    """One of 16 settings ranks: the dearest in every hyper-parameter, by a factor of two.

    Whatever is pruned is pinned away from it, and a cheap design has no use for it.
    """
    rng = np.random.default_rng(6)
    truth = rng.normal(0.95, 0.01, 40)
    grid = list(itertools.product((10, 11), (6, 7), (8, 9), (16, 17)))
    budgets = [BPE_1.replace(epochs=a, layers=b, channels=c, image_size=d) for a, b, c, d in grid]
    seconds = [100.0 + 0.01 * sum(values) for values in grid]
    seconds[-1] *= 2
    columns = [rng.normal(0.9, 0.01, 40) for _ in grid[:-1]]
    return make_pool(np.array([*columns, truth]).T, seconds, budgets, truth)
