"""Reports of held-out figures: complete, reproducible, and without skill where there is none."""

import json

import numpy as np
import pytest
from scipy.stats import kendalltau, t
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bpe_bench import get_space, open_table
from bpe_bench.errors import RankingError, SelectionError, UnknownNameError
from bpe_bench.surrogate import Question, evaluate_surrogates
from bpe_bench.surrogate.crossfit import _judge
from bpe_bench.surrogate.examples import _gather
from bpe_bench.surrogate.fitting import _member_fitter

FEW = Question(budgets=["test5", "test6", "test23", "test32"])


def report_of(table, question=FEW, seed=0, **options):
    options = {"folds": 4, "resamples": 20, **options}
    return evaluate_surrogates(
        table, question, rng=np.random.default_rng(seed), name="darts-bpe", **options
    )


@pytest.fixture(scope="module")
def report(darts_bpe):
    return report_of(darts_bpe)


def test_a_row_for_every_way_of_holding_out(report):
    assert [(r.model, r.grouping) for r in report.rows] == [
        ("xgboost", "architecture"), ("xgboost", "budget"), ("xgboost", "both"),
    ]  # fmt: skip
    by = {row.grouping: row for row in report.rows}
    assert by["architecture"].n_groups == (100,)
    assert by["budget"].n_groups == (4,)
    assert by["both"].n_groups == (100, 4)
    assert by["both"].n_rows == 100  # each cell under the setting of its fold
    # A held-out budget's level cannot be known from three others; a held-out cell's nearly can.
    assert by["architecture"].r2.value > 0.95 > by["budget"].r2.value
    assert 0.8 < by["architecture"].coverage_90.value < 1
    for row in report.rows:
        for figure in (row.kendall, row.coverage_90, row.kendall_within_budget):
            assert figure.low <= figure.value <= figure.high


def test_json_has_the_fields_of_the_contract(report):
    said = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert {"table", "target", "rows", "warnings", "noise_ceiling"} <= set(said)
    assert said["noise_ceiling"] is None  # one seed
    for row in said["rows"]:
        assert {"model", "grouping"} <= set(row)
        for name in ("r2", "kendall", "sparse_kendall", "coverage_90"):
            assert set(row[name]) == {"value", "low", "high"}
    frame = report.to_frame()
    assert frame["kendall"].tolist() == [row.kendall.value for row in report.rows]


def test_the_same_seed_gives_the_same_report_and_another_another(report, darts_bpe):
    assert report_of(darts_bpe).to_json() == report.to_json()
    assert report_of(darts_bpe, seed=1).to_json()["rows"] != report.to_json()["rows"]


def test_noise_is_not_predicted(with_accuracies):
    """Cells with shuffled accuracies: any skill would be a leak."""
    rng = np.random.default_rng(5)
    table = with_accuracies(test6=rng.permutation(np.arange(8000, 8100)))
    row = report_of(table, Question(budgets=["test6"])).row("xgboost", "architecture")
    assert row.kendall.low < 0 < row.kendall.high
    assert row.r2.value < 0.1
    assert row.coverage_90.value > 0.8


def test_correlations_are_judged_by_setting(darts_bpe):
    report = report_of(darts_bpe, Question("correlation"), models=["forest"], folds=8)
    (row,) = report.rows
    assert (row.grouping, row.n_rows, row.n_groups) == ("budget", 37, (37,))
    assert np.isnan(row.kendall_within_budget.value)
    assert 0.5 < row.r2.value < 0.9
    with pytest.raises(
        SelectionError, match=r"^correlations are known by setting only, so they can be judged"
    ):
        report_of(darts_bpe, Question("correlation"), groupings=["architecture"])


def test_costs_are_judged_on_the_logarithm(darts_bpe):
    (row,) = report_of(darts_bpe, Question("cost"), folds=8).rows
    assert row.r2.value > 0.9
    assert row.model == "forest"
    assert np.isnan(row.sparse_kendall.value)


def test_figures_are_those_of_what_was_predicted(darts_bpe):
    """The folds made again by hand, the figures by scikit-learn and scipy; the best are cheap."""
    question, rng = Question("cost"), np.random.default_rng(0)
    (row,) = report_of(darts_bpe, question, folds=8, top_k=5).rows
    examples = _gather(darts_bpe, question, rng)
    folds = examples.folds("budget", 8, rng)
    fit = _member_fitter(examples, "forest", rng)
    judged = _judge(examples.x, examples.y, folds, fit, confidence=0.9)
    truth = examples.y[judged.place]
    np.testing.assert_allclose(np.exp(np.sort(truth)), np.sort([s.seconds for s in
                               darts_bpe.settings if s.seconds > 0]))  # fmt: skip
    assert row.r2.value == pytest.approx(r2_score(truth, judged.value))
    assert row.kendall.value == pytest.approx(kendalltau(truth, judged.value)[0])
    inside = (judged.low <= truth) & (truth <= judged.high)
    assert row.coverage_90.value == pytest.approx(inside.mean())
    cheap = set(np.argsort(truth)[:5]) & set(np.argsort(judged.value)[:5])
    assert row.precision_at_k.value == pytest.approx(len(cheap) / 5)
    width = (np.exp(judged.high) - np.exp(judged.low)) / np.exp(judged.value)
    assert row.width == pytest.approx(width.mean())


def test_coverage_is_unknown_where_too_few_residuals_give_no_interval(darts_bpe):
    """Nine settings leave eight residuals to judge each of them by, ten leave nine."""
    for count, known in ((9, False), (10, True)):
        question = Question("correlation", budgets=[f"test{n}" for n in range(1, count + 1)])
        report = report_of(darts_bpe, question, folds=count)
        (row,) = report.rows
        figures = (*vars(row.coverage_90).values(), row.width)
        assert np.isfinite(figures).tolist() == [known] * 4
        assert np.isfinite(row.r2.low)
        said = "no coverage by budget: 8 residuals are known, and a 90% "
        assert any(w.startswith(said + "interval takes 9; ") for w in report.warnings) != known
    json.dumps(report.to_json(), allow_nan=False)


def test_too_few_settings_to_hold_any_out_are_said(darts_bpe):
    report = report_of(darts_bpe, Question(budgets=["test5", "test6"]))
    assert [row.grouping for row in report.rows] == ["architecture"]
    assert (
        "not judged by budget nor both: that takes at least 4 settings, one per fold, found 2"
    ) in report.warnings
    with pytest.raises(SelectionError, match=r"needs at least 4 settings, found 2"):
        report_of(darts_bpe, Question(budgets=["test5", "test6"]), groupings=["budget"])


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"models": ["oracle"]}, UnknownNameError, "unknown model 'oracle'"),
        ({"groupings": ["seed"]}, UnknownNameError, "unknown grouping 'seed'.*; there are: arch"),
        ({"top_k": 0}, RankingError, "^k must be at least 1, found 0$"),
        ({"resamples": 0}, SelectionError, "^at least 1 resample is needed, found 0$"),
        ({"confidence": 1.5}, RankingError, "confidence"),
        (
            {"folds": 2},
            SelectionError,
            "^judging surrogates needs at least 3 folds, found 2: .* or more$",
        ),
        ({"folds": 1}, SelectionError, "at least 2 folds, found 1"),
    ],
)
def test_bad_options_are_refused(options, error, text, darts_bpe):
    with pytest.raises(error, match=text):
        report_of(darts_bpe, **options)


def test_a_row_that_is_not_there(report):
    with pytest.raises(UnknownNameError, match=r"unknown row 'forest by both'.*xgboost by arch"):
        report.row("forest", "both")


def test_the_straight_line_is_that_of_scikit_learn(darts_bpe):
    """Ridge regression on standardised columns, without the same folds; what is above it by
    the jackknife over settings."""
    question = Question("correlation")
    report = report_of(darts_bpe, question, models=["forest"], folds=8)
    (row,), rng = report.rows, np.random.default_rng(0)
    examples = _gather(darts_bpe, question, rng)
    folds = examples.folds("budget", 8, rng)
    judged = _judge(examples.x, examples.y, folds, _member_fitter(examples, "forest", rng),
                    confidence=0.9)  # fmt: skip
    line = np.zeros(examples.y.size)
    for fold in range(8):
        held = folds.judged(fold)
        ridge = make_pipeline(StandardScaler(), Ridge(alpha=0.1))
        line[held] = ridge.fit(examples.x[~held], examples.y[~held]).predict(examples.x[held])
    truth, line = examples.y[judged.place], line[judged.place]

    def above(rows):
        by_model, by_line = (kendalltau(truth[rows], p[rows])[0] for p in (judged.value, line))
        return by_model - by_line, by_line

    n = truth.size
    assert (row.above_straight_line.value, row.straight_line.value) == pytest.approx(
        above(np.arange(n))
    )
    left_out = [above(np.delete(np.arange(n), place))[0] for place in range(n)]
    half = t.ppf(0.975, n - 2) * np.std(left_out) * np.sqrt(n - 1)
    found = row.above_straight_line
    assert found.high - found.value == pytest.approx(half, rel=0.1)
    assert found.value - found.low == pytest.approx(half, rel=0.1)
    assert row.straight_line.low < row.straight_line.value < row.straight_line.high


def test_cells_that_another_one_is_isomorphic_to_are_counted_apart():
    table = open_table("nas-bench-201-curves")
    question = Question(budgets=["cifar10-valid-12"], architectures=range(60))
    (row,), rng = report_of(table, question, models=["forest"]).rows, np.random.default_rng(0)
    space = get_space("nas-bench-201")
    shapes = [space.canonical(cell) for cell in table.architectures[:60]]
    new = np.array([shapes.count(shape) == 1 for shape in shapes])
    assert (row.n_twins, bool(new.any())) == (int((~new).sum()), True)
    assert 0 < row.n_twins < 60
    examples = _gather(table, question, rng)
    folds = examples.folds("architecture", 4, rng)
    judged = _judge(examples.x, examples.y, folds, _member_fitter(examples, "forest", rng),
                    confidence=0.9)  # fmt: skip
    kept = new[examples.architecture[judged.place]]
    truth = examples.y[judged.place][kept]
    expected = kendalltau(truth, judged.value[kept])[0]
    assert row.without_twins.value == pytest.approx(expected, abs=2e-3)  # rounding makes ties
    assert row.without_twins.low < row.without_twins.value < row.without_twins.high
    inside = (judged.low <= examples.y[judged.place]) & (examples.y[judged.place] <= judged.high)
    assert row.coverage_without_twins.value == pytest.approx(inside[kept].mean())


def test_darts_cells_have_no_twins(report):
    assert [row.n_twins for row in report.rows] == [0, 0, 0]
    assert np.isnan([row.without_twins.value for row in report.rows]).all()


def test_the_answer_says_how_well_new_settings_are_ranked(darts_bpe):
    report = report_of(darts_bpe, Question("correlation"), models=["forest"], folds=8)
    (row,) = report.rows
    k, line, above = row.kendall, row.straight_line, row.above_straight_line
    assert above.low > 0
    assert report.answer == (
        "forest ranks settings that it never saw by their Spearman correlation with Kendall "
        f"{k.value:.2f} [{k.low:.2f}, {k.high:.2f}], better than a straight line's "
        f"{line.value:.2f} ({above.value:+.2f} [{above.low:+.2f}, {above.high:+.2f}]). A random "
        f"order has 0. Its 90% intervals hold for {row.coverage_90.value:.0%} of what was held out."
    )
    assert next(iter(report.to_json())) == "answer"


def test_the_answer_says_where_a_straight_line_is_better(darts_bpe):
    """Boosted trees find less in 100 cells than a ridge regression (.28 and .45 of Kendall)."""
    report = report_of(darts_bpe, Question(budgets=["test5", "test6"]))
    (row,) = report.rows
    assert row.above_straight_line.high < 0
    assert f"worse than a straight line's {row.straight_line.value:.2f} (-" in report.answer
    assert report.answer.startswith("xgboost ranks new architectures under known settings with ")


def test_the_answer_says_that_noise_is_not_ranked(with_accuracies):
    rng = np.random.default_rng(5)
    table = with_accuracies(test6=rng.permutation(np.arange(8000, 8100)))
    report = report_of(table, Question(budgets=["test6"]), models=["xgboost", "forest"])
    best = max(report.rows, key=lambda row: row.kendall.value)
    k = best.kendall
    assert report.answer.startswith(
        f"No model is shown to rank better than a random order: {best.model} ranks new "
        f"architectures under known settings with Kendall {k.value:.2f} [{k.low:.2f}, {k.high:.2f}]"
    )


def test_the_answer_has_a_part_for_everything_that_was_held_out(report):
    for what in ("new architectures under known", "known architectures under new",
                 "new architectures under new"):  # fmt: skip
        assert f"{what} settings with Kendall" in report.answer


def test_correlations_with_a_reference_that_has_another_split():
    """darts-proxy: budgets have validation accuracies, full training has test accuracies."""
    examples = _gather(open_table("darts-proxy"), Question("correlation"), np.random.default_rng(0))
    assert (examples.split, examples.trained, len(examples.settings)) == ("validation", 40, 2)


def test_a_difference_over_few_settings_has_no_interval(report):
    row = report.row("xgboost", "budget")
    assert row.n_groups == (4,)
    assert np.isfinite(row.above_straight_line.value)
    assert np.isnan([row.above_straight_line.low, row.above_straight_line.high]).all()
    assert "not shown to differ from a straight line's" in report.answer


def test_two_settings_are_too_few_to_judge_correlations():
    with pytest.raises(SelectionError) as caught:
        report_of(open_table("darts-proxy"), Question("correlation"), folds=None)
    assert str(caught.value) == (
        "judging surrogates of correlations needs at least 3 settings that have one, found 2; "
        "widen the selection"
    )
