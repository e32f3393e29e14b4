"""What searches found in a sentence or two, with figures worked out by other means."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from bpe_bench import Split, open_table
from bpe_bench.estimators import Outcome, TableEstimator
from bpe_bench.search import (
    Darts,
    RandomSearch,
    RegularizedEvolution,
    SearchResult,
    compare_searchers,
    repeat_search,
    summarise,
)
from bpe_bench.search.chance import Chance

BUDGET = "cifar10-jpeg-epochs-3-image_size-16"


@pytest.fixture(scope="module")
def proxy():
    return open_table("darts-proxy")


@pytest.fixture
def report(make_trace, toys):
    """Four repeats, 0.90 to 0.96 found, of a table whose best is 0.97."""
    traces = [
        make_trace((n, 0.5, 60.0), (n, 0.4, 120.0), outcome=Outcome(final, final + 0.01))
        for n, final in enumerate((0.90, 0.92, 0.94, 0.96))
    ]
    return summarise(traces, toys.Toy(best=Outcome(0.97, 0.98)))


def test_the_interval_of_the_mean_is_students(report):
    expected = stats.ttest_1samp([0.90, 0.92, 0.94, 0.96], 0).confidence_interval(0.95)
    assert (report.final_low, report.final_high) == pytest.approx((expected.low, expected.high))
    assert report.confidence == 0.95


def test_the_interval_stays_among_accuracies(make_trace, toys):
    traces = [make_trace((1, 0.5, 60.0), outcome=Outcome(v, math.nan)) for v in (0.1, 0.9)]
    report = summarise(traces, toys.Toy())  # Student's t with one degree of freedom: ± 5.1
    assert (report.final_low, report.final_high) == (0.0, 1.0)


@pytest.mark.parametrize("evaluations", [1, 2, 3])
def test_chance_is_that_of_all_draws(proxy, evaluations):
    """All 40ⁿ draws, one by one: the best by signal, among equals as often as any other."""
    estimator = TableEstimator(proxy, BUDGET)
    trace = repeat_search(RandomSearch(), estimator, repeats=1, evaluations=evaluations)
    chance = summarise(trace, estimator).chance
    signal = proxy.accuracy(BUDGET, Split.VALIDATION)
    final = proxy.accuracy("full", Split.TEST)
    found = []
    for draws in itertools.product(range(40), repeat=evaluations):
        own = signal[list(draws)]
        found.append(final[list(draws)][own == own.max()].mean())
    assert chance.evaluations == evaluations
    assert chance.architecture == pytest.approx(final.mean())
    assert chance.random_search == pytest.approx(np.mean(found))


def test_chance_where_an_evaluation_may_fail(proxy):
    traces = repeat_search(RandomSearch(), TableEstimator(proxy, BUDGET), repeats=1, seconds=90)
    chance = summarise(traces, TableEstimator(proxy, BUDGET, missing="failed")).chance
    assert math.isnan(chance.random_search)
    assert chance.architecture == pytest.approx(proxy.accuracy("full", Split.TEST).mean())


FOUND = (
    "random found 93.00 % validation accuracy on average (95% interval 88.89 to 97.11, test 94.00 "
    "%) in 4 searches of 2 evaluations and 2 min each, 4.00 points below the best of the space. "
)


@pytest.mark.parametrize(
    ("values", "worth"),
    [
        ({"chance": Chance(0.85, 0.92, 2)}, "A single random architecture has 85.00 % on average."),
        (
            {"chance": None},
            "All that it evaluated had 45.00 % on average; what the rest of the space has is not "
            "known.",
        ),
        ({"chance": None, "evaluated_mean": math.nan}, "What chance finds is not known."),
    ],
)
def test_random_search_is_judged_by_a_single_draw(report, values, worth):
    assert replace(report, **values).answer == FOUND + worth


@pytest.mark.parametrize(
    ("random", "worth"),
    [
        (
            0.95,
            "These searches do not separate it from random search: as many random draws find 95.00 "
            "% (a single one 85.00 %) on average.",
        ),
        (
            0.88,
            "It beats random search by 5.00 points: as many random draws find 88.00 % (a single "
            "one 85.00 %) on average.",
        ),
        (
            0.98,
            "Random search is better by 5.00 points: as many random draws find 98.00 % (a single "
            "one 85.00 %) on average.",
        ),
    ],
)
def test_other_searchers_are_judged_by_random_search(report, random, worth):
    other = replace(report, searcher="evolution", chance=Chance(0.85, random, 2))
    assert other.answer == FOUND.replace("random", "evolution", 1) + worth
    assert next(iter(other.to_json().items())) == ("answer", other.answer)


def test_one_search_separates_nothing(make_trace, toys):
    trace = make_trace((1, 0.5, 60.0), searcher="evolution", outcome=Outcome(0.9, math.nan))
    report = summarise([trace], toys.Toy(best=Outcome(0.97, math.nan)))
    assert replace(report, chance=Chance(0.85, 0.88, 2), known_architectures=40).answer == (
        "evolution found 90.00 % validation accuracy in one search of 1 evaluation and 1 min, 7.00 "
        "points below the best of the 40 architectures that the table holds. One search does not "
        "tell it from random search: as many random draws find 88.00 % (a single one 85.00 %) on "
        "average."
    )


def test_repeats_that_find_the_same_have_no_interval(make_trace, toys):
    traces = [
        make_trace((n, 0.5, 60.0), searcher="evolution", outcome=Outcome(0.9, math.nan))
        for n in range(2)
    ]
    report = summarise(traces, toys.Toy(best=Outcome(0.97, math.nan)))
    assert replace(report, chance=Chance(0.85, 0.88, 2)).answer == (
        "evolution found 90.00 % validation accuracy on average in 2 searches of 1 evaluation and "
        "1 min each, 7.00 points below the best of the space. All 2 found equally good ones, so it "
        "has no interval; as many random draws find 88.00 % (a single one 85.00 %) on average."
    )


def test_searches_without_a_result_are_counted(make_trace, toys):
    finals = (0.9, 0.92, math.nan)
    traces = [make_trace((1, 0.5, 60.0), outcome=Outcome(v, math.nan)) for v in finals]
    said = summarise(traces, toys.Toy()).answer
    assert said.startswith("random found 91.00 % validation accuracy on average ")
    assert "in 3 searches (1 without a known result) of 1 evaluation" in said


def test_a_searcher_of_unknown_finds_is_not_called_equal(make_trace, toys):
    values = np.linspace(0.90, 0.92, 10)
    said = several(
        make_trace, toys, evolution=values, reinforce=values - 0.001, darts=[math.nan] * 10
    ).answer
    assert "These repeats do not separate it from reinforce; how good the finds of darts" in said


def test_what_cannot_be_judged(make_trace, toys):
    nothing = summarise([make_trace(), make_trace()], toys.Toy())
    assert nothing.answer == (
        "random found nothing in 2 searches: no evaluation ended well, or the allowance was too "
        "small for one."
    )
    unknown = make_trace((1, 0.5, 60.0), outcome=Outcome(math.nan, math.nan))
    assert summarise([unknown], toys.Toy()).answer == (
        "What random found cannot be judged: its final accuracy is not known."
    )
    predicted = toys.Toy()
    predicted.source = "surrogate"
    trace = make_trace((1, 0.5, 60.0), outcome=Outcome(0.9, math.nan))
    assert summarise([trace], predicted).answer == (
        "random found 90.00 % predicted accuracy in one search of 1 evaluation and 1 min. Nothing "
        "was trained, so neither its regret nor a chance level is known."
    )


def several(make_trace, toys, **finals):
    reports = [
        summarise(
            [
                make_trace((1, 0.5, 60.0), searcher=name, outcome=Outcome(value, math.nan))
                for value in values
            ],
            toys.Toy(best=Outcome(0.97, math.nan)),
        )
        for name, values in finals.items()
    ]
    return SearchResult(tuple(reports), tuple(compare_searchers(reports)), (), ())


def test_of_several_the_best_and_what_separates_it(make_trace, toys):
    low, high = np.linspace(0.80, 0.82, 10), np.linspace(0.90, 0.92, 10)
    result = several(make_trace, toys, random=low, evolution=high, reinforce=high - 0.001)
    p = 3 * stats.mannwhitneyu(low, high).pvalue  # Holm, the smallest of three
    ends = stats.ttest_1samp(high, 0).confidence_interval(0.95)
    assert result.answer == (
        "The best of 3 searchers: evolution found 91.00 % validation accuracy on average (95% "
        f"interval {100 * ends.low:.2f} to {100 * ends.high:.2f}) in 10 searches of 1 evaluation "
        "and 1 min each, 6.00 points below the best of the space. It is better than random by "
        "10.00 points "
        f"(p = {p:.2g}); these repeats do not separate it from reinforce."
    )
    assert next(iter(result.to_json())) == "answer"


def test_many_searchers_are_listed(make_trace, toys):
    finals = {name: [0.9, 0.91] for name in ("random", "evolution", "reinforce", "darts")}
    answer = several(make_trace, toys, **finals).answer
    assert answer.endswith("do not separate it from evolution, reinforce and darts.")


def test_few_repeats_separate_nothing(make_trace, toys):
    result = several(make_trace, toys, random=[0.8, 0.81], evolution=[0.9, 0.91])
    assert result.answer.endswith(
        "points below the best of the space. These few repeats do not separate it from random."
    )
    nothing = several(make_trace, toys, random=[math.nan], evolution=[math.nan])
    assert nothing.answer == (
        "What random, evolution found cannot be judged: its final accuracy is not known."
    )


def test_evolution_over_a_table_is_judged_by_its_own_figures(proxy):
    """The searches' own finals and the table's signal, without the report's fields."""
    estimator = TableEstimator(proxy, BUDGET)
    traces = repeat_search(RegularizedEvolution(), estimator, repeats=20, evaluations=20)
    report = summarise(traces, estimator)
    final = proxy.accuracy("full", Split.TEST)
    found = np.mean([final[proxy.index(trace.found)] for trace in traces])
    assert report.answer.startswith(f"evolution found {100 * found:.2f} % test accuracy on average")
    best = 100 * (final.max() - found)
    assert f"{best:.2f} points below the best of the 40 architectures that the t" in report.answer


def test_what_darts_cost_over_a_table_is_not_compared(make_trace, toys):
    trace = make_trace((1, 0.5, 60.0), searcher="darts", outcome=Outcome(0.9, math.nan))
    speedup = summarise([trace], toys.Toy(full_seconds=1_000.0)).speedup
    assert [math.isnan(v) for v in (speedup.full_training, speedup.nasnet, speedup.amoebanet)] == [
        True,
        True,
        True,
    ]
    assert speedup.assumptions.endswith("so costs are not compared")
    assert Darts.name == "darts"
