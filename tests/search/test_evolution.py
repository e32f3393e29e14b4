"""Regularised evolution: who leaves, who has children, and who never wins."""

import math

import numpy as np
import pytest
from scipy import stats

from bpe_bench.errors import SelectionError
from bpe_bench.estimators import Evaluation
from bpe_bench.search import RegularizedEvolution, run_search
from bpe_bench.spaces import Architecture, get_space

SPACE = get_space("nas-bench-201")
FAR = [Architecture(SPACE.name, (gene,) * 6) for gene in range(5)]
"""So far from each other that a child tells its parent."""


def told(accuracy):
    state = "failed" if math.isnan(accuracy) else "done"
    return Evaluation(accuracy, 1.0, "table", state)


@pytest.fixture
def grown():
    """Return a function from accuracies to a searcher whose members have them, oldest first."""

    def make(*accuracies, tournament=60, seed=0):
        searcher = RegularizedEvolution(len(accuracies), tournament)
        searcher.start(SPACE, np.random.default_rng(seed))
        for accuracy, architecture in zip(accuracies, FAR, strict=False):
            searcher.ask()
            searcher.tell(architecture, told(accuracy))
        return searcher

    return make


def parent_of(child):
    """Return the place in FAR of the one member that a child differs from in one gene."""
    genes = max(range(5), key=child.genes.count)
    assert child.genes.count(genes) == 5
    return genes


def test_the_oldest_leaves_not_the_worst(grown):
    searcher = grown(0.9, 0.2, 0.5)
    assert {parent_of(searcher.ask()) for _ in range(20)} == {0}
    searcher.tell(FAR[3], told(0.1))
    # The best was the oldest; the worst of the others, the newest, stays.
    assert {parent_of(searcher.ask()) for _ in range(20)} == {2}
    searcher.tell(FAR[4], told(0.3))
    searcher.tell(FAR[1], told(0.05))
    # Now 0.1, 0.3, 0.05.
    assert {parent_of(searcher.ask()) for _ in range(20)} == {4}
    searcher.tell(FAR[0], told(0.04))
    searcher.tell(FAR[2], told(0.03))
    # Now 0.05, 0.04, 0.03: whoever was good is forgotten.
    assert {parent_of(searcher.ask()) for _ in range(20)} == {1}


def test_a_lucky_evaluation_is_forgotten_in_a_search(toys):
    """Scripted: one lucky answer, then ever the same. Its children end when it is too old."""
    number = iter([0.5] * 4 + [0.9] + [0.4] * 40)
    toy = toys.Toy(lambda a: next(number))
    searcher = RegularizedEvolution(population=5, tournament=60)
    trace = run_search(searcher, toy, evaluations=45, rng=np.random.default_rng(0))
    lucky = trace.steps[4].architecture
    children = [step.architecture in SPACE.neighbours(lucky) for step in trace.steps]
    # It is the newest of five members; the fifth child takes its place.
    assert all(children[5:10])
    assert sum(children[10:]) < 15
    assert trace.found == lucky


def test_a_tournament_picks_the_best_of_the_drawn(grown):
    """Of n members, t drawn with replacement: rank k wins with ((n-k+1)^t - (n-k)^t) / n^t."""
    accuracies = (0.3, 0.9, 0.1, 0.5, 0.7)
    ranks = [1 + sum(other > own for other in accuracies) for own in accuracies]
    for tournament in (1, 3):
        searcher = grown(*accuracies, tournament=tournament)
        found = np.bincount([parent_of(searcher.ask()) for _ in range(3_000)], minlength=5)
        chance = [((6 - k) ** tournament - (5 - k) ** tournament) / 5**tournament for k in ranks]
        assert stats.chisquare(found, 3_000 * np.array(chance)).pvalue > 1e-3


def test_a_child_differs_in_one_choice_drawn_uniformly(grown):
    searcher = grown(0.9, 0.2)
    children = [searcher.ask() for _ in range(1_200)]
    counts = [children.count(neighbour) for neighbour in SPACE.neighbours(FAR[0])]
    assert sum(counts) == 1_200
    assert stats.chisquare(counts).pvalue > 1e-3


def test_what_failed_never_has_children_if_others_did_not(grown):
    searcher = grown(math.nan, 0.01, math.nan)
    assert {parent_of(searcher.ask()) for _ in range(50)} == {1}
    # If all have failed, any may be a parent.
    searcher = grown(math.nan, math.nan, math.nan, tournament=2)
    assert {parent_of(searcher.ask()) for _ in range(50)} == {0, 1, 2}


def test_the_population_is_filled_with_random_architectures(toys):
    seen = []
    toy = toys.Toy(lambda a: seen.append(a) or 0.5)
    searcher = RegularizedEvolution(population=200)
    run_search(searcher, toy, evaluations=200, rng=np.random.default_rng(0))
    counts = np.bincount(np.array([a.genes for a in seen]).ravel(), minlength=5)
    assert stats.chisquare(counts).pvalue > 1e-3


def test_children_come_when_it_is_full_and_not_before(toys):
    related = np.zeros(3)
    for seed in range(100):
        searcher = RegularizedEvolution(population=3)
        trace = run_search(searcher, toys.Toy(), evaluations=4, rng=np.random.default_rng(seed))
        *before, last = (step.architecture for step in trace.steps)
        assert any(last in SPACE.neighbours(parent) for parent in before)
        related += [before[2] in SPACE.neighbours(parent) for parent in before]
    # Of random pairs 24 in 15,625 are neighbours.
    assert related.sum() <= 5


@pytest.mark.parametrize(("population", "evaluations"), [(11, 10), (2, 1)])
def test_a_population_that_cannot_be_filled(toys, population, evaluations):
    searcher = RegularizedEvolution(population)
    with pytest.raises(SelectionError) as error:
        run_search(searcher, toys.Toy(), evaluations=evaluations, rng=np.random.default_rng(0))
    assert str(error.value) == (
        f"a population of {population} cannot be filled with {evaluations} evaluations; choose a "
        "smaller population or more evaluations"
    )


def test_a_population_as_large_as_the_evaluations_will_do(toys):
    searcher = RegularizedEvolution(10)
    trace = run_search(searcher, toys.Toy(), evaluations=10, rng=np.random.default_rng(0))
    assert trace.evaluations == 10
    # Where only seconds are limited nobody knows how many evaluations there will be.
    trace = run_search(searcher, toys.Toy(), seconds=120, rng=np.random.default_rng(0))
    assert trace.evaluations == 2


def test_it_learns(toys):
    toy = toys.Toy(lambda a: a.genes.count(3) / 6)
    found = []
    for searcher in (RegularizedEvolution(), RegularizedEvolution(tournament=1)):
        traces = [
            run_search(searcher, toy, evaluations=80, rng=np.random.default_rng(seed))
            for seed in range(10)
        ]
        found.append(np.mean([[s.accuracy for s in trace.steps[-20:]] for trace in traces]))
    assert found[0] > 0.5 > 0.3 > found[1]  # without selection it drifts about 0.2


def test_all_edges_are_scored_one_operation_changed_at_a_time(toys):
    """As published: 14 edges per cell, one operation mutated per child, pruned in the end."""
    toy = toys.Toy(lambda a: a.genes.count(3) / 100, space="darts")
    searcher = RegularizedEvolution(population=2, tournament=30, score="full")
    trace = run_search(searcher, toy, evaluations=12, rng=np.random.default_rng(0))
    full = get_space("darts").unpruned
    operations = [np.array(full.choices_of(s.architecture)) for s in trace.steps]
    for place, child in enumerate(operations[2:], 2):
        assert 1 in {int((child != parent).sum()) for parent in operations[place - 2 : place]}
