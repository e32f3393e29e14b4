"""PED-ANOVA through Optuna: the same figures, no noise, and a word where it is missing."""

import logging
import sys

import numpy as np
import pytest

from bpe_bench.errors import OptionalDependencyError, SelectionError
from bpe_bench.importance import ESTIMATORS
from bpe_bench.importance.ped_anova import _PedAnovaImportance

optuna = pytest.importorskip("optuna")


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(1)
    x = np.column_stack(
        [rng.uniform(0, 1, 80), rng.choice([2, 4, 9], 80), rng.integers(0, 3, 80), np.ones(80)]
    )
    return x, -((x[:, 0] - 0.7) ** 2) + 0.1 * (x[:, 1] == 4) + 0.05 * x[:, 2]


SINGLES = [[0], [1], [2], [3]]


def ask_optuna(parameters, y, best):
    """Optuna's importances of parameters, each a distribution and its values."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize")
    optuna.logging.set_verbosity(optuna.logging.INFO)
    for s, value in enumerate(y):
        study.add_trial(
            optuna.trial.create_trial(
                params={name: values[s] for name, (_, values) in parameters.items()},
                distributions={name: d for name, (d, _) in parameters.items()},
                value=value,
            )
        )
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=best)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return [found[name] for name in parameters]


@pytest.mark.parametrize("best", [0.1, 0.25, 0.5])
def test_agrees_with_optuna_on_ordered_values(data, best):
    x, y = data
    found = _PedAnovaImportance(best=best).importances(x, y, SINGLES, None)
    integer = optuna.distributions.IntDistribution
    parameters = {
        "a": (integer(0, 79), np.argsort(np.argsort(x[:, 0])).tolist()),
        "b": (integer(0, 2), [[2, 4, 9].index(v) for v in x[:, 1]]),
        "c": (integer(0, 2), x[:, 2].astype(int).tolist()),
    }
    np.testing.assert_allclose(found, [*ask_optuna(parameters, y, best), 0])


def test_only_the_order_of_values_counts_and_groups_are_combinations(data):
    x, y = data
    twice = np.column_stack([x[:, 1:3], 100 - x[:, 1]])
    alone, _ = _PedAnovaImportance().importances(twice, y, [[0], [1]], None)
    joined, _ = _PedAnovaImportance().importances(twice, y, [[0, 2], [1]], None)
    assert joined == pytest.approx(alone)
    scaled = np.exp(twice / 10)
    np.testing.assert_array_equal(
        _PedAnovaImportance().importances(scaled, y, [[0], [1]], None),
        _PedAnovaImportance().importances(twice, y, [[0], [1]], None),
    )


def test_says_nothing_and_leaves_optuna_as_it_was(data, capfd, recwarn):
    optuna.logging.set_verbosity(optuna.logging.INFO)
    tied = np.where(data[1] > np.quantile(data[1], 0.5), 1.0, 0.0)
    for y in (data[1], tied, 1 - tied * 0.9):
        _PedAnovaImportance().importances(data[0], y, SINGLES, None)
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list
    assert optuna.logging.get_verbosity() == logging.INFO


def test_where_all_tie_for_the_best_nothing_sets_them_apart(data):
    x, _ = data
    tied = np.where(np.arange(80) < 30, 0.1, 0.9)  # the 50 at the top are all among the best ...
    assert _PedAnovaImportance(best=0.25).importances(x, tied, SINGLES, None).sum() == 1
    # ... and where the cut falls among the 30 at the bottom, so are they.
    found = _PedAnovaImportance(best=0.7).importances(x, tied, SINGLES, None)
    np.testing.assert_array_equal(found, np.zeros(4))


def test_optuna_is_optional(data, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(OptionalDependencyError) as caught:
        ESTIMATORS["ped-anova"].importances(*data, SINGLES, None)
    assert str(caught.value) == (
        "PED-ANOVA needs Optuna, which is not installed; pip install 'bpe-bench[optuna]', or use "
        "another importance estimator"
    )


def test_an_optuna_that_is_too_old_is_refused(data, monkeypatch):
    monkeypatch.setattr(optuna, "__version__", "4.9.0")
    with pytest.raises(OptionalDependencyError) as caught:
        _PedAnovaImportance().importances(*data, SINGLES, None)
    assert str(caught.value) == (
        "PED-ANOVA needs Optuna 5 or newer, found 4.9.0; pip install 'bpe-bench[optuna]', or use "
        "another importance estimator"
    )


@pytest.mark.parametrize("best", [0, 1, -0.1, float("nan")])
def test_the_share_of_the_best_is_checked(best):
    with pytest.raises(SelectionError, match=r"the share of the best settings must be above 0 and"):
        _PedAnovaImportance(best=best)
