"""Answers from a surrogate: a model that predicts what nobody trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..budget import Budget
from ..curves import FloatArray
from ..spaces import Architecture
from .base import Evaluation, Outcome, Source


@dataclass(frozen=True)
class Prediction:
    """What a surrogate expects of A architectures under one budget."""

    accuracy: FloatArray
    """Fractions in [0, 1], shape (A,)."""
    seconds: FloatArray
    """Device seconds that training them would take, shape (A,); NaN if unknown."""


class Surrogate(Protocol):
    """A fitted model of one budget; whatever has these two can be searched with."""

    @property
    def space(self) -> str:
        """Name of the search space."""

    def predict(self, architectures: Sequence[Architecture]) -> Prediction:
        """Predict accuracy and cost."""


class SurrogateEstimator:
    """Asks a surrogate; the clock runs as if each architecture had been trained.

    Parameters
    ----------
    surrogate
        Predicts the signal, what a search may look at.
    full
        Predicts full training, for the final report; by default the same.
    """

    source: Source = "surrogate"
    dataset = report_dataset = ""
    budget: Budget | None = None
    full_seconds = float("nan")

    def __init__(self, surrogate: Surrogate, full: Surrogate | None = None) -> None:
        self.surrogate, self.full = surrogate, full or surrogate

    @property
    def space(self) -> str:
        """Name of the search space."""
        return self.surrogate.space

    def expected_seconds(self, architecture: Architecture) -> float:
        """Return the predicted cost."""
        return float(self.surrogate.predict([architecture]).seconds[0])

    def evaluate(self, architecture: Architecture, rng: np.random.Generator) -> Evaluation:
        """Return what the surrogate predicts."""
        predicted = self.surrogate.predict([architecture])
        accuracy = float(predicted.accuracy[0])
        seconds = float(predicted.seconds[0])
        if not math.isfinite(accuracy):
            return Evaluation(math.nan, seconds, "surrogate", "failed", "nothing is predicted")
        return Evaluation(accuracy, seconds, "surrogate")

    def outcome(self, architecture: Architecture) -> Outcome:
        """Return the prediction for full training; a surrogate knows nothing of test images."""
        return Outcome(float(self.full.predict([architecture]).accuracy[0]), float("nan"))

    def optimum(self) -> None:
        """Return None: the best of a space is not known by predicting."""
