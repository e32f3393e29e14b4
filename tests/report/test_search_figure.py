"""The figure of searches: what is drawn is what the tables say."""

import math
import statistics
from types import SimpleNamespace

import numpy as np
import pytest

from bpe_bench.errors import SelectionError
from bpe_bench.estimators import Outcome
from bpe_bench.report import search_figure
from bpe_bench.search import SearchTrace, Step, summarise
from bpe_bench.spaces import Architecture

CELLS = {
    place / 100: Architecture("nas-bench-201", (place // 25, place // 5 % 5, place % 5, 0, 0, 0))
    for place in range(80, 96)
}
"""Cells by their accuracy."""


def known(optimum):
    """Return an estimator that knows the cells."""
    final = {cell: value for value, cell in CELLS.items()}
    return SimpleNamespace(
        space="nas-bench-201", dataset="cifar10", report_dataset="cifar10", source="table",
        budget=None, full_seconds=math.nan, optimum=lambda: optimum,
        outcome=lambda cell: Outcome(final[cell], final[cell]),
    )  # fmt: skip


def make_report(searcher, *searches, optimum=None, unit=1.0):
    """Summarise searches, each given as accuracies by seconds, and their end as None."""
    traces = []
    for search in searches:
        steps = tuple(Step(CELLS[a], a, unit * t) for t, a in search.items() if a is not None)
        best = max(steps, key=lambda step: step.accuracy, default=None)
        outcome = best and Outcome(best.accuracy, best.accuracy)
        found = best and best.architecture
        end = unit * max(search)
        traces.append(SearchTrace(searcher, {}, "nas-bench-201", steps, found, end, "seconds",
                                  outcome))  # fmt: skip
    return summarise(traces, known(optimum))


def lines(figure):
    return {
        line.get_label(): np.asarray(line.get_xydata())
        for line in figure.axes[0].lines
        if line.get_label()[0] != "_"
    }


def entries(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def bands(figure):
    """Return lower and upper end of each band at the end of the clock."""
    found = []
    for band in figure.axes[0].collections:
        x, y = band.get_paths()[-1].vertices.T
        found.append((y[x == x.max()].min(), y[x == x.max()].max()))
    return found


def test_two_searches_have_their_mean_a_band_and_a_line_to_the_end(check_texts):
    report = make_report("random", {10: 0.80, 20: 0.90, 100: None}, {30: 0.94, 90: None})
    figure = search_figure([report])
    line = lines(figure)["random (2 searches)"]
    assert line[-1] == pytest.approx((100.0, 92.0))  # the best is of second 30
    assert line[-1, 1] / 100 == pytest.approx(report.validation_mean)
    assert line[-1, 1] / 100 == pytest.approx(statistics.median(report.validation))
    assert bands(figure) == [pytest.approx((91.0, 93.0))]  # a quarter from either end
    assert "quartiles (interpolated)" in figure.axes[0].get_title(loc="left")
    assert figure.axes[0].get_xlabel() == "simulated device seconds"
    check_texts(figure)


def test_medians_are_those_of_the_searches_at_every_time():
    searches = [{10: (80 + place) / 100, 50: (88 + place) / 100, 60: None} for place in range(6)]
    line = lines(search_figure([make_report("random", *searches)]))["random (6 searches)"]
    seconds, percent = line.T
    assert np.isnan(percent[seconds < 10]).all()
    np.testing.assert_allclose(percent[(seconds >= 10) & (seconds < 50)], 82.5)
    np.testing.assert_allclose(percent[seconds >= 50], 90.5)
    assert seconds[-1] == 60


def test_every_entry_of_the_legend_is_seen(check_texts):
    reports = [
        make_report("random", *[{10: 0.85, 200: 0.9}] * 3, optimum=Outcome(0.95, 0.95)),
        make_report("evolution", *[{10: 0.85, 200: 0.9}] * 3),  # the same
        make_report("darts", {150: 0.80}),  # one evaluation at the end of its search
        make_report("reinforce", {5: None}),  # found nothing
    ]
    figure = search_figure(reports)
    axes, shown = figure.axes[0], lines(figure)
    drawn = ["random (3 searches)", "evolution (3 searches)", "darts (1 search)"]
    assert entries(figure) == list(shown) == [*drawn, "optimum 95.00 %"]
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    for line in axes.lines[:3]:
        x, y = np.asarray(line.get_xydata())[-1]
        assert left <= x < right
        assert bottom < y < top
        assert (line.get_marker(), line.get_markevery()) == ("o", [-1])
    assert tuple(shown["darts (1 search)"][-1]) == (2.5, 80.0)  # minutes
    # The second lies on the first, which is seen between its dashes.
    assert [line.is_dashed() for line in axes.lines[:2]] == [False, True]
    assert len({line.get_color() for line in axes.lines[:3]}) == 3
    assert axes.get_xlabel().endswith("most found nothing at a known time: reinforce")
    check_texts(figure)


@pytest.mark.parametrize(
    ("seconds", "unit", "shown"),
    [(0.05, "seconds", 0.05), (90.0, "seconds", 90), (600.0, "minutes", 10),
     (7_199.0, "minutes", 7_199 / 60), (12_000.0, "hours", 12_000 / 3600),
     (864_000.0, "hours", 240)],
)  # fmt: skip
def test_the_clock_has_the_unit_that_suits_it(seconds, unit, shown, check_texts):
    figure = search_figure([make_report("random", {0.5: 0.9, 1: None}, unit=seconds)])
    axes = figure.axes[0]
    assert axes.get_xlabel() == f"simulated device {unit}"
    assert lines(figure)["random (1 search)"][-1, 0] == pytest.approx(shown)
    assert axes.collections[:] == []
    assert axes.get_title(loc="left").endswith("one search, so no band")
    check_texts(figure)
    assert not any("e" in t.get_text() for t in axes.get_xticklabels())  # plain numbers


def test_the_quartiles_of_a_single_moment_are_a_line():
    """Two searches of one evaluation: what was found is known at their end only."""
    figure = search_figure([make_report("darts", {60: 0.80}, {60: 0.90})])
    (segment,) = figure.axes[0].collections[-1].get_segments()
    np.testing.assert_allclose(segment, [[60.0, 82.5], [60.0, 87.5]])
    assert lines(figure)["darts (2 searches)"][-1] == pytest.approx((60.0, 85.0))


def test_nothing_to_draw_is_said():
    with pytest.raises(SelectionError) as caught:
        search_figure([make_report("random", {5: None})])
    assert str(caught.value) == "no search found anything at a known time, so there is no curve"


def test_where_only_test_accuracies_are_final_the_axis_and_the_optimum_are_of_these():
    report = make_report("random", {10: 0.9, 20: None}, optimum=Outcome(math.nan, 0.95))
    figure = search_figure([report])
    assert figure.axes[0].get_ylabel() == "final test accuracy of the best so far, %"
    assert lines(figure)["optimum 95.00 %"][0, 1] == pytest.approx(95)
    usual = search_figure([make_report("random", {10: 0.9, 20: None}, optimum=Outcome(0.95, 0.9))])
    assert usual.axes[0].get_ylabel() == "final validation accuracy of the best so far, %"
