"""The report: estimators of known variance, known order, known interactions; the shipped table."""

import itertools
import json
import math

import numpy as np
import pytest

from bpe_bench.budget import BPE_1
from bpe_bench.correlation.evidence import Evidence
from bpe_bench.correlation.report import correlate
from bpe_bench.errors import SelectionError, UnknownNameError
from bpe_bench.importance import FanovaImportance, ImportanceReport, importance_report

X = np.array(list(itertools.product([1.0, 2.0, 3.0], [0.0, 1.0], [5.0, 6.0])) * 3)
Y = 0.1 * X[:, 0] + 0.02 * X[:, 1] + np.random.default_rng(0).normal(0, 0.01, len(X))


class Known:
    """An estimator made of a function of (x, y, rng)."""

    summary = "known"

    def __init__(self, answer, seeded=True):
        self.answer, self.seeded = answer, seeded

    def importances(self, x, y, groups, rng):
        return np.asarray(self.answer(x, y, rng))


def report(x=X, y=Y, draws=None, seed=0, **options):
    options = {"resamples": 10, "seeds": 3, "names": ["a", "b", "c"], **options}
    return importance_report(x, y, draws, rng=np.random.default_rng(seed), **options)


def moved(rng):
    shift = rng.normal(0, 0.05)
    return [0.5 + shift, 0.4 - shift, 0.1]


# --- Where variation comes from ----------------------------------------------------------------


def test_what_only_the_seed_moves_is_not_put_down_to_the_data():
    found = report(
        estimator=Known(lambda x, y, rng: moved(rng)), resamples=400, seeds=400, repeats=2
    )
    assert found.rows[0].seed_sd == pytest.approx(0.05, rel=0.1)
    assert found.rows[0].data_sd < 0.015
    assert found.rows[2].seed_sd == pytest.approx(0, abs=1e-15)
    assert found.rows[0].high - found.rows[0].low == pytest.approx(2 * 1.96 * 0.05, rel=0.1)


def test_what_only_the_data_move_is_not_put_down_to_the_seed():
    """A mean of S resampled correlations has standard deviation sd / √S."""
    found = report(
        estimator=Known(lambda x, y, rng: [y.mean(), 1 - y.mean(), 0]), resamples=2000, seeds=2
    )
    expected = Y.std() / math.sqrt(len(Y))
    assert found.rows[0].data_sd == pytest.approx(expected, rel=0.06)
    assert found.rows[0].seed_sd == 0
    assert found.rows[0].value == pytest.approx(Y.mean())


def test_both_are_told_apart():
    def answer(x, y, rng):
        share = y.mean() + rng.normal(0, 0.03)
        return [share, 1 - share, 0]

    found = report(estimator=Known(answer), resamples=2000, repeats=3, seeds=500)
    assert found.rows[0].seed_sd == pytest.approx(0.03, rel=0.1)
    assert found.rows[0].data_sd == pytest.approx(Y.std() / math.sqrt(len(Y)), rel=0.15)


def test_settings_and_architectures_can_be_resampled_apart():
    by_mean = Known(lambda x, y, rng: [y.mean(), 0, 0])
    draws = Y + np.random.default_rng(1).normal(0, 0.04, (2000, 1))
    sd = {
        sources: report(draws=draws, estimator=by_mean, seeds=2, resample=sources).rows[0].data_sd
        for sources in (("settings",), ("architectures",), ("settings", "architectures"))
    }
    settings = Y.std() / math.sqrt(len(Y))
    assert sd["settings",] == pytest.approx(settings, rel=0.5)  # ten resamples only
    assert sd["architectures",] == pytest.approx(0.04, rel=0.06)
    assert sd["settings", "architectures"] == pytest.approx(math.hypot(0.04, settings), rel=0.06)


def test_an_estimator_without_a_seed_is_asked_once():
    calls = []

    def answer(x, y, rng):
        calls.append(1)
        return [1.0, 0.0, 0.0]

    found = report(estimator=Known(answer, seeded=False), resamples=7, seeds=9, repeats=4)
    assert len(calls) == 1 + 7
    assert (found.seeds, found.rows[0].seed_sd) == (1, 0)
    assert found.draws.shape == (7, 3)


def test_all_estimators_see_the_same_resamples():
    seen = []

    def answer(x, y, rng):
        seen.append(y.copy())
        return [rng.random(), 0, 0]

    for seeds in (2, 6):
        report(estimator=Known(answer), seeds=seeds, resamples=5)
    first, second = seen[2:12], seen[18:]
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(seen[0], Y)


# --- Order -------------------------------------------------------------------------------------


def test_separability_by_hand():
    """The first is above the second in 4 of 5 resamples, by 0.1 or 0.3, and always above 0."""
    leads = itertools.cycle([0.1, 0.1, 0.3, 0.3, -0.2])

    def answer(x, y, rng):
        lead = next(leads)
        return [0.5 + lead / 2, 0.5 - lead / 2, 0]

    found = report(estimator=Known(answer, seeded=False), resamples=5)
    first = found.pairs[0]
    assert (first.first, first.second) == ("a", "b")
    assert first.difference == pytest.approx(0.12)
    assert first.above == 0.8
    assert (first.low, first.high) == (pytest.approx(-0.17), pytest.approx(0.3))
    assert not first.separable
    assert [p.separable for p in found.pairs] == [False, True, True]
    assert [(r.first, r.last) for r in found.rows] == [(0.8, 0), (0.2, 0), (0, 1)]
    low = np.quantile([0.55, 0.55, 0.65, 0.65, 0.4], 0.025)
    assert found.rows[0].low == pytest.approx(low)


def test_ties_count_in_part():
    found = report(estimator=Known(lambda x, y, rng: [0.5, 0.5, 0]))
    assert [(r.first, r.last) for r in found.rows] == [(0.5, 0), (0.5, 0), (0, 1)]
    assert found.pairs[0].above == 0.5


def test_confidence_is_that_of_the_intervals():
    estimator = Known(lambda x, y, rng: moved(rng))
    wide, narrow = (
        report(estimator=estimator, confidence=c, resamples=400).rows[0] for c in (0.95, 0.5)
    )
    assert (narrow.high - narrow.low) / (wide.high - wide.low) == pytest.approx(0.344, abs=0.05)


# --- Groups, interactions ----------------------------------------------------------------------


def test_groups_come_by_name_and_the_others_alone():
    found = report(groups=[["c", "a"]])
    assert [row.label for row in found.rows] == ["b", "c + a"]
    assert len(found.pairs) == 1


def test_interactions_are_shares_of_the_variance():
    """Of two signs multiplied: nothing each, everything together."""
    x = np.array(list(itertools.product([0.0, 1.0], repeat=2)) * 8)
    y = (x[:, 0] != x[:, 1]) * 0.5
    found = report(x, y, names=["a", "b"], estimator="fanova", interactions=True)
    assert found.share_of == "the variance of the model"
    assert [row.label for row in found.interactions] == ["a x b"]
    assert found.interactions[0].value > 0.9
    assert max(row.value for row in found.rows) < 0.1
    whole = found.interactions[0].value + sum(row.value for row in found.rows)
    assert whole == pytest.approx(1)
    assert list(found.to_frame().index) == ["a", "b", "a x b"]


def test_interactions_need_an_estimator_that_knows_them():
    with pytest.raises(SelectionError) as caught:
        report(estimator="forest", interactions=True)
    assert str(caught.value) == (
        "forest knows no interactions; leave them out, or use the estimator fanova"
    )


def test_one_group_has_nothing_to_be_compared_with():
    found = report(groups=[["a", "b", "c"]], estimator="fanova", interactions=True)
    assert found.pairs == found.interactions == ()
    assert len(found.rows) == 1
    assert found.pairs_frame().empty


# --- Form --------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", ["forest", FanovaImportance(trees=4)], ids=["name", "object"])
def test_same_seed_same_bytes_and_another_seed_others(estimator):
    one, same, other = (
        json.dumps(report(estimator=estimator, seed=seed).to_json()) for seed in (0, 0, 1)
    )
    assert one == same
    assert one != other


def test_json_and_frames_have_every_figure():
    found = report()
    plain = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert {
        "estimator", "summary", "share_of", "settings", "resampled", "resamples", "seeds",
        "confidence", "rows", "interactions", "pairs", "warnings",
    } == set(plain)  # fmt: skip
    assert set(plain["rows"][0]) == {
        "label", "value", "mean", "low", "high", "seed_sd", "data_sd", "first", "last", "reason",
    }  # fmt: skip
    assert set(plain["pairs"][0]) == {
        "first", "second", "difference", "low", "high", "above", "judged", "separable",
    }  # fmt: skip
    assert (plain["estimator"], plain["settings"], plain["resamples"]) == ("forest", 36, 10)
    frame = found.to_frame()
    assert list(frame.index) == ["a", "b", "c"]
    assert frame.loc["a", "mean"] == found.rows[0].mean
    pairs = found.pairs_frame()
    assert bool(pairs.loc[("a", "c"), "separable"]) is found.pairs[1].separable


def test_shares_sum_to_one_and_lie_in_their_intervals():
    found = report()
    assert sum(row.value for row in found.rows) == pytest.approx(1)
    assert sum(row.mean for row in found.rows) == pytest.approx(1)
    assert all(row.low <= row.mean <= row.high for row in found.rows)


def test_progress_rises_to_one():
    seen = []
    report(progress=seen.append)
    assert seen == sorted(seen)
    assert len(seen) == 3 + 10 * 2
    assert seen[-1] == 1


def test_without_draws_it_is_said_that_the_architectures_stay():
    assert report().resampled == ("settings",)
    assert (
        "no draws of the architectures were given, so the intervals hold for these architectures "
        "only"
    ) in report().warnings
    given = report(draws=np.tile(Y, (4, 1)))
    assert given.resampled == ("settings", "architectures")
    assert given.resamples == 4
    assert given.warnings == ()


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        (
            {"estimator": "fanowa"},
            UnknownNameError,
            "unknown importance estimator 'fanowa' (did you mean 'fanova'?); there are: forest, "
            "permutation, xgboost, xgboost-permutation, fanova, xgboost-shap, ped-anova",
        ),
        (
            {"groups": [["a", "e"]]},
            UnknownNameError,
            "unknown hyper-parameter 'e'; there are: a, b, c",
        ),
        (
            {"groups": [["a", "b"], ["b"]]},
            SelectionError,
            "groups of columns must be disjoint and not empty, found [[0, 1], [1], [2]]",
        ),
        (
            {"names": ["a", "b"]},
            SelectionError,
            "3 columns need as many different names, found a, b",
        ),
        (
            {"names": ["a", "b", "b"]},
            SelectionError,
            "3 columns need as many different names, found a, b, b",
        ),
        ({"resamples": 1}, SelectionError, "resamples must be at least 2, found 1"),
        ({"repeats": 1}, SelectionError, "repeats must be at least 2, found 1"),
        ({"seeds": 0}, SelectionError, "seeds must be at least 2, found 0"),
        (
            {"confidence": 1.0},
            SelectionError,
            "confidence must be above 0 and below 1, found 1",
        ),
        (
            {"resample": ["seeds"]},
            UnknownNameError,
            "unknown source of variation 'seeds'; there are: settings, architectures",
        ),
        (
            {"resample": ["architectures"]},
            SelectionError,
            "there is nothing to resample: architectures need draws, found none; give draws, or "
            "resample settings",
        ),
        (
            {"draws": np.ones((5, 7))},
            SelectionError,
            "draws of the correlations must have shape (resamples of at least 2, 36), found (5, 7)",
        ),
        (
            {"draws": lambda resamples, rng: np.where(np.arange(36) < 2, np.nan, Y)[None]},
            SelectionError,
            "draws of the correlations must have shape (resamples of at least 2, 36), found "
            "(1, 36)",
        ),
        (
            {"draws": np.tile(np.where(np.arange(36) < 2, np.nan, Y), (3, 1))},
            SelectionError,
            "drawn correlations must be finite, found NaN in 2 of 36 settings; leave them out",
        ),
        (
            {"x": X[0]},
            SelectionError,
            "settings must have shape (S, d), found (3,)",
        ),
        (
            {"x": [BPE_1] * 36, "names": []},
            SelectionError,
            "importance needs at least 2 settings that differ, found 36 that are the same in "
            "everything judged; widen the selection",
        ),
        (
            {"x": [BPE_1], "y": [0.5], "names": []},
            SelectionError,
            "importance needs at least 2 settings that differ, found only 1; widen the selection",
        ),
        (
            {"x": [BPE_1] * 36, "names": ["epochs", "layer"]},
            UnknownNameError,
            "unknown hyper-parameter 'layer' (did you mean 'layers'?); there are: epochs, "
            "batch_size, learning_rate, lr_schedule, layers, channels, image_size, precision, "
            "cutout, data_fraction",
        ),
    ],
    ids=lambda value: value[:50] if isinstance(value, str) else "",
)
def test_what_cannot_be_is_refused_in_one_line(options, error, text):
    with pytest.raises(error) as caught:
        report(**options)
    assert str(caught.value) == text


# --- The shipped table -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def evidence(darts_bpe):
    return Evidence(correlate(darts_bpe, epochs="last").rows)


def of_table(evidence, estimator, **options) -> ImportanceReport:
    return importance_report(
        evidence.budgets,
        evidence.correlations,
        evidence.draw,
        rng=np.random.default_rng(0),
        estimator=estimator,
        groups=evidence.groups(evidence.varied),
        **{"resamples": 20, "seeds": 3, **options},
    )


@pytest.mark.parametrize(
    "estimator", ["forest", "permutation", "xgboost", "fanova", "xgboost-shap", "ped-anova"]
)
def test_layers_and_epochs_lead_on_the_shipped_table(evidence, estimator):
    if estimator == "ped-anova":
        pytest.importorskip("optuna")
    found = {row.label: row for row in of_table(evidence, estimator).rows}
    leading = sorted(found, key=lambda label: -found[label].mean)[:2]
    assert set(leading) == {"layers", "epochs"}
    assert found["cutout"].reason.startswith("hardly varies")
    assert found["data_fraction"].reason.startswith("hardly varies")
    assert found["batch_size + learning_rate"].reason == ""


def test_which_of_the_two_is_first_is_not_settled(evidence):
    found = of_table(evidence, "forest")
    (pair,) = (p for p in found.pairs if {p.first, p.second} == {"layers", "epochs"})
    assert not pair.separable
    layers = next(row for row in found.rows if row.label == "layers")
    assert layers.data_sd > 3 * layers.seed_sd
    assert found.settings == 37
    assert found.resampled == ("settings", "architectures")
