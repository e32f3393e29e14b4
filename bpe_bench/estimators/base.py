"""What an estimator is: it says how good an architecture is, and what it cost to know."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from ..budget import Budget
from ..spaces import Architecture

Source = Literal["table", "surrogate", "training"]
State = Literal["done", "diverged", "failed"]


@dataclass(frozen=True)
class Evaluation:
    """An answer of an estimator: what a search may look at, and what it paid for it."""

    accuracy: float
    """Fraction in [0, 1] of images that may steer; NaN if the training did not end well."""
    cost_seconds: float
    """Device seconds; NaN if unknown."""
    source: Source
    state: State = "done"
    message: str = ""
    """Why it failed; empty otherwise."""
    low: float | None = None
    high: float | None = None
    """Bounds of the accuracy's interval, where the answer is a prediction that has one."""

    @property
    def usable(self) -> bool:
        """Whether there is an accuracy."""
        return math.isfinite(self.accuracy)


@dataclass(frozen=True)
class Outcome:
    """What is known of an architecture beyond the signal; looked at when a search has ended."""

    validation: float
    """Accuracy of full training (or, where there is none, of the budget) on validation images."""
    test: float
    """The same on test images; NaN where unknown."""


class Estimator(Protocol):
    """Answers how good architectures of a space are."""

    @property
    def space(self) -> str:
        """Name of the search space."""

    @property
    def source(self) -> Source:
        """Where its answers come from."""

    @property
    def dataset(self) -> str:
        """What the signal is on; empty if it does not say."""

    @property
    def report_dataset(self) -> str:
        """What the final figures are on."""

    @property
    def budget(self) -> Budget | None:
        """How the networks are trained whose accuracy is the signal; None if it does not say."""

    @property
    def full_seconds(self) -> float:
        """Mean device seconds of full training on the signal's data set; NaN if unknown."""

    def expected_seconds(self, architecture: Architecture) -> float:
        """Return what an evaluation will cost in device seconds; NaN if nothing tells."""

    def evaluate(self, architecture: Architecture, rng: np.random.Generator) -> Evaluation:
        """Return how good an architecture is.

        A training that diverges or fails is an answer, too, not an exception.

        Parameters
        ----------
        architecture
            Of the estimator's space.
        rng
            Draws what is random in the answer: which of several trainings is looked at.
        """

    def outcome(self, architecture: Architecture) -> Outcome:
        """Return the final figures of an architecture. Only for searches that have ended."""

    def optimum(self) -> Outcome | None:
        """Return the best final figures of the space, each its own maximum; None if unknown."""
