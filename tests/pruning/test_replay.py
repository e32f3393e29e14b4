"""Minimum importance pruning, whole: on the shipped table and on tables made for a purpose."""

import json
import math
from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy import stats

from bpe_bench import Curves, Replay, Rules, Selection, Split, open_table
from bpe_bench import prune as prune_objective
from bpe_bench.errors import SelectionError, UnknownNameError
from bpe_bench.hyper_parameters import HYPER_PARAMETERS
from bpe_bench.importance import ESTIMATORS

ALLOWANCES = (0.1, 0.6, 3.0)
each_estimator = pytest.mark.parametrize("importance", ESTIMATORS)


def prune(table, seed=0, **options):
    options = {"resamples": 3, "predictions": 0, "force": True, "sequential": False, **options}
    of_table = {
        key: options.pop(key)
        for key in ("name", "statistic", "selection", "top_k")
        if key in options
    }
    of_pruning = {
        key: options.pop(key)
        for key in ("max_cost_hours", "predictions", "progress")
        if key in options
    }
    rules = Rules(**options)
    objective = Replay.of(table, confidence=rules.confidence, **of_table)
    return prune_objective(objective, rules, rng=np.random.default_rng(seed), **of_pruning)


@cache
def report_of(importance):
    """The report that most tests look at, with the table as its evidence."""
    return prune(
        open_table("darts-bpe"),
        name="darts-bpe",
        importance=importance,
        max_cost_hours=ALLOWANCES,
        resamples=10,
        predictions=5,
    )


@pytest.fixture(scope="module")
def measured(darts_bpe):
    """Label, GPU hours per network and Spearman correlation by scipy, of every budget."""
    truth = darts_bpe.curves["full", Split.TEST].counts[0, -1]
    return [
        (
            s.label,
            s.seconds / 3600,
            stats.spearmanr(darts_bpe.curves[s.label, Split.TEST].counts[0, -1], truth).statistic,
        )
        for s in darts_bpe.settings
        if s.label != "full"
    ]


@each_estimator
def test_layers_and_epochs_are_kept(importance):
    assert set(report_of(importance).kept) == {"layers", "epochs"}


@each_estimator
def test_batch_size_and_learning_rate_are_pruned_together(importance):
    together = [r for r in report_of(importance).rounds if "batch_size" in r.pruned]
    assert [r.pruned for r in together] == [("batch_size", "learning_rate")]
    found = together[0].importances
    assert found["batch_size"].moves_with == ("learning_rate",)
    assert found["learning_rate"].moves_with == ("batch_size",)
    assert found["batch_size"].mean == found["learning_rate"].mean
    assert found["layers"].moves_with == ()


@each_estimator
def test_what_hardly_varies_is_never_pruned_and_named(importance):
    report = report_of(importance)
    for name, usual in (("cutout", "0"), ("data_fraction", "1.0")):
        assert not any(r.importances[name].eligible for r in report.rounds)
        assert name not in report.pruning_order
        assert name not in report.kept
        assert (
            f"{name} hardly varies (1 of 37 settings differ from {usual}) and is not eligible for "
            "pruning"
        ) in report.warnings


@each_estimator
def test_what_limits_the_conclusions_is_said(importance):
    said = report_of(importance).warnings
    assert "costs were measured on different devices (RTX 2080 Ti, V100)" in said
    assert (
        "batch_size and learning_rate move together, so their effects cannot be told apart; they "
        "are judged and pinned as "
        "one"
    ) in said
    assert len(set(said)) == len(said)


@each_estimator
def test_every_round_says_whether_the_data_carry_it(importance):
    report = report_of(importance)
    assert len(report.rounds) == 5
    named = [w for w in report.warnings if w.startswith("round ")]
    unsure = [i for i, r in enumerate(report.rounds, 1) if not r.separable]
    assert [int(w.split()[1].rstrip(":")) for w in named] == unsure
    for text, number in zip(named, unsure, strict=True):
        done = report.rounds[number - 1]
        least, following = " and ".join(done.pruned), " and ".join(done.next_least)
        assert f"the data do not separate {least} from {following}, the next" in text


@each_estimator
def test_the_least_important_eligible_group_goes(importance):
    gone = set()
    for done in report_of(importance).rounds:
        means = {n: i.mean for n, i in done.importances.items() if i.eligible}
        least = min(means, key=means.get)
        assert least in done.pruned
        rest = {n: m for n, m in means.items() if n not in done.pruned}
        assert min(rest, key=rest.get) in done.next_least
        assert not gone & set(done.importances)
        gone |= set(done.pruned)
        assert 0 <= done.stability <= 1
        shares = {(i.moves_with and "joined") or n: i.mean for n, i in done.importances.items()}
        assert sum(shares.values()) == pytest.approx(1)
        assert all(i.low <= i.mean <= i.high for i in done.importances.values())


@each_estimator
def test_pruned_ones_are_pinned_at_their_cheapest(importance):
    pinned = {n: v for r in report_of(importance).rounds for n, v in r.pinned_to.items()}
    # Larger batches, half precision, small images and few channels are cheap; a schedule costs
    # nothing, so it is the one that 34 of the 37 settings have. The learning rate goes with the
    # batch size.
    assert pinned == {
        "batch_size": 1024,
        "learning_rate": 0.1,
        "precision": "fp16",
        "image_size": 16,
        "channels": 8,
        "lr_schedule": "cosine",
    }


@each_estimator
def test_the_best_measured_budget_under_each_allowance_is_recommended(importance, measured):
    named = {
        hours: r.row
        for r in report_of(importance).recommended
        for hours in r.best_under_hours
        if r.measured
    }
    for allowance in ALLOWANCES:
        within = [b for b in measured if b[1] <= allowance]
        label, hours, correlation = max(within, key=lambda budget: budget[2])
        assert named[allowance].label == label
        assert named[allowance].correlation == pytest.approx(correlation)
        assert named[allowance].cost_seconds == pytest.approx(hours * 3600)


def test_allowances_are_hours_per_network_and_met_exactly(darts_bpe, measured):
    """Just above and just below what each budget of the front costs."""
    allowances = [hours * factor for _, hours, _ in measured for factor in (1 + 1e-9, 1 - 1e-9)]
    report = prune(darts_bpe, max_cost_hours=allowances, keep=6)
    named = {hours: r.row.label for r in report.recommended for hours in r.best_under_hours}
    for allowance in allowances:
        within = [b for b in measured if b[1] <= allowance]
        expected = max(within, key=lambda budget: budget[2])[0] if within else None
        assert named.get(allowance) == expected


@each_estimator
def test_the_whole_measured_front_is_recommended(importance, measured):
    front = {
        label
        for label, hours, value in measured
        if not any(h <= hours and v >= value and (h, v) != (hours, value) for _, h, v in measured)
    }
    recommended = report_of(importance).recommended
    assert {r.row.label for r in recommended if r.measured} == front
    costs = [r.row.cost_seconds for r in recommended]
    assert costs == sorted(costs)


@each_estimator
def test_predicted_budgets_are_marked_and_improve_on_the_front(importance, darts_bpe, measured):
    report = report_of(importance)
    predicted = [r for r in report.recommended if not r.measured]
    assert 0 < len(predicted) <= 5
    trained = {s.budget for s in darts_bpe.settings}
    pinned = {n: v for r in report.rounds for n, v in r.pinned_to.items()}
    for item in predicted:
        row = item.row
        assert row.budget not in trained
        assert item.in_remaining_space
        assert item.best_under_hours == ()
        assert all(getattr(row.budget, name) == value for name, value in pinned.items())
        assert (row.budget.cutout, row.budget.data_fraction) == (0, 1.0)
        cheaper = [v for _, hours, v in measured if hours * 3600 <= row.cost_seconds]
        assert row.correlation > max(cheaper)
        assert row.low < row.correlation < row.high
    assert any("predicted budgets were never trained" in w for w in report.warnings)


def test_no_predicted_budget_is_recommended_that_does_not_improve(darts_bpe, measured):
    """However many are asked for, each correlates above all measured ones that cost no more."""
    report = prune(darts_bpe, predictions=10_000)
    predicted = [r.row for r in report.recommended if not r.measured]
    assert len(predicted) > 5
    for row in predicted:
        assert row.correlation > max(v for _, h, v in measured if h * 3600 <= row.cost_seconds)
        assert not any(
            other.cost_seconds <= row.cost_seconds and other.correlation > row.correlation
            for other in predicted
        )


def test_predictions_can_be_left_out(darts_bpe):
    report = prune(darts_bpe)
    assert all(r.measured for r in report.recommended)
    assert not any("predicted" in w for w in report.warnings)


def test_cost_is_that_of_all_trainings_of_the_evidence(measured):
    assert report_of("forest").cost_hours == pytest.approx(100 * sum(b[1] for b in measured))


@pytest.mark.parametrize(
    ("importance", "evidence"),
    [
        *((name, "table") for name in ESTIMATORS),
        ("forest", "sequential"),
        pytest.param("xgboost", "sequential", marks=pytest.mark.slow),
    ],
)
def test_same_seed_same_bytes_and_another_seed_others(darts_bpe, importance, evidence):
    sequential = evidence == "sequential"
    options = {"importance": importance, "sequential": sequential, "keep": 4, "resamples": 2}
    one, same, other = (
        json.dumps(prune(darts_bpe, seed, **options).to_json()) for seed in (0, 0, 1)
    )
    assert one == same
    assert one != other


def test_json_has_the_fields_that_were_promised():
    found = json.loads(json.dumps(report_of("forest").to_json(), allow_nan=False))
    promised = {
        "space", "table", "importance_estimator", "evidence", "rounds", "pruning_order",
        "recommended", "cost_hours", "stop_reason", "warnings",
    }  # fmt: skip
    assert promised <= set(found)
    assert (found["space"], found["table"]) == ("darts", "darts-bpe")
    assert (found["importance_estimator"], found["evidence"]) == ("forest", "table")
    for done in found["rounds"]:
        assert {"evaluated", "importances", "pruned", "pinned_to", "separable"} <= set(done)
        assert done["evaluated"] == 37
        assert set(done["pinned_to"]) == set(done["pruned"])
        assert isinstance(done["separable"], bool)
        for importance in done["importances"].values():
            assert {"mean", "low", "high", "eligible"} <= set(importance)
    for item in found["recommended"]:
        assert {
            "label", "budget", "epoch", "correlation", "low", "high", "p_value", "precision_at_k",
            "regret_at_k", "best_rank_at_k", "cost_seconds", "device", "pareto", "observed",
        } <= set(item)  # fmt: skip
        assert set(item["budget"]) == set(HYPER_PARAMETERS)
        # what nobody ranked has no top of its ranking
        assert (item["precision_at_k"] is None) is not item["observed"]
    assert found["pruning_order"] == [n for r in found["rounds"] for n in r["pruned"]]


def test_frame_has_a_line_per_recommendation():
    report = report_of("forest")
    frame = report.to_frame()
    assert list(frame.index) == [r.row.label for r in report.recommended]
    assert set(HYPER_PARAMETERS) <= set(frame.columns)
    assert list(frame.epochs) == [r.row.budget.epochs for r in report.recommended]


def test_progress_rises_to_at_most_one(darts_bpe):
    seen = []
    prune(darts_bpe, progress=seen.append)
    assert seen == sorted(seen)
    assert 0 < seen[0] < seen[-1] <= 1
    # Several times within each of the five rounds, so that a long one is seen to go on.
    assert len(seen) == 5 * 3


@pytest.mark.parametrize("keep", [1, 4])
def test_keep_says_how_many_groups_are_left(darts_bpe, keep):
    report = prune(darts_bpe, keep=keep)
    assert len(set(report.kept) - {"learning_rate"}) == keep
    assert report.stop_reason.startswith(f"{keep} groups of hyper-parameters are left")


sequential = pytest.mark.parametrize(
    ("importance", "seed", "initial", "per_round"),
    [
        ("forest", 0, 12, 4),
        ("forest", 1, 5, 1),
        ("forest", 2, 2, 3),
        ("permutation", 3, 8, 2),
        ("xgboost", 4, 12, 4),
        ("xgboost", 5, 4, 1),
        ("xgboost-permutation", 6, 6, 5),
    ],
)


@sequential
def test_sequential_evidence_judges_only_what_it_has_seen(
    darts_bpe, importance, seed, initial, per_round
):
    report = prune(
        darts_bpe, seed, importance=importance, sequential=True, initial=initial,
        per_round=per_round,
    )  # fmt: skip
    trained = {s.label: s.budget for s in darts_bpe.settings}
    known, pinned, checked = [], {}, 0
    assert len(report.rounds[0].added) == initial
    for done in report.rounds:
        assert "cutout" not in done.pruned
        assert ("batch_size" in done.pruned) == ("learning_rate" in done.pruned)
        if any(label not in trained for label in done.added):
            break  # from here on the evidence rests on a surrogate's answers
        added = [trained[label] for label in done.added]
        assert all(getattr(b, n) == v for b in added for n, v in pinned.items())
        known += added
        assert done.evaluated == len(known) == len(set(known))
        for name in done.pruned:
            counts = Counter(getattr(b, name) for b in known)
            assert sum(count >= 2 for count in counts.values()) >= 2, name
            assert done.importances[name].eligible
        pairs = {(b.batch_size, b.learning_rate) for b in known}
        if "batch_size" in done.pruned:
            assert tuple(done.pinned_to.values()) in pairs
        assert all(done.pinned_to[n] in {getattr(b, n) for b in known} for n in done.pruned)
        pinned |= done.pinned_to
        checked += 1
    assert checked >= 2
    assert pinned


def test_sequential_evidence_says_what_a_surrogate_answered(darts_bpe):
    report = prune(darts_bpe, sequential=True)
    trained = {s.label for s in darts_bpe.settings}
    answered = [label for r in report.rounds for label in r.added if label not in trained]
    said = [w for w in report.warnings if "settings of the sequential evidence were predicted" in w]
    assert len(said) == 1
    # Those added after the last round are in no round any more.
    count = int(said[0].split()[0])
    assert len(answered) <= count <= len(answered) + 4
    assert report.cost_hours < 0.25 * prune(darts_bpe).cost_hours


def test_a_hyper_parameter_that_alone_can_be_judged_is_called_that(darts_bpe):
    """With few settings at the start one may be eligible and nothing there to compare it with."""
    labels = ["test21", "test26", "linear_lr2", "test14", "test32", "test4"]
    report = prune(
        darts_bpe,
        sequential=True,
        selection=Selection(labels=labels),
        initial=3,
        per_round=1,
        keep=1,
    )
    alone = [(i, r) for i, r in enumerate(report.rounds, 1) if r.pruned and not r.next_least]
    assert alone
    for number, done in alone:
        assert not done.separable
        assert (
            f"round {number}: only {' and '.join(done.pruned)} varied enough to be judged, so the "
            "data do not separate it from anything"
        ) in report.warnings


def with_counts(table, label, change):
    """The table with one setting's counts changed."""
    curves = table.curves[label, Split.TEST]
    counts = change(curves.counts.copy())
    new = Curves(counts, curves.split_size, curves.epochs, curves.seeds)
    return replace(table, curves={**table.curves, (label, Split.TEST): new})


def test_a_budget_that_ranks_nothing_is_dropped_with_a_warning(darts_bpe):
    table = with_counts(darts_bpe, "test5", lambda counts: np.full_like(counts, 5000))
    report = prune(table)
    assert [r.evaluated for r in report.rounds] == [36] * len(report.rounds)
    assert all("test5" not in r.added for r in report.rounds)
    assert "test5" not in {r.row.label for r in report.recommended}
    assert [w for w in report.warnings if w.startswith("test5: ")]


def test_a_budget_that_lacks_architectures_counts_all_the_same(darts_bpe):
    def lose(counts):
        counts[:, :, :7] = -1
        return counts

    report = prune(with_counts(darts_bpe, "test5", lose))
    assert report.rounds[0].evaluated == 37
    assert "test5: 7 architectures are missing" in report.warnings


def test_settings_of_unknown_cost_are_left_out(darts_bpe):
    settings = tuple(
        replace(s, seconds=math.nan) if s.label in ("test5", "test22") else s
        for s in darts_bpe.settings
    )
    report = prune(replace(darts_bpe, settings=settings))
    assert report.rounds[0].evaluated == 35


def test_an_allowance_that_nobody_meets_is_said(darts_bpe, measured):
    label, hours, _ = min(measured, key=lambda budget: budget[1])
    report = prune(darts_bpe, max_cost_hours=(0.01,), force=False)
    assert report.answer.splitlines()[0] == (
        "Nothing can be recommended within 0.01 h per network: no budget costs so little, the "
        f"cheapest costs {60 * hours:.3g} min; the cheapest one whose interval lies above 0 is "
        f"{label} at {60 * hours:.3g} min."
    )
    assert all(r.best_under_hours == () for r in report.recommended)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        (
            {"importance": "forrest"},
            UnknownNameError,
            "unknown importance estimator 'forrest' (did you mean 'forest'?); there are: forest, "
            "permutation, xgboost, xgboost-permutation, fanova, xgboost-shap, ped-anova",
        ),
        ({"keep": 0}, SelectionError, "keep must be at least 1, found 0"),
        ({"initial": 1}, SelectionError, "initial must be at least 2, found 1"),
        ({"per_round": 0}, SelectionError, "per_round must be at least 1, found 0"),
        ({"resamples": 1}, SelectionError, "resamples must be at least 2, found 1"),
        (
            {"selection": Selection(labels=["test5", "test6", "test7"])},
            SelectionError,
            "pruning needs at least 4 settings with a correlation and a cost, found 3; widen the "
            "selection or use a larger table, or rank what there is: bpe-bench correlate TABLE",
        ),
        (
            {"max_cost_hours": (0.0,)},
            SelectionError,
            "an allowance must be above 0 GPU hours, found 0",
        ),
        (
            {"max_cost_hours": (-1.0,)},
            SelectionError,
            "an allowance must be above 0 GPU hours, found -1",
        ),
        (
            {"max_cost_hours": (math.nan,)},
            SelectionError,
            "an allowance must be above 0 GPU hours, found nan",
        ),
        (
            {"max_cost_hours": (math.inf,)},
            SelectionError,
            "an allowance must be above 0 GPU hours, found inf",
        ),
    ],
)
def test_what_cannot_be_pruned_is_refused(darts_bpe, options, error, text):
    with pytest.raises(error) as caught:
        prune(darts_bpe, **options)
    assert str(caught.value) == text


def test_a_table_without_costs_is_refused(darts_bpe):
    settings = tuple(replace(s, seconds=math.nan) for s in darts_bpe.settings)
    with pytest.raises(SelectionError) as caught:
        prune(replace(darts_bpe, settings=settings))
    assert str(caught.value) == (
        "pruning needs at least 4 settings with a correlation and a cost, found 0; widen the "
        "selection or use a larger table, or rank what there is: bpe-bench correlate TABLE"
    )


def test_settings_that_are_all_the_same_budget_are_refused(darts_bpe):
    budget = darts_bpe.setting("test5").budget
    settings = tuple(
        s if s.label == "full" else replace(s, budget=budget) for s in darts_bpe.settings
    )
    with pytest.raises(SelectionError) as caught:
        prune(replace(darts_bpe, settings=settings))
    assert str(caught.value) == "all settings are the same budget, so there is nothing to prune"


def test_nothing_is_pruned_where_nothing_varies_enough(darts_bpe):
    report = prune(darts_bpe, selection=Selection(labels=["test1", "test2", "test6", "test7"]))
    assert report.pruning_order == ()
    assert report.recommended
