"""The top of a ranking, and what a random order has: against all orders, one by one."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpe_bench import Curves, Selection, Split, correlate, with_top_k
from bpe_bench.correlation.topk import TopK, default_k
from bpe_bench.errors import RankingError
from bpe_bench.tables.table import MISSING


def of_all_choices(truth, k):
    """Precision, regret and best rank as means over all choices of k, the definitions written out.

    Of equal values at the k-th place of the truth, each is among the best with equal chance.
    """
    n, threshold = len(truth), sorted(truth)[-k]
    above = sum(value > threshold for value in truth)
    tied = sum(value == threshold for value in truth)
    among = [1 if v > threshold else (k - above) / tied if v == threshold else 0 for v in truth]
    rank = [1 + sum(other > value for other in truth) for value in truth]
    choices = list(itertools.combinations(range(n), k))
    return (
        np.mean([sum(among[i] for i in chosen) / k for chosen in choices]),
        np.mean([max(truth) - max(truth[i] for i in chosen) for chosen in choices]),
        np.mean([min(rank[i] for i in chosen) / n for chosen in choices]),
    )


@given(
    truth=st.lists(st.sampled_from([0.1, 0.2, 0.25, 0.5, 0.9]), min_size=2, max_size=8),
    data=st.data(),
)
def test_chance_is_the_mean_over_all_choices(truth, data):
    k = data.draw(st.integers(1, len(truth)))
    found = TopK.of(np.arange(len(truth), dtype=float), np.array(truth), k)
    expected = of_all_choices(truth, k)
    assert found.precision_at_k_chance == pytest.approx(k / len(truth))
    assert (
        found.precision_at_k_chance,
        found.regret_at_k_chance,
        found.best_rank_at_k_chance,
    ) == pytest.approx(expected, abs=1e-12)


def test_chance_of_best_rank_without_ties_in_closed_form():
    # The smallest of k of n different ranks is (n + 1) / (k + 1) on average.
    found = TopK.of(np.arange(1000.0), np.random.default_rng(0).permutation(1000) / 1000, 10)
    assert found.best_rank_at_k_chance == pytest.approx(1001 / 11 / 1000, rel=1e-12)


def test_rows_have_the_chances_of_their_own_architectures(golden):
    report = with_top_k(golden, correlate(golden, Selection(epochs="last")), 2)
    cheap, middle = report.rows
    truth = golden.accuracy("full", Split.VALIDATION)
    for row, own in ((cheap, truth), (middle, truth[:5])):
        top = row.top
        found = (top.precision_at_k_chance, top.regret_at_k_chance, top.best_rank_at_k_chance)
        assert found == pytest.approx(of_all_choices(own.tolist(), 2))
    assert cheap.to_json()["precision_at_k_chance"] == pytest.approx(2 / 6)


def test_k_suits_the_table_unless_it_is_given(golden):
    report = correlate(golden, Selection(epochs="last"))
    assert report.top_k is None
    assert report.rows[0].top is None
    assert report.to_json()["rows"][0]["precision_at_k"] is None
    assert with_top_k(golden, report).top_k == 2  # a third of six
    assert [default_k(n) for n in (1, 12, 30, 15_625)] == [1, 4, 10, 10]


def test_k_suits_settings_that_share_few_architectures_with_the_reference(golden):
    counts = golden.curves["cheap", Split.VALIDATION].all_counts().copy()
    counts[:, :, :3] = MISSING  # three of six are left
    curves = {
        key: dataclasses.replace(own, counts=counts) if key[0] == "cheap" else own
        for key, own in golden.curves.items()
        if key[0] in ("cheap", "full")
    }
    table = dataclasses.replace(golden, curves=curves)
    report = correlate(table, Selection(epochs="last"))
    assert [row.n_architectures for row in report.rows] == [3]
    assert with_top_k(table, report).top_k == 1


@pytest.mark.parametrize("k", [0, 7])
def test_a_k_that_no_row_has(golden, k):
    report = correlate(golden, Selection(epochs="last"))
    with pytest.raises(RankingError) as caught:
        with_top_k(golden, report, k)
    assert str(caught.value) == (
        f"k must be between 1 and the number of architectures, 6; found {k}; give another (--top-k)"
    )


def test_a_row_with_fewer_than_k_architectures_has_no_top(golden):
    counts = np.array([[[700, 710, 720, MISSING, MISSING, MISSING]]], dtype=np.int32)
    curves = Curves(counts, 1000, np.array([10]), np.array([0]))
    table = golden.__class__(
        **{**vars_of(golden), "curves": {**golden.curves, ("middle", Split.VALIDATION): curves}}
    )
    report = with_top_k(table, correlate(table, Selection(epochs="last")), 4)
    assert report.row("middle").top is None
    assert report.row("cheap").top is not None
    assert report.warnings[-1] == "middle: fewer than 4 architectures, so no best 4"
    assert math.isnan(report.row("middle").to_json()["precision_at_k"] or math.nan)


def vars_of(table):
    names = table.__dataclass_fields__
    return {name: getattr(table, name) for name in names}
