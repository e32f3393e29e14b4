"""Which hyper-parameters of a budget matter for how well it ranks."""

from .base import ImportanceEstimator
from .estimators import ESTIMATORS, get_estimator
from .models import fit_forest
from .resampling import resampled_importances, separated, share_least

__all__ = [
    "ESTIMATORS",
    "ImportanceEstimator",
    "fit_forest",
    "get_estimator",
    "resampled_importances",
    "separated",
    "share_least",
]
