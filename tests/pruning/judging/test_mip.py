"""Minimum importance pruning as a method: what it keeps, and what it does with its hours."""

import numpy as np
import pytest

from bpe_bench.pruning import Rules
from bpe_bench.pruning.judging import Account, Deal
from bpe_bench.pruning.judging.mip import _Asked, _MinimumImportancePruning
from bpe_bench.pruning.rounds import _Pruning


def account_of(pool, seed=0):
    return Account(Deal(pool, np.random.default_rng(seed)), 1e12, np.random.default_rng(seed))


def labels_in_order(account):
    """The order in which settings were paid for, by their costs, which all differ."""
    costs = account.pool.seconds * account.pool.choosing
    paid = np.diff([0.0, *(standing.seconds for standing in account.standings)])
    return [int(np.argmin(abs(costs - cost))) for cost in paid]


@pytest.mark.parametrize("importance", ["forest", "fanova", "xgboost-shap"])
@pytest.mark.parametrize("seed", [0, 1])
def test_what_matters_is_kept(layered, importance, seed):
    rules = Rules(importance=importance, keep=1, initial=12, per_round=4, resamples=4, force=True)
    account = account_of(layered, seed)
    run = _Pruning(_Asked(account, gives_up=False), rules, account.rng).run()
    assert run.kept() == ("layers",)
    assert run.pinned == {"batch_size": 128, "channels": 4}
    assert run.answered == 0
    assert {row.label for row in run.evidence.rows} <= {row.label for row in layered.rows}


def test_evidence_is_what_the_choosing_half_says(layered):
    account = account_of(layered)
    asked = _Asked(account)
    (row,) = asked.evaluate([layered.unseen.rows[5]])
    expected = Deal(layered, np.random.default_rng(0)).estimate(5, 40)
    assert (row.correlation, row.n_architectures) == (expected.correlation, 40)
    assert account.spent == pytest.approx(layered.seconds[5] * 40)
    assert asked.hours([row]) == pytest.approx(account.spent / 3600)


def test_the_remaining_space_comes_first_and_prunings_are_undone_last_first(layered):
    account = account_of(layered)
    _MinimumImportancePruning(keep=1, per_round=1).run(account)
    asked = labels_in_order(account)
    assert sorted(asked) == list(range(len(layered.rows)))
    rules = Rules(keep=1, per_round=1, resamples=4, force=True)
    again = account_of(layered)
    run = _Pruning(_Asked(again, gives_up=False), rules, again.rng).run()
    during = len(run.evidence.rows)
    first, second = (dict(done.pinned_to) for done in run.rounds if done.pruned)

    def fits(place, pinned):
        budget = layered.rows[place].budget
        return all(getattr(budget, name) == value for name, value in pinned.items())

    after = asked[during:]
    levels = [2 if fits(p, first | second) else 1 if fits(p, first) else 0 for p in after]
    assert levels == sorted(levels, reverse=True)
    assert {0, 1, 2} == set(levels)
    for level in (0, 1, 2):
        costs = [layered.seconds[p] for p, at in zip(after, levels, strict=True) if at == level]
        assert costs == sorted(costs)


@pytest.mark.parametrize("seed", range(3))
def test_giving_up_when_the_remaining_space_is_used_up_changes_nothing(layered, seed, monkeypatch):
    one, other = account_of(layered, seed), account_of(layered, seed)
    _MinimumImportancePruning(keep=1).run(one)
    monkeypatch.setattr(
        "bpe_bench.pruning.judging.mip._Asked", lambda account: _Asked(account, False)
    )
    _MinimumImportancePruning(keep=1).run(other)
    assert one.standings == other.standings


def test_settings_that_rank_nothing_are_paid_for_and_no_evidence(make_pool):
    rng = np.random.default_rng(0)
    accuracies = rng.normal(0.9, 0.01, (24, 5))
    accuracies[:, 1] = 0.9
    account = account_of(make_pool(accuracies, range(1, 6)))
    found = _Asked(account).evaluate(account.pool.unseen.rows[:3])
    assert [row.label for row in found] == ["s0", "s2"]
    assert account.spent == 12 * (1 + 2 + 3)


def test_its_name_and_what_it_refuses():
    from bpe_bench.errors import UnknownNameError

    assert _MinimumImportancePruning("fanova").name == "mip-fanova"
    with pytest.raises(UnknownNameError, match="unknown importance estimator 'fnova'"):
        _MinimumImportancePruning("fnova")
