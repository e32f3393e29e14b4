"""The figure shows what the report says."""

import numpy as np
import pytest

from bpe_bench.pruning.judging import judge, make_methods
from bpe_bench.report import judging_figure, save_figure

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def report(layered):
    names = ("mip-forest", "mip-xgboost", "cheapest-first", "random")
    return judge(layered, make_methods(names)[0], repeats=2)


def test_curves_and_ranking(report):
    left, right = judging_figure(report).axes
    curves = [line for line in left.lines if len(line.get_xdata()) == len(report.hours)]
    assert len(curves) == 4
    drawn = {tuple(np.asarray(line.get_ydata())) for line in curves}
    assert drawn == {tuple(m.curve.held_out) for m in report.methods}
    for line in curves:  # in seconds; ticks say s, min or h
        np.testing.assert_allclose(line.get_xdata(), 3600 * report.hours)
    dots = [tuple(line.get_xydata()[0]) for line in right.lines if line.get_marker() == "o"]
    assert dots == [(m.regret.mean, place) for place, m in enumerate(report.methods)]
    written = [text.get_text() for text in right.texts]
    assert written == [f"{m.regret.mean:.3f}" for m in report.methods]
    names = [label.get_text() for label in right.get_yticklabels()]
    assert names == [m.name for m in report.methods]
    assert len(left.collections) == 2  # bands of the best of pruning and of the simpler ways
    assert left.get_xscale() == "log"


def test_the_same_bytes_twice(report, tmp_path):
    for name in ("a.svg", "b.svg"):
        save_figure(judging_figure(report), tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_without_pruning(signs):
    report = judge(
        signs([1, -1, 1, 1], [300] * 4), make_methods(["random", "halving"])[0], repeats=2
    )
    (legend,) = judging_figure(report).legends
    labels = {text.get_text() for text in legend.get_texts()}
    best = f"best of the pool ({report.best}) {report.best_correlation:.3f}"
    assert labels == {"random", "halving", best}
