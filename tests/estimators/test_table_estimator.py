"""Answers from a table: which figures steer, what they cost, and what is reported."""

import dataclasses
import math
import pickle
import warnings

import numpy as np
import pytest

from bpe_bench.budget import BPE_1
from bpe_bench.errors import (
    InvalidBudgetError,
    LeakError,
    MissingReferenceError,
    SelectionError,
    UnknownNameError,
)
from bpe_bench.estimators import TableEstimator
from bpe_bench.search import (
    RandomSearch,
    RegularizedEvolution,
    Reinforce,
    repeat_search,
    run_search,
)
from bpe_bench.spaces import Architecture
from bpe_bench.tables.storage import read_table, write_table
from bpe_bench.tables.table import Setting, Split

VALIDATION, TEST = Split.VALIDATION, Split.TEST
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def estimator(whole):
    return TableEstimator(whole)


def ask(estimator, whole, place, rng=RNG):
    return estimator.evaluate(whole.architectures[place], rng)


def test_the_signal_is_the_cheapest_setting_that_has_validation_figures(estimator, whole):
    assert estimator.setting.label == "valid-12"
    assert estimator.budget == whole.setting("valid-12").budget
    assert (estimator.space, estimator.source) == ("nas-bench-201", "table")
    assert (estimator.dataset, estimator.report_dataset) == ("cifar10", "cifar10")
    assert estimator.full_seconds == 1_000.0


def test_the_signal_is_the_mean_over_the_seeds_that_there_are(estimator, whole, counts):
    first, second = counts("valid-12", VALIDATION)
    for place in (0, 1, 15_624):
        found = ask(estimator, whole, place)
        assert found.accuracy == (int(first[place]) + int(second[place])) / 20_000
        assert (found.source, found.state, found.message) == ("table", "done", "")
    assert ask(estimator, whole, 7).accuracy == second[7] / 10_000


def test_what_is_missing_is_a_failed_evaluation_that_costs(estimator, whole):
    for seeds in ("mean", "random"):
        found = ask(TableEstimator(whole, seeds=seeds), whole, 8)
        assert math.isnan(found.accuracy)
        assert not found.usable
        assert (found.state, found.message) == ("failed", "missing under valid-12")
        assert found.cost_seconds == whole.measures["valid-12", "seconds"][8]


def test_one_of_the_seeds_drawn_for_each_evaluation(whole, counts):
    estimator = TableEstimator(whole, seeds="random")
    rng = np.random.default_rng(0)
    own = counts("valid-12", VALIDATION)[:, 3] / 10_000
    found = [ask(estimator, whole, 3, rng).accuracy for _ in range(400)]
    assert set(found) == set(own)
    assert abs(found.count(own[0]) - 200) < 5 * 10
    # Of one that has one seed only, that.
    assert {ask(estimator, whole, 7, rng).accuracy for _ in range(20)} == {
        counts("valid-12", VALIDATION)[1, 7] / 10_000
    }
    # The same seed gives the same draws.
    traces = [
        run_search(RandomSearch(), estimator, evaluations=50, rng=np.random.default_rng(1))
        for _ in range(2)
    ]
    assert repr(traces[0]) == repr(traces[1])


def test_the_cost_is_that_of_the_architecture_or_the_settings(estimator, whole):
    seconds = whole.measures["valid-12", "seconds"]
    for place in (0, 5, 15_624):
        assert estimator.expected_seconds(whole.architectures[place]) == seconds[place]
        assert ask(estimator, whole, place).cost_seconds == seconds[place]
    assert ask(estimator, whole, 9).cost_seconds == 100.0
    assert ask(TableEstimator(whole, dataset="cifar100"), whole, 9).cost_seconds == 40.0


def test_an_earlier_epoch_costs_its_share(whole):
    estimator = TableEstimator(whole, "valid-12@6")
    expected = whole.curves["valid-12", VALIDATION].all_counts()[:, 0, 5].mean() / 10_000
    found = ask(estimator, whole, 5)
    assert found.accuracy == pytest.approx(expected)
    assert found.cost_seconds == pytest.approx(whole.measures["valid-12", "seconds"][5] / 2)
    with pytest.raises(UnknownNameError) as error:
        TableEstimator(whole, "valid-12@7")
    assert str(error.value) == "unknown epoch '7' of setting 'valid-12'; there are: 6, 12"


def test_an_earlier_epoch_costs_what_was_measured(whole):
    measured = np.full(15_625, 31.0)
    measured[5] = np.nan
    own = {**whole.measures, ("valid-12", "seconds@6"): measured}
    estimator = TableEstimator(dataclasses.replace(whole, measures=own), "valid-12@6")
    assert ask(estimator, whole, 4).cost_seconds == 31.0
    seconds = whole.measures["valid-12", "seconds"]
    both = np.isfinite(measured) & np.isfinite(seconds)
    share = measured[both].sum() / seconds[both].sum()
    assert ask(estimator, whole, 5).cost_seconds == pytest.approx(seconds[5] * share)


def test_a_cost_that_is_unknown_is_nan(whole):
    estimator = TableEstimator(whole, "dear-12")
    assert math.isnan(estimator.expected_seconds(whole.architectures[0]))
    with pytest.raises(SelectionError, match=r"^a search of limited seconds needs to know"):
        run_search(RandomSearch(), estimator, seconds=10, rng=np.random.default_rng(0))
    trace = run_search(RandomSearch(), estimator, evaluations=5, rng=np.random.default_rng(0))
    assert trace.evaluations == 5


def test_the_outcome_is_full_training_tested_after_training_on_all_images(estimator, whole, counts):
    validation, test = counts("valid-200", VALIDATION)[0], counts("all-200", TEST)[0]
    for place in (0, 8, 15_624):
        found = estimator.outcome(whole.architectures[place])
        assert (found.validation, found.test) == (validation[place] / 10_000, test[place] / 10_000)
    best = estimator.optimum()
    assert (best.validation, best.test) == (validation.max() / 10_000, test.max() / 10_000)


def test_searching_on_one_data_set_and_reporting_on_another(whole, counts):
    estimator = TableEstimator(whole, dataset="cifar100", report_dataset="cifar10")
    assert (estimator.dataset, estimator.report_dataset) == ("cifar100", "cifar10")
    assert estimator.setting.label == "c100-12"
    assert ask(estimator, whole, 5).accuracy == counts("c100-12", VALIDATION)[0, 5] / 10_000
    found = estimator.outcome(whole.architectures[5])
    assert found.validation == counts("valid-200", VALIDATION)[0, 5] / 10_000
    assert estimator.full_seconds == 900.0  # what it would take to train the signal's way in full
    own = TableEstimator(whole, dataset="cifar100").outcome(whole.architectures[5])
    assert own.test == counts("c100-200", TEST)[0, 5] / 10_000


@pytest.mark.parametrize(
    ("budget", "label"),
    [
        ("valid-12", "valid-12"),
        ("dear-12", "dear-12"),
        ("valid-200", "valid-200"),
        (
            "epochs=12,batch_size=128,learning_rate=0.03,layers=17,channels=36,image_size=32,"
            "data_fraction=0.5",
            "dear-12",
        ),
        ("BPE-1,epochs=200,layers=17,channels=16,image_size=32,data_fraction=0.5", "valid-200"),
    ],
)
def test_budgets_by_label_and_by_hyper_parameters(whole, budget, label):
    assert TableEstimator(whole, budget).setting.label == label


def test_the_same_budget_on_another_data_set(whole):
    text = "BPE-1,epochs=12,layers=17,channels=16,image_size=32,data_fraction=0.5"
    assert TableEstimator(whole, text, dataset="cifar100").setting.label == "c100-12"
    with pytest.raises(SelectionError) as error:
        TableEstimator(whole, "c100-12")
    assert str(error.value) == (
        "budget 'c100-12' is of data set cifar100, the search is on cifar10; there are: "
        "valid-200, valid-12, all-200, dear-12"
    )


def test_a_budget_by_its_published_name(whole):
    settings = [
        dataclasses.replace(s, budget=BPE_1) if s.label == "dear-12" else s for s in whole.settings
    ]
    named = dataclasses.replace(whole, settings=tuple(settings))
    assert TableEstimator(named, "BPE-1").setting.label == "dear-12"


def test_a_budget_that_the_table_lacks_names_the_nearest(whole):
    with pytest.raises(SelectionError) as error:
        TableEstimator(
            whole, "BPE-1,epochs=20,layers=17,channels=16,image_size=32,data_fraction=0.5"
        )
    # Of the settings that can steer: by factors, 12 is nearer to 20 than 200 is.
    assert str(error.value) == (
        "the table was not trained under budget "
        "'BPE-1,epochs=20,layers=17,channels=16,image_size=32,data_fraction=0.5' on cifar10; the "
        "nearest that it has: valid-12 (epochs=12), dear-12 (epochs=12, channels=36), valid-200 "
        "(epochs=200)"
    )


@pytest.mark.parametrize(
    ("budget", "kind", "message"),
    [
        (
            "BPE-3",
            SelectionError,
            "unknown budget 'BPE-3'; there are: BPE-1, BPE-2, valid-200, valid-12, all-200, "
            "dear-12; or give name=value,...",
        ),
        (
            "BPE-1,epoch=3",
            UnknownNameError,
            "unknown hyper-parameter 'epoch' (did you mean 'epochs'?); there are: epochs, "
            "batch_size, learning_rate, lr_schedule, layers, channels, image_size, precision, "
            "cutout, data_fraction",
        ),
        ("BPE-1,epochs=x", InvalidBudgetError, "epochs must be a whole number, found 'x'"),
    ],
)
def test_budgets_that_there_cannot_be(whole, budget, kind, message):
    with pytest.raises(kind) as error:
        TableEstimator(whole, budget)
    assert str(error.value) == message


def without(table, *splits):
    """Return a table without the curves of some splits."""
    kept = {key: curves for key, curves in table.curves.items() if key[1] not in splits}
    return dataclasses.replace(table, curves=kept)


def test_test_figures_cannot_steer(whole):
    message = (
        "a search may not look at test accuracy of '{}', and the table has no validation "
        "accuracy of it; take another budget or table, or ask for it: --split test"
    )
    with pytest.raises(LeakError) as error:
        TableEstimator(whole, "all-200")
    assert str(error.value) == message.format("all-200")
    with pytest.raises(LeakError) as error:
        TableEstimator(without(whole, VALIDATION))
    assert str(error.value) == (
        "the table has no validation accuracies on cifar10 to steer a search by; there are: test; "
        "name one with --split, which the report then says, or take another table"
    )


def test_without_test_figures_the_report_says_so(whole):
    estimator = TableEstimator(without(whole, TEST))
    found = estimator.outcome(whole.architectures[0])
    assert math.isfinite(found.validation)
    assert math.isnan(found.test)
    assert math.isnan(estimator.optimum().test)


def test_a_table_of_a_part_of_its_space(whole):
    part = dataclasses.replace(
        whole,
        architectures=whole.architectures[:-1],
        curves={
            key: dataclasses.replace(curves, counts=curves.all_counts()[:, :, :-1])
            for key, curves in whole.curves.items()
        },
        measures={},
    )
    estimator = TableEstimator(part)
    space = estimator.search_space
    # The last one is left out, and place 8 has no accuracy under the cheap setting.
    assert (estimator.known, space.size, space.name) == (15_623, 15_623, "nas-bench-201")
    neighbour = space.neighbours(whole.architectures[-2])
    assert whole.architectures[-1] not in neighbour
    assert len(neighbour) == 23  # of 24 in the whole space
    assert whole.architectures[8] not in space.neighbours(whole.architectures[9])
    assert pickle.loads(pickle.dumps(space)).neighbours(whole.architectures[-2]) == neighbour


def part_of(table, places):
    """Return a table of some of the architectures."""
    return dataclasses.replace(
        table,
        architectures=tuple(table.architectures[place] for place in places),
        curves={
            key: dataclasses.replace(curves, counts=curves.all_counts()[:, :, places])
            for key, curves in table.curves.items()
        },
        measures={},
    )


def test_what_is_missing_may_count_as_failed(whole):
    part = part_of(whole, np.arange(0, 15_625, 2))
    estimator = TableEstimator(part, missing="failed")
    assert (estimator.known, estimator.search_space.size) == (7_812, 15_625)
    for place in (1, 8):  # the table has no such architecture; its accuracy is missing
        found = ask(estimator, whole, place)
        assert (found.state, found.message) == ("failed", "missing under valid-12")
        assert found.cost_seconds == estimator.expected_seconds(whole.architectures[place]) == 100.0
    outcome = estimator.outcome(whole.architectures[1])
    assert math.isnan(outcome.validation)
    assert math.isnan(outcome.test)
    trace = run_search(RandomSearch(), estimator, evaluations=200, rng=np.random.default_rng(0))
    held = set(part.architectures) - {whole.architectures[8]}
    assert {s.state == "done" for s in trace.steps if s.architecture in held} == {True}
    failed = sum(step.state == "failed" for step in trace.steps)
    assert failed == sum(step.architecture not in held for step in trace.steps)
    assert abs(failed - 100) < 5 * math.sqrt(50)


def test_the_optimum_is_of_what_can_be_found(whole, counts):
    """The best architecture of full training has no accuracy under the cheap setting."""
    best = int(np.argmax(counts("valid-200", VALIDATION)[0]))
    curves = whole.curves["valid-12", VALIDATION]
    holes = curves.all_counts().copy()
    holes[:, :, best] = -1
    own = {**whole.curves, ("valid-12", VALIDATION): dataclasses.replace(curves, counts=holes)}
    lacking = dataclasses.replace(whole, curves=own)
    rest = np.delete(counts("valid-200", VALIDATION)[0], [8, best])
    assert TableEstimator(lacking).optimum().validation == rest.max() / 10_000
    all_of_it = TableEstimator(lacking, missing="failed").optimum().validation
    assert all_of_it == counts("valid-200", VALIDATION)[0, best] / 10_000


def test_a_budget_without_any_accuracy(whole):
    curves = whole.curves["valid-12", VALIDATION]
    none = dataclasses.replace(curves, counts=np.full_like(curves.all_counts(), -1))
    own = {**whole.curves, ("valid-12", VALIDATION): none}
    with pytest.raises(SelectionError) as error:
        TableEstimator(dataclasses.replace(whole, curves=own), "valid-12")
    assert str(error.value) == (
        "the table has no validation accuracy of any architecture under 'valid-12'; take another "
        "budget"
    )


def test_test_accuracies_steer_if_they_are_asked_for(whole, counts):
    estimator = TableEstimator(whole, "all-200", split="test")
    assert estimator.split is TEST
    assert ask(estimator, whole, 5).accuracy == counts("all-200", TEST)[0, 5] / 10_000
    assert estimator.notes == (
        "test accuracies steered the search, as asked, so what it found looks better on test "
        "images than it is",
    )
    # The first of the cheapest settings that have them; no 12-epoch setting does.
    assert TableEstimator(whole, split="test").setting.label == "valid-200"
    assert (TableEstimator(whole).split, TableEstimator(whole).notes) == (VALIDATION, ())
    with pytest.raises(UnknownNameError) as error:
        TableEstimator(whole, "valid-12", split="test")
    assert str(error.value) == "unknown split 'test' of setting 'valid-12'; there are: validation"
    with pytest.raises(UnknownNameError, match=r"^unknown split 'tset' \(did you mean 'test'\?\)"):
        TableEstimator(whole, split="tset")


def test_searches_over_a_part_ask_for_nothing_else(whole):
    part = part_of(whole, np.arange(0, 15_625, 40))
    estimator = TableEstimator(part)
    for searcher in (
        RandomSearch(),
        RandomSearch(replace=False),
        RegularizedEvolution(),
        Reinforce(),
    ):
        (trace,) = repeat_search(searcher, estimator, repeats=1, evaluations=60)
        assert {step.architecture for step in trace.steps} <= set(part.architectures)
        assert all(step.state == "done" for step in trace.steps)


def test_what_else_is_refused(whole):
    with pytest.raises(SelectionError) as error:
        TableEstimator(whole, seeds="all")
    assert str(error.value) == "seeds must be one of mean, random, found 'all'"
    with pytest.raises(UnknownNameError, match=r"^unknown data set 'svhn'; there are: cifar10, "):
        TableEstimator(whole, dataset="svhn")
    with pytest.raises(UnknownNameError, match=r"^unknown data set 'svhn'; there are: cifar10, "):
        TableEstimator(whole, report_dataset="svhn")
    with pytest.raises(SelectionError) as error:
        TableEstimator(whole, missing="ignored")
    assert str(error.value) == "missing must be one of never, failed, found 'ignored'"
    with pytest.raises(MissingReferenceError, match=r"no reference .* for data set 'cifar10'"):
        TableEstimator(dataclasses.replace(whole, references=()))


def test_the_only_reference_may_be_on_another_data_set(whole, counts):
    """As with ``correlate``: full training on other images is what there is to report."""
    estimator = TableEstimator(dataclasses.replace(whole, references=("c100-200",)))
    assert (estimator.dataset, estimator.report_dataset) == ("cifar10", "cifar100")
    assert estimator.outcome(whole.architectures[5]).test == counts("c100-200", TEST)[0, 5] / 1e4
    assert math.isnan(estimator.full_seconds)
    with pytest.raises(MissingReferenceError):
        TableEstimator(
            dataclasses.replace(whole, references=("c100-200",)), report_dataset="cifar10"
        )


@pytest.mark.parametrize(
    "architecture",
    [Architecture("darts", (0,) * 6), Architecture("nas-bench-201", (5,) + (0,) * 5)],
)
def test_architectures_of_elsewhere_are_refused(estimator, architecture):
    message = (
        f"the table of nas-bench-201 does not hold this architecture of {architecture.space}: "
        f"{architecture.genes}; take a table of the whole space, another searcher, or "
        "--estimator train"
    )
    calls = (
        lambda: estimator.evaluate(architecture, RNG),
        lambda: estimator.expected_seconds(architecture),
        lambda: estimator.outcome(architecture),
    )
    for call in calls:
        with pytest.raises(SelectionError) as error:
            call()
        assert str(error.value) == message


def test_figures_of_all_architectures(whole, counts):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = [TableEstimator(whole, seeds=seeds).figures for seeds in ("mean", "random")]
    first, second = counts("valid-12", VALIDATION).astype(float)
    mean = (first + second) / 20_000
    mean[7], mean[8] = second[7] / 10_000, np.nan
    for signal, seconds, final in found:
        np.testing.assert_allclose(signal, mean)
        assert seconds[0] == whole.measures["valid-12", "seconds"][0]
        np.testing.assert_array_equal(final, counts("valid-200", VALIDATION)[0] / 10_000)


def test_it_is_sent_without_the_tables_file(whole, tmp_path):
    path = tmp_path / "whole.h5"
    write_table(whole, path)
    estimator = TableEstimator(read_table(path))
    sent = pickle.dumps(estimator)
    path.unlink()
    # Signal, seconds, two final figures and the places of all architectures.
    assert len(sent) < 2_000_000
    found = pickle.loads(sent)
    architecture = whole.architectures[5]
    assert found.evaluate(architecture, RNG) == TableEstimator(whole).evaluate(architecture, RNG)
    assert found.outcome(architecture) == TableEstimator(whole).outcome(architecture)
    assert found.optimum() == estimator.optimum()


def test_searches_in_two_processes_are_those_in_one(whole):
    estimator = TableEstimator(whole, seeds="random")
    options = {"repeats": 6, "seconds": 2_000.0}
    one, two = (
        repeat_search(RegularizedEvolution(), estimator, jobs=jobs, **options) for jobs in (1, 2)
    )
    assert repr(one) == repr(two)
    assert all(trace.stopped_by == "seconds" for trace in one)


def test_a_setting_without_seconds_is_not_taken_for_the_cheapest(whole):
    unknown = [
        Setting(s.label, s.budget, s.dataset) if s.label == "valid-12" else s
        for s in whole.settings
    ]
    table = dataclasses.replace(whole, settings=tuple(unknown), measures={})
    assert TableEstimator(table).setting.label == "valid-200"
