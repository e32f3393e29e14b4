"""What repeated searches say, worked out by hand and by brute force."""

import json
import math
import statistics

import numpy as np
import pytest

from bpe_bench.budget import BPE_1
from bpe_bench.errors import SelectionError
from bpe_bench.estimators import Outcome
from bpe_bench.search import RandomSearch, repeat_search, summarise
from bpe_bench.search.summary import _to_frame
from bpe_bench.spaces import get_space

FINAL = {0: 0.90, 1: 0.92, 2: 0.91, 3: 0.95, 4: math.nan}
"""Final validation accuracy by first gene's place."""


@pytest.fixture
def toy(toys):
    """An estimator that knows the finals, an optimum and what full training costs."""

    def final(architecture):
        return FINAL[5 * architecture.genes[0] + architecture.genes[1]]

    return toys.Toy(final=final, best=Outcome(0.96, 0.99), full_seconds=1_000.0)


@pytest.fixture
def three(make_trace):
    """Three searches, the second of which found nothing."""
    return [
        make_trace((0, 0.5, 10.0), (1, 0.6, 20.0), (2, 0.7, 40.0), outcome=Outcome(0.91, 0.94)),
        make_trace((0, math.nan, 10.0, "failed"), (1, math.nan, 30.0, "diverged")),
        make_trace((1, 0.5, 20.0), (3, 0.8, 50.0), outcome=Outcome(0.95, 0.97)),
    ]


def test_means_and_deviations_are_those_by_hand(three, toy):
    report = summarise(three, toy, table="made up")
    assert report.evaluations_mean == pytest.approx((3 + 2 + 2) / 3)
    assert report.simulated_seconds == pytest.approx((40 + 30 + 50) / 3)
    assert report.validation_mean == pytest.approx((0.91 + 0.95) / 2)
    assert report.validation_std == pytest.approx(statistics.stdev([0.91, 0.95]))
    assert report.test_mean == pytest.approx((0.94 + 0.97) / 2)
    assert report.test_std == pytest.approx(statistics.stdev([0.94, 0.97]))
    assert report.regret_mean == pytest.approx(0.96 - 0.93)
    assert report.failed_evaluations == 2
    assert report.repeats == 3
    assert report.best == get_space("nas-bench-201").format(three[2].found)
    assert (report.table, report.dataset, report.space) == ("made up", "cifar10", "nas-bench-201")
    np.testing.assert_array_equal(report.validation, [0.91, math.nan, 0.95])
    assert report.warnings == (
        "1 of 3 searches found nothing: no evaluation ended well, or the allowance was too small "
        "for "
        "one",
    )


def test_the_time_to_a_target_is_a_median_over_all_searches(three, toy):
    # 0.92 is reached after 20 s, never, after 20 s; 0.95 never, never, after 50 s.
    report = summarise(three, toy, target=0.92)
    assert (report.target, report.seconds_to_target) == (0.92, 20.0)
    assert report.target_reached == pytest.approx(2 / 3)
    report = summarise(three, toy, target=0.95)
    assert report.seconds_to_target == math.inf
    assert report.target_reached == pytest.approx(1 / 3)
    assert report.to_json()["seconds_to_target"] is None
    # Of two, one of which never gets there, the median is infinite.
    assert summarise(three[1:], toy, target=0.9).seconds_to_target == math.inf
    # The final accuracy counts, not the signal: the third proposal was worse than the second.
    assert summarise(three[:1], toy, target=0.92).seconds_to_target == 20.0


def test_the_target_is_half_a_point_below_the_optimum(three, toy, toys):
    assert summarise(three, toy).target == pytest.approx(0.955)
    report = summarise(three, toys.Toy())
    assert report.optimum is None
    assert all(
        math.isnan(value)
        for value in (
            report.target,
            report.seconds_to_target,
            report.target_reached,
            report.regret_mean,
        )
    )


def test_what_is_reached_at_an_unknown_time_is_reached(make_trace, toy):
    trace = make_trace((1, 0.5, math.nan), outcome=Outcome(0.92, math.nan))
    report = summarise([trace], toy, target=0.9)
    assert report.target_reached == 1.0
    assert math.isnan(report.seconds_to_target)
    assert len(report.curve.seconds) == 0


def brute_curve(traces, final, moment):
    """Return first quartile, median and third quartile, of the standard library."""
    values = []
    for trace in traces:
        best, value = -math.inf, -math.inf
        for step in trace.steps:
            if step.clock <= moment and step.accuracy > best:
                best, value = step.accuracy, final(step.architecture)
        values.append(value)
    found = values * 3
    if len(values) > 1:
        found = statistics.quantiles(values, n=4, method="inclusive")
    return [value if math.isfinite(value) else math.nan for value in found]


@pytest.mark.parametrize("repeats", [1, 2, 3, 10, 11])
def test_curves_are_those_of_brute_force(toys, repeats):
    def answer(architecture):
        value = toys.value(architecture)
        return math.nan if architecture.genes[0] == 0 else value

    def final(architecture):
        return 1 - toys.value(architecture) / 2  # so that what is found gets worse

    toy = toys.Toy(answer, seconds=lambda a: 5.0 + a.genes[1], final=final)
    traces = repeat_search(RandomSearch(), toy, repeats=repeats, evaluations=12)
    curve = summarise(traces, toy).curve
    assert len(curve.seconds) == 200
    last = max(trace.steps[-1].clock for trace in traces)  # the end, not the last improvement
    np.testing.assert_allclose(curve.seconds, [last * i / 199 for i in range(200)])
    expected = np.array([brute_curve(traces, final, moment) for moment in curve.seconds])
    np.testing.assert_allclose(
        np.transpose([curve.low, curve.median, curve.high]), expected, rtol=1e-12
    )
    assert np.isnan(curve.median[0])  # nothing is free


def test_the_curve_ends_with_the_median_of_what_was_found(make_trace, toy):
    """Two searches of 30 and 50 s that found .92 and .95: .935, although nothing gets better."""
    pair = [
        make_trace((1, 0.5, 10.0), (0, 0.4, 30.0), outcome=Outcome(0.92, 0.9)),
        make_trace((3, 0.5, 20.0), (0, 0.4, 50.0), outcome=Outcome(0.95, 0.9)),
    ]
    report = summarise(pair, toy)
    curve = report.curve
    assert curve.seconds[-1] == 50.0
    assert curve.median[-1] == pytest.approx(np.median(report.validation)) == pytest.approx(0.935)
    assert (curve.low[-1], curve.high[-1]) == pytest.approx((0.9275, 0.9425))


def test_a_final_accuracy_that_is_missing_counts_as_worst_and_is_said(make_trace, toy):
    traces = [
        make_trace((0, 0.5, 1.0), outcome=Outcome(0.90, 0.9)),
        make_trace((4, 0.5, 1.0), outcome=Outcome(math.nan, math.nan)),
        make_trace((1, 0.5, 1.0), outcome=Outcome(0.92, 0.9)),
    ]
    report = summarise(traces, toy)
    assert (report.curve.median[-1], report.curve.high[-1]) == (0.90, pytest.approx(0.91))
    assert math.isnan(report.curve.low[-1])
    assert report.validation_mean == pytest.approx(0.91)
    assert report.warnings == (
        "1 of 3 searches found an architecture whose final accuracy is not known; means leave "
        "them out",
    )


def test_the_speed_up_is_what_the_formula_says(three, toy):
    report = summarise(three, toy)
    evaluations, seconds = 7 / 3, 40.0
    assert report.speedup.full_training == pytest.approx(evaluations * 1_000 / seconds)
    assert report.speedup.nasnet == pytest.approx(2_000 * 24 * 3_600 / seconds)
    assert report.speedup.amoebanet == pytest.approx(3_150 * 24 * 3_600 / seconds)
    assert "full training taken as 1,000 s per architecture" in report.speedup.assumptions
    assert "2,000 and 3,150 GPU days on CIFAR-10" in report.speedup.assumptions


def test_the_published_speed_up_of_a_hundred_evaluations(make_trace, toys):
    """BPE-1: 100 networks at 0.0852 GPU hours are 0.355 days; 5,600 and 8,900 times cheaper."""
    seconds = 0.0852 * 3_600
    steps = [(i % 5, 0.5, (i + 1) * seconds) for i in range(100)]
    report = summarise([make_trace(*steps, outcome=Outcome(0.9, 0.9))], toys.Toy())
    assert report.simulated_seconds / 86_400 == pytest.approx(0.355, abs=5e-4)
    assert report.speedup.nasnet == pytest.approx(5_600, rel=0.01)
    assert report.speedup.amoebanet == pytest.approx(8_900, rel=0.01)


def test_no_speed_up_where_it_would_compare_apples_and_oranges(three, toys, make_trace):
    report = summarise(three, toys.Toy(dataset="cifar100"))
    assert math.isnan(report.speedup.full_training)
    assert math.isnan(report.speedup.nasnet)
    assert "the cost of full training is not known here" in report.speedup.assumptions
    assert "not compared with a search on other images" in report.speedup.assumptions
    # Nor where nothing was spent.
    nothing = summarise([make_trace()], toys.Toy(full_seconds=1.0))
    assert math.isnan(nothing.speedup.full_training)
    assert math.isnan(nothing.speedup.nasnet)


def test_one_search_has_no_deviation_and_is_no_error(three, toy):
    report = summarise(three[:1], toy)
    assert math.isnan(report.validation_std)
    assert math.isnan(report.test_std)
    assert report.validation_mean == 0.91


def test_searches_that_found_nothing_are_no_error(make_trace, toy):
    report = summarise([make_trace(), make_trace()], toy)
    assert math.isnan(report.validation_mean)
    assert math.isnan(report.regret_mean)
    assert (report.best, report.target_reached, report.seconds_to_target) == ("", 0.0, math.inf)
    assert len(report.curve.seconds) == 0
    assert report.warnings[0].startswith("2 of 2 searches found nothing")


def test_reports_are_strict_json(three, toy, make_trace, toys):
    toy.budget = BPE_1
    reports = [
        summarise(three, toy),
        summarise(three[:1], toy, target=0.99),
        summarise([make_trace()], toys.Toy()),
    ]
    for report in reports:
        values = json.loads(json.dumps(report.to_json(), allow_nan=False))
        assert not {"curve"} & set(values)
        assert values["repeats"] == report.repeats
    values = reports[0].to_json()
    assert values["optimum"] == {"validation": 0.96, "test": 0.99}
    assert values["budget"] == BPE_1.to_dict()
    assert values["parameters"] == {"replace": True}
    # The command line's contract.
    assert {
        *("searcher", "space", "table", "dataset", "estimator", "budget", "repeats"),
        *("evaluations_mean", "simulated_seconds", "validation_mean", "validation_std"),
        *("test_mean", "test_std", "regret_mean", "optimum", "speedup", "warnings"),
    } <= set(values)


def test_frames_have_a_line_per_searcher(three, toy, make_trace):
    other = make_trace((0, 0.5, 10.0), searcher="evolution", outcome=Outcome(0.9, 0.9))
    frame = _to_frame([summarise(three, toy), summarise([other], toy)])
    assert list(frame.index) == ["random", "evolution"]
    assert frame.loc["random", "optimum_validation"] == 0.96
    assert frame.loc["random", "speedup_full_training"] == pytest.approx(7 / 3 * 1_000 / 40)


def test_what_was_scored_and_is_not_built_is_said(make_trace, toy, toys):
    trace = make_trace((0, 0.5, 10.0), outcome=Outcome(0.9, 0.9), score="full")
    (warning,) = summarise([trace], toy).warnings
    assert warning == (
        "cells with all edges were scored, and the reported cell is pruned to two inputs per "
        "node: it is not the cell that was "
        "scored"
    )
    trace = make_trace((0, 0.5, 10.0), outcome=Outcome(0.9, 0.9), searcher="darts")
    digits, clock = summarise([trace], toy).warnings
    assert digits == (
        "the supernet was trained on the digits that come with scikit-learn, and what it derived "
        "was evaluated by a table of other images; name the images with --data"
    )
    assert clock == (
        "the clock adds the seconds that the supernet took on this machine to the table's seconds, "
        "which were measured on another device"
    )
    training = toys.Toy()
    training.source = "training"
    assert summarise([trace], training).warnings == ()


def test_what_cannot_be_summed_up(three, toy, make_trace):
    message = "a report summarises traces of one searcher, found no searcher or several"
    for traces in ([], [*three, make_trace(searcher="evolution")]):
        with pytest.raises(SelectionError) as error:
            summarise(traces, toy)
        assert str(error.value) == message
    for target in (0, -1, 93, math.nan):
        with pytest.raises(SelectionError) as error:
            summarise(three, toy, target=target)
        assert str(error.value) == (
            f"the target is an accuracy in (0, 1], found {target:g}; 93 % is written 0.93"
        )
