"""Numbers whose last bits were taken away, against decimal arithmetic."""

import math
from decimal import ROUND_HALF_EVEN, Context, Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpe_bench.randomness import DIGITS, settled

USUAL = st.floats(1e-9, 1e12) | st.floats(-1e12, -1e-9)


def in_decimal(value, digits):
    """The nearest number of so many significant digits; None if two are about as near."""
    exact = Decimal(value)
    rounded = Context(prec=digits, rounding=ROUND_HALF_EVEN).create_decimal(exact)
    unit = Decimal(1).scaleb(rounded.adjusted() - digits + 1)
    tie = abs(abs(exact - rounded) / unit - Decimal("0.5")) < Decimal("1e-3")
    return None if tie else float(rounded)


@given(USUAL, st.sampled_from([3, 9, DIGITS]))
def test_rounds_to_significant_digits(value, digits):
    expected = in_decimal(value, digits)
    if expected is not None:
        assert settled(value, digits) == expected


@given(USUAL)
def test_what_is_settled_stays(value):
    assert settled(settled(value)) == settled(value)


@given(st.integers(1, 10**11), st.integers(-6, 6))
def test_last_bits_of_short_decimals_do_not_matter(number, exponent):
    """A number of eleven digits and its neighbours on both sides settle to it."""
    value = float(f"{number}e{exponent}")
    near = [value]
    for _ in range(4):
        near = [math.nextafter(near[0], 0), *near, math.nextafter(near[-1], math.inf)]
    assert set(settled(np.array(near)).tolist()) == {value}


def test_arrays_keep_their_shape_and_numbers_their_type():
    found = settled(np.full((2, 3), 1 / 3))
    np.testing.assert_array_equal(found, np.full((2, 3), 0.333333333333))
    assert type(settled(1 / 3)) is type(settled(np.float64(1 / 3))) is float


def test_what_is_no_usual_number_stays_as_it_is():
    odd = np.array([math.nan, math.inf, -math.inf, 0.0, 1e300, 5e-324])
    np.testing.assert_array_equal(settled(odd), odd)


@pytest.mark.parametrize("value", [1e-17, -1e-17, 4.9e-13, 0.0])
def test_what_is_left_where_terms_cancel_is_0(value):
    assert settled(value, least=1e-12) == 0
    assert math.copysign(1, settled(value, least=1e-12)) == math.copysign(1, 0.0)
    assert settled(2.5e-7 + 1.3e-14, least=1e-12) == 2.5e-7
    assert settled(123.4567890123, least=1e-2) == 123.46
