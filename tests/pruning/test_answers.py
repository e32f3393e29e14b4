"""The answer of a pruning: what it names, refuses to name, and says of what was pruned."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from bpe_bench import Curves, Replay, Rules, Split, prune
from bpe_bench.budget import BPE_1, BPE_2, parse_budget
from bpe_bench.errors import SelectionError
from bpe_bench.pruning import ObjectivePlan, check_search, plan_search
from bpe_bench.pruning.answers import brief


def pruned(table, *, rules=None, **options):
    given = {"importance": "ped-anova", "sequential": False, "resamples": 2, **(rules or {})}
    return prune(
        Replay.of(table, name="made"),
        Rules(**given),
        rng=np.random.default_rng(0),
        **{"predictions": 0, **options},
    )


def spearman(table, label):
    full, own = (table.curves[name, Split.TEST].counts[0, -1] for name in ("full", label))
    return stats.spearmanr(own, full).statistic


@pytest.fixture(scope="module")
def upside_down(darts_bpe):
    """The shipped table with every cheap budget's ranking reversed."""
    curves = {
        key: c if key[0] == "full" else Curves(10_000 - c.counts, c.split_size, c.epochs, c.seeds)
        for key, c in darts_bpe.curves.items()
    }
    return replace(darts_bpe, curves=curves)


def test_it_names_a_budget_per_allowance_with_its_figures(darts_bpe):
    report = pruned(darts_bpe, max_cost_hours=(0.1, 0.6))
    cheap, dear, rest = report.answer.splitlines()
    held_out = {r.row.label: r.held_out.correlation for r in report.recommended}
    rows = {row.label: row for row in report.rows}
    assert cheap == (
        f"Use linear_lr within 0.1 h per network: 5.33 min on V100, Spearman "
        f"{spearman(darts_bpe, 'linear_lr'):.3f} [{rows['linear_lr'].low:.2f}, "
        f"{rows['linear_lr'].high:.2f}] (chance: 0), {held_out['linear_lr']:.3f} held out."
    )
    # The paper's name of the budget stands beside the table's.
    assert dear.startswith(
        "Use test32 (BPE-2) within 0.6 h per network: 33 min on RTX 2080 Ti, Spearman "
        f"{spearman(darts_bpe, 'test32'):.3f} "
    )
    assert rest == f"Nothing is pruned: {report.stop_reason}."
    assert next(iter(report.to_json().items())) == ("answer", report.answer)


def test_allowances_with_the_same_budget_are_one_sentence(darts_bpe):
    report = pruned(darts_bpe, max_cost_hours=(0.6, 0.7, 0.6))
    assert report.answer.startswith("Use test32 (BPE-2) within 0.6 h and 0.7 h per network: ")
    assert len(report.answer.splitlines()) == 2


def test_without_an_allowance_it_names_the_best_and_how_to_ask_for_cheaper_ones(darts_bpe):
    first = pruned(darts_bpe).answer.splitlines()[0]
    assert first.startswith(
        f"Use test32 (BPE-2): 33 min on RTX 2080 Ti, Spearman {spearman(darts_bpe, 'test32'):.3f} "
    )
    assert first.endswith(
        "It ranks best of those that cost at most 1.23 h, a tenth of the dearest; --max-cost-hours "
        "names the best within an allowance."
    )


def test_nothing_whose_interval_is_not_above_0_is_recommended(upside_down):
    report = pruned(upside_down, max_cost_hours=(0.6,), predictions=5)
    assert report.recommended == ()
    assert report.best() is None
    best = max(report.rows, key=lambda row: row.correlation)
    assert best.correlation == pytest.approx(spearman(upside_down, best.label))
    assert best.correlation < 0
    assert report.answer.splitlines()[0] == (
        "Nothing here can be recommended: no interval lies above 0 (chance). The best is "
        f"{best.label} with Spearman {best.correlation:.3f} [{best.low:.2f}, {best.high:.2f}] over "
        "100 architectures; more architectures make intervals narrower."
    )
    # They are listed, by cost, as not shown to rank.
    assert best.label in {row.label for row in report.not_shown_to_rank}
    costs = [row.cost_seconds for row in report.not_shown_to_rank]
    assert costs == sorted(costs)
    found = report.to_json()
    assert [r["label"] for r in found["not_shown_to_rank"]] == [
        row.label for row in report.not_shown_to_rank
    ]


def test_a_good_looking_budget_that_is_not_shown_to_rank_hides_no_other(darts_bpe):
    """The dearest is left four cells that it ranks without a fault: no interval is above 0."""
    curves = darts_bpe.curves["test23", Split.TEST]
    truth = darts_bpe.curves["full", Split.TEST].counts[0, -1]
    counts = np.full_like(curves.counts, -1)
    few = np.argsort(truth)[[5, 30, 60, 90]]
    counts[..., few] = [5000, 6000, 7000, 8000]
    made = Curves(counts, curves.split_size, curves.epochs, curves.seeds)
    table = replace(darts_bpe, curves={**darts_bpe.curves, ("test23", Split.TEST): made})
    report = pruned(table)
    (row,) = [r for r in report.rows if r.label == "test23"]
    assert row.correlation > 0.99
    assert not row.low > 0
    assert "test23" not in {r.row.label for r in report.recommended}
    little = max(darts_bpe.seconds()[row.label] for row in report.rows) / 10
    others = [r.label for r in report.rows if darts_bpe.seconds()[r.label] <= little]
    best = max(others, key=lambda label: spearman(darts_bpe, label))
    assert report.best().row.label == best


def test_an_allowance_below_every_cost_is_said_and_no_prediction_is_named(darts_bpe):
    report = pruned(darts_bpe, max_cost_hours=(0.001,), predictions=5)
    costs = {s.label: s.seconds for s in darts_bpe.settings if s.label != "full"}
    cheapest = min(costs, key=costs.get)
    assert (cheapest, costs[cheapest]) == ("test11", pytest.approx(2.154 * 60, rel=1e-3))
    assert report.answer.splitlines()[0] == (
        "Nothing can be recommended within 0.001 h per network: no budget costs so little, the "
        "cheapest costs 2.15 min; the cheapest one whose interval lies above 0 is test11 at 2.15 "
        "min."
    )


def test_a_search_is_refused_where_nothing_is_recommended(upside_down):
    with pytest.raises(SelectionError) as error:
        plan_search(pruned(upside_down), "random", ObjectivePlan("darts"))
    assert str(error.value).startswith(
        "there is no budget to search with: Nothing here can be recommended: no interval lies "
        "above 0 (chance). The best is "
    )


def test_what_was_pruned_by_force_is_said_and_what_lies_outside(darts_bpe):
    report = pruned(darts_bpe, rules={"force": True, "keep": 6}, max_cost_hours=(0.6,))
    (only,) = [r for r in report.rounds if r.pruned]
    pins = dict(only.pinned_to)
    outside = sum(
        any(getattr(r.row.budget, name) != value for name, value in pins.items())
        for r in report.recommended
    )
    assert 0 < outside <= len(report.recommended)
    assert report.answer.splitlines()[1] == (
        f"Pruned: {'+'.join(only.pruned)}; in 1 of 1 rounds only because of --force, as the data "
        f"do not separate it from what stays. {outside} of the {len(report.recommended)} budgets "
        "below lie outside the pruned space, as they have other values of what was pruned."
    )


def test_held_out_figures_and_predictions_are_the_same_whatever_judges_importance(darts_bpe):
    one, other = (
        pruned(darts_bpe, rules={"importance": name, "keep": 7}, predictions=2)
        for name in ("ped-anova", "xgboost")
    )
    assert one.rounds == other.rounds == ()
    assert one.recommended == other.recommended
    assert any(r.held_out for r in one.recommended)
    by_forest = pruned(darts_bpe, rules={"importance": "forest", "force": True, "keep": 6})
    measured = [r for r in one.recommended if r.measured]
    assert [r.held_out for r in by_forest.recommended] == [r.held_out for r in measured]


def test_intervals_of_predictions_have_the_confidence_that_was_asked_for(darts_bpe):
    widths = []
    for confidence in (0.8, 0.95):
        report = prune(
            Replay.of(darts_bpe, confidence=confidence),
            Rules(sequential=False, keep=7, confidence=confidence),
            rng=np.random.default_rng(0),
        )
        row = next(r.row for r in report.recommended if not r.measured)
        widths.append(row.high - row.low)
    assert widths[0] < 0.8 * widths[1]


def test_the_shortest_text_of_a_budget_is_read_as_that_budget(darts_bpe):
    budgets = [s.budget for s in darts_bpe.settings]
    assert [parse_budget(brief(b)) for b in budgets] == budgets
    assert (brief(BPE_1), brief(BPE_2.replace(layers=8))) == ("BPE-1", "BPE-2,layers=8")
    for text in ("epochs=3,data_fraction=0.5", "epochs=3,lr_schedule=unknown"):
        assert brief(parse_budget(text, complete=False)) == text


def test_choices_are_in_the_report(darts_bpe):
    report = pruned(darts_bpe, rules={"keep": 7})
    assert report.to_json()["choices"] == {
        "dataset": "cifar10", "split": "test", "reference": "full", "reference_split": "test",
        "architectures": 100, "top_k": 10, "keep": 7, "predictions": 0,
    }  # fmt: skip


def test_test_accuracies_steer_a_search_only_if_that_is_asked_for(darts_bpe):
    replay = Replay.of(darts_bpe, name="darts-bpe")
    with pytest.raises(SelectionError, match="allow that with --split test, or train on images"):
        check_search("random", replay, ObjectivePlan("darts"))
    check_search("random", replay, ObjectivePlan("darts", split=Split.TEST))
    check_search("random", replay, ObjectivePlan("darts", images="digits"))
