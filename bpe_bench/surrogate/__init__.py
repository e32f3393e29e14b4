"""Surrogates: tables learn to answer for what they do not hold, and say how sure they are."""

from __future__ import annotations

from .crossfit import GROUPINGS, Grouping
from .evaluation import SurrogateReport, SurrogateRow, evaluate_surrogates
from .fitted import BudgetSurrogate, FittedSurrogate, Forecast, fit_surrogate
from .metrics import Figure
from .models import MODELS
from .question import TARGETS, Question

__all__ = [
    "GROUPINGS",
    "MODELS",
    "TARGETS",
    "BudgetSurrogate",
    "Figure",
    "FittedSurrogate",
    "Forecast",
    "Grouping",
    "Question",
    "SurrogateReport",
    "SurrogateRow",
    "evaluate_surrogates",
    "fit_surrogate",
]
