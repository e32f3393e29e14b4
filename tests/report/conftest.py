"""Made-up reports, and what is drawn of them."""

import itertools
import math

import numpy as np
import pytest

from bpe_bench import BPE_1
from bpe_bench.correlation.candidates import Cost, Measured
from bpe_bench.correlation.report import CorrelationReport
from bpe_bench.inference import Estimate


@pytest.fixture(scope="session")
def make_row():
    """Return a function from a label, seconds and a correlation to a row of a report."""

    def make(label, seconds, correlation, *, epoch=10, setting=None, half=0.1, pareto=False):
        low, high = max(-1.0, correlation - half), min(1.0, correlation + half)
        estimate = Estimate(correlation, low, high, 0.01, 100, np.zeros(100), "spearman", 90)
        return Measured(
            label=label,
            budget=BPE_1.replace(epochs=max(epoch, 10)),
            cost=Cost(seconds, device="V100"),
            setting=setting or label,
            epoch=epoch,
            estimate=estimate,
            pareto=pareto,
        )

    return make


@pytest.fixture(scope="session")
def make_report():
    """Return a function from rows to a report of them."""

    def make(rows, *, name="made up", ceiling=math.nan):
        return CorrelationReport(
            table=name, space="darts", dataset="cifar10", reference_dataset="cifar10",
            reference="full", split="test", reference_split="test", statistic="spearman",
            confidence=0.95, interval="influence", n_architectures=100, noise_ceiling=ceiling,
            rows=tuple(rows),
        )  # fmt: skip

    return make


@pytest.fixture(scope="session")
def drawn():
    """Return a function from a figure to its texts, with their boxes in pixels once laid out."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    def draw(figure):
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        texts = [t for t in figure.findobj(Text) if t.get_text() and t.get_visible()]
        ticks = {t for axes in figure.axes for t in _unused_ticks(axes)}
        return [(t.get_text(), t.get_window_extent()) for t in texts if t not in ticks]

    return draw


def _unused_ticks(axes):
    """Return the labels of ticks that lie outside of the view and are not drawn."""
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
            if not low <= tick.get_loc() <= high:
                yield from (tick.label1, tick.label2)


@pytest.fixture(scope="session")
def check_texts(drawn):
    """Return a function that checks that no text crosses another one or leaves the figure."""

    def check(figure):
        found = drawn(figure)
        for (one, box), (other, second) in itertools.combinations(found, 2):
            apart = (
                box.x1 <= second.x0 + 1
                or second.x1 <= box.x0 + 1
                or box.y1 <= second.y0 + 1
                or second.y1 <= box.y0 + 1
            )
            assert apart, f"{one!r} crosses {other!r}"
        for text, box in found:
            inside = box.x0 >= 0 and box.y0 >= 0
            inside &= box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
            assert inside, f"{text!r} is cut off"

    return check
