"""Figures: that they are written, whole or not at all, and show what the reports hold."""

import builtins

import numpy as np
import pytest

from bpe_bench import Replay, Rules, correlate, prune
from bpe_bench.errors import BpeBenchError, OptionalDependencyError, UnknownNameError
from bpe_bench.report.figures import (
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


def test_correlation_figure_shows_every_budget_and_names_the_front(correlation_report, figures):
    axes = figures[0].axes[0]
    drawn = {
        (round(x, 9), round(y, 9))
        for bars in axes.containers
        for x, y in bars.lines[0].get_xydata()
    }
    rows = correlation_report.rows
    assert drawn == {(round(r.cost_seconds / 3600, 9), round(r.correlation, 9)) for r in rows}
    written = {text.get_text() for text in axes.texts}
    names = {"test5": "BPE-1", "test32": "BPE-2"}
    assert written == {names.get(r.label, r.label) for r in rows if r.pareto}
    assert axes.get_ylabel() == "Spearman correlation with full training (95% interval)"
    assert axes.get_title(loc="left") == "darts-bpe: 100 architectures, reference 'full'"


def test_pruning_figure_shows_rounds_and_predictions(pruning_report, figures):
    left, right = figures[1].axes
    predicted = [r for r in pruning_report.recommended if not r.measured]
    shown = [bars for bars in left.containers if bars.get_label() == "predicted, never trained"]
    assert len(shown[0].lines[0].get_xydata()) == len(predicted) > 0
    said = [text.get_text() for text in right.texts]
    expected = [
        f"pruned in round {number}"
        for number, done in enumerate(pruning_report.rounds, 1)
        for name in done.importances
        if name in done.pruned
    ]
    assert said == expected
    ticks = [tick.get_text() for tick in right.get_yticklabels()]
    assert set(ticks[-2:]) == {"layers", "epochs"}
    assert ticks[-1] == pruning_report.kept[0]
    assert {"batch size", "cutout"} < set(ticks)
    bars = [patch.get_width() for patch in right.patches]
    assert bars == [i.mean for r in pruning_report.rounds for i in r.importances.values()]


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
