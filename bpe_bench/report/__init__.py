"""Figures of reports."""

from .figures import (
    check_figure_path,
    correlation_figure,
    pruning_figure,
    save_figure,
    search_figure,
)
from .judging_figure import judging_figure

__all__ = [
    "check_figure_path",
    "correlation_figure",
    "judging_figure",
    "pruning_figure",
    "save_figure",
    "search_figure",
]
