"""Figures: that they are written, whole or not at all, and show what the reports hold."""

import builtins
import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from bpe_bench import Replay, Rules, correlate, prune
from bpe_bench.errors import BpeBenchError, OptionalDependencyError, UnknownNameError
from bpe_bench.report import (
    check_figure_path,
    correlation_figure,
    pruning_figure,
    save_figure,
)

BEGINNINGS = {".png": b"\x89PNG\r\n\x1a\n", ".svg": b"<?xml", ".pdf": b"%PDF-"}


@pytest.fixture(scope="module")
def correlation_report(darts_bpe):
    return correlate(darts_bpe, name="darts-bpe")


@pytest.fixture(scope="module")
def pruning_report(darts_bpe):
    rng = np.random.default_rng(0)
    rules = Rules(sequential=False, resamples=3, force=True)
    return prune(Replay.of(darts_bpe, name="darts-bpe"), rules, rng=rng)


@pytest.fixture(scope="module")
def figures(correlation_report, pruning_report):
    return correlation_figure(correlation_report), pruning_figure(pruning_report)


@pytest.mark.parametrize("suffix", BEGINNINGS)
def test_figures_are_written_in_the_format_of_their_suffix(
    figures, suffix, tmp_path, mode_of_new_files
):
    for number, figure in enumerate(figures):
        path = tmp_path / f"figure{number}{suffix}"
        save_figure(figure, path)
        assert path.read_bytes().startswith(BEGINNINGS[suffix])
        assert path.stat().st_mode & 0o777 == mode_of_new_files
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("suffix", [".svg", ".pdf"])
def test_the_same_report_gives_the_same_bytes(correlation_report, pruning_report, suffix, tmp_path):
    for draw, report in (
        (correlation_figure, correlation_report),
        (pruning_figure, pruning_report),
    ):
        paths = [tmp_path / f"{draw.__name__}{number}{suffix}" for number in (0, 1)]
        for path in paths:
            save_figure(draw(report), path)
        assert paths[0].read_bytes() == paths[1].read_bytes()


def test_an_existing_figure_is_replaced(figures, tmp_path):
    path = tmp_path / "figure.svg"
    path.write_text("old")
    save_figure(figures[0], path)
    assert path.read_bytes().startswith(b"<?xml")


def points(axes):
    """Return seconds and correlations of all points drawn, by name in the legend."""
    return {
        line.get_label(): [tuple(point) for point in np.asarray(line.get_xydata())]
        for line in axes.lines
        if line.get_label()[0] != "_"
    }


def entries(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def ticks(axes):
    low, high = axes.get_xlim()
    texts = [t.get_text() for t in axes.get_xticklabels()]
    return [t for t, at in zip(texts, axes.get_xticks(), strict=True) if low <= at <= high]


def names_above(axes):
    (top,) = axes.child_axes
    return [t.get_text() for t in top.get_xticklabels()]


def test_correlation_figure_shows_every_budget_and_names_the_front(
    correlation_report, figures, check_texts
):
    axes, rows = figures[0].axes[0], correlation_report.rows
    shown = points(axes)
    assert list(shown) == ["other budgets", "Pareto front (measured)"] == entries(figures[0])
    assert sorted(itertools.chain(*shown.values())) == sorted(
        (r.cost_seconds, r.correlation) for r in rows
    )
    segments = [s for c in axes.collections for s in c.get_segments()]
    assert sorted((s[0, 0], s[0, 1], s[1, 1]) for s in segments) == sorted(
        (r.cost_seconds, r.low, r.high) for r in rows
    )
    names = {"test5": "BPE-1", "test32": "BPE-2"}
    front = sorted((r for r in rows if r.pareto), key=lambda r: r.cost_seconds)
    assert names_above(axes) == [names.get(r.label, r.label) for r in front]
    assert axes.get_ylabel() == "Spearman correlation with full training (95% interval)"
    assert axes.get_xlabel() == "cost per network (log scale)"
    assert axes.get_title(loc="left") == "darts-bpe: 100 architectures, reference 'full'"
    assert ticks(axes) == ["5 min", "10 min", "30 min", "1 h", "3 h", "10 h"]
    check_texts(figures[0])


def odd_rows(kind, row):
    """Return rows that are hard to draw."""
    ends = {"one": [300.0], "two days": 10.0 ** np.linspace(-2.5, 5.8, 14), "equal": [60.0] * 5}
    ends |= {"narrow": 7000.0 + np.arange(8), "negative": 60.0 + 20 * np.arange(8)}
    if kind in ends:
        first = -0.9 if kind == "negative" else -0.2
        values = first + 0.08 * np.arange(len(ends[kind]))
        return [
            row(f"s{i}", x, y, pareto=True)
            for i, (x, y) in enumerate(zip(ends[kind], values, strict=True))
        ]
    if kind == "long":
        label = "cifar10-jpeg-epochs-{}-image_size-16-channels-8-layers-20"
        return [row(label.format(i), 300 + 3 * i, 0.5 + 0.01 * i, pareto=True) for i in range(50)]
    if kind == "crowded":
        rng = np.random.default_rng(0)
        found = [row(f"s{i}", 10 ** rng.uniform(0, 5), rng.uniform(-0.3, 0.9)) for i in range(150)]
        return [*found, row("best", 5.0, 0.95, pareto=True)]
    if kind == "curves":
        return [
            row(f"s{s}@{e}", e * (10.0 + s), 0.9 - 0.01 * s - 0.5 / e, epoch=e, setting=f"s{s}")
            for s in range(20)
            for e in (1, 2, 4, 12, 50)
        ]
    costs = {"some costs": (math.nan, 60.0, 300.0), "no costs": (math.nan, math.nan, math.nan)}
    return [row(f"s{i}", x, 0.5, epoch=10 * i + 10) for i, x in enumerate(costs[kind])]


ODD = ("one", "two days", "equal", "narrow", "negative", "long", "crowded", "curves", "some costs",
       "no costs")  # fmt: skip


@pytest.mark.parametrize("kind", ODD)
def test_no_text_crosses_another_and_all_entries_are_drawn(
    kind, make_row, make_report, check_texts
):
    name = "/a/path/of/" + "x" * 90 + "/table.h5" if kind == "long" else "made up"
    figure = correlation_figure(make_report(odd_rows(kind, make_row), name=name, ceiling=0.97))
    check_texts(figure)
    axes = figure.axes[0]
    (low, high), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    assert len(ticks(axes)) >= 1 if kind in ("one", "equal") else len(ticks(axes)) >= 2
    assert entries(figure)
    for label in entries(figure):
        (line,) = [line for line in axes.lines if line.get_label() == label]
        x, y = np.asarray(line.get_xydata()).T
        seen = (bottom <= y) & (y <= top)
        if "noise ceiling" not in label:  # that one is drawn over the whole width
            seen &= (low <= x) & (x <= high)
        assert seen.any(), label


def test_times_have_the_unit_that_suits_them(make_row, make_report):
    figure = correlation_figure(make_report(odd_rows("two days", make_row)))
    assert ticks(figure.axes[0]) == [
        "10 ms", "100 ms", "1 s", "1 min", "1 h", "10 h", "100 h",
    ]  # fmt: skip
    figure = correlation_figure(make_report(odd_rows("narrow", make_row)))
    assert all(text.endswith(" h") and text[:4] == "1.94" for text in ticks(figure.axes[0]))


def test_budgets_without_cost_are_counted_and_not_in_the_legend(make_row, make_report):
    rows = odd_rows("some costs", make_row)
    figure = correlation_figure(make_report(rows))
    assert points(figure.axes[0]) == {"budgets": [(60.0, 0.5), (300.0, 0.5)]}
    assert figure.axes[0].get_xlabel().splitlines()[1:] == [
        "1 of 3 budgets not drawn: their cost is not known"
    ]
    # So for a learning curve and a budget of its own without cost, which was in the legend only.
    curve = [make_row(f"s@{e}", 10.0 * e, 0.5, epoch=e, setting="s") for e in (1, 2)]
    figure = correlation_figure(make_report([*curve, make_row("lone", math.nan, 0.7)]))
    assert entries(figure) == ["s"]
    assert "1 of 3 budgets not drawn: their cost is not known" in figure.axes[0].get_xlabel()


def test_without_costs_epochs_take_their_place(make_row, make_report):
    figure = correlation_figure(make_report(odd_rows("no costs", make_row)))
    axes = figure.axes[0]
    assert points(axes) == {"budgets": [(10.0, 0.5), (20.0, 0.5), (30.0, 0.5)]}
    assert axes.get_xlabel().splitlines() == ["epochs (log scale)", "no cost is known"]
    assert ticks(axes) == ["10", "20", "30"]


def test_a_correlation_that_is_not_defined_is_counted(make_row, make_report):
    rows = [make_row("a", 60.0, 0.5), make_row("b", 60.0, math.nan)]
    figure = correlation_figure(make_report(rows))
    assert "1 of 2 budgets not drawn: their correlation is not defined" in (
        figure.axes[0].get_xlabel()
    )


def test_of_many_learning_curves_the_best_stand_out(make_row, make_report):
    figure = correlation_figure(make_report(odd_rows("curves", make_row)))
    best = [f"s{place}" for place in range(6)]
    assert entries(figure) == ["14 other settings, of lower correlations", *best]
    curve = points(figure.axes[0])["s3"]
    assert curve == [(13.0 * e, 0.9 - 0.01 * 3 - 0.5 / e) for e in (1, 2, 4, 12, 50)]


def test_intervals_left_out_of_a_crowd_are_said(make_row, make_report):
    figure = correlation_figure(make_report(odd_rows("crowded", make_row)))
    assert "intervals of 150 other budgets are left out" in figure.axes[0].get_xlabel()
    assert len(points(figure.axes[0])["other budgets"]) == 150


def test_pruning_figure_shows_rounds_and_predictions(pruning_report, figures, check_texts):
    left, right = figures[1].axes
    check_texts(figures[1])
    predicted = [r.row for r in pruning_report.recommended if not r.measured]
    shown = points(left)
    assert list(shown) == entries(figures[1])
    assert sorted(shown["predicted, never trained"]) == sorted(
        (row.cost_seconds, row.correlation) for row in predicted
    )
    assert len(shown["predicted, never trained"]) > 0
    assert {"BPE-1", "BPE-2"} < set(names_above(left))
    said = [text.get_text() for text in right.texts]
    expected = [
        f"pruned in round {number}"
        for number, done in enumerate(pruning_report.rounds, 1)
        for name in done.importances
        if name in done.pruned
    ]
    assert said == expected
    written = [tick.get_text() for tick in right.get_yticklabels()]
    assert set(written[-2:]) == {"layers", "epochs"}
    assert written[-1] == pruning_report.kept[0]
    assert {"batch size", "cutout"} < set(written)
    bars = [patch.get_width() for patch in right.patches]
    assert bars == [i.mean for r in pruning_report.rounds for i in r.importances.values()]


def test_a_pruning_without_rounds_says_why(pruning_report, check_texts):
    figure = pruning_figure(replace(pruning_report, rounds=(), stop_reason="too few settings"))
    (text,) = figure.axes[1].texts
    assert text.get_text() == "no importance was estimated: too few settings"
    check_texts(figure)


@pytest.mark.parametrize("name", ["figure.gif", "figure", "figure.PNG"])
def test_another_suffix_is_refused(figures, name, tmp_path):
    with pytest.raises(UnknownNameError) as caught:
        save_figure(figures[0], tmp_path / name)
    assert str(caught.value) == f"a figure's file must end in .png, .svg, .pdf, found {name!r}"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_refused(figures, tmp_path):
    path = tmp_path / "none" / "figure.png"
    # Checked by itself before anything is computed.
    for use in (lambda: save_figure(figures[0], path), lambda: check_figure_path(path)):
        with pytest.raises(BpeBenchError) as caught:
            use()
        assert str(caught.value) == (
            f"cannot write figure {path}: there is no folder {path.parent}; make it first"
        )
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_nothing_behind(tmp_path):
    class Half:
        """A figure that fills the disk half way through."""

        def savefig(self, path, **_):
            path.write_text("half")
            raise OSError(28, "No space left on device")

    path = tmp_path / "figure.png"
    path.write_text("old")
    with pytest.raises(BpeBenchError) as caught:
        save_figure(Half(), path)
    assert str(caught.value) == f"cannot write figure {path}: No space left on device"
    assert [p.name for p in tmp_path.iterdir()] == ["figure.png"]
    assert path.read_text() == "old"


def test_without_matplotlib_it_says_what_to_install(monkeypatch, correlation_report):
    imported = builtins.__import__

    def without(name, *rest, **more):
        if name.split(".")[0] == "matplotlib":
            raise ImportError(name)
        return imported(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    for use in (lambda: correlation_figure(correlation_report), lambda: check_figure_path("a.png")):
        with pytest.raises(OptionalDependencyError) as caught:
            use()
        assert str(caught.value) == (
            "figures need matplotlib, which is not installed; install it with: "
            'pip install "bpe-bench[plot]"'
        )
