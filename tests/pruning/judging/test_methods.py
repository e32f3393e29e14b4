"""Every method: the contract, and orders worked out by hand."""

import importlib.util
from dataclasses import replace

import numpy as np
import pytest

from bpe_bench.budget import BPE_1
from bpe_bench.errors import OptionalDependencyError, SelectionError, UnknownNameError
from bpe_bench.importance import ESTIMATORS
from bpe_bench.pruning.judging import METHODS, Account, Deal, Pool, make_methods
from bpe_bench.pruning.judging.account import _OutOfHours
from bpe_bench.pruning.judging.methods import (
    _MIP,
    _CheapestFirst,
    _CoveringDesign,
    _RandomSampling,
    _SuccessiveHalving,
)
from bpe_bench.pruning.judging.mip import _MinimumImportancePruning
from bpe_bench.pruning.judging.tpe import _Tpe

pytest.importorskip("optuna")
EVERY = {method.name: method for method in make_methods()[0]}
each_method = pytest.mark.parametrize("name", METHODS)


def run(method, pool, seed=0, seconds=1e12, deal=0):
    account = Account(Deal(pool, np.random.default_rng(deal)), seconds, np.random.default_rng(seed))
    try:
        method.run(account)
    except _OutOfHours:
        return account, False
    return account, True


def order(method, pool, seed=0):
    """Settings in the order in which they were first paid for."""
    asked = []

    class Noting(Account):
        def evaluate(self, place, architectures=None):
            if place not in asked:
                asked.append(place)
            return super().evaluate(place, architectures)

    method.run(Noting(Deal(pool, np.random.default_rng(0)), 1e12, np.random.default_rng(seed)))
    return asked


@pytest.fixture(scope="module")
def pool(darts_bpe):
    return Pool.of(darts_bpe, max_cost_hours=0.6)


@each_method
def test_every_setting_is_evaluated_and_all_is_spent(name, pool):
    account, ended = run(EVERY[name], pool)
    assert ended
    assert account.spent == pytest.approx(pool.hours * 3600)
    half = pool.choosing
    deal = Deal(pool, np.random.default_rng(0))
    seen = [deal.estimate(place, half).correlation for place in range(len(pool.rows))]
    assert account.standings[-1].incumbent == int(np.argmax(seen))


@each_method
def test_it_stops_at_its_allowance(name, pool):
    account, ended = run(EVERY[name], pool, seconds=20 * 3600)
    assert not ended
    assert 0 < account.spent <= 20 * 3600


@each_method
def test_the_same_generator_gives_the_same_run(name, pool):
    one, same = (run(EVERY[name], pool, seed=4)[0].standings for _ in range(2))
    assert one == same


@pytest.mark.parametrize("name", ["random", "tpe", "mip-forest"])
def test_another_generator_gives_another_run(name, pool):
    orders = [order(EVERY[name], pool, seed) for seed in range(3)]
    assert len({tuple(one) for one in orders}) > 1


@each_method
def test_no_method_looks_at_what_it_has_not_paid_for(name, pool):
    """Correlations over all architectures are turned round: nothing may change."""
    turned = (replace(row.estimate, correlation=-row.correlation) for row in pool.rows)
    rows = tuple(row.measured(e) for row, e in zip(pool.rows, turned, strict=True))
    assert order(EVERY[name], replace(pool, rows=rows)) == order(EVERY[name], pool)


@each_method
@pytest.mark.parametrize("kind", ["one budget", "all equal", "a NaN", "one setting"])
def test_degenerate_pools(name, kind, make_pool):
    rng = np.random.default_rng(0)
    accuracies = rng.normal(0.9, 0.01, (24, 6))
    budgets = None
    if kind == "one budget":
        budgets = [BPE_1] * 6
    elif kind == "all equal":
        accuracies[:] = accuracies[:, :1]
    elif kind == "a NaN":
        accuracies[:, 2], accuracies[:, 3] = 0.9, np.nan
    else:
        accuracies = accuracies[:, :1]
    pool = make_pool(accuracies, range(1, accuracies.shape[1] + 1), budgets)
    account, ended = run(EVERY[name], pool)
    assert ended
    assert account.spent == pytest.approx(pool.hours * 3600)
    assert account.standings[-1].incumbent >= 0


def test_cheapest_first_by_hand(signs):
    pool = signs([1, -1, 1, -1], [4, 1, 3, 2])
    assert order(_CheapestFirst(), pool) == [1, 3, 2, 0]
    account, _ = run(_CheapestFirst(), pool)
    assert [s.seconds for s in account.standings] == [12, 36, 72, 120]
    assert [s.incumbent for s in account.standings] == [1, 1, 2, 2]


def test_covering_is_what_pruning_starts_with(pool):
    first = order(_CoveringDesign(), pool)
    assert first[:12] == order(EVERY["mip-forest"], pool)[:12]
    costs = pool.seconds[first[-3:]].tolist()
    assert costs == sorted(costs)


def test_random_sampling_finds_the_best_after_k_of_s_with_chance_k_over_s(signs):
    pool = signs([-1, -1, -1, 1, -1], [1] * 5)
    runs = [run(_RandomSampling(), pool, seed)[0] for seed in range(300)]
    found = np.array([[s.incumbent == 3 for s in account.standings] for account in runs]).mean(
        axis=0
    )
    assert found == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0], abs=0.08)


def test_halving_by_hand(signs):
    """Four settings on 6 architectures; two go on to 12; then those that were dropped."""
    account, _ = run(_SuccessiveHalving(), signs([-1, -1, -1, 1], [1, 1, 1, 1]))
    assert [s.seconds for s in account.standings] == [6, 12, 18, 24, 30, 36, 42, 48]
    assert [s.incumbent for s in account.standings] == [0, 0, 0, 3, 3, 3, 3, 3]


def test_halving_goes_on_with_the_better_half(signs):
    pool = signs([-1, 1, -1, 1], [1, 2, 3, 4])
    asked = []

    class Noting(Account):
        def evaluate(self, place, architectures=None):
            asked.append((place, architectures))
            return super().evaluate(place, architectures)

    deal = Deal(pool, np.random.default_rng(0))
    _SuccessiveHalving().run(Noting(deal, 1e9, np.random.default_rng(0)))
    assert asked[:4] == [(0, 6), (1, 6), (2, 6), (3, 6)]
    assert asked[4:6] == [(1, 12), (3, 12)]
    assert {0, 2} <= {place for place, _ in asked[6:]}


def test_what_halving_dropped_last_is_trained_first(make_pool):
    """Rounds of 6, 12 and 24: 4 of 8 settings are dropped, then 2 of 4."""
    rng = np.random.default_rng(0)
    truth = np.linspace(0, 1, 48)
    columns = [truth + rng.normal(0, 0.02 + 0.4 * place, 48) for place in range(8)]
    pool = make_pool(np.array(columns).T, [1] * 8, truth=truth)
    asked = []

    class Noting(Account):
        def evaluate(self, place, architectures=None):
            asked.append((place, architectures))
            return super().evaluate(place, architectures)

    deal = Deal(pool, np.random.default_rng(0))
    _SuccessiveHalving().run(Noting(deal, 1e9, np.random.default_rng(0)))
    survivors = [{p for p, size in asked if size == step} for step in (6, 12, 24)]
    assert [len(one) for one in survivors] == [8, 4, 2]
    paid = [p for p, size in asked if size is None and p not in survivors[2]]
    assert set(paid[:2]) == survivors[1] - survivors[2]
    assert set(paid[2:]) == survivors[0] - survivors[1]
    scores = [deal.estimate(p, 12).correlation for p in paid[:2]]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize(
    ("half", "rounds"), [(50, [7, 13, 25, 50]), (4, [4]), (11, [6, 11]), (12, [6, 12])]
)
def test_rounds_of_halving(half, rounds):
    assert _SuccessiveHalving().rounds(half) == rounds


def test_tpe_learns(make_pool):
    """The more epochs the better: after its random start it asks for the upper end first."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=60)
    columns = [truth + rng.normal(size=60) * (3 - 0.07 * s) for s in range(40)]
    pool = make_pool(np.array(columns).T, [1] * 40, truth=truth)
    after = [np.mean(order(_Tpe(), pool, seed)[10:20]) for seed in range(5)]
    assert np.mean(after) > 24


def test_tpe_is_silent_and_leaves_optunas_logging_alone(pool, capfd):
    import optuna

    before = optuna.logging.get_verbosity()
    run(_Tpe(), pool)
    assert optuna.logging.get_verbosity() == before
    assert capfd.readouterr() == ("", "")


def test_all_methods_by_name():
    methods, notes = make_methods()
    assert [m.name for m in methods] == list(METHODS)
    assert notes == []
    assert tuple(f"mip-{name}" for name in ESTIMATORS) == _MIP
    assert [m.name for m in make_methods(["mip", "random"])[0]] == [*_MIP, "random"]
    assert all(m.summary and m.draws >= 1 for m in methods)
    made = make_methods(["mip-fanova", "random"], keep=3, initial=5, per_round=1)[0][0]
    assert made == _MinimumImportancePruning("fanova", 3, 5, 1)


@pytest.mark.parametrize(
    ("names", "error", "text"),
    [
        (["random", "grid"], UnknownNameError, "unknown method 'grid'; there are: mip, mip-forest"),
        (["random"], SelectionError, "at least 2 methods are compared, found random; there are: "),
        (["random", "random"], SelectionError, "at least 2 methods are compared, found random"),
    ],
)
def test_methods_that_cannot_be(names, error, text):
    with pytest.raises(error) as caught:
        make_methods(names)
    assert str(caught.value).startswith(text)


def test_rules_that_cannot_be():
    with pytest.raises(SelectionError, match="initial must be at least 2, found 1"):
        make_methods(initial=1)


def test_without_optuna(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        "bpe_bench.pruning.judging.methods.find_spec",
        lambda name: None if name == "optuna" else real(name),
    )
    methods, notes = make_methods()
    assert not {"tpe", "mip-ped-anova"} & {m.name for m in methods}
    assert notes == ["left out, as Optuna is not installed: mip-ped-anova, tpe"]
    with pytest.raises(OptionalDependencyError, match="tpe needs Optuna, which is not installed"):
        make_methods(["tpe", "random"])
