"""Random search, and its expected regret: by enumeration, and by searching."""

import itertools
import math

import numpy as np
import pytest

from bpe_bench.errors import SelectionError
from bpe_bench.search import RandomSearch, expected_regret, loop, repeat_search, run_search


@pytest.fixture
def tiny(toys, monkeypatch):
    """A space of twenty architectures, known to the loop, and an estimator of it."""
    space = toys.TinySpace()
    monkeypatch.setattr(loop, "get_space", lambda name: space)
    return toys.Toy(lambda a: SIGNAL[a.genes[0]], space="tiny", final=lambda a: FINAL[a.genes[0]])


SIGNAL = np.random.default_rng(3).choice([0.5, 0.6, 0.7, 0.8], 20)
FINAL = np.random.default_rng(4).choice([0.90, 0.92, 0.93, 0.97], 20)


def test_with_replacement_an_architecture_comes_again(tiny):
    trace = run_search(RandomSearch(), tiny, evaluations=400, rng=np.random.default_rng(0))
    counts = np.bincount([step.architecture.genes[0] for step in trace.steps], minlength=20)
    # Uniform: every count is within five standard deviations of 20.
    assert np.abs(counts - 20).max() < 5 * math.sqrt(400 / 20 * 19 / 20)


def test_without_replacement_everything_is_drawn_once_and_the_search_ends(tiny):
    searcher = RandomSearch(replace=False)
    trace = run_search(searcher, tiny, evaluations=50, rng=np.random.default_rng(0))
    assert sorted(step.architecture.genes[0] for step in trace.steps) == list(range(20))
    assert trace.stopped_by == "searcher"
    assert searcher.ask() is None
    # In an order of its own each time.
    again = run_search(searcher, tiny, evaluations=50, rng=np.random.default_rng(1))
    assert again.steps != trace.steps


def test_without_replacement_the_first_draw_is_uniform_and_so_is_the_last(tiny):
    searcher = RandomSearch(replace=False)
    orders = [
        [s.architecture.genes[0] for s in trace.steps]
        for trace in repeat_search(searcher, tiny, repeats=600, evaluations=20)
    ]
    for draw in (0, 10, 19):
        counts = np.bincount([order[draw] for order in orders], minlength=20)
        assert np.abs(counts - 30).max() < 5 * math.sqrt(600 / 20 * 19 / 20)


def regret_by_enumeration(signal, final, evaluations, replace):
    """Return the mean regret over all sequences of draws; of equals the first is found."""
    places = range(len(signal))
    sequences = (
        itertools.product(places, repeat=evaluations)
        if replace
        else itertools.permutations(places, evaluations)
    )
    found = [final[max(sequence, key=lambda place: signal[place])] for sequence in sequences]
    return max(final) - sum(found) / len(found)


@pytest.mark.parametrize("replace", [True, False])
@pytest.mark.parametrize("evaluations", [1, 2, 3, 5])
@pytest.mark.parametrize(
    ("signal", "final"),
    [
        ([0.1, 0.2, 0.3, 0.4, 0.5], [0.5, 0.6, 0.7, 0.9, 0.8]),
        ([0.3, 0.3, 0.1, 0.3, 0.1], [0.5, 0.6, 0.9, 0.7, 0.8]),
        ([0.2] * 5, [0.5, 0.6, 0.7, 0.8, 0.9]),
        ([0.5, 0.4, 0.3, 0.4, 0.4], [0.1, 0.9, 0.9, 0.2, 0.4]),
    ],
)
def test_expected_regret_is_that_of_all_sequences(signal, final, evaluations, replace):
    found = expected_regret(np.array(signal), np.array(final), evaluations, replace=replace)
    assert found == pytest.approx(
        regret_by_enumeration(signal, final, evaluations, replace), abs=1e-12
    )


def test_expected_regret_of_a_large_table():
    """Distinct signals that are the final accuracies: the expected maximum of n draws."""
    final = np.arange(15_625) / 15_625
    for n in (1, 10, 500):
        places = np.arange(15_626) / 15_625
        expected = (final * np.diff(places**n)).sum()
        assert expected_regret(final, final, n) == pytest.approx(final.max() - expected, abs=1e-10)
        # Without replacement the expected largest of n out of A numbers is n (A + 1) / (n + 1).
        largest = (n * (15_625 + 1) / (n + 1) - 1) / 15_625
        assert expected_regret(final, final, n, replace=False) == pytest.approx(
            final.max() - largest, abs=1e-9
        )
    assert expected_regret(final, final, 15_625, replace=False) == 0


@pytest.mark.parametrize("replace", [True, False])
@pytest.mark.parametrize("evaluations", [1, 4, 12])
def test_searching_agrees_with_the_expected_regret(tiny, evaluations, replace):
    traces = repeat_search(RandomSearch(replace), tiny, repeats=1_500, evaluations=evaluations)
    regrets = FINAL.max() - np.array([trace.outcome.validation for trace in traces])
    error = regrets.std(ddof=1) / math.sqrt(len(regrets))
    expected = expected_regret(SIGNAL, FINAL, evaluations, replace=replace)
    assert abs(regrets.mean() - expected) < 3.5 * error


@pytest.mark.parametrize(
    ("signal", "final", "evaluations", "replace", "message"),
    [
        ([0.1, math.nan], [0.1, 0.2], 1, True, "for every"),
        ([0.1, 0.2], [0.1, math.nan], 1, True, "for every"),
        ([0.1, 0.2], [0.1], 1, True, "for every"),
        ([], [], 1, True, "for every"),
        ([0.1, 0.2], [0.1, 0.2], 0, True, "evaluations must be at least 1, found 0"),
        (
            [0.1, 0.2],
            [0.1, 0.2],
            3,
            False,
            "evaluations must be at least 1 and, without replacement, at most 2, found 3",
        ),
    ],
)
def test_regrets_that_nobody_can_expect(signal, final, evaluations, replace, message):
    if message == "for every":
        message = "expected a signal and a final accuracy for every architecture"
    with pytest.raises(SelectionError) as error:
        expected_regret(np.array(signal), np.array(final), evaluations, replace=replace)
    assert str(error.value) == message


def test_with_replacement_there_may_be_more_draws_than_architectures():
    assert expected_regret(np.array([0.1, 0.2]), np.array([0.5, 0.6]), 3) == pytest.approx(0.1 / 8)
