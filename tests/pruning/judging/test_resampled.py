"""The corrected resampled test, against a hand computation and in simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from bpe_bench.pruning.judging.resampled import _resampled_mean


def test_by_hand():
    """Nadeau & Bengio: t = 0.5 / sqrt(1.6667 (1/4 + 1)), 3 degrees of freedom."""
    found = _resampled_mean(np.array([-1.0, 0.0, 1.0, 2.0]), 1.0, 0.95)
    t = 0.5 / math.sqrt(5 / 3 * 1.25)
    assert found.mean == 0.5
    assert found.p_value == pytest.approx(2 * stats.t.sf(t, 3))
    assert (found.low, found.high) == pytest.approx(stats.t.interval(0.95, 3, 0.5, 0.5 / t))


def test_without_a_share_it_is_students():
    values = np.random.default_rng(0).normal(0.3, 1, 30)
    assert _resampled_mean(values, 0.0, 0.9).p_value == pytest.approx(
        stats.ttest_1samp(values, 0).pvalue
    )


def test_more_repeats_do_not_make_everything_significant():
    rng = np.random.default_rng(0)
    values = rng.normal(0.5, 1, 10_000)
    assert _resampled_mean(values, 0.0, 0.95).p_value < 1e-100
    assert _resampled_mean(values, 1.0, 0.95).p_value > 0.5


@pytest.mark.parametrize(("value", "p"), [(0.0, 1.0), (0.25, 0.0)])
def test_repeats_that_all_say_the_same(value, p):
    found = _resampled_mean(np.full(5, value), 1.0, 0.95)
    assert (found.mean, found.low, found.high, found.p_value) == (value, value, value, p)


def test_missing_repeats_are_left_out():
    values = np.array([1.0, np.nan, 2.0, 4.0])
    assert _resampled_mean(values, 1.0, 0.95) == _resampled_mean(values[[0, 2, 3]], 1.0, 0.95)
    assert math.isnan(_resampled_mean(np.full(3, np.nan), 1.0, 0.95).mean)
    one = _resampled_mean(np.array([np.nan, 3.0]), 1.0, 0.95)
    assert (one.mean, math.isnan(one.p_value)) == (3.0, True)
