"""The whole comparison: figures by hand, seeds, processes, and conclusions that follow."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from bpe_bench.errors import RankingError, SelectionError
from bpe_bench.inference import holm
from bpe_bench.pruning.judging import judge, make_methods
from bpe_bench.pruning.judging.methods import _CheapestFirst, _RandomSampling
from bpe_bench.pruning.judging.runs import _run_all

SIMPLE = ("random", "cheapest-first", "halving")


def judged(pool, names=SIMPLE, **options):
    options = {"repeats": 4, **options}
    return judge(pool, make_methods(names, initial=8)[0], **options)


def test_curves_and_regrets_by_hand(signs):
    """The cheapest ranks upside down, the next perfectly: correlations -1, then 1."""
    pool = signs([-1, 1, -1, -1], [300, 300, 900, 900])
    report = judged(pool, ("cheapest-first", "random"), allowances=[1.5, 3.0])
    hours = report.hours
    assert (hours[0], hours[-1]) == pytest.approx((1.0, 8.0))  # 12 architectures, 300 s each
    assert np.log(hours) == pytest.approx(np.linspace(0, math.log(8), len(hours)))
    found = report.method("cheapest-first")
    expected = np.where(hours < 2 * (1 - 1e-9), -1.0, 1.0)
    for curve in vars(found.curve).values():
        assert curve == pytest.approx(expected)
    assert found.regret.mean == pytest.approx((1 - expected).mean())
    assert (found.regret.low, found.regret.high) == pytest.approx((found.regret.mean,) * 2)
    assert found.regret_at == pytest.approx({1.5: 2.0, 3.0: 0.0})
    assert (found.held_out, found.optimism) == pytest.approx((1.0, 0.0))
    assert (report.best, report.best_correlation) == ("s1", pytest.approx(1.0))
    assert report.settings == 4
    assert (report.architectures, report.choosing) == (24, 12)


def test_random_sampling_has_the_expected_regret(signs):
    """Of five settings at one cost one ranks; nothing is known before the first is paid."""
    report = judged(signs([-1, -1, 1, -1, -1], [300] * 5), ("random", "cheapest-first"), repeats=40)
    k = np.floor(report.hours + 1e-9)
    expected = k / 5 - (1 - k / 5)
    assert report.method("random").curve.held_out == pytest.approx(expected, abs=0.12)


def test_before_anything_is_found_the_correlation_counts_as_0(signs):
    report = judged(signs([1, 1, 1, 1], [300, 3000, 3000, 3000]), ("random", "halving"))
    early = report.hours < 0.99 * 10  # only the cheap one was affordable
    curve = report.method("random").curve
    assert 0 < curve.held_out[early].mean() < 0.6
    assert curve.seen[-1] == pytest.approx(1)
    assert report.method("random").optimism == pytest.approx(0)  # where nothing is seen, none


def test_summaries_and_tests_are_those_of_the_runs(layered):
    methods = make_methods(SIMPLE)[0]
    report = judge(layered, methods, repeats=8, seed=2)
    runs = _run_all(layered, methods, report.hours, repeats=8, seed=2)
    assert np.ptp(runs.held_out[1]) > 0.5
    summaries = {}
    for method, held_out, seen in zip(methods, runs.held_out, runs.seen, strict=True):
        found = report.method(method.name)
        regrets = (runs.best[:, None, None] - held_out).mean(axis=(1, 2))
        summaries[method.name] = regrets
        assert found.regret.mean == pytest.approx(regrets.mean())
        half = stats.t.ppf(0.975, 7) * regrets.std(ddof=1) * math.sqrt(1 / 8 + 1)
        assert found.regret.high - found.regret.mean == pytest.approx(half)
        assert found.optimism == pytest.approx(np.nanmean(seen - held_out))
        bounds = np.quantile(held_out, [0.25, 0.75], axis=(0, 1))
        assert np.array([found.curve.low, found.curve.high]) == pytest.approx(bounds)
    assert report.best_correlation == pytest.approx(runs.best.mean())
    for c in report.comparisons:
        difference = summaries[c.first] - summaries[c.second]
        t = difference.mean() / (difference.std(ddof=1) * math.sqrt(1 / 8 + 1))
        assert c.p_value == pytest.approx(2 * stats.t.sf(abs(t), 7))
    adjusted = holm([c.p_value for c in report.comparisons])
    assert [c.p_adjusted for c in report.comparisons] == pytest.approx(adjusted)


def test_hours_end_the_runs(signs):
    report = judged(signs([-1, 1, 1, 1], [300, 900, 900, 900]), hours=3.9)
    assert report.hours[-1] == pytest.approx(3.9)
    assert report.method("cheapest-first").held_out == pytest.approx(-1)


def test_allowances_by_default_are_round(darts_bpe):
    from bpe_bench.pruning.judging import Pool

    report = judged(Pool.of(darts_bpe), ("cheapest-first", "halving"), repeats=2)
    assert list(report.methods[0].regret_at) == [30, 100, 300, 1000]


def test_noise_shows_as_optimism_and_not_held_out(make_pool):
    rng = np.random.default_rng(0)
    # Of many architectures, so that no setting ranks them all by chance.
    truth = rng.normal(size=200)
    pool = make_pool(rng.normal(size=(200, 30)), [300] * 30, truth=truth)
    report = judged(pool, repeats=30)
    assert report.method("cheapest-first").optimism > 0.08
    assert abs(report.method("cheapest-first").held_out) < 0.13
    assert "higher than its correlation on the other half" in report.conclusion[-1]


def as_text(report):
    return json.dumps(report.to_json(), allow_nan=False)


def test_the_same_seed_gives_the_same_bytes_whatever_the_processes(bait):
    names = ("mip-forest", "random", "halving", "tpe")
    one = as_text(judged(bait, names, seed=3, jobs=1, repeats=3))
    assert one == as_text(judged(bait, names, seed=3, jobs=2, repeats=3))
    assert one != as_text(judged(bait, names, seed=4, jobs=1, repeats=3))


def test_a_method_does_the_same_whoever_else_runs(signs):
    rng = np.random.default_rng(0)
    pool = signs(rng.normal(size=6), rng.uniform(100, 900, 6))
    two, three = judged(pool, ("random", "halving")), judged(pool)
    assert two.method("random").to_json() | {"p_against_best": 0} == three.method(
        "random"
    ).to_json() | {"p_against_best": 0}


def test_progress_rises_to_one(signs):
    pool = signs([1, 1, 1, 1], [1, 2, 3, 4])
    for jobs in (1, 2):
        seen = []
        judged(pool, jobs=jobs, on_progress=seen.append)
        assert seen == sorted(seen)
        assert seen[-1] == 1


def test_pruning_wins_where_what_does_not_matter_is_most_of_the_space(layered):
    report = judged(layered, ("mip-forest", "cheapest-first"), repeats=10)
    pruning, simple = report.method("mip-forest"), report.method("cheapest-first")
    assert report.methods[0] is pruning
    assert pruning.regret.mean < 0.9 * simple.regret.mean
    one = report.compare("mip-forest", "cheapest-first")
    assert one.difference == pytest.approx(pruning.regret.mean - simple.regret.mean)
    answer = report.conclusion[0]
    assert answer.startswith("Yes: at" if one.p_adjusted < 0.05 else "Not shown: at")
    assert f"{pruning.regret.mean:.3f} against {simple.regret.mean:.3f}" in answer


def test_pruning_loses_where_the_best_is_what_it_pins_away(bait):
    report = judged(bait, ("mip-forest", "random"), repeats=12)
    pruning, simple = report.method("mip-forest"), report.method("random")
    assert report.methods[0] is simple
    assert report.conclusion[0].startswith(
        "No: at equal device hours random sampling has a lower mean regret than the best minimum "
        f"importance pruning (mip-forest): {simple.regret.mean:.3f} against "
        f"{pruning.regret.mean:.3f}"
    )


def test_comparisons_are_of_all_pairs_holm_corrected(bait):
    report = judged(bait, repeats=6)
    assert len(report.comparisons) == 3
    for c in report.comparisons:
        assert c.p_value <= c.p_adjusted <= min(1, 3 * c.p_value + 1e-12)
        assert c.low <= c.difference <= c.high
        turned = report.compare(c.second, c.first)
        assert (turned.difference, turned.low, turned.high) == (-c.difference, -c.high, -c.low)
    ranked = [m.regret.mean for m in report.methods]
    assert ranked == sorted(ranked)
    assert math.isnan(report.methods[0].p_against_best)
    assert report.methods[1].p_against_best == report.comparisons[0].p_adjusted
    with pytest.raises(KeyError):
        report.compare("random", "tpe")


def test_settings_without_a_correlation_on_a_half_are_said(make_pool):
    """Two architectures differ: where both are dealt to one half, the other has nothing."""
    accuracies = np.full((24, 4), 0.9)
    accuracies[:2] += [[0.01] * 4, [0.02] * 4]
    report = judged(make_pool(accuracies, [1, 2, 3, 4]), repeats=20)
    assert any("no correlation on the scoring half; means leave them out" in w
               for w in report.warnings)  # fmt: skip
    as_text(report)


@pytest.mark.parametrize("sign", [1, -1])
def test_where_all_settings_are_the_same_nothing_is_separated(signs, sign):
    report = judged(signs([sign] * 5, [300] * 5))
    assert all(m.regret_at[3.0] == pytest.approx(0) for m in report.methods)
    assert as_text(report)


def test_the_frame_has_a_line_per_method(bait):
    frame = judged(bait, repeats=2).to_frame()
    assert set(frame.index) == set(SIMPLE)
    assert list(frame["rank"]) == [1, 2, 3]
    assert {"regret", "regret_low", "regret_high", "held_out", "optimism", "p_against_best"} <= set(
        frame.columns
    )


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"repeats": 1}, SelectionError, "repeats must be at least 2, found 1"),
        ({"jobs": 0}, SelectionError, "jobs must be at least 1, found 0"),
        ({"confidence": 1.0}, RankingError, "confidence must be between 0 and 1"),
        (
            {"hours": 0.5},
            SelectionError,
            "the cheapest setting costs 1 device hours on 12 architectures, but the axis ends at "
            "0.5; give more --hours",
        ),
        ({"hours": math.inf}, SelectionError, "hours must be above 0 and finite, found inf"),
    ],
)
def test_what_cannot_be_judged(signs, options, error, text):
    with pytest.raises(error) as caught:
        judged(signs([1, 1, 1, 1], [300] * 4), **options)
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize("methods", [[], [_RandomSampling()], [_CheapestFirst(), _CheapestFirst()]])
def test_methods_must_be_two_with_different_names(signs, methods):
    with pytest.raises(SelectionError, match="at least 2 methods with different names"):
        judge(signs([1, 1, 1, 1], [300] * 4), methods)


def test_a_killed_process_is_said(signs):
    from bpe_bench.errors import ExecutionError

    with pytest.raises(ExecutionError, match="a process was killed, perhaps for memory"):
        judge(signs([1] * 4, [300] * 4), [_RandomSampling(), _Deadly()], repeats=4, jobs=2)


class _Deadly:
    """A method whose process ends when it is received."""

    name, summary, draws = "deadly", "", 1

    def run(self, account):
        raise AssertionError

    def __reduce__(self):
        import os

        return os._exit, (1,)


def test_of_methods_with_the_same_figures_none_is_ahead(signs):
    twin = replace(_CheapestFirst(), name="twin")
    report = judge(signs([1, -1, 1, -1], [300] * 4), [_CheapestFirst(), twin], repeats=3)
    assert (report.comparisons[0].difference, report.comparisons[0].p_value) == (0.0, 1.0)
