"""Figures of reports."""

from .drawing import check_figure_path, save_figure
from .figures import correlation_figure, pruning_figure
from .judging_figure import judging_figure
from .search_figure import search_figure

__all__ = [
    "check_figure_path",
    "correlation_figure",
    "judging_figure",
    "pruning_figure",
    "save_figure",
    "search_figure",
]
