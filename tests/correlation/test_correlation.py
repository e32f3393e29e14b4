"""Every budget against full training: the published figures, a table done by hand, the front."""

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bpe_bench import Selection, correlation, with_top_k
from bpe_bench.correlation.front import pareto_front
from bpe_bench.errors import (
    RankingError,
    SelectionError,
    UnknownNameError,
)
from bpe_bench.tables.table import MISSING, Setting, Split


def correlate(table, **options):
    """Only the last epochs are budgets here; curves have a file of their own."""
    top = {name: options.pop(name) for name in ("top_k",) if name in options}
    names = {field.name for field in dataclasses.fields(Selection)} & options.keys()
    selection = Selection(**{"epochs": "last"} | {name: options.pop(name) for name in names})
    report = correlation.correlate(table, selection, **options)
    return with_top_k(table, report, top["top_k"]) if top else report


@pytest.fixture(scope="module")
def report(darts_bpe):
    return correlate(darts_bpe, name="darts-bpe", comparing=[("BPE-1", "BPE-2")], top_k=10)


def by_label(report):
    return {row.label: row for row in report.rows}


def test_all_37_published_correlations(report, published_budgets):
    names = next(row for row in published_budgets if row[0] == "net")[1:38]
    values = next(row for row in published_budgets if row[0] == "Correlation(with gt)")[1:38]
    assert len(set(names)) == 37
    found = {row.label: row.correlation for row in report.rows}
    # The sheet's own rounding and ties leave up to 3.5e-4.
    assert found == pytest.approx(dict(zip(names, values, strict=True)), abs=4e-4)


@pytest.mark.parametrize(
    ("label", "value"),
    [
        ("linear_lr", 0.5377),
        ("linear_lr2", 0.6369),
        ("linear_lr3", 0.1441),
        ("test1_halfdata", 0.2696),
        ("test33", 0.5751),
        ("BPE-1", 0.4967),
        ("BPE-2", 0.6245),
    ],
)
def test_published_correlations_without_the_files(report, label, value):
    assert report.row(label).correlation == pytest.approx(value, abs=1.5e-4)


def test_the_published_top_ten(report):
    # None of BPE-1's ten best is among the ten best, two of BPE-2's are.
    assert report.row("BPE-1").top.precision_at_k == 0.0
    assert report.row("BPE-2").top.precision_at_k == pytest.approx(0.2)
    # The best of all reaches 97.45 %; the best of BPE-1's ten, the 11th, 97.26 %.
    assert report.row("BPE-1").top.regret_at_k == pytest.approx(0.0019)
    assert report.row("BPE-1").top.best_rank_at_k == pytest.approx(0.11)


def test_the_published_top_ten_by_the_sheets(report, published_budgets, published_truth):
    truth = np.array([row[2] for row in published_truth])
    names = published_budgets[9]
    for label in ("test5", "test32", "test9"):  # no tie at the tenth place
        place = names.index(label)
        found = np.array([row[place] for row in published_budgets[10:110]])
        best = np.argsort(-found)[:10]
        assert report.row(label).top.regret_at_k == pytest.approx(
            (truth.max() - truth[best].max()) / 100
        )


def test_the_published_front(report):
    front = [row.label for row in report.front()]
    expected = ["test11", "test10", "test9", "test5", "test29", "test30", "test31", "test32"]
    assert [label for label in front if label in expected] == expected  # cheapest first
    costs = [row.cost_seconds for row in report.front()]
    assert costs == sorted(costs)
    assert front[-1] == "test23"  # the best correlated
    assert {row.label for row in report.rows if row.pareto} == set(front)


def test_mixed_devices_on_the_front_are_warned_of(report, darts_bpe):
    warning = (
        "the Pareto front mixes costs measured on different devices (RTX 2080 Ti, V100); "
        "they are compared as recorded"
    )
    assert warning in report.warnings
    for caveat in darts_bpe.caveats:
        assert caveat in report.warnings
    one = correlate(darts_bpe, device="V100")
    assert warning not in one.warnings
    assert {row.device for row in one.rows} == {"V100"}
    assert len(one.rows) == 21  # counted in the row 'GPU type'


def test_the_devices_of_the_sheet(report, published_budgets):
    devices = dict(zip(published_budgets[9][1:38], published_budgets[115][1:38], strict=True))
    spelled = {"v100": "V100", "2080ti": "RTX 2080 Ti"}
    assert {row.label: row.device for row in report.rows} == {
        label: spelled[device] for label, device in devices.items()
    }


def test_budgets_that_the_data_do_not_separate_are_flagged(report):
    # 0.4917 for 186 s and 0.4967 for 307 s: nobody could tell from 100 cells.
    assert report.row("test5").not_separable_from == "test9"
    assert report.row("test11").not_separable_from is None  # the cheapest
    assert all(row.not_separable_from is None for row in report.rows if not row.pareto)


def test_the_comparison_of_the_published_budgets(report):
    (found,) = report.comparisons
    assert (found.first, found.second) == ("BPE-1", "BPE-2")
    assert (found.low, found.high) == pytest.approx((-0.01, 0.27), abs=0.01)
    assert not found.separable


def test_one_seed_leaves_the_noise_ceiling_unknown(report):
    assert math.isnan(report.noise_ceiling)
    assert all(math.isnan(row.share_of_ceiling) for row in report.rows)


def test_factors_make_devices_comparable(darts_bpe, report):
    found = correlate(darts_bpe, device_factors={"RTX 2080 Ti": 0.5})
    for row in found.rows:
        factor = 0.5 if row.device == "RTX 2080 Ti" else 1.0
        assert row.cost_seconds == report.row(row.label).cost_seconds * factor
    assert (
        "costs are normalised across devices by the factors given: RTX 2080 Ti x 0.5, V100 x 1"
        in found.warnings
    )
    assert not any("mixes costs" in warning for warning in found.warnings)


@pytest.mark.parametrize("factor", [0, -1, math.inf, math.nan])
def test_factors_that_cannot_be(darts_bpe, factor):
    with pytest.raises(
        SelectionError, match=r"^the factor of device 'V100' must be above 0, found"
    ):
        correlate(darts_bpe, device_factors={"V100": factor})


def test_budgets_are_selected_by_label_or_published_name(darts_bpe, report):
    found = correlate(darts_bpe, labels=["test32", "BPE-1"])
    assert [row.label for row in found.rows] == ["test5", "test32"]  # in the table's order
    assert found.row("BPE-1") is found.row("test5")
    assert found.row("BPE-1").correlation == report.row("test5").correlation
    with pytest.raises(
        UnknownNameError, match=r"^unknown budget 'test9'.*there are: test5, test32, BPE-1, BPE-2$"
    ):
        found.row("test9")


# A table done by hand: validation ranks of the cheap budget 2 1 4 3 6 5, so the
# sum of squared differences is 6; of the middle one, without the last cell, 2 1 3 4 5.
CHEAP = 1 - 6 * 6 / (6 * 35)
MIDDLE = 1 - 6 * 2 / (5 * 24)


def test_the_golden_table_by_hand(golden):
    found = correlate(golden, name="golden", top_k=2)
    cheap, middle = found.rows
    assert (found.split, found.reference, found.n_architectures) == ("validation", "full", 6)
    assert cheap.correlation == pytest.approx(CHEAP)
    assert middle.correlation == pytest.approx(MIDDLE)
    top = cheap.top
    assert (top.precision_at_k, top.regret_at_k, top.best_rank_at_k) == (1, 0, 1 / 6)
    assert (cheap.epoch, cheap.cost_seconds, cheap.device) == (10, 10.0, "V100")
    # Five cells have both seeds of full training, in the same order.
    assert found.noise_ceiling == pytest.approx(1)
    assert cheap.share_of_ceiling == pytest.approx(CHEAP)


def test_missing_architectures_are_dropped_and_reported(golden):
    found = correlate(golden, top_k=2)
    assert [row.estimate.n for row in found.rows] == [6, 5]
    assert "middle: 1 architectures are missing" in found.warnings
    assert not any(warning.startswith("cheap") for warning in found.warnings)


def test_test_accuracy_is_ranked_by_only_when_asked(golden):
    found = correlate(golden, top_k=2, split=Split.TEST)
    assert found.split == "test"
    assert found.rows[0].correlation == pytest.approx(CHEAP)  # both are turned round
    assert found.rows[0].top.regret_at_k == 0
    assert found.rows[0].top.best_rank_at_k == pytest.approx(1 / 6)


@pytest.mark.parametrize("statistic", ["spearman", "kendall", "sparse-kendall"])
def test_the_statistic_is_the_one_asked_for(darts_bpe, statistic):
    x, y = (darts_bpe.accuracy(label, Split.TEST) for label in ("test5", "full"))
    if statistic == "sparse-kendall":
        x, y = np.round(x, 3), np.round(y, 3)
    oracle = stats.spearmanr if statistic == "spearman" else stats.kendalltau
    row = correlate(darts_bpe, statistic=statistic, labels=["test5"]).rows[0]
    assert row.correlation == pytest.approx(oracle(x, y).statistic)


def test_a_bootstrap_interval_is_passed_its_generator(darts_bpe):
    def interval(seed):
        rng = np.random.default_rng(seed)
        row = correlate(darts_bpe, labels=["test5"], bootstrap=rng).rows[0]
        return row.low, row.high

    assert interval(1) == interval(1)
    assert interval(1) != interval(2)


def test_progress_ends_at_one(golden):
    shares = []
    correlate(golden, progress=shares.append)
    assert shares == [0.5, 1.0]


def replaced(table, make_curves, **last):
    """Return a table with other validation counts at the last epoch."""
    curves = dict(table.curves)
    for label, counts in last.items():
        curves[label, Split.VALIDATION] = make_curves(counts)
    return dataclasses.replace(table, curves=curves)


def test_equal_accuracies_give_nan_and_a_warning(golden, make_curves):
    table = replaced(golden, make_curves, cheap=[[500] * 6])
    report = correlate(table, top_k=2)
    constant = "cheap: all accuracies are equal, so a rank correlation is not defined (NaN)"
    assert report.warnings.count(constant) == 1
    found, other = report.rows
    assert other.correlation == pytest.approx(MIDDLE)
    unknown = (found.correlation, found.low, found.high, found.p_value, found.share_of_ceiling)
    assert all(math.isnan(value) for value in unknown)
    assert not found.pareto
    assert found.to_json()["correlation"] is None


def test_nothing_to_rank_is_refused(golden, make_curves):
    for labels in ({"full": [[900] * 6] * 2}, {"cheap": [[500] * 6], "middle": [[700] * 6]}):
        with pytest.raises(RankingError) as caught:
            correlate(replaced(golden, make_curves, **labels), top_k=2)
        assert str(caught.value) == (
            "nothing can be ranked: all accuracies of the reference 'full' or of every budget "
            "are equal"
        )


def test_a_constant_seed_of_the_reference_is_a_warning(golden, make_curves):
    # Warnings of bpe-bench are errors in these tests: one that escaped would fail.
    seeds = [[900] * 6, [900, 910, 920, 930, 940, 950], [900] * 6]
    found = correlate(replaced(golden, make_curves, full=seeds), top_k=2)
    assert math.isnan(found.noise_ceiling)
    constant = "full: all accuracies are equal, so a rank correlation is not defined (NaN)"
    assert found.warnings.count(constant) == 1


def test_a_noise_ceiling_of_zero_has_no_share(golden, make_curves):
    # The two seeds of full training are unrelated: ranks 1 2 3 4 and 2 4 1 3.
    full = [[910, 920, 930, 940, MISSING, MISSING], [920, 940, 910, 930, MISSING, MISSING]]
    found = correlate(replaced(golden, make_curves, full=full), labels=["cheap"])
    assert found.noise_ceiling == 0
    assert math.isnan(found.rows[0].share_of_ceiling)


def test_comparisons_rest_on_the_architectures_that_both_have(golden, make_curves):
    # Both budgets lack one cell, but not the same one. Over the four that both
    # have, the cheap budget ranks 1 3 2 4 (0.8) and the middle one 1 2 3 4.
    table = replaced(
        golden,
        make_curves,
        full=[[910, 920, 930, 940, 950, 960]],
        cheap=[[MISSING, 620, 640, 630, 660, 600]],
        middle=[[700, 710, 720, 730, 740, MISSING]],
    )
    (found,) = correlate(table, comparing=[("cheap", "middle")]).comparisons
    assert found.n == 4
    assert found.difference == pytest.approx(0.2)


def test_comparing_with_a_budget_that_lacks_architectures(golden, make_curves):
    table = replaced(golden, make_curves, middle=[[710, 700, 720, 740, 730, MISSING]])
    (found,) = correlate(table, comparing=[("cheap", "middle")]).comparisons
    # Over the first five cells cheap ranks 2 1 4 3 5 and middle 2 1 3 5 4.
    assert (found.n, found.difference) == (5, pytest.approx(0, abs=1e-12))


def test_the_front_compares_the_architectures_that_both_have(golden, make_curves):
    # The dearer budget ranks better only because it lacks the cell that the cheap one misplaces.
    table = replaced(
        golden,
        make_curves,
        full=[[910, 920, 930, 940, 950, 960]],
        cheap=[[610, 620, 630, 650, 640, 600]],
        middle=[[710, 720, 730, 750, 740, MISSING]],
    )
    cheap, middle = correlate(table).rows
    assert cheap.pareto
    assert middle.pareto
    assert middle.not_separable_from == "cheap"


def test_too_few_architectures_to_compare(golden, make_curves):
    table = replaced(
        golden,
        make_curves,
        cheap=[[610, 620, 630, 640, MISSING, MISSING]],
        middle=[[MISSING, MISSING, 730, 740, 750, 745]],
    )
    with pytest.raises(SelectionError) as caught:
        correlate(table, comparing=[("cheap", "middle")])
    assert str(caught.value) == (
        "cannot compare 'cheap' and 'middle': they share fewer than 3 architectures; "
        "choose others with --compare"
    )


def test_a_budget_keeps_the_name_that_each_comparison_gave_it(darts_bpe):
    asked = [("BPE-1", "test9"), ("test5", "BPE-2")]
    found = correlate(darts_bpe, comparing=asked).comparisons
    assert [(c.first, c.second) for c in found] == asked


def test_what_cannot_be_compared(darts_bpe):
    with pytest.raises(
        UnknownNameError, match=r"^unknown budget 'test9' .*; there are: test5, BPE-1$"
    ):
        correlate(darts_bpe, labels=["test5"], comparing=[("BPE-1", "test9")])
    with pytest.raises(UnknownNameError, match=r"^unknown budget 'BPE-3'"):
        correlate(darts_bpe, comparing=[("BPE-1", "BPE-3")])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"statistic": "pearson"}, UnknownNameError, "unknown statistic 'pearson' (did you mean"),
        ({"labels": ["test99"]}, UnknownNameError, "unknown budget 'test99'"),
        ({"device": "A100"}, UnknownNameError, "unknown device 'A100'"),
        ({"device_factors": {"A100": 2.0}}, UnknownNameError, "unknown device 'A100'"),
        (
            {"split": Split.VALIDATION},
            UnknownNameError,
            "unknown split 'validation' of setting 'full'",
        ),
        ({"dataset": "mnist"}, UnknownNameError, "unknown data set 'mnist'"),
        ({"confidence": 95}, RankingError, "confidence must be between 0 and 1"),
        ({"top_k": 101}, RankingError, "k must be between 1 and the number of architectures, 100"),
        ({"top_k": 0}, RankingError, "k must be between 1 and the number of architectures, 100"),
        (
            {"labels": []},
            SelectionError,
            "no budget is left to correlate with the reference 'full'",
        ),
        ({"labels": ["full"]}, SelectionError, "no budget is left to correlate with the reference"),
        (
            {"labels": ["test5"], "device": "RTX 2080 Ti"},
            SelectionError,
            "no budget is left to correlate with the reference 'full'; the table has 38 settings, "
            "so widen the selection",
        ),
    ],
)
def test_asks_that_cannot_be_met(darts_bpe, options, error, message):
    with pytest.raises(error) as caught:
        correlate(darts_bpe, **options)
    assert str(caught.value).startswith(message)


def test_too_few_shared_architectures(golden, make_curves):
    few = [[600, 610, *[MISSING] * 4]]
    found = correlate(replaced(golden, make_curves, cheap=few))
    assert [row.label for row in found.rows] == ["middle"]
    assert (
        "cheap: fewer than 3 architectures in common with the reference 'full', so it is left out"
        in found.warnings
    )
    with pytest.raises(SelectionError) as caught:
        correlate(replaced(golden, make_curves, cheap=few, middle=few))
    assert str(caught.value) == (
        "nothing can be ranked: all 2 budgets share fewer than 3 architectures with the reference "
        "'full' and are left out; train more architectures under both, or widen the selection"
    )


points = st.lists(
    st.tuples(
        st.sampled_from([1.0, 2.0, 3.0, 4.0, math.nan]),
        st.sampled_from([-0.5, 0.0, 0.5, 0.9, math.nan]),
    ),
    max_size=12,
)


@given(points=points)
def test_the_front_holds_what_nothing_beats(points):
    found = pareto_front([c for c, _ in points], [r for _, r in points])
    for (cost, rank), on in zip(points, found, strict=True):
        beaten = any((c <= cost and r > rank) or (c < cost and r >= rank) for c, r in points)
        known = not math.isnan(cost) and not math.isnan(rank)
        assert on == (known and not beaten)


def test_unknown_costs_are_never_on_the_front(golden):
    settings = [dataclasses.replace(s, seconds=math.nan) for s in golden.settings]
    found = correlate(dataclasses.replace(golden, settings=tuple(settings)))
    assert found.front() == []
    assert found.rows[0].to_json()["cost_seconds"] is None


REPORT_FIELDS = {
    "table", "space", "dataset", "reference", "statistic", "confidence", "n_architectures",
    "noise_ceiling", "warnings", "rows",
}  # fmt: skip
ROW_FIELDS = {
    "label", "budget", "epoch", "correlation", "low", "high", "p_value", "precision_at_k",
    "regret_at_k", "best_rank_at_k", "cost_seconds", "device", "pareto",
}  # fmt: skip


def test_json_has_the_promised_fields_and_no_nan(report):
    text = json.dumps(report.to_json(), allow_nan=False)
    found = json.loads(text)
    assert found.keys() >= REPORT_FIELDS
    assert all(row.keys() >= ROW_FIELDS for row in found["rows"])
    assert len(found["rows"]) == 37
    assert found["noise_ceiling"] is None
    assert found["rows"][4]["label"] == "test5"
    assert found["rows"][4]["budget"]["layers"] == 6
    assert found["comparisons"][0]["separable"] is False


def test_a_frame_has_a_line_per_budget(report):
    frame = report.to_frame()
    assert frame.index.tolist() == [row.label for row in report.rows]
    assert frame.loc["test32", ["epochs", "layers", "channels"]].tolist() == [30, 16, 16]
    assert frame.loc["test32", "correlation"] == report.row("BPE-2").correlation


def test_settings_on_other_data_are_left_out(golden):
    other = Setting("elsewhere", golden.settings[1].budget, "cifar100")
    found = correlate(dataclasses.replace(golden, settings=(*golden.settings, other)))
    assert [row.label for row in found.rows] == ["cheap", "middle"]
