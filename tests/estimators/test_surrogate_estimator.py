"""Answers from a surrogate: two lines of one are enough."""

import math

import numpy as np
import pytest

from bpe_bench.errors import SelectionError
from bpe_bench.estimators import Prediction, SurrogateEstimator
from bpe_bench.search import (
    RandomSearch,
    RegularizedEvolution,
    repeat_search,
    run_search,
    summarise,
)
from bpe_bench.spaces import get_space

SPACE = get_space("nas-bench-201")
A, B = SPACE.from_index(0), SPACE.from_index(1)
RNG = np.random.default_rng(0)


class Skips:
    """The more skips the better."""

    space = "nas-bench-201"

    def __init__(self, seconds=60.0, scale=1.0):
        self.seconds, self.scale = seconds, scale

    def predict(self, architectures):
        share = np.array([a.genes.count(1) / 6 * self.scale for a in architectures])
        return Prediction(share, np.full(len(architectures), self.seconds))


def test_it_answers_what_is_predicted():
    estimator = SurrogateEstimator(Skips())
    found = estimator.evaluate(A, RNG)
    assert found.accuracy == A.genes.count(1) / 6
    assert (found.cost_seconds, found.source, found.state) == (60.0, "surrogate", "done")
    assert estimator.expected_seconds(A) == 60.0
    assert (estimator.space, estimator.source) == ("nas-bench-201", "surrogate")
    assert (estimator.budget, estimator.optimum()) == (None, None)


def test_the_outcome_is_predicted_by_the_surrogate_of_full_training():
    same, full = SurrogateEstimator(Skips()), SurrogateEstimator(Skips(), Skips(scale=0.5))
    assert same.outcome(A).validation == A.genes.count(1) / 6
    assert full.outcome(A).validation == A.genes.count(1) / 12
    assert full.evaluate(A, RNG) == same.evaluate(A, RNG)
    # A surrogate knows nothing of test images.
    assert math.isnan(full.outcome(A).test)


@pytest.mark.parametrize("nothing", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_a_failed_evaluation(nothing):
    estimator = SurrogateEstimator(Skips(scale=nothing))
    one = SPACE.build([1] * 6)
    found = estimator.evaluate(one, RNG)
    assert math.isnan(found.accuracy)
    assert (found.state, found.message) == ("failed", "nothing is predicted")
    trace = run_search(RandomSearch(), estimator, evaluations=20, rng=np.random.default_rng(0))
    assert trace.found is None or trace.found.genes.count(1) == 0


def test_a_search_by_surrogate():
    estimator = SurrogateEstimator(Skips())
    traces = repeat_search(RegularizedEvolution(), estimator, repeats=3, seconds=3_600)
    assert [trace.evaluations for trace in traces] == [60] * 3
    report = summarise(traces, estimator, target=0.5)
    assert (report.estimator, report.budget, report.optimum) == ("surrogate", None, None)
    assert report.validation_mean > 0.5
    assert math.isnan(report.test_mean)


def test_a_surrogate_that_does_not_know_the_cost():
    estimator = SurrogateEstimator(Skips(seconds=math.nan))
    with pytest.raises(SelectionError) as error:
        run_search(RandomSearch(), estimator, seconds=60, rng=np.random.default_rng(0))
    assert str(error.value) == (
        "a search of limited seconds needs to know what evaluations cost, and the surrogate does "
        "not know it; limit the evaluations "
        "instead"
    )
    traces = repeat_search(RandomSearch(), estimator, repeats=2, evaluations=20)
    report = summarise(traces, estimator, target=0.1)
    assert math.isnan(report.simulated_seconds)
    assert report.target_reached == 1.0
    assert math.isnan(report.seconds_to_target)
