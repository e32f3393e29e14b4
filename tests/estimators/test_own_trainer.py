"""Searches whose evaluations are trainings by one's own trainer."""

import math

import numpy as np
import pytest

from bpe_bench.budget import parse_budget
from bpe_bench.errors import SelectionError
from bpe_bench.estimators import Outcome, ProxyEstimator
from bpe_bench.search import RandomSearch, SearchPlan, repeat_search, run_plan, summarise
from bpe_bench.spaces import DeclaredSpace

BUDGET = parse_budget("epochs=2", complete=False)
RNG = np.random.default_rng(0)


@pytest.fixture
def nets():
    """A declared space of six architectures."""
    space = DeclaredSpace.of(
        {"name": "nets", "parameters": {"width": {"kind": "integer", "low": 1, "high": 6}}}
    )
    return DeclaredSpace.known(space.declaration)


@pytest.fixture
def train():
    """A trainer by which the accuracy is a tenth of the width, and 4 cannot be trained."""

    def train(architecture, budget, seed, report):
        width = architecture.choices["width"]
        if width == 4:
            raise ValueError("four")
        for epoch in range(1, budget.epochs + 1):
            test = {"test": width / 20, "test_size": 40} if width > 1 else {}
            report(validation=width * epoch / 20, size=20, seconds=width, **test)

    train.dataset = "letters"
    return train


def test_it_answers_as_training_does(nets, train, tmp_path):
    estimator = ProxyEstimator("nets", BUDGET, tmp_path / "store.sqlite", trainer=train)
    assert (estimator.dataset, estimator.report_dataset) == ("letters", "letters")
    three, one, four = (nets.parse(f"width={width}") for width in (3, 1, 4))
    found = estimator.evaluate(three, RNG)
    assert (found.accuracy, found.cost_seconds, found.state) == (0.3, 6.0, "done")
    assert estimator.outcome(three) == Outcome(0.3, 0.15)
    found = estimator.outcome(one)
    assert found.validation == 0.1
    assert math.isnan(found.test)
    failed = estimator.evaluate(four, RNG)
    assert failed.state == "failed"
    assert failed.message.startswith("ValueError: four (")


def test_searches_share_its_store_in_processes(nets, train, tmp_path):
    estimator = ProxyEstimator("nets", BUDGET, tmp_path / "store.sqlite", trainer=train)
    searcher = RandomSearch(replace=False)
    traces = repeat_search(searcher, estimator, repeats=2, seed=0, evaluations=6, jobs=2)
    report = summarise(traces, estimator)
    assert (report.validation_mean, report.best, report.failed_evaluations) == (0.6, "width=6", 2)


def test_a_plan_has_one(nets, train, tmp_path):
    plan = SearchPlan(
        "nets", estimator="train", trainer=train, budget="epochs=2", evaluations=3, repeats=1,
        store=tmp_path / "store.sqlite", searcher="all",
    )  # fmt: skip
    result = run_plan(plan)
    assert [report.searcher for report in result.reports] == ["random", "evolution", "reinforce"]
    assert {report.dataset for report in result.reports} == {"letters"}


def test_where_the_reasons_of_failures_are_is_said_first(nets, tmp_path):
    def train(architecture, budget, seed, report):
        raise ValueError("no")

    plan = SearchPlan(
        "nets", estimator="train", trainer=train, budget="epochs=2", evaluations=2, repeats=1,
        store=tmp_path / "store.sqlite",
    )  # fmt: skip
    result = run_plan(plan)
    assert result.reports[0].failed_evaluations == 2
    assert result.warnings[0] == (
        f"the reasons why trainings failed: bpe-bench train status --store {plan.store}"
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"budget": None}, "a trainer of your own needs --budget, because its budgets have no"),
        ({"searcher": "darts"}, "darts trains a supernet of its own, not by --trainer; choose ra"),
        ({"trainer": None}, "this needs a space with a network, and nets has none; those with"),
    ],
)
def test_what_it_cannot_do_is_said_before_any_work(nets, train, tmp_path, given, message):
    store = tmp_path / "store.sqlite"
    facts = {"trainer": train, "budget": "epochs=2", "store": store, "estimator": "train"}
    with pytest.raises(SelectionError) as caught:
        run_plan(SearchPlan("nets", **{**facts, **given}))
    assert str(caught.value).startswith(message)
    assert not store.exists()
