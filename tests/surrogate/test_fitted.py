"""What fitted surrogates answer, and what they refuse."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor

from bpe_bench import BPE_1, Selection, correlate, get_space, open_table
from bpe_bench.budget import encode
from bpe_bench.errors import RankingError, SelectionError, SurrogateFileError, UnknownNameError
from bpe_bench.estimators import SurrogateEstimator
from bpe_bench.hyper_parameters import HYPER_PARAMETERS
from bpe_bench.search import RandomSearch, run_search
from bpe_bench.surrogate import Question, fit_surrogate, load_surrogate, save_surrogate
from bpe_bench.surrogate.columns import _Columns
from bpe_bench.surrogate.examples import _gather
from bpe_bench.tables.table import Split

FAR = BPE_1.replace(epochs=2000)
NEAR = BPE_1.replace(epochs=20)


def rng():
    return np.random.default_rng(0)


def fitted_to(table, *args, folds=4, **options):
    return fit_surrogate(table, Question(*args, **options), rng=rng(), name="T", folds=folds)


# --- Columns ---------------------------------------------------------------------------------


def test_budgets_become_logarithms_and_places():
    names = ("epochs", "lr_schedule", "precision", "cutout", "data_fraction")
    columns = _Columns("darts", "", (), names, ("A", "B"))
    asked = BPE_1.replace(epochs=8, lr_schedule="linear", cutout=3, data_fraction=0.25)
    np.testing.assert_array_equal(
        columns.of_budgets([asked, BPE_1.replace(epochs=1)], ["B", ""]),
        [[3, 1, 2, 2, -2, 0, 1], [0, 0, 2, 0, 0, 0, 0]],
    )
    assert columns.names == (*names, "on A", "on B")


def test_names_and_columns_match(accurate, darts_bpe):
    columns = accurate.models["accuracy"].columns
    x = columns.of_architectures(darts_bpe.architectures[:3], np.zeros((3, 0)))
    assert x.shape[1] + columns.of_budgets([BPE_1]).shape[1] == len(columns.names)
    assert columns.hyper_parameters == ("epochs", "batch_size", "learning_rate", "layers",
                                        "channels", "image_size", "precision")  # fmt: skip


# --- Correlations and costs of budgets -------------------------------------------------------


def test_left_out_settings_are_missed_as_the_error_says(correlating, darts_bpe):
    model = correlating.models["correlation"]
    ensemble = model.ensembles["budget"]
    truth = {
        row.label: row.correlation for row in correlate(darts_bpe, Selection(epochs="last")).rows
    }
    y = np.array([truth[s.label] for s in correlating.settings])
    x = model.columns.of_budgets([s.budget for s in correlating.settings])
    every = np.array([member.predict(x) for member in ensemble.members])
    missed = np.sort(ensemble.residuals)
    # Trees that saw all rows reproduce them, so what a member misses are the rows it never saw.
    unseen = np.abs(every - y) > 1e-6
    assert unseen.sum(axis=0).max() == 1
    found = np.sort(np.abs(every - y)[unseen])
    np.testing.assert_allclose(found, missed[-found.size :], rtol=1e-5)
    assert correlating.error == pytest.approx(np.sqrt(np.mean(missed**2)))
    assert 0.04 < correlating.error < 0.11


def test_left_out_settings_are_missed_by_less_than_by_a_plain_forest(darts_bpe):
    """The 32 published settings, each left out in turn."""
    labels = [f"test{number}" for number in range(1, 33)]
    question = Question("correlation", budgets=labels)
    fitted = fit_surrogate(darts_bpe, question, rng=rng())
    rows = {
        row.label: row.correlation for row in correlate(darts_bpe, Selection(epochs="last")).rows
    }
    y = np.array([rows[setting.label] for setting in fitted.settings])
    x = encode([setting.budget for setting in fitted.settings], HYPER_PARAMETERS)
    missed = []
    for place in range(32):
        others = np.arange(32) != place
        forest = RandomForestRegressor(40, random_state=0).fit(x[others], y[others])
        missed.append(forest.predict(x[~others])[0] - y[place])
    assert fitted.error < np.sqrt(np.mean(np.square(missed)))


def test_correlations_and_costs_of_budgets(correlating):
    budgets = [BPE_1, NEAR]
    found = correlating.correlation(budgets)
    assert found.value[0] == pytest.approx(0.497, abs=0.02)  # it was fitted to BPE-1
    assert (found.low < found.value).all()
    assert (found.high > found.value).all()
    cost = correlating.budget_cost(budgets)
    assert cost.value[0] == pytest.approx(307, rel=0.1)
    assert cost.value[1] == pytest.approx(2 * cost.value[0], rel=0.3)  # twice the epochs
    assert (cost.low < cost.value).all()
    assert (correlating.device, correlating.statistic) == ("V100", "spearman")
    wider = correlating.correlation(budgets, confidence=0.95)
    assert (wider.high - wider.low >= found.high - found.low).all()


def test_a_budget_gets_the_same_answer_alone_and_among_others(correlating):
    both, one = correlating.correlation([BPE_1, NEAR]), correlating.correlation([NEAR])
    assert (both.value[1], both.low[1], both.high[1]) == (one.value[0], one.low[0], one.high[0])
    assert correlating.correlation([]).value.shape == (0,)


def test_budgets_outside_of_what_was_seen_are_refused(correlating):
    with pytest.raises(
        SelectionError,
        match=r"^the surrogate would have to extrapolate: epochs=2000 \(fitted: 10 to 300\), "
        r"precision=bf16 \(fitted: fp16, fp32\); ask for a budget within, or allow it \(--extra",
    ):
        correlating.correlation([FAR.replace(precision="bf16")])
    found = correlating.correlation([BPE_1, FAR], extrapolate=True)
    assert np.isfinite(found.value).all()
    assert np.isnan(found.low).tolist() == [False, True]
    assert np.isnan(correlating.budget_cost([FAR], extrapolate=True).high).all()
    with pytest.raises(SelectionError, match=r"data_fraction=0.1 \(fitted: 0.5 to 1.0\)"):
        correlating.budget_cost([BPE_1.replace(data_fraction=0.1)])


def test_what_it_was_not_fitted_to_is_refused(correlating, accurate, darts_bpe):
    cells = darts_bpe.architectures[:1]
    with pytest.raises(
        SelectionError,
        match=r"^the surrogate predicts correlation and cost, not accuracy; fit one with: "
        r"bpe-bench surrogate fit darts-bpe --target accuracy -o FILE$",
    ):
        correlating.accuracy(cells, BPE_1)
    with pytest.raises(SelectionError, match=r"predicts accuracy, not correlation"):
        accurate.correlation([BPE_1])
    with pytest.raises(SelectionError, match=r"predicts accuracy, not correlation"):
        _ = accurate.error
    with pytest.raises(SelectionError, match=r"is of space 'darts', not of 'nas-bench-201'"):
        accurate.accuracy([get_space("nas-bench-201").from_index(0)], BPE_1)
    with pytest.raises(RankingError, match=r"confidence"):
        correlating.correlation([BPE_1], confidence=1.0)


# --- Accuracies ------------------------------------------------------------------------------


def test_accuracies_of_cells_under_a_setting(accurate, darts_bpe):
    found = accurate.accuracy(darts_bpe.architectures, BPE_1)
    truth = darts_bpe.accuracy("test5", darts_bpe.splits("test5")[0])
    assert np.corrcoef(found.value, truth)[0, 1] > 0.8  # it saw them
    assert (found.low <= found.value).all()
    assert (found.low >= 0).all()
    assert (found.high <= 1).all()
    # Four settings have recorded costs, too few to learn from: the recorded one is said.
    assert accurate.cost(darts_bpe.architectures[:2], BPE_1).value.tolist() == [306.72] * 2
    assert not accurate.knows_cost(NEAR)


def test_too_few_settings_say_nothing_of_another(accurate, darts_bpe):
    with pytest.raises(
        SelectionError,
        match=r"fitted to 4 settings \(test5, test6, test32, test23\), too few to judge another "
        r"budget by; ask for one of them, or allow it \(--extrapolate\)$",
    ):
        accurate.accuracy(darts_bpe.architectures[:1], NEAR)
    found = accurate.accuracy(darts_bpe.architectures[:1], NEAR, extrapolate=True)
    assert np.isfinite(found.value).all()
    assert np.isnan(found.low).all()


def test_a_new_budget_has_wider_intervals_than_a_known_one(darts_bpe):
    fitted = fitted_to(darts_bpe, architectures=30)
    assert set(fitted.models["accuracy"].ensembles) == {"architecture", "both"}
    cells = darts_bpe.architectures[:5]
    known, new = (fitted.accuracy(cells, budget) for budget in (BPE_1, BPE_1.replace(epochs=11)))
    assert (new.high - new.low > 2 * (known.high - known.low)).all()
    assert (fitted.cost(cells, NEAR).value == fitted.budget_cost([NEAR]).value).all()


def test_costs_are_unknown_outside_of_the_settings_of_known_cost(darts_bpe):
    """Accuracies are known up to the 600 epochs of full training, costs up to 300 epochs."""
    fitted = fitted_to(darts_bpe, architectures=30)
    cells, full = darts_bpe.architectures[:2], darts_bpe.setting("full").budget
    known, between = darts_bpe.setting("test6").budget, BPE_1.replace(epochs=310)
    assert (fitted.ranges["epochs"], fitted.models["cost"].ranges["epochs"]) == (
        (10, 600),
        (10, 300),
    )
    for budget in (full, between):
        assert np.isfinite(fitted.accuracy(cells, budget).low).all()
        assert np.isnan([*vars(fitted.cost(cells, budget)).values()]).all()
        assert np.isnan(fitted.budget_cost([known, budget]).value).tolist() == [False, True]
        assert not fitted.knows_cost(budget)
        assert fitted.knows_cost(budget, extrapolate=True)
        far = fitted.cost(cells, budget, extrapolate=True)
        assert np.isfinite(far.value).all()
        assert np.isnan([far.low, far.high]).all()
        assert np.isnan(fitted.at(budget).predict(cells).seconds).all()
        assert np.isfinite(fitted.at(budget, extrapolate=True).predict(cells).seconds).all()
        assert np.isfinite(fitted.accuracy(cells, budget, extrapolate=True).low).all()
    assert np.isfinite(fitted.cost(cells, known).low).all()
    with pytest.raises(SelectionError, match=r"epochs=2000 \(fitted: 10 to 600\)"):
        fitted.cost(cells, FAR)


def test_an_accuracy_is_not_refused_where_too_few_settings_have_costs(darts_bpe):
    """Measured costs of two settings, accuracies of all: a new budget has no known cost."""
    seconds = np.arange(100.0, 200.0)
    known = ("test5", "test6")
    settings = tuple(
        replace(s, seconds=s.seconds if s.label in known else np.nan) for s in darts_bpe.settings
    )
    measures = {(label, "seconds"): seconds * factor for factor, label in enumerate(known, 1)}
    fitted = fitted_to(replace(darts_bpe, settings=settings, measures=measures), architectures=30)
    assert [s.label for s in fitted.models["cost"].settings] == list(known)
    cells = darts_bpe.architectures[:2]
    assert np.isfinite(fitted.cost(cells, BPE_1).low).all()
    assert np.isfinite(fitted.at(NEAR).predict(cells).accuracy).all()
    assert np.isnan(fitted.cost(cells, NEAR).value).all()


def test_why_there_is_no_interval(accurate, correlating):
    assert accurate.bare("accuracy", BPE_1) == correlating.bare("cost", BPE_1) == ""
    assert accurate.bare("cost", BPE_1) == "it is the mean that the table records"
    assert accurate.bare("accuracy", NEAR) == "4 settings are too few to judge another budget by"
    said = "37 rows were held out, and the confidence needs 99"
    assert correlating.bare("correlation", NEAR, 0.99) == said
    assert correlating.bare("correlation", FAR) == (
        "the budget is outside of what was seen: epochs=2000 (fitted: 10 to 300)"
    )


def test_measured_costs_are_learned_by_architecture(darts_bpe):
    """Seconds that grow by the convolutions of a cell."""
    convolutions = [sum(gene in (2, 3, 4, 5) for gene in a.genes) for a in darts_bpe.architectures]
    seconds = 100.0 + 10 * np.array(convolutions)
    table = replace(darts_bpe, measures={("test5", "seconds"): seconds})
    fitted = fitted_to(table, budgets=["test5"])
    found = fitted.cost(darts_bpe.architectures, BPE_1)
    assert np.corrcoef(found.value, seconds)[0, 1] > 0.8
    assert ((found.low <= seconds) & (seconds <= found.high)).mean() > 0.85
    with pytest.raises(
        SelectionError, match=r"predicts the cost of each architecture; ask for the"
    ):
        fitted.budget_cost([BPE_1])
    assert fitted_to(table, "cost", budgets=["test5"]).target == "cost"


def test_accuracies_of_an_earlier_epoch_are_given(tmp_path):
    """What ``correlate`` prints as LABEL@12; of the last epoch it is the setting itself."""
    table, full = open_table("nas-bench-201-curves"), "cifar10-valid-200"
    question = Question(budgets=[full], given=[f"{full}@12"])
    fitted = fit_surrogate(table, question, rng=rng(), model="forest", folds=3)
    save_surrogate(tmp_path / "s", fitted)
    read = load_surrogate(tmp_path / "s")
    assert read.given == (f"{full}@12",)
    counts = table.curves[full, Split.VALIDATION]
    place = list(counts.epochs).index(12)
    known = np.array(counts.all_counts()[:, place, :5], dtype=float)
    known = np.nanmean(np.where(known < 0, np.nan, known), axis=0)  # some seeds are missing
    known /= counts.split_size * counts.scale
    np.testing.assert_allclose(read.given_from(table, table.architectures[:5])[:, 0], known)
    with pytest.raises(SelectionError, match=f"^{full} cannot be both given and predicted$"):
        _gather(table, replace(question, given=[f"{full}@200"]), rng())
    with pytest.raises(UnknownNameError, match=f"^unknown epoch '999' of setting '{full}'"):
        _gather(table, replace(question, given=[f"{full}@999"]), rng())


def test_given_accuracies_are_looked_up_and_needed(informed, darts_bpe):
    cells = darts_bpe.architectures[:3]
    with pytest.raises(
        SelectionError,
        match=r"^accuracies under test6 must be given, shape \(3, 1\), found None; name the table",
    ):
        informed.accuracy(cells, BPE_1)
    given = informed.given_from(darts_bpe, cells)
    np.testing.assert_array_equal(
        given[:, 0], darts_bpe.accuracy("test6", darts_bpe.splits("test6")[0])[:3]
    )
    given[1] = np.nan
    found = informed.accuracy(cells, BPE_1, given=given)
    assert np.isnan(found.value).tolist() == [False, True, False]
    assert np.isnan(found.low).tolist() == [False, True, False]
    higher = informed.accuracy(cells, BPE_1, given=given + 0.2)
    assert (higher.value - found.value)[[0, 2]].min() >= 0


def test_another_table_is_refused(informed, darts_bpe):
    changed = replace(darts_bpe, caveats=("other",))
    with pytest.raises(
        SurrogateFileError,
        match=r"^the surrogate was fitted to table 'darts-bpe' with content SHA-256 [0-9a-f]{64}, "
        r"the table given has [0-9a-f]{64}; fit it again with: bpe-bench surrogate fit$",
    ):
        informed.given_from(changed, darts_bpe.architectures[:1])
    informed.check_table(darts_bpe)


def test_the_same_seed_gives_the_same_and_another_another(darts_bpe):
    question = Question(budgets=["test5"], architectures=40)
    cells = darts_bpe.architectures
    one, same, other = (
        fit_surrogate(darts_bpe, question, rng=np.random.default_rng(s), folds=3).accuracy(
            cells, BPE_1
        )
        for s in (0, 0, 1)
    )
    np.testing.assert_array_equal(one.high, same.high)
    assert not np.array_equal(one.value, other.value)


# --- Searches --------------------------------------------------------------------------------


def test_a_search_gets_accuracies_their_intervals_and_costs(accurate, darts_bpe):
    surrogate = accurate.at(BPE_1)
    cells = darts_bpe.architectures[:3]
    predicted, direct = surrogate.predict(cells), accurate.accuracy(cells, BPE_1)
    np.testing.assert_array_equal(predicted.accuracy, direct.value)
    np.testing.assert_array_equal(predicted.low, direct.low)
    np.testing.assert_array_equal(predicted.high, direct.high)
    assert predicted.seconds.tolist() == [306.72] * 3
    trace = run_search(RandomSearch(), SurrogateEstimator(surrogate), evaluations=4, rng=rng())
    assert trace.evaluations == 4


def test_a_search_over_given_accuracies_stays_in_the_table(informed, darts_bpe):
    with pytest.raises(SelectionError, match=r"^accuracies under test6 must be known; name the ta"):
        informed.at(BPE_1)
    surrogate = informed.at(BPE_1, table=darts_bpe)
    assert np.isfinite(surrogate.predict(darts_bpe.architectures).accuracy).all()
    new = get_space("darts").sample(rng())
    with pytest.raises(SelectionError, match=r"^the table does not hold Genotype\(.*test6 is not"):
        surrogate.predict([new])
    with pytest.raises(SelectionError, match=r"would have to extrapolate"):
        informed.at(FAR, table=darts_bpe)


def test_what_cannot_be_asked_is_refused_before_a_search(accurate):
    with pytest.raises(SelectionError, match=r"would have to extrapolate"):
        accurate.at(FAR)
    assert np.isnan(accurate.at(FAR, extrapolate=True).predict([]).accuracy).all()


# --- Degenerate tables -----------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3])
def test_correlations_of_very_few_settings(count, darts_bpe):
    labels = ["test5", "test6", "test7"][:count]
    question = Question("correlation", budgets=labels)
    if count == 1:
        with pytest.raises(
            SelectionError, match=r"all 1 correlations .* there is nothing to learn"
        ):
            fit_surrogate(darts_bpe, question, rng=rng())
        return
    fitted = fit_surrogate(darts_bpe, question, rng=rng())
    found = fitted.correlation([fitted.settings[0].budget])
    assert np.isfinite(found.value).all()
    assert np.isnan(found.low).all()  # of three settings no 90 % interval follows
    assert "cost" not in fitted.models


def test_settings_that_differ_in_nothing_that_was_recorded(darts_bpe):
    """A constant axis is no column; a budget that differs there is outside."""
    fitted = fitted_to(darts_bpe, "correlation", budgets=["test5", "test6", "test27", "test33"])
    assert "epochs" in fitted.models["correlation"].columns.hyper_parameters
    only = fitted_to(darts_bpe, "correlation", budgets=["test6", "test5", "test27"], folds=3)
    assert only.models["correlation"].columns.hyper_parameters == ("channels",)
    with pytest.raises(SelectionError, match=r"epochs=20 \(fitted: 10\)"):
        only.correlation([NEAR])


def test_undefined_correlations_are_left_out_and_named(with_accuracies):
    table = with_accuracies(test6=np.full(100, 8000))
    fitted = fitted_to(table, "correlation")
    assert "left out, because their correlation is not defined: test6" in fitted.notes
    assert "test6" not in [s.label for s in fitted.settings]


def test_correlations_rest_on_the_architectures_that_were_trained_in_full(with_accuracies):
    counts = np.arange(9000, 9100)
    counts[:30] = -1
    fitted = fitted_to(with_accuracies(full=counts), "correlation")
    assert fitted.n_architectures == 70


def test_all_accuracies_equal(with_accuracies):
    table = with_accuracies(test6=np.full(100, 8000))
    with pytest.raises(
        SelectionError, match=r"^all 100 accuracies to learn from are 0.8: there is nothing to lear"
    ):
        fitted_to(table, budgets=["test6"])


def test_missing_trainings_are_left_out_and_counted(with_accuracies):
    counts = np.arange(8000, 8100)
    counts[:7] = -1
    fitted = fitted_to(with_accuracies(test6=counts), budgets=["test6"])
    assert "7 of 100 trainings are missing and left out" in fitted.notes
    assert fitted.n_architectures == 93


def test_fewer_architectures_than_folds(darts_bpe):
    with pytest.raises(
        SelectionError, match=r"needs at least 4 architectures, found 3; take fewer"
    ):
        fitted_to(darts_bpe, budgets=["test5"], architectures=3)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"architectures": 0}, "^at least 1 architecture is needed, found 0$"),
        ({"architectures": [1, 100]}, "must be places from 0 to 99 of the table$"),
        ({"budgets": ["test5"], "given": ["test5"]}, "^test5 cannot be both given and predicted$"),
        ({"target": "cost", "given": ["test5"]}, "help to predict accuracies, not costs; leave ou"),
    ],
)
def test_questions_that_make_no_sense(options, text, darts_bpe):
    with pytest.raises(SelectionError, match=text):
        fitted_to(darts_bpe, **options)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"target": "speed"}, "unknown target 'speed'.*; there are: accuracy, cost, correlation"),
        ({"dataset": "svhn"}, "unknown data set 'svhn'.*; there are: cifar10"),
        ({"encoding": "one-hot"}, "unknown encoding 'one-hot'.*; there are: structure, operations"),
        ({"budgets": ["tset5"]}, "'tset5'"),
        ({"statistic": "pearson", "target": "correlation"}, "'pearson'"),
    ],
)
def test_names_that_do_not_exist(options, text, darts_bpe):
    with pytest.raises(UnknownNameError, match=text):
        fitted_to(darts_bpe, **options)
