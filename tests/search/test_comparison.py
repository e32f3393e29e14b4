"""Searchers compared: against scipy's tests and intervals, and Holm's correction by hand."""

import json
import math

import numpy as np
import pytest
from scipy import stats

from bpe_bench.errors import RankingError
from bpe_bench.estimators import Outcome
from bpe_bench.search import compare_searchers, summarise


@pytest.fixture
def report(make_trace, toys):
    """Return a function from final accuracies to the report of a searcher."""

    def make(searcher, values):
        traces = [
            make_trace((0, 0.5, 1.0), searcher=searcher, outcome=Outcome(value, math.nan))
            for value in values
        ]
        return summarise(traces, toys.Toy())

    return make


@pytest.fixture
def drawn():
    rng = np.random.default_rng(0)
    return rng.normal(0.90, 0.01, 40), rng.normal(0.91, 0.003, 30), rng.normal(0.901, 0.01, 20)


def test_intervals_are_welchs(report, drawn):
    a, b, _ = drawn
    for confidence in (0.9, 0.95):
        (found,) = compare_searchers([report("a", a), report("b", b)], confidence=confidence)
        expected = stats.ttest_ind(a, b, equal_var=False).confidence_interval(confidence)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9)
        assert found.difference == pytest.approx(a.mean() - b.mean())


def test_p_values_are_mann_whitneys_corrected_by_holm(report, drawn):
    a, b, c = drawn
    reports = [report(name, values) for name, values in zip("abc", drawn, strict=True)]
    found = compare_searchers(reports)
    assert [(one.first, one.second) for one in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    raw = [stats.mannwhitneyu(x, y).pvalue for x, y in ((a, b), (a, c), (b, c))]
    assert [one.p_value for one in found] == pytest.approx(raw, rel=1e-9)
    assert raw[1] > max(raw[0], raw[2])
    # Holm: the smallest times three, the next times two, the largest as it is, never falling.
    small, large = sorted((raw[0], raw[2]))
    first = 3 * small
    second = max(first, 2 * large)
    adjusted = {small: first, large: second, raw[1]: max(second, raw[1])}
    assert [one.p_adjusted for one in found] == pytest.approx([adjusted[p] for p in raw])


def test_ties_as_accuracies_of_tables_have_them(report):
    rng = np.random.default_rng(1)
    a, b = (rng.choice([0.9, 0.91, 0.92], 50) for _ in range(2))
    (found,) = compare_searchers([report("a", a), report("b", b)])
    assert found.p_value == pytest.approx(stats.mannwhitneyu(a, b).pvalue)


def test_searchers_that_all_find_the_same(report):
    (found,) = compare_searchers([report("a", [0.9] * 5), report("b", [0.9] * 5)])
    assert found.difference == 0.0
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert found.p_adjusted == 1.0
    assert found.verdict == "a and b find equally good ones on average (p = 1)"


def test_repeats_without_variation_have_no_interval(report):
    (found,) = compare_searchers([report("a", [0.9] * 2), report("b", [0.8] * 2)])
    assert found.verdict.startswith(
        "a is 10.00 points ahead of b, in too few repeats to test that (p = "
    )
    assert not found.separated
    (many,) = compare_searchers([report("a", [0.9] * 9), report("b", [0.8] * 9)])
    assert many.separated  # by their ranks
    assert many.verdict.startswith("a finds better architectures than b, by 10.00 points on ")


def test_a_mean_apart_whose_ranks_are_not(report):
    """A few bad repeats move the mean of the second; its others find what the first finds."""
    good = np.linspace(0.90, 0.91, 30)
    a, b = good, np.where(np.arange(30) % 6, good, good - 0.03)
    (found,) = compare_searchers([report("a", a), report("b", b)])
    p, t = stats.mannwhitneyu(a, b), stats.ttest_ind(a, b, equal_var=False)
    assert p.pvalue > 0.05 > t.pvalue
    low, high = t.confidence_interval(0.95)
    assert not found.separated
    assert found.verdict == (
        f"a is 0.50 points ahead of b on average (interval {100 * low:+.2f} to {100 * high:+.2f}), "
        f"but their ranks do not differ enough to call it better (p = {p.pvalue:.2g})"
    )


def test_ranks_against_means(report):
    """The first usually finds the better one, and sometimes a very bad one."""
    a, b = [0.91] * 27 + [0.1] * 3, np.linspace(0.90, 0.905, 30)
    (found,) = compare_searchers([report("a", a), report("b", b)])
    assert found.wins == pytest.approx(0.9)
    assert found.p_adjusted < 0.05
    assert not found.separated
    assert found.verdict.startswith("b is 7.35 points ahead of a on average (interval ")
    assert found.verdict.endswith("means do not agree on which is better")


def test_searches_without_a_result_are_left_out(report, drawn):
    a, b, _ = drawn
    with_gaps = [*a, math.nan, math.nan]
    assert compare_searchers([report("a", with_gaps), report("b", b)]) == compare_searchers(
        [report("a", a), report("b", b)]
    )


@pytest.mark.parametrize("values", [[0.8], [], [math.nan, math.nan], [math.nan, 0.8]])
def test_too_few_repeats_give_no_interval_and_no_error(report, values):
    one, other = report("a", values or [math.nan]), report("b", [0.7, 0.6])
    (found,) = compare_searchers([one, other])
    assert all(math.isnan(x) for x in (found.low, found.high, found.p_value, found.p_adjusted))
    known = [value for value in values if not math.isnan(value)]
    assert found.difference == pytest.approx(0.15 if known else math.nan, nan_ok=True)
    assert found.verdict == "a and b: too few repeats to compare"
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["low"] is None


def test_a_pair_that_cannot_be_compared_does_not_count_for_holm(report, drawn):
    a, b, _ = drawn
    found = compare_searchers([report("a", a), report("b", b), report("c", [0.5])])
    assert found[0].p_adjusted == found[0].p_value
    assert math.isnan(found[1].p_adjusted)


def test_verdicts_put_the_better_one_first(report):
    a, b = [0.90, 0.91, 0.92, 0.93] * 10, [0.94, 0.95, 0.96, 0.97] * 10
    expected = stats.ttest_ind(b, a, equal_var=False).confidence_interval(0.95)
    size = f"interval {100 * expected.low:+.2f} to {100 * expected.high:+.2f}, p = "
    for pair in (("a", "b"), ("b", "a")):
        (found,) = compare_searchers([report(name, {"a": a, "b": b}[name]) for name in pair])
        assert found.verdict == (
            "b finds better architectures than a, by 4.00 points on average "
            f"({size}{stats.mannwhitneyu(a, b).pvalue:.2g})"
        )


def test_the_verdict_does_not_separate_what_the_test_does_not(report):
    a, b = [0.90, 0.92, 0.91, 0.93], [0.91, 0.95, 0.90, 0.98]
    (found,) = compare_searchers([report("a", a), report("b", b)])
    assert found.verdict.startswith(
        "b is 2.00 points ahead of a, which these repeats do not separate from 0 (interval "
    )
    assert found.verdict.endswith(f"p = {stats.mannwhitneyu(a, b).pvalue:.2g})")


def test_three_repeats_cannot_tell(report):
    # The smallest p-value of three against three is 2 / C(6, 3) = 0.1.
    (found,) = compare_searchers([report("a", [0.7, 0.71, 0.72]), report("b", [0.9, 0.91, 0.92])])
    assert found.p_value == pytest.approx(0.1)
    assert found.too_few
    assert found.low * found.high > 0  # Welch's interval would separate them
    assert (
        found.verdict == "b is 20.00 points ahead of a, in too few repeats to test that (p = 0.1)"
    )


def test_one_searcher_is_compared_with_nothing(report):
    assert compare_searchers([report("a", [0.9, 0.8])]) == []


@pytest.mark.parametrize("confidence", [0, 1, 95])
def test_a_confidence_that_cannot_be(report, confidence):
    with pytest.raises(RankingError) as error:
        compare_searchers([report("a", [0.9, 0.8])], confidence=confidence)
    assert str(error.value) == (
        f"confidence must be between 0 and 1, for instance 0.95; found {confidence}"
    )
