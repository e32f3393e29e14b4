"""REINFORCE without a controller network: independent categorical distributions, one per choice.

The choices are those of the space. A choice without effect on the architecture (the operation
of an edge that DARTS does not keep) does not enter its probability, so the gradient is that of
the scored architecture.

Williams, 1992; as a searcher in Zheng et al., CVPR 2020, and, on NAS-Bench-201, in
Dong and Yang, ICLR 2020. The gradient of log p(choice) with respect to the
logits of a categorical is ``one-hot(choice) - p``, so no automatic
differentiation is needed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..errors import SelectionError
from ..estimators import Evaluation
from ..randomness import settled
from ..spaces import Architecture, SearchSpace
from ..tables.curves import FloatArray
from .base import Score, Searcher, _check_at_least, _scored_space

_TINY = 1e-12


@dataclass
class Reinforce(Searcher):
    """Sample from a policy, and move it towards architectures that were better than expected.

    A step changes the logits by ``learning_rate * (advantage * d log p + entropy * d H)``: one
    sample, plain gradient ascent. With ``normalise`` the advantage is in units of the moving
    deviation of the rewards, so one step size fits accuracies that differ by much or by little.

    `Reinforce.published` has the settings of Zheng et al., whose policy hardly
    moves in 100 steps; the defaults here are tuned on the 12-epoch accuracies of
    NAS-Bench-201's CIFAR-10 (docs/searchers.md).
    """

    name: ClassVar[str] = "reinforce"

    learning_rate: float = 0.2
    """Step size of the logits."""
    entropy: float = 0.01
    """Weight of the policy's entropy, which prevents early convergence."""
    baseline_decay: float = 0.9
    """Share of the old baseline in the new one."""
    normalise: bool = True
    """Divide the advantage by the moving standard deviation of rewards around the baseline."""
    baseline_first: bool = False
    """Whether a reward moves the baseline before it is compared with it, as published."""
    score: Score = "pruned"
    """Whether DARTS cells are scored as they will be built, two inputs per node, or ``"full"``."""

    @classmethod
    def published(cls, score: Score = "full") -> Reinforce:
        """Return the searcher of Zheng et al.: step 0.1, baseline 0.9 moved first, no entropy."""
        return cls(0.1, 0.0, 0.9, normalise=False, baseline_first=True, score=score)

    def start(
        self, space: SearchSpace, rng: np.random.Generator, evaluations: int | None = None
    ) -> None:
        """Begin a search with the uniform policy."""
        _check_at_least("learning_rate", self.learning_rate, 0)
        _check_at_least("entropy", self.entropy, 0)
        if not 0 <= self.baseline_decay < 1:
            raise SelectionError(
                f"baseline_decay must be at least 0 and below 1, found {self.baseline_decay:g}"
            )
        self._space = _scored_space(space, self.score)
        sizes = self._space.sizes
        self._rng = rng
        widest = max(sizes)
        # Options that a choice does not have keep probability 0.
        open_ = np.arange(widest) < np.array(sizes)[:, None]
        self.logits: FloatArray = np.where(open_, 0.0, -math.inf)
        self._asked: dict[Architecture, list[int]] = {}
        self._baseline = self._variance = math.nan

    def ask(self) -> Architecture:
        """Sample from the policy."""
        cumulative = settled(self.probabilities()).cumsum(axis=1)
        drawn = self._rng.random((len(cumulative), 1)) * cumulative[:, -1:]
        choices = (cumulative <= drawn).sum(axis=1).tolist()
        architecture = self._space.build(choices)
        self._asked[architecture] = choices
        return architecture

    def tell(self, architecture: Architecture, evaluation: Evaluation) -> None:
        """Move the policy; an evaluation without an accuracy does not."""
        choices = self._asked.pop(architecture, None)
        if choices is None or not evaluation.usable:
            return
        advantage = self._advantage(evaluation.accuracy)
        step = advantage * self.log_probability_gradient(choices)
        if self.entropy:
            step += self.entropy * self.entropy_gradient()
        self.logits = self.logits + self.learning_rate * step

    def conclude(self, best: Architecture) -> Architecture:
        """Return the cell with the two most likely inputs per node, if all edges were scored."""
        return self._space.prune(best, self._rng, settled(self.probabilities()))

    def probabilities(self) -> FloatArray:
        """Return the policy, shape (C, widest choice); rows add up to 1."""
        powers = np.exp(self.logits - self.logits.max(axis=1, keepdims=True))
        probabilities: FloatArray = powers / powers.sum(axis=1, keepdims=True)
        return probabilities

    def log_probability(self, choices: Sequence[int]) -> float:
        """Return the log-probability of the architecture that C choices make."""
        used = self._space.used(choices)
        chosen = self.probabilities()[used, [choices[place] for place in used]]
        return float(np.log(chosen).sum())

    def log_probability_gradient(self, choices: Sequence[int]) -> FloatArray:
        """Return the gradient of `log_probability` with respect to the logits."""
        gradient = np.zeros_like(self.logits)
        used = list(self._space.used(choices))
        gradient[used] = -self.probabilities()[used]
        gradient[used, [choices[place] for place in used]] += 1
        return gradient

    def entropy_gradient(self) -> FloatArray:
        """Return the gradient of the sum of the choices' entropies, ``-p (log p + H)``."""
        p = self.probabilities()
        log = np.log(p + _TINY)
        gradient: FloatArray = -p * (log - (p * log).sum(axis=1, keepdims=True))
        return gradient

    def _advantage(self, reward: float) -> float:
        """Return how much better a reward is than expected, and update the expectation."""
        if math.isnan(self._baseline):
            self._baseline = reward
            return 0.0
        before, keep = self._baseline, self.baseline_decay
        self._baseline = keep * before + (1 - keep) * reward
        advantage = reward - (self._baseline if self.baseline_first else before)
        if not self.normalise:
            return advantage
        square = (reward - before) ** 2
        first = math.isnan(self._variance)
        self._variance = square if first else keep * self._variance + (1 - keep) * square
        return advantage / math.sqrt(self._variance) if self._variance > 0 else 0.0
