"""The protocol of estimators: accuracy of an architecture, and the cost of knowing it."""

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
    """One answer of an estimator: what a search may look at, and its cost."""

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
    """Final figures of an architecture, which are looked at when a search has ended."""

    validation: float
    """Validation accuracy of full training, or of the budget if full training is not known."""
    test: float
    """The same on test images; NaN where unknown."""


class Estimator(Protocol):
    """Says how good the architectures of a space are.

    One that knows only some of them has a ``search_space``, too, where searches take place.
    """

    @property
    def space(self) -> str:
        """Name of the search space."""

    @property
    def source(self) -> Source:
        """Where its answers come from."""

    @property
    def dataset(self) -> str:
        """Data set of the signal; empty if unknown."""

    @property
    def report_dataset(self) -> str:
        """Data set of the final figures."""

    @property
    def budget(self) -> Budget | None:
        """Budget of the trainings whose accuracy is the signal; None if unknown."""

    @property
    def full_seconds(self) -> float:
        """Mean device seconds of full training on the signal's data set; NaN if unknown."""

    def expected_seconds(self, architecture: Architecture) -> float:
        """Return what an evaluation will cost in device seconds; NaN if unknown."""

    def evaluate(self, architecture: Architecture, rng: np.random.Generator) -> Evaluation:
        """Return how good an architecture is.

        A training that diverges or fails is an answer, too, not an exception.

        Parameters
        ----------
        architecture
            Of the estimator's space.
        rng
            Draws which of several trainings is looked at.
        """

    def outcome(self, architecture: Architecture) -> Outcome:
        """Return the final figures of an architecture. Only for searches that have ended."""

    def optimum(self) -> Outcome | None:
        """Return the highest figures, each of its own architecture; None if unknown."""
