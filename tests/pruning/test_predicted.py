"""A surrogate as the source of correlations."""

import itertools

import numpy as np
import pytest

from bpe_bench.correlation.candidates import Predicted
from bpe_bench.errors import SelectionError
from bpe_bench.pruning import Rules, prune
from bpe_bench.pruning.predicted import SurrogateObjective
from bpe_bench.surrogate import Question, fit_surrogate


@pytest.fixture(scope="module")
def fitted(darts_bpe):
    rng = np.random.default_rng(0)
    return fit_surrogate(darts_bpe, Question("correlation"), rng=rng, name="darts-bpe")


@pytest.fixture(scope="module")
def predicted(fitted):
    return SurrogateObjective.of(fitted, rng=np.random.default_rng(0))


def test_any_setting_of_the_space_can_be_asked_for(predicted, darts_bpe):
    trained = {s.budget for s in darts_bpe.settings}
    budgets = predicted.pool.budgets
    assert len(budgets) == len(set(budgets)) == 512
    assert sum(budget not in trained for budget in budgets) > 400
    # What hardly varied among the trained settings is left at its usual value.
    assert {(b.cutout, b.data_fraction) for b in budgets} == {(0, 1.0)}
    # What moved together there stays together.
    pairs = {(s.budget.batch_size, s.budget.learning_rate) for s in darts_bpe.settings}
    assert {(b.batch_size, b.learning_rate) for b in budgets} <= pairs


def test_correlations_and_costs_are_the_surrogates(predicted, fitted):
    rows = predicted.pool.rows[:20]
    budgets = [row.budget for row in rows]
    found = fitted.correlation(budgets, confidence=0.95)
    assert [r.correlation for r in rows] == found.value.tolist()
    assert [r.low for r in rows] == found.low.tolist()
    assert [r.high for r in rows] == found.high.tolist()
    assert [r.cost_seconds for r in rows] == fitted.budget_cost(budgets).value.tolist()
    assert all(isinstance(row, Predicted) for row in rows)
    assert predicted.pool.surrogate_error == fitted.error > 0


def test_candidates_can_be_named(fitted):
    vary = {"epochs": (10, 50), "layers": (6, 20), "batch_size": (128, 256)}
    found = SurrogateObjective.of(fitted, rng=np.random.default_rng(0), vary=vary)
    budgets = found.pool.budgets
    assert {b.epochs for b in budgets} == {10, 50}
    assert {b.layers for b in budgets} == {6, 20}
    # A batch size that was asked for goes with every learning rate.
    rates = {b.learning_rate for b in budgets}
    assert {(b.batch_size, b.learning_rate) for b in budgets} == set(
        itertools.product((128, 256), rates)
    )


def test_candidates_outside_of_what_was_fitted_are_refused(fitted):
    with pytest.raises(SelectionError) as error:
        SurrogateObjective.of(fitted, rng=np.random.default_rng(0), vary={"epochs": (10, 600)})
    assert "epochs=600 (fitted: 10 to 300)" in str(error.value)
    found = SurrogateObjective.of(
        fitted, rng=np.random.default_rng(0), vary={"epochs": (10, 600)}, extrapolate=True
    )
    assert {b.epochs for b in found.pool.budgets} == {10, 600}


def test_too_few_settings_are_refused(fitted, predicted):
    one = predicted.pool.budgets[0]
    vary = {name: (value,) for name, value in one.to_dict().items()}
    with pytest.raises(SelectionError) as error:
        SurrogateObjective.of(
            fitted, rng=np.random.default_rng(0), vary=vary | {"epochs": (10, 20)}
        )
    assert str(error.value) == (
        "pruning needs at least 4 settings, found 2 to predict; give more candidates with --vary"
    )


def test_draws_move_as_the_jackknife_says(predicted, fitted):
    """Mean, spread and correlation of draws, against the formula by plain loops."""
    evidence = type(predicted.pool)(predicted.pool.rows[:6], predicted.pool.surrogate_error)
    drawn = predicted.draw(evidence, 40_000, np.random.default_rng(1))
    model = fitted.models["correlation"]
    members = [
        m.predict(model.columns.of_budgets(evidence.budgets))
        for m in model.ensembles["budget"].members
    ]
    k = len(members)
    centre = sum(members) / k
    expected = sum(np.outer(m - centre, m - centre) for m in members) * (k - 1) / k
    expected += np.eye(6) * fitted.error**2
    assert drawn.mean(axis=0) == pytest.approx(evidence.correlations, abs=0.005)
    assert np.cov(drawn.T) == pytest.approx(expected, abs=0.04 * expected.max())


def test_what_is_recommended_is_predicted_and_in_the_remaining_space(predicted):
    rules = Rules(sequential=False, resamples=4, force=True)
    report = prune(predicted, rules, rng=np.random.default_rng(0), max_cost_hours=(0.1, 0.6))
    assert (report.objective, report.table) == ("surrogate", "darts-bpe")
    assert set(report.kept) >= {"layers", "epochs"}
    pinned = {n: v for r in report.rounds for n, v in r.pinned_to.items()}
    assert report.recommended
    for item in report.recommended:
        assert not item.measured
        assert item.in_remaining_space
        assert item.held_out is None
        assert all(getattr(item.row.budget, name) == value for name, value in pinned.items())
    named = {h: r.row for r in report.recommended for h in r.best_under_hours}
    assert set(named) == {0.1, 0.6}
    assert all(row.cost_seconds <= 3600 * hours for hours, row in named.items())
    assert report.best().row == named[0.6]
    values = [r.row.correlation for r in report.recommended]
    assert values == sorted(values)  # dearer only if better
    assert any("every correlation is predicted by a surrogate" in w for w in report.warnings)


def test_a_schedule_that_costs_nothing_stays_at_the_usual_one(predicted):
    """Of the settings that were trained, 34 of 37 have cosine; of those made up, half."""
    rules = Rules(sequential=False, resamples=4, force=True)
    report = prune(predicted, rules, rng=np.random.default_rng(0))
    pinned = {n: v for r in report.rounds for n, v in r.pinned_to.items()}
    assert pinned["lr_schedule"] == "cosine"
