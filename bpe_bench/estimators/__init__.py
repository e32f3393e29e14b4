"""Estimators of an architecture's accuracy: a table, a surrogate, or training."""

from __future__ import annotations

from .base import Estimator, Evaluation, Outcome
from .surrogate import Prediction, Surrogate, SurrogateEstimator
from .table import TableEstimator
from .training import ProxyEstimator

__all__ = [
    "Estimator",
    "Evaluation",
    "Outcome",
    "Prediction",
    "ProxyEstimator",
    "Surrogate",
    "SurrogateEstimator",
    "TableEstimator",
]
