"""What a run is charged, and what it is said to have found."""

import numpy as np
import pytest

from bpe_bench.pruning.judging import Account, Deal
from bpe_bench.pruning.judging.account import _OutOfHours

HALF = 12


def account_of(pool, seconds=1e9):
    return Account(Deal(pool, np.random.default_rng(0)), seconds, np.random.default_rng(1))


def test_new_trainings_are_charged_once(signs):
    account = account_of(signs([1, -1, 1, -1], [1, 10, 100, 1000]))
    account.evaluate(1, 6)
    assert account.spent == 60
    account.evaluate(1, 6)
    account.evaluate(1, 4)
    assert account.spent == 60
    account.evaluate(1)
    assert account.spent == 10 * HALF
    assert [standing.seconds for standing in account.standings] == [60, 120]


def test_more_trainings_are_not_forgotten(signs):
    account = account_of(signs([1, -1, 1, -1], [1, 10, 100, 1000]))
    account.evaluate(0)
    assert account.evaluate(0, 6).n == HALF


def test_the_allowance_pays_or_does_not(signs):
    pool = signs([1, -1, 1, -1], [1, 10, 100, 1000])
    account = account_of(pool, 11 * HALF)
    account.evaluate(0)
    account.evaluate(1)
    with pytest.raises(_OutOfHours):
        account.evaluate(2)
    assert account.spent == 11 * HALF
    assert account.evaluate(1).correlation == pytest.approx(-1)  # what is known stays free


def test_the_best_seen_is_the_incumbent(signs):
    account = account_of(signs([-1, 1, -1, 1], [1, 1, 1, 1]))
    for place in (0, 2, 1, 3):
        account.evaluate(place)
    assert [standing.incumbent for standing in account.standings] == [
        0,
        0,
        1,
        1,
    ]  # of equals the first
    assert [standing.seen for standing in account.standings] == pytest.approx([-1, -1, 1, 1])


def test_only_those_seen_on_most_architectures_count(signs):
    account = account_of(signs([-1, 1, -1, 1], [1, 1, 1, 1]))
    account.evaluate(1, 6)
    account.evaluate(0, 12)
    account.evaluate(3, 6)
    assert [standing.incumbent for standing in account.standings] == [1, 0, 0]


def test_what_has_no_correlation_is_paid_for_and_never_the_incumbent(make_pool):
    columns = [np.full(24, 0.9), np.linspace(0, 1, 24)]
    account = account_of(make_pool(np.array(columns).T, [1, 1]))
    account.evaluate(0)
    assert (account.spent, account.standings[0].incumbent) == (HALF, -1)
    account.evaluate(1)
    assert account.standings[1].incumbent == 1


def test_incumbents_after_some_spendings(signs):
    account = account_of(signs([-1, 1, -1, 1], [1, 2, 1, 1]))
    account.evaluate(0)
    account.evaluate(1)
    incumbents, seen = account.at(np.array([0, HALF - 0.1, HALF, 3 * HALF - 0.1, 3 * HALF, 1e6]))
    assert incumbents.tolist() == [-1, -1, 0, 0, 1, 1]
    assert seen == pytest.approx([np.nan, np.nan, -1, -1, 1, 1], nan_ok=True)


def test_nothing_was_asked(signs):
    incumbents, seen = account_of(signs([1] * 4, [1] * 4)).at(np.array([1.0]))
    assert incumbents.tolist() == [-1]
    assert np.isnan(seen).all()
