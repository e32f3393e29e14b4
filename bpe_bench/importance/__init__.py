"""Which hyper-parameters of a budget matter for how well it ranks."""

from .base import ImportanceEstimator
from .domain import Axis, Domain
from .estimators import ESTIMATORS, get_estimator
from .fanova import FanovaImportance, FunctionalAnova, functional_anova
from .models import Model, fit_boosted, fit_forest
from .ped_anova import PedAnovaImportance
from .report import GroupImportance, ImportanceReport, Separation, importance_report
from .shap import ShapImportance

__all__ = [
    "ESTIMATORS",
    "Axis",
    "Domain",
    "FanovaImportance",
    "FunctionalAnova",
    "GroupImportance",
    "ImportanceEstimator",
    "ImportanceReport",
    "Model",
    "PedAnovaImportance",
    "Separation",
    "ShapImportance",
    "fit_boosted",
    "fit_forest",
    "functional_anova",
    "get_estimator",
    "importance_report",
]
