"""Pruning of the budgets of one's own trainer, in a space that has no networks."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr

from bpe_bench.budget import parse_budget
from bpe_bench.errors import SelectionError
from bpe_bench.execution import run_trial
from bpe_bench.execution.journal import Journal
from bpe_bench.pruning import ObjectivePlan, Rules, make_objective, plan_search, prune
from bpe_bench.spaces import DeclaredSpace
from bpe_bench.training.own_trainer import OwnTrainer

VARY = {"epochs": (1, 2), "layers": (1, 3), "data_fraction": (0.5, 1.0)}


WIDTHS = range(3, 43, 4)


def noise(width, layers):
    """Return by how much a short training errs: by little with three layers, by much with one."""
    return width * 7 % 61 - width if layers == 1 else -5 * (width == 31)


def inline(store, task, options, **_):
    """Run the planned trials in this process, which is quicker than to start others."""
    with Journal(store, read_only=True) as journal:
        planned = [entry.trial for entry in journal.entries(("planned",))]
    for trial in planned:
        run_trial(store, trial, task, options)


def objective_of(plan, rng):
    objective = make_objective(plan, rng)
    objective.workplace = replace(objective.workplace, executor=inline)
    return objective


@pytest.fixture
def plan(tmp_path):
    """A plan with a trainer that ranks well with three layers or many epochs."""
    space = DeclaredSpace.of(
        {"name": "nets", "parameters": {"width": {"kind": "integer", "low": 1, "high": 60}}}
    )
    DeclaredSpace.known(space.declaration)
    lines = [f"width={width}" for width in WIDTHS]
    (tmp_path / "nets.txt").write_text("\n".join(lines))

    def train(architecture, budget, seed, report):
        width = architecture.choices["width"]
        good = width if budget.epochs == 5 else width + noise(width, budget.layers)
        for epoch in range(1, budget.epochs + 1):
            accuracy = 0.2 + good / 100 + epoch / 1000
            report(validation=accuracy, size=1000, seconds=budget.data_fraction * budget.layers)

    return ObjectivePlan(
        "nets",
        "train",
        trainer=train,
        vary=VARY,
        reference="epochs=5,layers=3",
        architectures=str(tmp_path / "nets.txt"),
        store=tmp_path / "store.sqlite",
        jobs=1,
    )


def test_settings_are_trained_ranked_and_judged(plan):
    rng = np.random.default_rng(0)
    objective = objective_of(plan, rng)
    assert objective.pool.rows[0].cost.unit == "relative"
    # The trainer decides where it trains.
    assert objective.choices["trainer"] == OwnTrainer.of(plan.trainer).name
    assert "device" not in objective.choices
    budget = parse_budget("epochs=2,layers=3,data_fraction=0.5", complete=False)
    (row,) = (row for row in objective.pool.rows if row.budget == budget)
    assert row.cost.amount == 2 * 3 * 0.5
    report = prune(objective, Rules(sequential=True, initial=6, resamples=5), rng=rng)
    for known in objective.known.rows:
        found = [width + noise(width, known.budget.layers) for width in WIDTHS]
        assert known.correlation == pytest.approx(spearmanr(found, WIDTHS).statistic)
        # Every epoch takes a second for a layer and the whole of the images.
        expected = known.budget.epochs * known.budget.layers * known.budget.data_fraction
        assert known.cost_seconds == pytest.approx(expected)
    shares = {name: share.mean for name, share in report.rounds[0].importances.items()}
    assert max(shares, key=shares.get) == "layers"
    # A search that follows is by the same trainer, under one of the good settings.
    search, notes = plan_search(report, "random", plan)
    assert (search.estimator, search.trainer, notes) == ("train", plan.trainer, ())
    assert "layers=3" in search.budget
    assert report.answer.startswith(("Use epochs=1,layers=3", "Use epochs=2,layers=3"))


@pytest.mark.parametrize("missing", [{"vary": {}}, {"reference": None}])
def test_its_budgets_have_no_default(plan, missing):
    facts = {**vars(plan), **missing}
    with pytest.raises(SelectionError, match="a trainer of your own needs --reference and --vary"):
        make_objective(ObjectivePlan(**facts), np.random.default_rng(0))


def test_the_budget_that_is_varied_is_the_reference_unless_another_is_named(plan):
    objective = make_objective(plan, np.random.default_rng(0))
    assert objective.workplace.trainer == OwnTrainer.of(plan.trainer)
    assert objective.settings.values["batch_size"] == (None,)
    facts = {**vars(plan), "budget": "epochs=1,batch_size=7"}
    objective = make_objective(ObjectivePlan(**facts), np.random.default_rng(0))
    assert objective.settings.values["batch_size"] == (7,)
