"""Which hyper-parameters of a budget matter for how well it ranks."""

from .estimators import ESTIMATORS, ImportanceEstimator, get_estimator
from .models import Model, fit_boosted, fit_forest

__all__ = [
    "ESTIMATORS",
    "ImportanceEstimator",
    "Model",
    "fit_boosted",
    "fit_forest",
    "get_estimator",
]
