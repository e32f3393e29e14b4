"""Surrogates: models fitted to tables that predict what nobody trained, with intervals."""

from __future__ import annotations

from .answers import QUANTITIES, Answers, ask
from .crossfit import GROUPINGS, Grouping
from .evaluation import evaluate_surrogates
from .files import load_surrogate, save_surrogate
from .fitted import FittedSurrogate
from .fitting import fit_surrogate
from .forecast import Forecast
from .metrics import Figure
from .models import MODELS
from .question import TARGETS, Question
from .report import SurrogateReport, SurrogateRow

__all__ = [
    "GROUPINGS",
    "MODELS",
    "QUANTITIES",
    "TARGETS",
    "Answers",
    "Figure",
    "FittedSurrogate",
    "Forecast",
    "Grouping",
    "Question",
    "SurrogateReport",
    "SurrogateRow",
    "ask",
    "evaluate_surrogates",
    "fit_surrogate",
    "load_surrogate",
    "save_surrogate",
]
