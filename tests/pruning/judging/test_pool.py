"""Pools of a table's settings, and halves of its architectures."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from bpe_bench import Curves, Split
from bpe_bench.correlation.candidates import Candidate
from bpe_bench.errors import RankingError, SelectionError
from bpe_bench.pruning.judging import Deal, Pool


def test_the_shipped_table(darts_bpe):
    pool = Pool.of(darts_bpe, name="darts-bpe")
    assert len(pool.rows) == 37
    assert pool.accuracies.shape == (100, 37)
    seconds = [s.seconds for s in darts_bpe.settings if s.label != "full"]
    assert pool.hours == pytest.approx(50 * sum(seconds) / 3600)
    best = max(pool.rows, key=lambda row: row.correlation)
    assert pool.rows[pool.best] is best
    assert [pool.rows[p].cost_seconds for p in pool.by_cost] == sorted(seconds)
    assert any("different devices" in note for note in pool.notes)


def test_what_methods_see_has_no_correlation(darts_bpe):
    unseen = Pool.of(darts_bpe).unseen
    assert {type(row) for row in unseen.rows} == {Candidate}
    for names in (("epochs", "layers"), unseen.varied, unseen.varied):
        assert unseen.groups(names) == super(type(unseen), unseen).groups(names)


def test_an_allowance_per_network(darts_bpe):
    pool = Pool.of(darts_bpe, max_cost_hours=0.6)
    assert {row.label for row in pool.rows} == {
        s.label for s in darts_bpe.settings if s.seconds <= 0.6 * 3600
    }


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"max_cost_hours": 0.0}, "an allowance per network must be above 0 hours and finite"),
        (
            {"max_cost_hours": 0.05},
            "judging needs at least 4 settings with a correlation and a cost, found 2 within 0.05 "
            "hours per network (37 in all, 4 of them within 0.0607); widen",
        ),
        ({"labels": ["test5"]}, "judging needs at least 4 settings with a correlation and a cost"),
    ],
)
def test_too_few_settings(darts_bpe, options, text):
    with pytest.raises(SelectionError) as caught:
        Pool.of(darts_bpe, **options)
    assert str(caught.value).startswith(text)


def few(table, count):
    """The table with its first architectures only."""
    curves = {
        key: Curves(c.counts[..., :count], c.split_size, c.epochs, c.seeds)
        for key, c in table.curves.items()
    }
    return replace(table, architectures=table.architectures[:count], curves=curves)


def test_too_few_architectures_to_halve(darts_bpe):
    with pytest.raises(SelectionError) as caught:
        Pool.of(few(darts_bpe, 7))
    assert str(caught.value) == (
        "halves need at least 8 architectures with full training, found 7; use a larger table"
    )
    assert Pool.of(few(darts_bpe, 9)).choosing == 4


def test_a_table_in_which_all_are_equal(darts_bpe):
    full = darts_bpe.curves["full", Split.TEST]
    equal = Curves(np.full((1, 1, 100), 9000), full.split_size, full.epochs, full.seeds)
    curves = {**darts_bpe.curves, ("full", Split.TEST): equal}
    with pytest.raises(RankingError, match="nothing can be ranked"):
        Pool.of(replace(darts_bpe, curves=curves))


def test_settings_that_rank_nothing_are_left_out(darts_bpe):
    one = darts_bpe.curves["test5", Split.TEST]
    equal = Curves(np.full((1, 1, 100), 9000), one.split_size, one.epochs, one.seeds)
    pool = Pool.of(replace(darts_bpe, curves={**darts_bpe.curves, ("test5", Split.TEST): equal}))
    assert len(pool.rows) == 36
    assert "test5" not in {row.label for row in pool.rows}


@pytest.mark.parametrize("statistic", ["spearman", "kendall"])
def test_halves_do_not_overlap_and_correlate_as_scipy_says(make_pool, statistic):
    rng = np.random.default_rng(0)
    truth, accuracies = rng.normal(size=25), rng.normal(size=(25, 3))
    accuracies[4, 1] = np.nan
    pool = make_pool(accuracies, [1, 2, 3], truth=truth, statistic=statistic)
    dealt = np.random.default_rng(3).permutation(25)
    choosing, scoring = dealt[:12], dealt[12:]
    deal = Deal(pool, np.random.default_rng(3))
    oracle = {"spearman": stats.spearmanr, "kendall": stats.kendalltau}[statistic]

    def known(places, setting):
        both = places[np.isfinite(accuracies[places, setting])]
        return oracle(accuracies[both, setting], truth[both]).statistic

    for setting in range(3):
        assert deal.scores[setting] == pytest.approx(known(scoring, setting))
        assert deal.estimate(setting, 12).correlation == pytest.approx(known(choosing, setting))
        assert deal.estimate(setting, 6).correlation == pytest.approx(known(choosing[:6], setting))


def test_what_does_not_rank_is_nan(make_pool):
    accuracies = np.array([np.full(24, 0.9), np.full(24, np.nan)]).T
    deal = Deal(make_pool(accuracies, [1, 1]), np.random.default_rng(0))
    assert np.isnan(deal.scores).all()
    assert np.isnan(deal.estimate(0, 12).correlation)
    assert (deal.estimate(1, 12).n, np.isnan(deal.estimate(1, 12).correlation)) == (0, True)
