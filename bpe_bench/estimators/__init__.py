"""Estimators: from a table, from a surrogate, from training, an architecture's accuracy."""

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
