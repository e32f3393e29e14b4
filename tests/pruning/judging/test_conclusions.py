"""Sentences that follow the figures, whichever way these fall."""

import math

import numpy as np
import pytest

from bpe_bench.pruning.judging import Interval, JudgingReport, MethodResult
from bpe_bench.pruning.judging.conclusions import _conclude
from bpe_bench.pruning.judging.report import _BestOverHours, _MethodComparison


def report_of(regrets, p=0.5, optimism=0.05):
    """A report of methods with given mean regrets, all pairs with one p-value."""
    curve = _BestOverHours(*(np.array([0.1, 0.2]),) * 4)
    methods = tuple(
        MethodResult(
            name=name,
            summary="",
            regret=Interval(value, value - 0.1, value + 0.1),
            regret_at={10.0: value + 0.1, 100.0: 0.3 - value},
            held_out=0.7,
            optimism=optimism,
            p_against_best=math.nan,
            curve=curve,
        )
        for name, value in sorted(regrets.items(), key=lambda item: item[1])
    )
    comparisons = tuple(
        _MethodComparison(
            a.name,
            b.name,
            a.regret.mean - b.regret.mean,
            -0.2,
            0.1,
            p / 2,
            p,
        )
        for i, a in enumerate(methods)
        for b in methods[i + 1 :]
    )
    return JudgingReport(
        table="toy", space="darts", dataset="cifar10", statistic="spearman", confidence=0.95,
        settings=4, architectures=24, choosing=12, repeats=4, seed=0, best="s1",
        best_correlation=0.8, hours=np.array([1.0, 100.0]), methods=methods,
        comparisons=comparisons,
    )  # fmt: skip


ONE = {"mip-forest": 0.10, "random": 0.20}
OTHER = {"mip-forest": 0.20, "random": 0.10}


@pytest.mark.parametrize(
    ("regrets", "p", "start", "end"),
    [
        (
            ONE,
            0.01,
            "Yes: at equal device hours minimum importance pruning (mip-forest) has a lower mean "
            "regret than the best of the simpler ways, random sampling: 0.100 against 0.200, "
            "difference -0.100 [-0.200, +0.100], p = 0.01",
            "p = 0.01.",
        ),
        (ONE, 0.3, "Not shown: at", ", but the test does not separate them."),
        (
            OTHER,
            0.01,
            "No: at equal device hours random sampling has a lower mean regret than the best "
            "minimum importance pruning (mip-forest): 0.100 against 0.200, difference +0.100",
            "and the test separates them.",
        ),
        (OTHER, 0.3, "No: at", "though the test does not separate them."),
    ],
)
def test_the_answer(regrets, p, start, end):
    answer = _conclude(report_of(regrets, p))[0]
    assert answer.startswith(start)
    assert answer.endswith(end)


def test_every_simpler_way_is_compared_with():
    found = _conclude(
        report_of({"mip-forest": 0.1, "tpe": 0.15, "mip-fanova": 0.2, "halving": 0.05}, p=0.01)
    )
    against = [sentence for sentence in found if sentence.startswith("Against")]
    assert against[0].startswith(
        "Against successive halving (0.050) pruning has a higher mean regret with 2 of 2 "
        "importance estimators, 2 of them separated by the test; mip-forest, the best: 0.100"
    )
    assert against[1].startswith(
        "Against TPE (0.150) pruning has a lower mean regret with 1 of 2 importance estimators, 1 "
        "of them separated by the test and a higher mean regret with 1 of 2"
    )


@pytest.mark.parametrize(
    ("p", "end"),
    [
        (
            0.5,
            "the test does not separate the best from any other, so there is no reason to prefer "
            "one.",
        ),
        (0.01, "the test separates the best from 2 of 2: fanova, xgboost."),
    ],
)
def test_the_estimator_to_trust(p, end):
    found = _conclude(report_of({"mip-forest": 0.1, "mip-fanova": 0.2, "mip-xgboost": 0.3}, p))
    (said,) = [s for s in found if s.startswith("Of the importance estimators")]
    assert said.startswith(
        "Of the importance estimators forest does best (0.100) and xgboost worst (0.300); "
    )
    assert said.endswith(end)


def test_leaders_at_allowances():
    (said,) = [s for s in _conclude(report_of(OTHER)) if s.startswith("Lowest")]
    assert said == (
        "Lowest regret at single allowances: at 10 h random (0.200; best of pruning mip-forest, "
        "0.300), at 100 h mip-forest (0.100)."
    )


@pytest.mark.parametrize(("optimism", "text"), [(0.05, "+0.050"), (-0.01, "-0.010")])
def test_optimism_has_its_sign(optimism, text):
    assert text in _conclude(report_of(ONE, optimism=optimism))[-1]


@pytest.mark.parametrize(("p", "does"), [(0.01, "separates"), (0.5, "does not separate")])
def test_without_pruning_the_first_two_are_compared(p, does):
    found = _conclude(report_of({"random": 0.2, "tpe": 0.1}, p))
    assert found[0] == (
        "tpe comes closest to the best budget: its regret is 0.100 [0.00, 0.20], followed by "
        f"random, 0.200; the test {does} them."
    )
    assert not any(s.startswith(("Against", "Of the importance")) for s in found)


def test_the_answer_has_what_the_best_way_is_worth_against_chance():
    report = report_of({"mip-forest": 0.10, "covering": 0.15, "random": 0.20}, p=0.01)
    first, second = report.answer.splitlines()
    assert first == _conclude(report)[0]
    assert second == (
        "Against a random order (0.200) mip-forest has 0.100: difference -0.100 [-0.200, +0.100], "
        "p = 0.01."
    )
    assert next(iter(report.to_json().items())) == ("answer", report.answer)
    # Where chance itself does best, that is the answer.
    assert len(report_of({"covering": 0.3, "random": 0.1}).answer.splitlines()) == 1
