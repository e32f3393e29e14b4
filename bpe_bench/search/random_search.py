"""Random search: all architectures are equally likely."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ..errors import SelectionError
from ..estimators import Evaluation
from ..randomness import settled
from ..spaces import Architecture, SearchSpace
from ..tables.curves import FloatArray
from .base import Searcher


@dataclass
class RandomSearch(Searcher):
    """Draw uniformly from the space.

    Its expected result has a closed form (`bpe_bench.search.expected_regret`),
    which makes it the yardstick of all others.
    """

    name: ClassVar[str] = "random"

    replace: bool = True
    """Whether an architecture may be drawn again."""
    _seen: set[Architecture] = field(default_factory=set, init=False, repr=False)

    def start(
        self, space: SearchSpace, rng: np.random.Generator, evaluations: int | None = None
    ) -> None:
        """Begin a search."""
        self._space, self._rng, self._seen = space, rng, set()

    def ask(self) -> Architecture | None:
        """Return the next draw; without replacement None after every architecture was drawn."""
        if self.replace:
            return self._space.sample(self._rng)
        if len(self._seen) >= self._space.size:
            return None
        architecture = self._draw_new()
        self._seen.add(architecture)
        return architecture

    def tell(self, architecture: Architecture, evaluation: Evaluation) -> None:
        """Do nothing: random search does not learn."""

    def _draw_new(self) -> Architecture:
        # Refusing what was drawn before leaves the rest uniform.
        while True:
            architecture = self._space.sample(self._rng)
            if architecture not in self._seen:
                return architecture


def expected_regret(
    signal: FloatArray, final: FloatArray, evaluations: int, *, replace: bool = True
) -> float:
    """Return the regret of random search in closed form.

    The A architectures form groups of equal signal, best first, with C_g architectures in the
    first g groups. The best of n draws lies in group g with probability ((A - C_{g-1})ⁿ - (A -
    C_g)ⁿ) / Aⁿ (without replacement: binomials over n instead of powers), and all members of
    the group are equally likely.

    Parameters
    ----------
    signal
        The signal of the search, shape (A,), without NaN.
    final
        Final accuracy, shape (A,), without NaN.
    evaluations
        Number of draws n.
    replace
        Whether an architecture may be drawn again.

    Returns
    -------
    float
        Largest ``final`` minus the expected ``final`` of the best draw.

    Raises
    ------
    SelectionError
        If the shapes differ, a value is missing, or there is nothing to draw.

    Examples
    --------
    >>> expected_regret(np.array([0.1, 0.2]), np.array([0.5, 0.6]), 1)
    0.05
    """
    from scipy.special import gammaln

    count = len(signal)
    if signal.shape != final.shape or not count or np.isnan(signal + final).any():
        raise SelectionError("expected a signal and a final accuracy for every architecture")
    if evaluations < 1 or (not replace and evaluations > count):
        most = "" if replace else f" and, without replacement, at most {count}"
        raise SelectionError(f"evaluations must be at least 1{most}, found {evaluations}")
    _, group = np.unique(-signal, return_inverse=True)
    sizes = np.bincount(group)
    means = np.bincount(group, weights=final) / sizes
    left = count - np.concatenate([[0], np.cumsum(sizes)])
    if replace:
        none = (left / count) ** evaluations
    else:
        room = left >= evaluations
        log = gammaln(left + 1.0) - gammaln(np.where(room, left - evaluations, 0) + 1.0)
        none = np.where(room, np.exp(log - log[0]), 0.0)
    return settled(float(final.max() - ((none[:-1] - none[1:]) * means).sum()), least=1e-12)
