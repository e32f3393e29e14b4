"""Rounds: what is separable, when they abstain, and what they ask for next."""

import math
from dataclasses import dataclass, field

import numpy as np
import pytest

from bpe_bench import BPE_1, BudgetSpace
from bpe_bench.correlation.candidates import Candidate, Cost
from bpe_bench.correlation.evidence import Evidence
from bpe_bench.correlation.prediction import CostModel
from bpe_bench.errors import SelectionError, UnknownNameError
from bpe_bench.pruning import Rules, prune
from bpe_bench.pruning.rounds import _Pruning


@dataclass
class MadeUp:
    """A full grid whose correlations a formula gives, known to ``error``."""

    vary: dict
    formula: object
    error: float = 0.0
    asked: list = field(default_factory=list)
    kind = "replay"
    space, name, statistic, notes = "darts", "made up", "spearman", ()
    predicts_beyond = False
    stopped = ""
    choices = {}  # noqa: RUF012

    def __post_init__(self):
        budgets = list(BudgetSpace.around(BPE_1, self.vary))
        rows = [
            Candidate(
                label=str(place),
                budget=budget,
                cost=Cost(float(budget.epochs * budget.layers * budget.channels)),
            ).predicted(value := self.formula(budget), value - 0.05, value + 0.05)
            for place, budget in enumerate(budgets)
        ]
        self.pool = self.known = Evidence(tuple(rows), self.error)
        self.costs = CostModel.fit(rows)

    def evaluate(self, rows):
        self.asked += [row.label for row in rows]
        return list(rows)

    @property
    def precedents(self):
        return self.pool.budgets

    def draw(self, evidence, resamples, rng):
        return evidence.draw(resamples, rng)

    def offers(self, space, rng):
        return self.pool.rows

    def hours(self, rows):
        return sum(row.cost_seconds for row in rows) / 3600

    def halves(self, rng):
        return None


GRID = {"epochs": (5, 10, 20, 40), "layers": (6, 12), "channels": (8, 16), "cutout": (0, 8)}


def only_epochs(budget):
    return 0.3 + 0.1 * math.log2(budget.epochs / 5)


def run(objective, seed=0, **rules):
    rules = {"resamples": 40, "sequential": False, "importance": "forest", **rules}
    return _Pruning(objective, Rules(**rules), np.random.default_rng(seed)).run()


def test_hyper_parameters_that_do_nothing_go_together():
    """They tie near zero: no order among them can be told, and none is needed."""
    done = run(MadeUp(GRID, only_epochs, error=0.01), keep=1)
    assert len(done.rounds) == 1
    (only,) = done.rounds
    assert set(only.pruned) == {"layers", "channels", "cutout"}
    assert (only.separable, only.abstained) == (True, False)
    assert only.next_least == ("epochs",)
    assert done.pinned == {"layers": 6, "channels": 8, "cutout": 0}  # the cheapest, the usual
    assert done.kept() == ("epochs",)
    assert done.stop_reason == "1 groups of hyper-parameters are left, the number to keep"


def test_what_is_to_be_kept_is_kept_although_it_does_nothing():
    """Of the three that tie one would have to stay, so nothing is pruned."""
    done = run(MadeUp(GRID, only_epochs, error=0.01), keep=2)
    assert done.pinned == {}
    assert done.rounds[-1].abstained
    assert done.stop_reason.startswith("the data do not separate ")
    assert done.stop_reason.endswith(
        "the next least important, and there is no more evidence; --force prunes it all the same"
    )


def test_without_separation_it_abstains_and_with_force_it_goes_on():
    objective = MadeUp(GRID, only_epochs, error=5.0)  # the noise is far above any effect
    careful = run(objective)
    assert [r.abstained for r in careful.rounds] == [True]
    assert careful.rounds[0].pruned == ()
    assert careful.rounds[0].least != careful.rounds[0].next_least != ()
    forced = run(objective, force=True)
    assert [len(r.pruned) for r in forced.rounds] == [1, 1]
    assert not any(r.separable for r in forced.rounds)
    assert forced.rounds[0].pruned == careful.rounds[0].least
    assert len(forced.kept()) == 2


def test_a_sequential_run_that_abstains_looks_for_more_evidence():
    objective = MadeUp(GRID, only_epochs, error=5.0)
    done = run(objective, sequential=True, initial=8, per_round=6, patience=9)
    assert [r.evaluated for r in done.rounds] == [8, 14, 20, 26, 32]
    assert len(set(objective.asked)) == len(objective.asked) == 32  # all, and each once
    assert all(r.abstained for r in done.rounds)
    assert "there is no more evidence" in done.stop_reason


def test_few_resamples_separate_nothing():
    """Of 39 resamples none may disagree, which is less than 2.5 %."""
    objective = MadeUp(GRID, only_epochs, error=0.01)
    assert run(objective, keep=1, resamples=39).pinned == {}
    assert run(objective, keep=1, resamples=40).pinned != {}
    report = prune(
        objective, Rules(sequential=False, resamples=5), rng=np.random.default_rng(0), predictions=0
    )
    assert (
        "5 resamples are too few to separate groups at 95%: at least 40 are needed"
        in report.warnings
    )


def test_patience_is_for_evidence_that_can_grow():
    done = run(MadeUp(GRID, only_epochs, error=5.0), patience=1)
    assert "and there is no more evidence; --force" in done.stop_reason


def test_its_patience_ends():
    objective = MadeUp(GRID, only_epochs, error=5.0)
    done = run(objective, sequential=True, initial=8, per_round=6, patience=3)
    assert [r.evaluated for r in done.rounds] == [8, 14, 20]
    assert len(objective.asked) == 20  # nothing is asked for that no round looks at
    assert "and more evidence does not help; --force" in done.stop_reason


def test_settings_of_the_remaining_space_only_are_asked_for():
    objective = MadeUp(GRID, only_epochs, error=0.01)
    done = run(objective, sequential=True, initial=16, per_round=2, keep=1)
    (pruned,) = (r for r in done.rounds if r.pruned)
    later = objective.asked[pruned.evaluated :]
    budgets = {row.label: row.budget for row in objective.pool.rows}
    assert all(getattr(budgets[n], k) == v for n in later for k, v in pruned.pinned_to.items())


def test_the_report_says_what_it_did_not_prune():
    report = prune(
        MadeUp(GRID, only_epochs, error=5.0),
        Rules(sequential=True, initial=8, per_round=12, resamples=5),
        rng=np.random.default_rng(0),
        max_cost_hours=(1.0,),
        predictions=0,
    )
    assert report.pruning_order == ()
    assert [r.abstained for r in report.rounds] == [True] * 3
    said = [w for w in report.warnings if w.startswith("nothing was pruned in round ")]
    assert said
    assert all(w.endswith(" (--force prunes it all the same)") for w in said)
    found = report.to_json()
    assert [r["abstained"] for r in found["rounds"]] == [True] * 3
    assert all(r["least"] and r["next_least"] and not r["pruned"] for r in found["rounds"])
    assert (found["objective"], found["force"]) == ("replay", False)
    assert report.best().best_under_hours == (1.0,)
    assert any("too few to hold half of them out" in note for note in report.warnings)
    assert all(r.held_out is None for r in report.recommended)


def test_rules_are_checked():
    with pytest.raises(UnknownNameError, match="unknown importance estimator 'forrest'"):
        Rules(importance="forrest")
    for name, least in (
        ("keep", 1),
        ("initial", 2),
        ("per_round", 1),
        ("resamples", 2),
        ("patience", 1),
    ):
        with pytest.raises(SelectionError) as error:
            Rules(**{name: least - 1})
        assert str(error.value) == f"{name} must be at least {least}, found {least - 1}"
