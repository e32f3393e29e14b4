"""Generators and rounding, so that a seed gives the same bytes on every machine.

A seed becomes a numpy Generator at the edge, never inside. Nothing in bpe-bench
touches a global generator. Functions that draw take an ``rng`` argument; the
command line makes it once, from ``--seed``.

The last bits of a matrix product, an exponential or a logarithm depend on the
processor and on the number of threads. `settled` takes them away wherever such a
number goes into a model, decides something, or enters a result
(docs/platforms.md).
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

_Numbers = TypeVar("_Numbers", float, npt.NDArray[np.float64])

DIGITS = 12
"""Significant digits that a settled number has."""
SOLVED_DIGITS = 9
"""Those of what a system of equations or another library's arithmetic gave: more of its last bits
differ."""
_LOWEST, _HIGHEST = -290, 290
_POWERS = np.array([float(f"1e{place}") for place in range(_LOWEST, _HIGHEST + 1)])


def settled(values: _Numbers, digits: int = DIGITS, *, least: float = 0.0) -> _Numbers:
    """Round to significant digits, by the same arithmetic on every machine.

    Parameters
    ----------
    values
        A number, or an array of any shape. NaN, infinities and 0 stay as they are.
    digits
        Significant digits, `DIGITS` or `SOLVED_DIGITS`.
    least
        No digit below this counts: where terms of the order of 1 can cancel, what is left
        there is rounding. A power of 10.

    Examples
    --------
    >>> settled(0.1 + 0.2), settled(2 / 3, digits=3)
    (0.3, 0.667)
    """
    given = np.asarray(values, dtype=np.float64)
    size = np.abs(given)
    given = np.where(size < least / 2, 0.0, given)
    usual = (size >= _POWERS[digits]) & (size <= _POWERS[-1 - digits])
    # A logarithm would not do: near a power of 10 its last bit decides.
    place = np.searchsorted(_POWERS, np.where(usual, size, 1.0), side="right") - 1
    shift = digits - 1 - (place + _LOWEST)
    if least:
        shift = np.minimum(shift, -_LOWEST - np.searchsorted(_POWERS, least))
    up, down = (_POWERS[np.maximum(s, 0) - _LOWEST] for s in (shift, -shift))
    rounded = np.where(usual, np.rint(np.where(usual, given, 0.0) * up / down) / up * down, given)
    return float(rounded) if isinstance(values, float) else rounded


def as_generator(seed: int | np.random.Generator) -> np.random.Generator:
    """Return the generator for a seed, or the generator itself.

    Examples
    --------
    >>> bool(as_generator(7).random() == as_generator(7).random())
    True
    """
    return seed if isinstance(seed, np.random.Generator) else np.random.default_rng(seed)


def integer_seed(rng: np.random.Generator) -> int:
    """Draw a 31-bit integer, for libraries that take a number instead of a generator."""
    return int(rng.integers(2**31 - 1))
