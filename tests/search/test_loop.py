"""The search loop: its clock, its allowances, and repeats in one process and in several."""

import itertools
import math
import pickle
from dataclasses import dataclass
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

from bpe_bench.budget import BPE_1
from bpe_bench.errors import SelectionError
from bpe_bench.estimators import Outcome, Prediction, SurrogateEstimator
from bpe_bench.search import (
    Darts,
    RandomSearch,
    RegularizedEvolution,
    Reinforce,
    Searcher,
    make_searcher,
    repeat_search,
    run_search,
    summarise,
)
from bpe_bench.search.loop import _attach_outcome
from bpe_bench.spaces import Architecture, DeclaredSpace, get_space, register_space
from bpe_bench.spaces.darts import cells_of

A, B, C = ((gene, 0, 0, 0, 0, 0) for gene in range(3))


def run(searcher, estimator, *, seed=0, **options):
    return run_search(searcher, estimator, rng=np.random.default_rng(seed), **options)


def clocks(trace):
    return [step.clock for step in trace.steps]


def test_the_clock_adds_up_what_evaluations_cost(toys):
    toy = toys.Toy(seconds=lambda a: 10.0 + a.genes[0])
    trace = run(RandomSearch(), toy, evaluations=40)
    costs = [10 + step.architecture.genes[0] for step in trace.steps]
    assert len(set(costs)) == 5
    assert clocks(trace) == list(itertools.accumulate(costs))
    assert (trace.seconds, trace.evaluations) == (sum(costs), 40)
    assert trace.stopped_by == "evaluations"


@pytest.mark.parametrize(("seconds", "made"), [(600.0, 10), (599.99, 9), (60.0, 1), (59.0, 0)])
def test_what_would_carry_the_clock_past_the_allowance_is_not_made(toys, seconds, made):
    trace = run(RandomSearch(), toys.Toy(), seconds=seconds)
    assert (trace.evaluations, trace.seconds) == (made, 60.0 * made)
    assert trace.stopped_by == "seconds"
    assert (trace.found is None) == (made == 0)


def test_the_search_ends_at_the_first_evaluation_that_is_too_dear(toys):
    cost = {A: 100.0, B: 500.0, C: 1.0}
    toy = toys.Toy(seconds=lambda a: cost[a.genes])
    trace = run(toys.Scripted((A, B, C)), toy, seconds=150)
    assert ([s.architecture.genes for s in trace.steps], trace.seconds) == ([A], 100.0)
    assert trace.stopped_by == "seconds"


@pytest.mark.parametrize(
    ("evaluations", "seconds", "made", "stopped_by"),
    [(5, 1e9, 5, "evaluations"), (50, 300, 5, "seconds"), (5, 300, 5, "evaluations")],
)
def test_the_allowance_that_is_used_up_first_ends_the_search(
    toys, evaluations, seconds, made, stopped_by
):
    trace = run(RandomSearch(), toys.Toy(), evaluations=evaluations, seconds=seconds)
    assert (trace.evaluations, trace.stopped_by) == (made, stopped_by)


def test_a_searcher_that_has_nothing_left_ends_the_search(toys):
    trace = run(toys.Scripted((A, B)), toys.Toy(), evaluations=5)
    assert (trace.evaluations, trace.stopped_by) == (2, "searcher")


@pytest.mark.parametrize("source", ["table", "surrogate"])
def test_seconds_cannot_limit_what_costs_nobody_knows(toys, source):
    toy = toys.Toy(seconds=math.nan, source=source)
    with pytest.raises(SelectionError) as error:
        run(RandomSearch(), toy, seconds=100)
    assert str(error.value) == (
        "a search of limited seconds needs to know what evaluations cost, and the "
        f"{source} does not know it; limit the evaluations instead"
    )
    trace = run(RandomSearch(), toy, evaluations=3)
    assert trace.evaluations == 3
    assert math.isnan(trace.seconds)


def test_a_training_that_nothing_tells_the_cost_of_is_made(toys):
    toy = toys.Toy(seconds=70.0, expected=math.nan, source="training")
    trace = run(RandomSearch(), toy, seconds=100)
    # After the first the clock is at 70: nothing is expected, so the second is made, too.
    assert clocks(trace) == [70.0, 140.0]
    assert trace.stopped_by == "seconds"


def test_the_expected_cost_decides_and_the_real_one_counts(toys):
    toy = toys.Toy(seconds=25.0, expected=10.0, source="training")
    trace = run(RandomSearch(), toy, seconds=60)
    assert clocks(trace) == [25.0, 50.0, 75.0]  # 50 + 10 is just within


def test_what_was_asked_before_costs_again_unless_it_is_free(toys):
    scripted = toys.Scripted((A, A, B, A))
    assert clocks(run(scripted, toys.Toy(), evaluations=9)) == [60, 120, 180, 240]
    trace = run(scripted, toys.Toy(), evaluations=9, charge_repeats=False)
    assert clocks(trace) == [60, 60, 120, 120]
    # A free answer is within every allowance.
    trace = run(scripted, toys.Toy(), seconds=60, charge_repeats=False)
    assert (clocks(trace), trace.stopped_by) == ([60, 60], "seconds")


def test_a_search_whose_clock_stands_still_ends(toys):
    scripted = toys.Scripted((A, B), for_ever=True)
    trace = run(scripted, toys.Toy(), seconds=1e6, charge_repeats=False)
    assert (trace.evaluations, trace.seconds) == (1_002, 120.0)
    assert trace.stopped_by == "searcher"
    # Trainings that fail at once, a device missing for instance.
    broken = toys.Toy(lambda a: math.nan, seconds=0.0, expected=math.nan, source="training")
    trace = run(RandomSearch(), broken, seconds=10)
    assert (trace.evaluations, trace.found) == (1_001, None)
    # With a number of evaluations there is an end anyway.
    trace = run(scripted, toys.Toy(), evaluations=2_500, charge_repeats=False)
    assert (trace.evaluations, trace.stopped_by) == (2_500, "evaluations")


def test_progress_is_the_share_of_what_is_used_up_first(toys):
    def shares(toy=None, **allowance):
        found = []
        run(RandomSearch(), toy or toys.Toy(), on_progress=found.append, **allowance)
        return found

    assert shares(evaluations=4) == [0.25, 0.5, 0.75, 1.0]
    assert shares(seconds=240) == [0.25, 0.5, 0.75, 1.0]
    assert shares(evaluations=4, seconds=120) == [0.5, 1.0]
    # An overrun is no more than everything.
    overrun = toys.Toy(seconds=80.0, expected=1.0, source="training")
    assert shares(overrun, seconds=100) == [0.8, 1.0]


def test_a_searcher_can_be_sent_away_after_progress_was_shown(toys):
    searcher = RandomSearch()
    run(searcher, toys.Toy(), evaluations=1, on_progress=lambda share: None)
    assert pickle.loads(pickle.dumps(searcher)) == searcher


@pytest.mark.parametrize(
    ("allowance", "message"),
    [
        ({}, "a search needs an allowance: a number of evaluations, of seconds, or both"),
        ({"evaluations": 0}, "evaluations must be at least 1, found 0"),
        ({"evaluations": -3}, "evaluations must be at least 1, found -3"),
        ({"seconds": 0}, "seconds must be above 0 and finite, found 0"),
        ({"seconds": -2.5}, "seconds must be above 0 and finite, found -2.5"),
        ({"seconds": math.inf}, "seconds must be above 0 and finite, found inf"),
        ({"seconds": math.nan}, "seconds must be above 0 and finite, found nan"),
        ({"evaluations": 5, "seconds": 0}, "seconds must be above 0 and finite, found 0"),
    ],
)
def test_allowances_that_cannot_be(toys, allowance, message):
    for call in (run, lambda *a, **o: repeat_search(*a, repeats=1, **o)):
        with pytest.raises(SelectionError) as error:
            call(RandomSearch(), toys.Toy(), **allowance)
        assert str(error.value) == message


def test_of_equals_the_first_is_found_and_nan_never(toys):
    answers = {A: math.nan, B: 0.5, C: 0.5}
    toy = toys.Toy(lambda a: answers[a.genes])
    trace = run(toys.Scripted((A, B, C, A)), toy, evaluations=4)
    assert trace.found.genes == B
    assert [s.state for s in trace.steps] == ["diverged", "done", "done", "diverged"]
    assert trace.incumbents() == [trace.steps[1]]


def test_searchers_hear_of_everything(toys):
    scripted = toys.Scripted((A, B))
    run(scripted, toys.Toy(), evaluations=2)
    assert [genes for genes, _ in scripted.told] == [A, B]
    assert [e.accuracy for _, e in scripted.told] == [0.0, 0.1]


def test_final_figures_are_attached_when_the_search_has_ended(toys):
    toy = toys.Toy(final=lambda a: 0.9)
    trace = run(toys.Scripted((B, A)), toy, evaluations=2)
    assert trace.outcome is None
    assert _attach_outcome(trace, toy).outcome == Outcome(0.9, 0.9 + 0.03)
    nothing = run(RandomSearch(), toys.Toy(lambda a: math.nan), evaluations=2)
    assert _attach_outcome(nothing, toy) is nothing


# The supernet's own seconds


@pytest.fixture
def trained(monkeypatch):
    """Calls of a supernet that takes 100 seconds and two epochs."""
    from bpe_bench.training import supernet, task

    calls = []

    def train(space, images, budget, **options):
        calls.append((space, options["seed"], options["order"]))
        for epoch in (1, 2):
            options["on_epoch"](SimpleNamespace(epoch=epoch))
        # The last is what a loss that is not finite leaves.
        diverged = options["order"] == 2
        return SimpleNamespace(
            architecture=Architecture(space, B), seconds=100.0, diverged=diverged
        )

    monkeypatch.setattr(supernet, "train_supernet", train)
    monkeypatch.setattr(task, "_images", lambda source: None)
    return calls


DARTS = Darts(BPE_1.replace(epochs=2))


def test_a_supernet_that_diverged_is_said(toys, trained):
    said = [
        summarise([run(Darts(DARTS.budget, order), toys.Toy(), evaluations=1)], toys.Toy()).warnings
        for order in (1, 2)
    ]
    text = "the supernets of 1 of 1 searches diverged: what they found was derived before"
    assert [text in warnings for warnings in said] == [False, True]


def test_the_supernets_seconds_are_on_the_clock(toys, trained):
    shares = []
    trace = run(DARTS, toys.Toy(), evaluations=9, on_progress=shares.append)
    assert (clocks(trace), trace.seconds) == ([160.0], 160.0)
    assert (trace.found.genes, trace.stopped_by) == (B, "searcher")
    assert shares == pytest.approx([1 / 3, 2 / 3, 1 / 9])
    # A second search does not pay for the first.
    assert run(DARTS, toys.Toy(), evaluations=9).seconds == 160.0
    assert len(trained) == 2


@pytest.mark.parametrize(("seconds", "made"), [(160, 1), (159, 0), (50, 0)])
def test_a_supernet_can_use_up_the_allowance(toys, trained, seconds, made):
    trace = run(DARTS, toys.Toy(), seconds=seconds)
    assert (trace.evaluations, trace.seconds) == (made, 100.0 + 60 * made)
    assert (trace.found is None) == (made == 0)
    assert trace.stopped_by == ("searcher" if made else "seconds")


# What is scored and what is built


@pytest.mark.parametrize("searcher", [RegularizedEvolution(score="full"), Reinforce(score="full")])
def test_cells_with_all_edges_are_pruned_in_the_end(toys, searcher):
    toy = toys.Toy(lambda a: a.genes.count(3) / 100, space="darts")
    trace = run(searcher, toy, evaluations=30)
    for step in trace.steps:
        assert [len(node) for cell in cells_of(step.architecture) for node in cell] == [
            2,
            3,
            4,
            5,
        ] * 2
    best = trace.incumbents()[-1].architecture
    for cell, whole in zip(cells_of(trace.found), cells_of(best), strict=True):
        assert [len(node) for node in cell] == [2] * 4
        assert all(set(node) <= set(full) for node, full in zip(cell, whole, strict=True))
    assert run(searcher, toy, evaluations=30) == trace


def test_reinforce_keeps_the_edges_of_which_its_policy_is_surest(toys):
    searcher = Reinforce(learning_rate=1.0, score="full")
    toy = toys.Toy(lambda a: a.genes.count(3) / 100, space="darts")
    trace = run(searcher, toy, evaluations=60)
    policy = np.exp(searcher.logits)
    policy /= policy.sum(axis=1, keepdims=True)
    best = get_space("darts").unpruned.choices_of(trace.incumbents()[-1].architecture)
    for which, cell in enumerate(cells_of(trace.found)):
        place = 14 * which
        for index, node in enumerate(cell):
            sure = [policy[place + s, best[place + s]] for s in range(index + 2)]
            assert {s for _, s in node} == set(np.argsort(sure)[-2:].tolist())
            place += index + 2


@pytest.mark.parametrize("name", ["evolution", "reinforce"])
def test_scores_that_cannot_be(toys, name):
    with pytest.raises(SelectionError) as error:
        run(make_searcher(name, score="half"), toys.Toy(), evaluations=20)
    assert str(error.value) == "score must be one of pruned, full, found 'half'"
    with pytest.raises(SelectionError) as error:
        run(make_searcher(name, score="full"), toys.Toy(), evaluations=20)
    assert str(error.value) == (
        "score 'full' is for spaces that are pruned (darts); architectures of nas-bench-201 are "
        "built as they are scored; take score 'pruned'"
    )


def test_searchers_by_name():
    assert make_searcher("evolution", population=7) == RegularizedEvolution(7)
    with pytest.raises(LookupError) as error:
        make_searcher("evolutoin")
    assert str(error.value) == (
        "unknown searcher 'evolutoin' (did you mean 'evolution'?); there are: random, evolution, "
        "reinforce, darts"
    )
    with pytest.raises(LookupError) as error:
        make_searcher("evolution", populations=7)
    assert str(error.value) == (
        "unknown parameter 'populations' of searcher 'evolution' (did you mean 'population'?); "
        "there are: population, tournament, score"
    )


@pytest.mark.parametrize(
    ("searcher", "message"),
    [
        (RegularizedEvolution(population=0), "population must be at least 1, found 0"),
        (RegularizedEvolution(tournament=-1), "tournament must be at least 1, found -1"),
        (Reinforce(learning_rate=-0.1), "learning_rate must be at least 0, found -0.1"),
        (Reinforce(learning_rate=math.inf), "learning_rate must be finite, found inf"),
        (Reinforce(entropy=math.nan), "entropy must be at least 0, found nan"),
        (Reinforce(baseline_decay=1), "baseline_decay must be at least 0 and below 1, found 1"),
        (
            Darts(),
            "darts trains a supernet and needs a budget for it; give one, for instance "
            "--supernet-budget BPE-1",
        ),
        (Darts(BPE_1, order=3), "order must be 1 or 2, found 3"),
    ],
)
def test_parameters_that_cannot_be(toys, searcher, message):
    with pytest.raises(SelectionError) as error:
        run(searcher, toys.Toy(), evaluations=20)
    assert str(error.value) == message


# Repeats


@pytest.mark.parametrize("name", ["random", "evolution", "reinforce"])
def test_a_repeat_does_not_depend_on_how_many_there_are(toys, name):
    searcher, toy = make_searcher(name), toys.Toy(toys.value)
    three = repeat_search(searcher, toy, repeats=3, seed=7, evaluations=25)
    five = repeat_search(searcher, toy, repeats=5, seed=7, evaluations=25)
    assert five[:3] == three
    assert len({trace.steps for trace in five}) == 5
    assert repeat_search(searcher, toy, repeats=1, seed=8, evaluations=25)[0] != three[0]


def test_repeats_are_the_same_in_one_process_and_in_two(toys):
    toy = toys.Toy(toys.value, seconds=toys.skips, expected=0.0)
    options = {"repeats": 9, "seed": 3, "evaluations": 30, "seconds": 100.0}
    shares = []
    one = repeat_search(RegularizedEvolution(), toy, **options)
    two = repeat_search(RegularizedEvolution(), toy, jobs=2, on_progress=shares.append, **options)
    assert one == two
    assert all(trace.outcome.validation == toys.value(trace.found) for trace in two)
    assert shares[-1] == pytest.approx(1.0)
    assert all(0 <= share <= 1 + 1e-9 for share in shares)


def test_searches_in_other_processes_know_a_space_that_was_declared_here(toys):
    space = DeclaredSpace.of(
        {"name": "sent", "parameters": {"depth": {"kind": "integer", "low": 1, "high": 9}}}
    )
    register_space(space)

    class Deeper:
        space = "sent"

        def predict(self, architectures):
            shares = np.array([a.genes[0] / 9 for a in architectures])
            return Prediction(shares, np.ones(len(architectures)))

    estimator = SurrogateEstimator(Deeper())
    options = {"repeats": 2, "seed": 0, "evaluations": 5}
    one = repeat_search(RandomSearch(), estimator, **options)
    assert repeat_search(RandomSearch(), estimator, jobs=2, **options) == one


def test_what_goes_wrong_in_another_process_is_raised_here(toys, capfd):
    toy = toys.Toy(seconds=math.nan)
    with pytest.raises(SelectionError, match=r"^a search of limited seconds needs to know"):
        repeat_search(RandomSearch(), toy, repeats=2, seconds=10, jobs=2)
    assert capfd.readouterr().err == ""  # and only here


def test_searchers_have_streams_of_their_own(toys):
    """Else two that both begin with random draws would begin with the same ones."""

    @dataclass
    class Another(RandomSearch):
        name: ClassVar[str] = "another"

    one, other = (
        repeat_search(searcher, toys.Toy(), repeats=1, evaluations=20)[0]
        for searcher in (RandomSearch(), Another())
    )
    assert one.steps != other.steps


def test_repeats_report_progress(toys):
    shares = []
    repeat_search(RandomSearch(), toys.Toy(), repeats=2, evaluations=2, on_progress=shares.append)
    assert shares == sorted(shares)
    assert set(shares) == {0.25, 0.5, 0.75, 1.0}


@pytest.mark.parametrize("name", ["repeats", "jobs"])
def test_too_few_repeats_or_processes(toys, name):
    with pytest.raises(SelectionError) as error:
        repeat_search(RandomSearch(), toys.Toy(), evaluations=1, **{"repeats": 2, name: 0})
    assert str(error.value) == f"{name} must be at least 1, found 0"


def test_repeats_leave_the_searcher_alone(toys):
    searcher = RandomSearch(replace=False)
    repeat_search(searcher, toys.Toy(), repeats=2, evaluations=5)
    assert searcher == RandomSearch(replace=False)
    assert get_space("nas-bench-201").size == 15_625


def test_a_searcher_needs_three_methods_only(toys):
    class Mine(Searcher):
        def start(self, space, rng, evaluations=None):
            self.draw = lambda: space.sample(rng)

        def ask(self):
            return self.draw()

        def tell(self, architecture, evaluation):
            pass

    (trace,) = repeat_search(Mine(), toys.Toy(), repeats=1, evaluations=3)
    assert (trace.searcher, trace.parameters, trace.evaluations) == ("Mine", {}, 3)
