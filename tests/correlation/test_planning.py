"""Planning of trainings: what narrows intervals most per second, within the allowance."""

import dataclasses
import json

import numpy as np
import pytest

from bpe_bench.budget import BPE_1, NAMED_BUDGETS
from bpe_bench.correlation import correlate
from bpe_bench.correlation.planning import _FEWEST, plan_trainings
from bpe_bench.errors import SelectionError
from bpe_bench.tables.curves import MISSING
from bpe_bench.tables.table import Split


def with_gaps(table, labels, kept):
    """The table without some trainings: only the first so many architectures of some settings."""
    curves = dict(table.curves)
    for label in labels:
        counts = curves[label, Split.TEST].all_counts().copy()
        counts[..., kept:] = MISSING
        curves[label, Split.TEST] = dataclasses.replace(curves[label, Split.TEST], counts=counts)
    return dataclasses.replace(table, curves=curves)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_a_table_without_gaps_says_so(darts_bpe, rng):
    plan = plan_trainings(darts_bpe, hours=10, rng=rng)
    assert plan.rows == ()
    assert plan.hours_planned == 0
    assert plan.warnings[-1].startswith("the table has no gaps: every architecture")


def test_gaps_are_filled_within_the_allowance(darts_bpe, rng):
    table = with_gaps(darts_bpe, ["test5", "test32"], 40)
    plan = plan_trainings(table, hours=3, rng=rng)
    spent = sum(len(g.architectures) * g.cost_seconds for g in plan.rows) / 3600
    assert spent == pytest.approx(plan.hours_planned)
    assert spent <= 3
    held = {a: i for i, a in enumerate(table.architectures)}
    for gap in plan.rows:
        assert gap.label in ("test5", "test32")
        # Only what is missing is planned, each once.
        assert all(held[a] >= 40 for a in gap.architectures)
        assert len(set(gap.architectures)) == len(gap.architectures)


def test_the_cheaper_of_two_equal_gaps_comes_first(darts_bpe, rng):
    """test5 costs a sixth of test32, so it is filled first."""
    table = with_gaps(darts_bpe, ["test5", "test32"], 40)
    plan = plan_trainings(table, hours=60 * 0.0852, rng=rng)
    counts = {gap.label: len(gap.architectures) for gap in plan.rows}
    assert counts["test5"] > 6 * counts.get("test32", 0)


def test_what_is_expected_is_what_comes(darts_bpe, rng):
    """The expected half width is near the one of the table with those trainings in it."""
    table = with_gaps(darts_bpe, ["test32"], 30)
    plan = plan_trainings(table, hours=1000, rng=rng)
    (gap,) = plan.rows
    assert len(gap.architectures) == 70
    before = correlate(table).row("test32")
    assert gap.half_width == pytest.approx((before.high - before.low) / 2, rel=0.1)
    after = correlate(darts_bpe).row("test32")
    assert gap.expected_half_width == pytest.approx((after.high - after.low) / 2, rel=0.35)


def test_a_new_budget_is_planned_with_enough_architectures(darts_bpe, rng):
    budget = BPE_1.replace(epochs=20)
    plan = plan_trainings(darts_bpe, hours=5, rng=rng, budgets=[budget])
    (gap,) = plan.rows
    assert gap.budget == budget
    assert gap.trained == 0
    assert len(gap.architectures) >= _FEWEST
    assert gap.expected_half_width < gap.half_width == 1.0
    assert "costs miss by a factor" in plan.warnings[-1]
    # Twice the epochs of BPE-1 on the same device: about twice its cost.
    assert 1.3 < gap.cost_seconds / (0.0852 * 3600) < 3
    # A budget that the table has already is not planned again.
    again = plan_trainings(darts_bpe, hours=5, rng=rng, budgets=[NAMED_BUDGETS["BPE-1"]])
    assert again.rows == ()


def test_an_allowance_that_pays_for_nothing(darts_bpe, rng):
    plan = plan_trainings(darts_bpe, hours=0.01, rng=rng, budgets=[BPE_1.replace(epochs=20)])
    assert plan.rows == ()
    assert plan.warnings[-1].startswith("the allowance is too small: the cheapest missing")
    for hours in (0, -1, float("inf"), float("nan")):
        with pytest.raises(SelectionError, match="an allowance must be above 0 hours and finite"):
            plan_trainings(darts_bpe, hours=hours, rng=rng)


def test_the_same_seed_gives_the_same_plan(darts_bpe):
    table = with_gaps(darts_bpe, ["test5"], 40)
    texts = [
        json.dumps(plan_trainings(table, hours=2, rng=np.random.default_rng(s)).to_json())
        for s in (0, 0, 1)
    ]
    assert texts[0] == texts[1] != texts[2]
