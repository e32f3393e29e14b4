"""Axes and domains: what a model sees of a setting, and what each part weighs."""

import numpy as np
import pytest

from bpe_bench.budget import BPE_1, BPE_2, BudgetSpace, encode
from bpe_bench.errors import SelectionError, UnknownNameError
from bpe_bench.importance import Axis, Domain
from bpe_bench.importance.domain import Interval, combinations

LAYERS = Axis.ordered("layers", [6, 8, 20])
PRECISION = Axis.categorical("precision", [2, 0, 1])
RATE = Axis.real("rate", 0.01, 1, log=True)


def test_codes():
    np.testing.assert_array_equal(LAYERS.code(np.array([20.0, 6.0])), [[2], [0]])
    np.testing.assert_array_equal(PRECISION.code(np.array([0.0, 2.0])), [[0, 1, 0], [1, 0, 0]])
    np.testing.assert_allclose(RATE.code(np.array([0.1])), [[np.log(0.1)]])
    np.testing.assert_array_equal(Axis.real("z", 0, 9).code(np.array([3.0])), [[3]])


def test_order_is_all_that_counts_of_an_ordered_axis():
    column = np.array([20.0, 6.0, 8.0, 8.0])
    logged = Axis.ordered("layers", np.log(LAYERS.values))
    np.testing.assert_array_equal(LAYERS.code(column), logged.code(np.log(column)))


def test_observed_weights():
    column = np.array([6.0, 6.0, 20.0, 6.0])
    assert LAYERS.observed(column).weights == (0.75, 0.0, 0.25)
    assert PRECISION.observed(np.array([1.0, 2.0])).weights == (0.5, 0.0, 0.5)
    points = RATE.observed(np.array([0.1, 0.5, 0.1, 0.1]))
    assert (points.values, points.weights) == ((0.1, 0.5), (0.75, 0.25))


def test_measures_of_the_space():
    x = np.array([[6.0, 0.0, 0.1], [6.0, 1.0, 0.5], [20.0, 0.0, 0.1]])
    domain = Domain((LAYERS, PRECISION, RATE))
    assert domain.starts == [0, 1, 4, 5]
    layers, precision, rate = domain.measures(x, [[0], [1], [2]], "space")
    np.testing.assert_array_equal(layers.points[:, 0], [0, 1, 2])
    np.testing.assert_allclose(layers.weights, 1 / 3)
    np.testing.assert_array_equal(precision.columns, [1, 2, 3])
    np.testing.assert_array_equal(precision.points, np.eye(3))
    assert rate == Interval(4, np.log(0.01), 0.0)
    weighted = Domain((Axis.ordered("layers", [6, 8, 20], [0.5, 0.2, 0.3]), PRECISION, RATE))
    np.testing.assert_allclose(weighted.measures(x, [[0]], "space")[0].weights, [0.5, 0.2, 0.3])


def test_measures_of_what_was_observed():
    x = np.array([[6.0, 0.0, 0.1], [6.0, 1.0, 0.5], [20.0, 0.0, 0.1]])
    domain = Domain((LAYERS, PRECISION, RATE))
    layers, precision, rate = domain.measures(x, [[0], [1], [2]], "observed")
    np.testing.assert_allclose(layers.weights, [2 / 3, 0, 1 / 3])
    np.testing.assert_allclose(precision.weights, [0, 2 / 3, 1 / 3])
    np.testing.assert_allclose(rate.points[:, 0], np.log([0.1, 0.5]))
    np.testing.assert_allclose(rate.weights, [2 / 3, 1 / 3])


@pytest.mark.parametrize(
    ("measure", "weights"), [("space", [1 / 2, 1 / 2]), ("observed", [2 / 3, 1 / 3])]
)
def test_a_group_can_be_what_it_was_seen_to_be(measure, weights):
    x = np.array([[6.0, 0.0], [20.0, 1.0], [6.0, 0.0]])
    (joined,) = Domain((LAYERS, PRECISION)).measures(x, [[0, 1]], measure)
    np.testing.assert_array_equal(joined.columns, [0, 1, 2, 3])
    np.testing.assert_array_equal(joined.points, [[0, 0, 1, 0], [2, 0, 0, 1]])
    np.testing.assert_allclose(joined.weights, weights)


def test_of_values_and_of_a_space():
    domain = Domain.of_values(np.array([[3.0, 1.0], [2.0, 1.0], [3.0, 1.0]]))
    assert [axis.values for axis in domain.axes] == [(2.0, 3.0), (1.0,)]
    assert [axis.name for axis in domain.axes] == ["column 0", "column 1"]
    space = BudgetSpace.of([BPE_1, BPE_2.replace(precision="fp16", lr_schedule="linear")])
    names = ["layers", "precision", "lr_schedule"]
    domain = Domain.of_space(space, names)
    assert [axis.kind for axis in domain.axes] == ["ordered", "categorical", "categorical"]
    assert domain.axes[0].values == (6.0, 16.0)
    assert domain.code(encode(list(space), names)).shape == (space.size, 5)


def test_combinations_are_ordered_by_their_columns():
    x = np.array([[2.0, 1.0, 0.0], [1.0, 9.0, 0.0], [2.0, 0.0, 0.0], [1.0, 9.0, 0.0]])
    assert combinations(x, [0, 1]).tolist() == [2, 0, 1, 0]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Axis.ordered("a", []), "the axis a needs at least one value, found none"),
        (lambda: Axis.ordered("a", [1, 1]), "the axis a repeats a value: 1, 1"),
        (lambda: Axis.ordered("a", [2, 1]), "the values of a must ascend, found 2, 1"),
        (
            lambda: Axis.categorical("a", [2, np.nan]),
            "values of a must be finite, found NaN in 1 of 2 settings; leave them out",
        ),
        (
            lambda: Axis.ordered("a", [1, 2], [0.5, 0.6]),
            "the weights of a must be one per value, not negative, with sum 1, found 0.5, 0.6 for "
            "2 values",
        ),
        (
            lambda: Axis.ordered("a", [1, 2], [1.0]),
            "the weights of a must be one per value, not negative, with sum 1, found 1 for 2 "
            "values",
        ),
        (
            lambda: Axis.real("a", 2, 2),
            "the bounds of a must be finite, ascending, found 2 and 2",
        ),
        (
            lambda: Axis.real("a", 0, 2, log=True),
            "the bounds of a must be finite, ascending and above 0, found 0 and 2",
        ),
        (
            lambda: LAYERS.code(np.array([6.0, 7.0])),
            "layers = 7 is not on its axis; its values are 6, 8, 20",
        ),
        (
            lambda: LAYERS.code(np.array([99.0])),
            "layers = 99 is not on its axis; its values are 6, 8, 20",
        ),
        (
            lambda: RATE.code(np.array([2.0])),
            "rate = 2 is not on its axis, which goes from 0.01 to 1",
        ),
        (
            lambda: Domain((LAYERS,)).code(np.ones((2, 2))),
            "the settings have 2 columns, but the domain has 1 axes: layers",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(make, text):
    with pytest.raises(SelectionError) as caught:
        make()
    assert str(caught.value) == text


def test_a_space_knows_only_hyper_parameters():
    with pytest.raises(UnknownNameError, match="unknown hyper-parameter 'layer'"):
        Domain.of_space(BudgetSpace.of([BPE_1]), ["layer"])
