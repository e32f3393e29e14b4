"""``bpe-bench search --estimator surrogate``: driven by predictions, judged by the full table."""

import re

import numpy as np
import pytest

from bpe_bench import open_table, write_table
from bpe_bench.search import read_traces
from bpe_bench.surrogate import Question, fit_surrogate, save_surrogate


@pytest.fixture(scope="module")
def table_file(whole_space, tmp_path_factory):
    file = tmp_path_factory.mktemp("whole") / "whole.h5"
    write_table(whole_space, file)
    return file


@pytest.fixture(scope="module")
def surrogate_file(whole_space, tmp_path_factory):
    """Fitted to the long trainings of 100 of the 15,625 cells."""
    file = tmp_path_factory.mktemp("surrogate") / "cells"
    question = Question(architectures=100, budgets=("long",))
    fitted = fit_surrogate(whole_space, question, rng=np.random.default_rng(0), name="whole")
    save_surrogate(file, fitted)
    return file


def search(*arguments):
    return ("search", "--space", "nas-bench-201", "--estimator", "surrogate", *arguments)


def test_it_is_judged_by_the_full_table(as_json, surrogate_file, table_file, whole_space):
    found = as_json(
        *search("--searcher", "evolution", "--surrogate", surrogate_file, "--table", table_file),
        "--evaluations", 200, "--repeats", 3,
    )  # fmt: skip
    assert (found["estimator"], found["evaluations_mean"]) == ("surrogate", 200)
    assert found["budget"]["epochs"] == 200
    assert found["simulated_seconds"] == pytest.approx(200 * 1600, rel=0.01)
    best = whole_space.accuracy("long", "validation").max()
    assert found["optimum"]["validation"] == pytest.approx(best)
    assert 0 < found["regret_mean"] == pytest.approx(best - found["validation_mean"])
    # What it learned of 100 cells leads it to the best one in two hundred, as drawing 200 might.
    accuracies = whole_space.accuracy("long", "validation")
    assert found["validation_mean"] > np.quantile(accuracies, 1 - 1 / 200)


def test_the_table_that_the_surrogate_learned_from_is_named(bpe_bench, surrogate_file):
    status, out, _ = bpe_bench(
        *search("--searcher", "random", "--surrogate", surrogate_file, "--evaluations", 3),
        "--repeats", 1,
    )  # fmt: skip
    assert status == 0
    answer, title = out.splitlines()[:2]
    assert title == (
        "nas-bench-201 on cifar10: 1 repeat, seed 0, by a surrogate of whole under 200 epochs x 17 "
        "layers x 16 channels, 32 pixels (by default), predicting validation accuracy"
    )
    assert re.fullmatch(
        r"random found \d\d\.\d\d % predicted accuracy in one search of 3 evaluations and .*\. "
        "Nothing was trained, so neither its regret nor a chance level is known.",
        answer,
    )


def test_intervals_go_into_the_trace(as_json, surrogate_file, tmp_path):
    traces = tmp_path / "traces.jsonl"
    found = as_json(
        *search("--searcher", "random", "--surrogate", surrogate_file, "--evaluations", 20),
        "--repeats", 2, "--traces", traces,
    )  # fmt: skip
    assert "final figures are the surrogate's predictions, not trainings" in found["warnings"]
    # Without a table nothing but the prediction is known of what was found.
    assert (found["optimum"], found["regret_mean"], found["test_mean"]) == (None, None, None)
    for trace in read_traces(traces):
        assert len(trace.steps) == 20
        assert all(0 <= s.low < s.accuracy < s.high <= 1 for s in trace.steps)


def test_every_searcher_can_be_driven_by_it(as_json, surrogate_file):
    found = as_json(
        *search("--searcher", "all", "--surrogate", surrogate_file, "--evaluations", 12),
        "--repeats", 2,
    )  # fmt: skip
    assert [row["searcher"] for row in found["rows"]] == ["random", "evolution", "reinforce"]


def test_test_accuracies_that_steer_are_said(as_json, darts_bpe, tmp_path):
    """The published trail has no others; whoever searches with its surrogate must know."""
    question = Question(architectures=20, budgets=("test5", "test11", "test32"))
    fitted = fit_surrogate(darts_bpe, question, rng=np.random.default_rng(0), name="darts-bpe")
    save_surrogate(tmp_path / "darts", fitted)
    found = as_json(
        "search", "--space", "darts", "--estimator", "surrogate", "--searcher", "random",
        "--surrogate", tmp_path / "darts", "--evaluations", 3, "--repeats", 1,
    )  # fmt: skip
    assert found["budget"]["epochs"] == 30  # the longest
    assert any("fitted to test accuracies" in warning for warning in found["warnings"])


def test_a_table_that_cannot_judge_is_said(as_json, tmp_path):
    curves = open_table("nas-bench-201-curves")
    question = Question(architectures=20, budgets=("cifar10-valid-200",))
    fitted = fit_surrogate(curves, question, rng=np.random.default_rng(0), model="forest")
    save_surrogate(tmp_path / "part", fitted)
    found = as_json(
        *search("--searcher", "random", "--surrogate", tmp_path / "part", "--evaluations", 2),
        "--repeats", 1, "--table", "nas-bench-201-curves",
    )  # fmt: skip
    assert (
        "the table does not hold every architecture of nas-bench-201, so final figures are not "
        "looked up in it"
    ) in found["warnings"]


def test_a_surrogate_that_must_know_accuracies_needs_a_whole_table(
    fails, as_json, whole_space, table_file, tmp_path
):
    question = Question(architectures=100, budgets=("long",), given=("short",))
    fitted = fit_surrogate(whole_space, question, rng=np.random.default_rng(0), name="whole")
    save_surrogate(tmp_path / "given", fitted)
    arguments = search("--searcher", "random", "--surrogate", tmp_path / "given")
    assert fails(*arguments) == (
        "the surrogate must know the accuracy under short of every architecture of the search; "
        "name a "
        "table of the whole space (--table)"
    )
    found = as_json(*arguments, "--table", table_file, "--evaluations", 5, "--repeats", 1)
    assert found["regret_mean"] >= 0


def test_what_the_surrogate_cannot_answer_is_refused(
    fails, surrogate_file, table_file, correlating, whole_space, tmp_path
):
    given = ("--searcher", "random", "--evaluations", 5, "--repeats", 1)
    assert fails(*search(*given)) == (
        "--estimator surrogate needs --surrogate FILE; make one with: bpe-bench surrogate fit "
        "TABLE -o FILE"
    )
    said = fails(*search(*given, "--surrogate", surrogate_file, "--budget", "short"))
    assert said == (
        "unknown setting 'short'; there are: long; or give BPE-1, BPE-2, full or name=value,..."
    )
    far = "epochs=12,batch_size=128,learning_rate=0.03,layers=17,channels=16,image_size=32"
    said = fails(*search(*given, "--surrogate", surrogate_file, "--budget", far))
    assert "epochs=12 (fitted: 200)" in said
    said = fails(*search(*given, "--surrogate", correlating))
    assert said == f"the surrogate {correlating} is of space 'darts', not of 'nas-bench-201'"
    other = tmp_path / "other.h5"
    write_table(whole_space.with_reference("short"), other)
    said = fails(*search(*given, "--surrogate", surrogate_file, "--table", other))
    assert said.startswith("the surrogate was fitted to table 'whole' with content SHA-256 ")
    said = fails(*search(*given, "--surrogate", surrogate_file, "--dataset", "cifar100"))
    assert said.startswith("--dataset cifar100: the surrogate predicts 'cifar10'")
    correlations = ("search", "--space", "darts", "--estimator", "surrogate", *given)
    said = fails(*correlations, "--surrogate", correlating)
    assert said.startswith("the surrogate predicts correlation and cost, not accuracy")
