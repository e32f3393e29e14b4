"""Which budget a correlation report recommends, and what it says about it."""

import dataclasses
import re

import numpy as np
import pytest
from scipy import stats

from bpe_bench import Selection, correlate, open_table, with_top_k
from bpe_bench.correlation.choice import choose, comparable, convincing
from bpe_bench.inference import estimate


@pytest.fixture(scope="module")
def shipped():
    return open_table("darts-bpe")


@pytest.fixture(scope="module")
def spearman(shipped):
    """Spearman's correlation of every budget with full training, by scipy."""
    full = shipped.accuracy("full", "test")
    labels = [s.label for s in shipped.settings if s.label != "full"]
    return {k: stats.spearmanr(shipped.accuracy(k, "test"), full).statistic for k in labels}


@pytest.fixture(scope="module")
def answered(shipped):
    """The report of the shipped table, with the figures of its ten best."""
    return with_top_k(shipped, correlate(shipped, name="darts-bpe"), None)


def test_the_best_of_the_cheap_budgets_is_recommended(shipped, answered, spearman):
    """A tenth of the dearest: the table does not know what full training costs."""
    seconds = {s.label: s.seconds for s in shipped.settings if s.label != "full"}
    cheap = {label for label, cost in seconds.items() if cost <= max(seconds.values()) / 10}
    best = max(cheap, key=spearman.get)
    choice = answered.recommended
    assert choice.label == best == "test32"
    assert choice.compared == len(cheap)
    assert answered.to_json()["recommended"]["label"] == best
    said = answered.answer
    assert said == answered.to_json()["answer"]
    assert said.startswith(f"Use test32 (BPE-2): 33 min per network on RTX 2080 Ti, Spearman "
                           f"{spearman['test32']:.3f} [0.48, 0.73] (chance: 0), ")  # fmt: skip
    assert f"It ranks best of the {len(cheap)} budgets that cost at most 1.23 h" in said


def test_the_shortlist_is_compared_with_a_random_one(shipped, answered):
    """Against a count over the accuracies, and the mean of the best of 10 by order statistics."""
    full = shipped.accuracy("full", "test")
    listed = np.argsort(-shipped.accuracy("test32", "test"), kind="stable")[:10]
    chances = 0.1 * stats.hypergeom.pmf(0, 99, np.arange(100), 9)  # none of the k better ones
    assert chances.sum() == pytest.approx(1)
    random = full.max() - (np.sort(full)[::-1] * chances).sum()
    lost = full.max() - full[listed].max()
    assert answered.answer.endswith(
        f"The best of its first 10 is {100 * lost:.2f} points of accuracy below the best of all, "
        f"the best of 10 random ones {100 * random:.2f}."
    )


def test_the_held_out_figure_is_lower_and_the_same_every_time(shipped, answered):
    found = answered.recommended.held_out.correlation
    assert found < answered.row("test32").correlation
    assert correlate(shipped).recommended.held_out.correlation == found
    # Nearly half of the halves choose another budget: the figure is of the choice, not of test32.
    assert answered.recommended.held_out.same_choice < 0.6
    assert f"(chance: 0), {found:.3f} held out. " in answered.answer


def test_a_shortlist_no_better_than_chance_is_marked(shipped):
    """BPE-1 loses .19 points where ten random cells lose .14."""
    report = correlate(shipped, Selection(labels=["test5"]))
    said = with_top_k(shipped, report, 10).answer
    assert "There is no other budget to compare it with." in said
    assert "0.19 points" in said
    assert said.endswith("0.14, so here it does no better than chance.")


def test_comparisons_are_the_answer(shipped):
    report = correlate(shipped, comparing=[("BPE-1", "BPE-2")])
    assert report.answer == report.comparisons[0].verdict


def test_nothing_is_recommended_where_no_interval_lies_above_0(shipped):
    """The reference's accuracies in another order have nothing to do with the budgets'."""
    curves = dict(shipped.curves)
    (key,) = [key for key in curves if key[0] == "full"]
    shuffled = np.random.default_rng(0).permutation(100)
    counts = curves[key].all_counts()[:, :, shuffled]
    curves[key] = dataclasses.replace(curves[key], counts=counts)
    report = correlate(dataclasses.replace(shipped, curves=curves))
    assert report.recommended is None
    assert report.to_json()["recommended"] is None
    assert re.match(r"Nothing here can be recommended: ", report.answer)
    best = max(row.correlation for row in report.rows)
    assert f"with Spearman {best:.3f} [" in report.answer


def row_of(answered, label, n=100, correlation=0.5, seconds=60.0, noise=0.5):
    """A row whose accuracies are made up, over n architectures."""
    rng = np.random.default_rng(len(label))
    x = rng.normal(size=n)
    y = correlation * x + noise * rng.normal(size=n)
    row = answered.rows[0]
    cost = dataclasses.replace(row.cost, amount=seconds)
    return dataclasses.replace(row, label=label, setting=label, cost=cost, estimate=estimate(x, y))


def test_budgets_of_few_architectures_are_not_compared(answered):
    rows = [row_of(answered, "all"), row_of(answered, "few", n=50), row_of(answered, "most", n=95)]
    assert [row.label for row in comparable(rows)] == ["all", "most"]


def test_the_luckiest_of_many_is_not_convincing(answered):
    """Its own p-value is below .05, but not 20 times it."""
    unrelated = [row_of(answered, "x" * k, correlation=0.0) for k in range(1, 21)]
    rows = sorted(unrelated, key=lambda row: row.p_value)
    assert rows[0].p_value * len(rows) > 0.05
    assert convincing(rows, 0.95) == []
    real = row_of(answered, "real", correlation=1.0)
    assert convincing([*rows, real], 0.95) == [real]


@pytest.mark.parametrize(
    ("costs", "chosen", "is_cheap", "limit_of"),
    [
        ({"poor": 10.0, "good": 90.0}, "good", True, "full"),
        ({"poor": 10.0, "good": 900.0}, "poor", True, "full"),
        ({"poor": 200.0, "good": 900.0}, "good", False, "full"),
        ({"poor": np.nan, "good": np.nan}, "good", False, None),
    ],
)
def test_cheap_is_a_tenth_of_full_training(answered, costs, chosen, is_cheap, limit_of):
    signal = {"poor": 0.5, "good": 1.0}
    rows = [row_of(answered, k, correlation=signal[k], seconds=v) for k, v in costs.items()]
    choice = choose(
        rows, ("full", 1000.0), lambda one, other: True,
        truth=np.arange(4.0), accuracies={k: np.arange(4.0) for k in costs},
    )  # fmt: skip
    assert (choice.label, choice.is_cheap, choice.limit_of) == (chosen, is_cheap, limit_of)


@pytest.mark.parametrize(("n", "shown"), [(4, False), (5, True), (30, True)])
def test_a_perfect_ranking_has_no_interval_and_is_shown_to_rank_from_5_on(answered, n, shown):
    """Two orders of n are the same with probability 1 / n!: 1/24 in one of two tails, 1/120."""
    row = row_of(answered, "perfect", n=n, correlation=1.0, noise=0.0)
    assert np.isnan(row.low)
    assert row.above_chance is shown
    assert not row_of(answered, "upside down", n=n, correlation=-1.0, noise=0.0).above_chance


def few(shipped, n):
    """The shipped table with its first n architectures only."""
    curves = {}
    for key, c in shipped.curves.items():
        counts = c.counts.copy()
        counts[..., n:] = -1
        curves[key] = dataclasses.replace(c, counts=counts)
    return dataclasses.replace(shipped, curves=curves)


def test_a_perfect_order_of_five_is_luck_among_many_budgets(shipped):
    """Two of 120 orders are perfect one way or the other: .017 alone, more than .05 of 37."""
    report = correlate(few(shipped, 5))
    assert max(row.correlation for row in report.rows) == 1
    assert report.recommended is None
    assert "interval above 0 or a perfect order, which can be luck" in report.answer
    alone = correlate(few(shipped, 5), Selection(labels=["test31"]))
    assert alone.recommended.label == "test31"


def test_budgets_that_rank_upside_down_need_no_more_architectures(shipped):
    (key,) = [key for key in shipped.curves if key[0] == "full"]
    full = shipped.curves[key]
    curves = {**shipped.curves, key: dataclasses.replace(full, counts=10_000 - full.counts)}
    table = dataclasses.replace(shipped, curves=curves)
    said = correlate(table, Selection(labels=["test5"])).answer
    assert said.endswith(
        "over 100 architectures; even that ranks the wrong way round, so look whether full "
        "training is the right one."
    )
