"""Figures: what ``--plot`` needs is checked before anything is computed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figure_saver(path: Path | None) -> Callable[[Figure], None] | None:
    """Return what writes a figure to ``path``, or None if none is wanted."""
    if path is None:
        return None
    from bpe_bench.report.figures import check_figure_path, save_figure

    check_figure_path(path)
    return partial(save_figure, path=path)
