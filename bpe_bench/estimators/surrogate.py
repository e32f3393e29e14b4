"""Evaluations by a surrogate, a model that predicts what nobody trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..budget import Budget
from ..spaces import AnyArchitecture, Architecture, given_architecture
from ..tables.curves import FloatArray
from .base import Estimator, Evaluation, Outcome, Source


@dataclass(frozen=True)
class Prediction:
    """What a surrogate predicts for A architectures under one budget."""

    accuracy: FloatArray
    """Fractions in [0, 1], shape (A,)."""
    seconds: FloatArray
    """Device seconds that training them would take, shape (A,); NaN if unknown."""
    low: FloatArray | None = None
    high: FloatArray | None = None
    """Bounds of the accuracies' intervals, shape (A,), NaN where unknown; None if the surrogate
    has no intervals."""


class Surrogate(Protocol):
    """A fitted model of one budget; anything with these two members can drive a search."""

    @property
    def space(self) -> str:
        """Name of the search space."""

    def predict(self, architectures: Sequence[Architecture]) -> Prediction:
        """Predict accuracy and cost."""


class SurrogateEstimator:
    """Evaluates by a surrogate; the clock runs as if each architecture had been trained.

    Parameters
    ----------
    surrogate
        Predicts the signal, what a search may look at.
    full
        Predicts full training, for the final report; by default the same.
    judge
        Has the final figures, for instance a table of the whole space: then they come from
        trainings and show how far the surrogate was wrong. By default they are predicted.
    dataset, budget, split
        Data set of the signal, how the networks would be trained, if known, and the split of the
        accuracies that are predicted.
    notes
        What a user of the surrogate has to know, one sentence each; reports repeat them.
    """

    source: Source = "surrogate"

    def __init__(
        self,
        surrogate: Surrogate,
        full: Surrogate | None = None,
        *,
        judge: Estimator | None = None,
        dataset: str = "",
        budget: Budget | None = None,
        split: str = "validation",
        notes: Sequence[str] = (),
    ) -> None:
        self.surrogate, self.full, self.judge = surrogate, full or surrogate, judge
        self.dataset, self.budget, self.split = dataset, budget, split
        self.notes = tuple(notes)
        if judge is None:
            self.notes += ("final figures are the surrogate's predictions, not trainings",)

    @property
    def space(self) -> str:
        """Name of the search space."""
        return self.surrogate.space

    @property
    def report_dataset(self) -> str:
        """Data set of the final figures."""
        return self.dataset if self.judge is None else self.judge.report_dataset

    @property
    def full_seconds(self) -> float:
        """Mean device seconds of full training; NaN unless a judge knows them."""
        return math.nan if self.judge is None else self.judge.full_seconds

    def expected_seconds(self, architecture: AnyArchitecture) -> float:
        """Return the predicted cost."""
        return float(self._predicted(self.surrogate, architecture).seconds[0])

    def evaluate(self, architecture: AnyArchitecture, rng: np.random.Generator) -> Evaluation:
        """Return what the surrogate predicts, with its interval."""
        predicted = self._predicted(self.surrogate, architecture)
        accuracy = float(predicted.accuracy[0])
        seconds = float(predicted.seconds[0])
        if not math.isfinite(accuracy):
            return Evaluation(math.nan, seconds, "surrogate", "failed", "nothing is predicted")
        low, high = _first(predicted.low), _first(predicted.high)
        return Evaluation(accuracy, seconds, "surrogate", low=low, high=high)

    def outcome(self, architecture: AnyArchitecture) -> Outcome:
        """Return the figures of the judge; without one the prediction, which saw no test image."""
        if self.judge is not None:
            return self.judge.outcome(given_architecture(architecture, self.space))
        return Outcome(float(self._predicted(self.full, architecture).accuracy[0]), math.nan)

    def _predicted(self, surrogate: Surrogate, architecture: AnyArchitecture) -> Prediction:
        return surrogate.predict([given_architecture(architecture, self.space)])

    def optimum(self) -> Outcome | None:
        """Return the optimum of the judge, None without one: predictions do not know the best."""
        return None if self.judge is None else self.judge.optimum()


def _first(bounds: FloatArray | None) -> float | None:
    """Return the bound of the only architecture, None if the surrogate has no intervals."""
    return None if bounds is None or math.isnan(bounds[0]) else float(bounds[0])
