"""Answers from training through the journal, and the one trial in this process that makes them."""

import json
import math
import threading
import time

import numpy as np
import pytest

from bpe_bench.budget import BPE_1
from bpe_bench.errors import ExecutionError, JournalError
from bpe_bench.estimators import Outcome, ProxyEstimator
from bpe_bench.execution import inline, run_trial
from bpe_bench.execution.journal import Journal
from bpe_bench.search import (
    RandomSearch,
    RegularizedEvolution,
    repeat_search,
    run_search,
    summarise,
)
from bpe_bench.search.loop import _attach_outcome
from bpe_bench.spaces import get_space
from bpe_bench.tables.curves import Split
from bpe_bench.training.trial import Trial

SPACE = get_space("nas-bench-201")
BUDGET = BPE_1.replace(epochs=3)
A, B, C = (SPACE.from_index(index) for index in (0, 11, 284))
RNG = np.random.default_rng(0)
NAME = "proxy_tasks:train"


@pytest.fixture
def store(tmp_path):
    return tmp_path / "journal.sqlite"


@pytest.fixture
def estimator(task, store, tmp_path):
    return ProxyEstimator(
        SPACE.name, BUDGET, store, "digits", images=str(tmp_path), task=NAME, stale_after=5.0
    )


@pytest.fixture
def go_wrong(task, tmp_path):
    """Return a function that says which architectures go wrong, and how."""

    def write(troubles):
        values = {SPACE.format(architecture): trouble for architecture, trouble in troubles.items()}
        (tmp_path / "troubles.json").write_text(json.dumps(values))

    return write


@pytest.fixture
def trained(task, tmp_path):
    """Return a function that gives the epochs begun, and how often, of an architecture."""

    def look(architecture=None):
        found = task.trained(tmp_path)
        if architecture is None:
            return sum(found.values())
        text = SPACE.format(architecture)
        return {int(epoch): n for (epoch, of), n in found.items() if of == text}

    return look


def entry(store, architecture):
    with Journal(store, read_only=True) as journal:
        return journal.find(trial_of(architecture))


def trial_of(architecture):
    return Trial(architecture, BUDGET, "digits", 0)


def uninterrupted(task, architecture):
    """Return the records of a training from first to last, and the checkpoints."""
    records, checkpoints = [], []

    def report(record, checkpoint, made_on):
        records.append(record)
        checkpoints.append(checkpoint)

    trial = trial_of(architecture)
    assert task.train(trial, None, {"source": "/nowhere"}, report) == "done"
    return records, checkpoints


def expected(task, architecture):
    return uninterrupted(task, architecture)[0]


def test_the_last_validation_accuracy_steers_and_costs_what_it_took(task, estimator, store):
    found = estimator.evaluate(B, RNG)
    (*_, last) = expected(task, B)
    assert found.accuracy == last.results[Split.VALIDATION].correct / 1_000
    assert found.cost_seconds == 3 * task.seconds_of(B)
    assert (found.source, found.state, found.message) == ("training", "done", "")
    assert (estimator.source, estimator.dataset, estimator.report_dataset) == (
        *("training", "digits", "digits"),
    )
    assert estimator.optimum() is None


def test_what_was_asked_before_is_not_trained_again(estimator, trained):
    first = estimator.evaluate(A, RNG)
    assert trained(A) == {1: 1, 2: 1, 3: 1}
    assert estimator.evaluate(A, RNG) == first
    assert estimator.outcome(A).validation == first.accuracy
    assert trained() == 3
    estimator.evaluate(B, RNG)
    assert trained() == 6


def test_test_accuracy_is_in_the_outcome_only(task, estimator):
    found = estimator.evaluate(A, RNG)
    (*_, last) = expected(task, A)
    test = last.results[Split.TEST].correct / 2_000
    assert found.accuracy != test
    assert estimator.outcome(A) == Outcome(found.accuracy, test)


def test_what_diverged_or_failed_is_an_answer(task, estimator, go_wrong, trained):
    go_wrong({A: "diverge", B: "fail"})
    diverged, failed = estimator.evaluate(A, RNG), estimator.evaluate(B, RNG)
    assert math.isnan(diverged.accuracy)
    assert math.isnan(failed.accuracy)
    assert (diverged.state, diverged.message) == ("diverged", "")
    assert (failed.state, failed.message) == (
        "failed",
        "ValueError: this network cannot be trained",
    )
    # Both took one epoch.
    assert diverged.cost_seconds == task.seconds_of(A)
    assert failed.cost_seconds == task.seconds_of(B)
    assert (trained(A), trained(B)) == ({1: 1}, {1: 1, 2: 1})
    # Nor are they trained again, and their final figures are not known.
    assert repr(estimator.evaluate(B, RNG)) == repr(failed)
    assert trained(B) == {1: 1, 2: 1}
    for architecture in (A, B):
        outcome = estimator.outcome(architecture)
        assert math.isnan(outcome.validation)
        assert math.isnan(outcome.test)


def test_an_interruption_releases_the_trial_and_the_next_call_goes_on(
    task, estimator, store, go_wrong, trained
):
    go_wrong({A: "interrupt"})
    with pytest.raises(KeyboardInterrupt):
        estimator.evaluate(A, RNG)
    assert entry(store, A).state == "planned"
    assert len(entry(store, A).records) == 1
    go_wrong({})
    found = estimator.evaluate(A, RNG)
    assert trained(A) == {1: 1, 2: 2, 3: 1}  # the epoch that was cut short is trained again
    assert list(entry(store, A).records) == expected(task, A)
    assert found.cost_seconds == 3 * task.seconds_of(A)


def test_expected_seconds_are_those_of_its_like(task, estimator, go_wrong):
    assert math.isnan(estimator.expected_seconds(A))
    estimator.evaluate(A, RNG)
    own = [3 * task.seconds_of(one) for one in (A, B, C)]
    assert len({*own}) > 1
    assert estimator.expected_seconds(A) == own[0]
    assert estimator.expected_seconds(C) == own[0]  # its like
    estimator.evaluate(B, RNG)
    assert estimator.expected_seconds(C) == pytest.approx((own[0] + own[1]) / 2)
    assert estimator.expected_seconds(B) == own[1]
    # What has failed already costs what it did.
    go_wrong({C: "fail"})
    estimator.evaluate(C, RNG)
    assert estimator.expected_seconds(C) == own[2] / 3
    # Another budget's trainings say nothing.
    other = ProxyEstimator(SPACE.name, BPE_1, estimator.store, "digits", task=NAME)
    assert math.isnan(other.expected_seconds(A))


def test_another_seed_is_another_training(estimator, store, tmp_path, trained):
    estimator.evaluate(A, RNG)
    other = ProxyEstimator(
        SPACE.name, BUDGET, store, "digits", images=str(tmp_path), task=NAME, seed=1
    )
    assert other.evaluate(A, RNG).accuracy != estimator.evaluate(A, RNG).accuracy
    assert trained(A) == {1: 2, 2: 2, 3: 2}


# One trial, whoever else is at it


def test_a_trial_that_another_worker_holds_is_waited_for(
    task, estimator, store, monkeypatch, trained
):
    monkeypatch.setattr(inline, "_POLL", 0.02)
    with Journal(store) as journal:
        journal.add([trial_of(A)])
        journal.claim("another", stale_after=60)
    looked = threading.Event()
    sleep = time.sleep
    monkeypatch.setattr(inline.time, "sleep", lambda seconds: (looked.set(), sleep(seconds)))

    def finish():
        assert looked.wait(300)
        with Journal(store) as journal:
            for epoch in (1, 2, 3):
                journal.record(trial_of(A).id, "another", task.stolen(epoch), b"")
            journal.finish(trial_of(A).id, "another", "done")

    another = threading.Thread(target=finish)
    another.start()
    found = estimator.evaluate(A, RNG)
    another.join()
    assert (found.accuracy, found.cost_seconds) == (1.0, 24.0)
    assert trained() == 0


def test_a_trial_whose_worker_has_died_is_taken_up_where_it_stopped(
    task, store, tmp_path, monkeypatch, trained
):
    monkeypatch.setattr(inline, "_POLL", 0.02)
    records, checkpoints = uninterrupted(task, A)
    with Journal(store) as journal:
        journal.add([trial_of(A)])
        journal.claim("on a machine that burnt", stale_after=60)
        journal.record(trial_of(A).id, "on a machine that burnt", records[0], checkpoints[0])
    impatient = ProxyEstimator(
        SPACE.name, BUDGET, store, "digits", images=str(tmp_path), task=NAME, stale_after=0.5
    )
    assert impatient.evaluate(A, RNG).state == "done"
    assert trained(A) == {2: 1, 3: 1}
    assert list(entry(store, A).records) == records


def test_a_trial_that_is_lost_to_another_worker_is_theirs(
    task, estimator, store, go_wrong, trained, monkeypatch
):
    """A machine that slept is taken for dead; its search must live on with the other's result."""
    monkeypatch.setattr(inline, "_POLL", 0.02)
    go_wrong({A: f"lose {store}"})
    found = estimator.evaluate(A, RNG)
    assert (found.accuracy, found.state) == (1.0, "done")
    assert found.cost_seconds == task.seconds_of(A) + 2 * 8.0
    assert entry(store, A).worker == "thief"
    assert trained(A) == {1: 1, 2: 1}


def test_a_heartbeat_ends_with_the_trial(estimator):
    before = threading.active_count()
    estimator.evaluate(A, RNG)
    until = time.monotonic() + 300
    while threading.active_count() > before:
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_task_that_does_not_exist_leaves_the_trial_planned(task, store, tmp_path):
    with pytest.raises(ExecutionError, match=r"^cannot import the task 'proxy_tasks:tarin', which"):
        run_trial(store, trial_of(A), "proxy_tasks:tarin", {"source": str(tmp_path)})
    assert entry(store, A).state == "planned"


def test_a_journal_that_cannot_be(task, tmp_path):
    with pytest.raises(JournalError, match=r"^no folder .*/no for the journal .*/no/x$"):
        run_trial(tmp_path / "no" / "x", trial_of(A), NAME)
    estimator = ProxyEstimator(SPACE.name, BUDGET, tmp_path / "no" / "x", "digits", task=NAME)
    with pytest.raises(JournalError, match=r"^no folder .*/no for the journal .*/no/x$"):
        estimator.expected_seconds(A)


# Searches


def search(estimator, searcher=None, *, seed=0, **allowance):
    return run_search(
        searcher or RegularizedEvolution(3, 2),
        estimator,
        rng=np.random.default_rng(seed),
        charge_repeats=False,
        **(allowance or {"evaluations": 12}),
    )


def test_a_search_that_was_interrupted_goes_on_as_if_it_had_not_been(
    estimator, store, tmp_path, go_wrong, trained
):
    expected = search(estimator)
    ninth = expected.steps[8].architecture
    assert ninth not in [step.architecture for step in expected.steps[:8]]
    store.unlink()
    go_wrong({ninth: "interrupt"})
    (tmp_path / "log").unlink()
    with pytest.raises(KeyboardInterrupt):
        search(estimator)
    go_wrong({})
    assert search(estimator) == expected
    # But for the epoch that was cut short, nothing was trained twice.
    different = {step.architecture for step in expected.steps}
    assert trained() == 3 * len(different) + 1
    # And again: the same clock, for nothing.
    assert search(estimator) == expected
    assert trained() == 3 * len(different) + 1


def test_a_search_lives_with_failures(estimator, go_wrong):
    plain = search(estimator, RandomSearch(), seed=1)
    estimator.store.unlink()
    proposed = [step.architecture for step in plain.steps]
    go_wrong({proposed[0]: "fail", proposed[5]: "diverge"})
    trace = search(estimator, RandomSearch(), seed=1)
    assert [step.architecture for step in trace.steps] == proposed
    assert [n for n, step in enumerate(trace.steps) if step.state != "done"] == [0, 5]
    report = summarise([_attach_outcome(trace, estimator)], estimator)
    assert report.failed_evaluations == 2
    assert (report.estimator, report.dataset, report.optimum) == ("training", "digits", None)
    assert report.budget == BUDGET.to_dict()


def test_seconds_limit_a_search_by_what_is_expected(task, estimator):
    # An epoch takes half a second, one or two; nobody knows before the first.
    trace = search(estimator, RandomSearch(), seconds=30.0)
    costs = [3 * task.seconds_of(step.architecture) for step in trace.steps]
    assert len({step.architecture for step in trace.steps}) == trace.evaluations
    assert trace.seconds == sum(costs)
    # What was not made any more was expected not to fit.
    assert trace.seconds + sum(costs) / len(costs) > 30
    assert sum(costs[:-1]) + sum(costs[:-1]) / len(costs[:-1]) <= 30


def test_repeats_share_the_journal(estimator, trained):
    traces = repeat_search(
        RandomSearch(), estimator, repeats=3, evaluations=4, charge_repeats=False
    )
    different = {step.architecture for trace in traces for step in trace.steps}
    assert trained() == 3 * len(different)
    assert all(trace.outcome is not None for trace in traces)


def test_a_real_search_trains_and_goes_on(tmp_path, monkeypatch):
    """Evolution over the bundled digits, cut short at its fourth training."""
    budget = BPE_1.replace(
        epochs=1, layers=5, channels=2, image_size=8, batch_size=256, data_fraction=0.2
    )
    estimators = [
        ProxyEstimator(SPACE.name, budget, tmp_path / name, "digits") for name in ("one", "two")
    ]
    uninterrupted = search(estimators[0], evaluations=6)
    evaluated = []

    def interrupted(path, trial, *rest, **options):
        evaluated.append(trial)
        if len(evaluated) == 4:
            raise KeyboardInterrupt
        return run_trial(path, trial, *rest, **options)

    with monkeypatch.context() as patch:
        patch.setattr("bpe_bench.estimators.training.run_trial", interrupted)
        with pytest.raises(KeyboardInterrupt):
            search(estimators[1], evaluations=6)
    with Journal(tmp_path / "two", read_only=True) as journal:
        assert journal.counts()["done"] == len({trial.id for trial in evaluated[:3]})
    found = search(estimators[1], evaluations=6)
    # On a CPU the same figures; the seconds are those that this machine took each time.
    steps = [(step.architecture, step.accuracy) for step in found.steps]
    assert steps == [(step.architecture, step.accuracy) for step in uninterrupted.steps]
    assert search(estimators[1], evaluations=6) == found
    with Journal(tmp_path / "two", read_only=True) as journal:
        assert found.seconds == pytest.approx(journal.device_seconds())
    outcome = _attach_outcome(found, estimators[1]).outcome
    assert outcome.validation == max(step.accuracy for step in found.steps)
    assert 0 < outcome.test < 1
