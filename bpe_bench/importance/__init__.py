"""Which hyper-parameters of a budget matter for how well it ranks."""

from .base import ImportanceEstimator
from .estimators import ESTIMATORS, get_estimator
from .fanova import FanovaImportance
from .models import fit_boosted, fit_forest
from .ped_anova import PedAnovaImportance
from .resampling import resampled_importances, separated, share_least
from .shap import ShapImportance

__all__ = [
    "ESTIMATORS",
    "FanovaImportance",
    "ImportanceEstimator",
    "PedAnovaImportance",
    "ShapImportance",
    "fit_boosted",
    "fit_forest",
    "get_estimator",
    "resampled_importances",
    "separated",
    "share_least",
]
