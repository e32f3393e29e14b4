"""Results at a Python prompt are one line, and in a notebook a small table without foreign HTML."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from bpe_bench import Replay, Rules, correlate, prune
from bpe_bench.correlation.planning import plan_trainings
from bpe_bench.correlation.regression import Check, RegressionReport
from bpe_bench.estimators import TableEstimator
from bpe_bench.files import Shown
from bpe_bench.pruning.judging import Pool, judge, make_methods
from bpe_bench.search import RandomSearch, repeat_search, summarise
from bpe_bench.search.plan import SearchResult
from bpe_bench.surrogate import Question, ask, evaluate_surrogates, fit_surrogate
from bpe_bench.tables.curves import Split

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def results(darts_bpe, golden):
    """One of each kind of result, under a name that a file could have given."""
    rng, question = np.random.default_rng, Question(target="correlation")
    fitted = fit_surrogate(darts_bpe, question, rng=rng(0), folds=3, name=HOSTILE)
    estimator = TableEstimator(golden, "cheap")
    traces = repeat_search(RandomSearch(), estimator, repeats=2, evaluations=3)
    report = summarise(traces, estimator, table=HOSTILE)
    replay = Replay.of(darts_bpe, name=HOSTILE)
    devices = tuple(dataclasses.replace(s, device=HOSTILE) for s in darts_bpe.settings)
    return [
        dataclasses.replace(
            golden,
            dataset=HOSTILE,
            settings=tuple(dataclasses.replace(s, dataset=HOSTILE) for s in golden.settings),
        ),
        correlate(dataclasses.replace(darts_bpe, settings=devices)),
        plan_trainings(darts_bpe, hours=9, rng=rng(0), name=HOSTILE),
        prune(replay, Rules(resamples=3), rng=rng(0)),
        fitted,
        ask(fitted, rng=rng(0)),
        evaluate_surrogates(darts_bpe, question, rng=rng(0), folds=3, name=HOSTILE),
        traces[0],
        report,
        SearchResult((report,), (), tuple(traces), ()),
        RegressionReport((Check(HOSTILE, "spearman", 0.5, 0.5, 0.1, True, "a paper"),)),
        judge(
            Pool.of(darts_bpe, name=HOSTILE),
            make_methods(["random", "cheapest-first"])[0],
            repeats=2,
        ),
    ]


def test_a_result_is_one_line(results):
    for result in results:
        assert repr(result).startswith(f"<{type(result).__name__}: ")
        assert repr(result).endswith(">")
        assert "\n" not in repr(result)
        assert len(repr(result)) < 550  # the line may have 500 characters


def test_a_result_is_a_small_table_in_a_notebook(results):
    for result in results:
        html = result._repr_html_()
        assert html.count("<table") == html.count("<p>") == 1
        assert 2 <= html.count("<tr") <= 23
        assert html.count("<th") < 250
        assert "<script" not in html


def test_foreign_html_is_text(results):
    table = results[0]
    assert "&lt;script&gt;" in table._repr_html_()
    assert HOSTILE in repr(table)
    assert HOSTILE in repr(results[1])
    assert "&lt;script&gt;" in results[1]._repr_html_()


def test_settings_and_curves_are_one_line(golden):
    assert repr(golden.setting("cheap")) == (
        "<Setting cheap on cifar10: epochs=10,batch_size=96,learning_rate=0.025,"
        "lr_schedule=cosine,layers=6,channels=8,image_size=16,precision=fp32,cutout=0,"
        "data_fraction=1.0; 10 s on V100>"
    )
    assert repr(golden.curves["cheap", Split.TEST]) == (
        "<Curves: 6 architectures, 2,000 images, seeds 0, 1, epochs 1, 5, 10>"
    )
    assert repr(golden) == (
        "<Table: 6 architectures of darts under 3 settings, data set cifar10, validation and test "
        "accuracies; full training: full>"
    )


def test_what_is_not_printable_is_not_shown():
    class Odd(Shown):
        answer = "one\nline\x1b[31m \u202e of text \u00b1 1"

        def to_frame(self):
            return pd.DataFrame({"a": [1.0]})

    assert repr(Odd()) == "<Odd: one line [31m of text \u00b1 1>"
    assert "<p>one<br>line" in Odd()._repr_html_()
