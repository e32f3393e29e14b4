"""Resampled importances: what is drawn anew, and what can be told apart."""

import math

import numpy as np
import pytest

from bpe_bench.importance import resampled_importances, separated, share_least


class MeanAsShare:
    """An estimator that gives the first group the mean of the correlations."""

    summary = "mean"

    def importances(self, x, y, groups, rng):
        return np.array([y.mean(), 1 - y.mean()])


X = np.arange(36.0)[:, None]
Y = np.random.default_rng(0).uniform(0.2, 0.8, 36)


def spread(drawn, seed=0):
    rng = np.random.default_rng(seed)
    return resampled_importances(MeanAsShare(), X, drawn, [[0], [0]], rng)[:, 0].std()


def test_settings_are_drawn_with_replacement():
    """A mean of S resampled correlations has standard deviation sd / √S."""
    found = spread(np.tile(Y, (2000, 1)))
    assert found == pytest.approx(Y.std() / math.sqrt(len(Y)), rel=0.06)


def test_variation_of_settings_and_of_architectures_adds_up():
    shift = np.random.default_rng(1).normal(0, 0.04, (2000, 1))
    expected = math.hypot(0.04, Y.std() / math.sqrt(len(Y)))
    assert spread(Y + shift) == pytest.approx(expected, rel=0.06)


def test_a_setting_keeps_its_own_correlation():
    class SameSetting:
        summary = "same"

        def importances(self, x, y, groups, rng):
            np.testing.assert_array_equal(Y[x[:, 0].astype(int)], y)
            return np.array([1.0])

    found = resampled_importances(
        SameSetting(), X, np.tile(Y, (5, 1)), [[0]], np.random.default_rng(0)
    )
    np.testing.assert_array_equal(found, np.ones((5, 1)))


def test_separated_by_hand():
    first, second, third = np.zeros(40), np.full(40, 0.1), np.full(40, 0.9)
    apart = np.column_stack([first, second, third])
    assert separated(apart, 0.025, 2) == 1
    # The first two tie: together they are apart from the third, if two can be spared.
    tied = np.column_stack([second, second, third])
    assert separated(tied, 0.025, 2) == 2
    assert separated(tied, 0.025, 1) == 0
    # In one of ten resamples the order is another one.
    mixed = np.where((np.arange(40) % 10 == 0)[:, None], apart[:, ::-1], apart)
    assert separated(mixed, 0.025, 2) == 0
    assert separated(mixed, 0.2, 2) == 1
    assert separated(apart[:, :1], 0.025, 2) == 0  # nothing to be apart from


def test_share_least_counts_ties_in_part():
    shares = np.array([[0.1, 0.2, 0.7], [0.2, 0.2, 0.6], [0.5, 0.2, 0.3]])
    assert share_least(shares, 1) == pytest.approx((1 + 0.5 + 0) / 3)
    assert share_least(shares, 2) == pytest.approx(2 / 3)
    assert math.isnan(share_least(np.zeros((3, 0)), 1))
