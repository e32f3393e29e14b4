"""Randomness: a seed becomes a numpy Generator at the edge, never inside.

Nothing in bpe-bench touches a global generator. Functions that draw take an
``rng`` argument; the command line makes it once, from ``--seed``.
"""

from __future__ import annotations

import numpy as np


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
