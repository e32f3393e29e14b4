"""``bpe-bench mip``: formats, figures, seeds and every refusal."""

import csv
import io
import re

import pytest
from scipy import stats

from bpe_bench import Split
from bpe_bench.budget import parse_budget
from bpe_bench.importance import ESTIMATORS

QUICK = ("mip", "--space", "darts", "--resamples", 2, "--predictions", 2, "--force")


def test_json_has_the_fields_that_were_promised(as_json):
    found = as_json(*QUICK, "--max-cost-hours", 0.6)
    assert {
        "space", "table", "importance_estimator", "evidence", "rounds", "pruning_order",
        "recommended", "cost_hours", "stop_reason", "warnings",
    } <= set(found)  # fmt: skip
    assert (found["table"], found["evidence"]) == ("darts-bpe", "table")
    assert found["importance_estimator"] == "forest"
    best = [r["label"] for r in found["recommended"] if r["best_under_hours"] == [0.6]]
    assert best == ["test32"]  # BPE-2, as published
    assert {r["observed"] for r in found["recommended"]} == {True, False}


def test_table_shows_rounds_order_and_recommendations(bpe_bench, as_json):
    arguments = (*QUICK, "--max-cost-hours", 0.1, "--max-cost-hours", 0.6)
    found = as_json(*arguments)
    status, out, _ = bpe_bench(*arguments)
    assert status == 0
    lines = out.splitlines()
    assert out.startswith(found["answer"] + "\n\n")
    title = "darts-bpe: minimum importance pruning by forest, table evidence"
    assert sum(line.startswith(title) for line in lines) == 1
    order = " → ".join("+".join(r["pruned"]) for r in found["rounds"])
    assert f"pruned: {order}" in lines
    kept = next(line for line in lines if line.startswith("kept: "))
    assert {"layers", "epochs"} == set(kept.removeprefix("kept:").strip().split(", "))
    assert f"ended:  {found['stop_reason']}" in lines
    verdicts = next(line for line in lines if line.startswith("separable ")).split()[1:]
    assert verdicts == ["yes" if r["separable"] else "no" for r in found["rounds"]]
    starts = [line.split()[0] for line in lines if line]
    for item in found["recommended"]:
        assert (item["label"] if item["observed"] else "predicted") in starts
    assert sum(re.match(r"predicted \d  ", line) is not None for line in lines) == 2
    cutout = next(line for line in lines if line.startswith("cutout "))
    assert cutout.count("*") == len(found["rounds"])
    # What is unusual is in the rows, what is usual below them, and what was decided last.
    assert next(line for line in lines if line.startswith("test32 (BPE-2) ")).endswith(
        " outside       30 x 16 x 16, 16, fp32"
    )
    assert lines[-1] == (
        "choices: dataset cifar10; split test; reference full; reference split test; "
        "architectures 100; top k 10; keep 2; predictions 2; resamples 2"
    )


def test_predicted_budgets_have_a_text_to_use_again(bpe_bench, as_json):
    found = as_json(*QUICK)
    _, out, _ = bpe_bench(*QUICK)
    texts = re.findall(r"^predicted \d: --budget (\S+)$", out, re.MULTILINE)
    predicted = [r for r in found["recommended"] if not r["observed"]]
    assert texts == [r["budget_text"] for r in predicted]
    assert len(texts) == 2
    assert [parse_budget(text).to_dict() for text in texts] == [r["budget"] for r in predicted]


def test_what_lies_outside_of_the_pruned_space_is_marked(bpe_bench, as_json):
    found = as_json(*QUICK)
    _, out, _ = bpe_bench(*QUICK)
    marks = re.findall(r"^(\S.*?)  .*  (inside|outside)  ", out, re.MULTILINE)
    assert [mark == "inside" for _, mark in marks] == [
        r["in_remaining_space"] for r in found["recommended"]
    ]
    assert "outside" in {mark for _, mark in marks}


def test_without_a_round_the_reason_stands_in_place_of_the_importances(bpe_bench):
    _, out, _ = bpe_bench(*QUICK, "--keep", 7)
    assert "\nno importances: 7 groups of hyper-parameters are left, the number to keep\n" in out
    assert "importance  " not in out


def test_a_table_says_its_space(as_json):
    assert as_json("mip", "--table", "darts-bpe", *QUICK[3:])["space"] == "darts"


def test_full_training_can_be_another_setting(as_json, darts_bpe):
    found = as_json(*QUICK, "--reference", "test23", "--reference-split", "test")
    assert found["choices"]["reference"] == "test23"
    row = next(r for r in found["recommended"] if r["label"] == "test11")
    counts = [darts_bpe.curves[n, Split.TEST].counts[0, -1] for n in ("test11", "test23")]
    assert row["correlation"] == pytest.approx(stats.spearmanr(*counts).statistic)


def test_all_of_repeated_conditions_hold(as_json):
    found = as_json(*QUICK, "--where", "precision=fp16", "--where", "image_size=16,layers=6")
    assert {
        (r["budget"]["precision"], r["budget"]["image_size"], r["budget"]["layers"])
        for r in found["recommended"]
        if r["observed"]
    } == {("fp16", 16, 6)}


def test_csv_has_a_line_per_recommendation(bpe_bench, as_json):
    found = as_json(*QUICK)
    status, out, _ = bpe_bench(*QUICK, "--format", "csv")
    assert status == 0
    lines = list(csv.DictReader(io.StringIO(out)))
    assert [line["label"] for line in lines] == [r["label"] for r in found["recommended"]]
    assert [line["observed"] for line in lines] == [
        str(r["observed"]) for r in found["recommended"]
    ]
    assert {"epochs", "layers", "correlation", "cost_seconds"} <= set(lines[0])


def test_warnings_go_to_standard_error_unless_quiet(bpe_bench):
    status, out, err = bpe_bench(*QUICK)
    assert status == 0
    assert "warning" not in out
    *warnings, rest = err.splitlines()
    assert len(warnings) == 3
    assert all(line.startswith("warning: ") for line in warnings)
    assert rest.endswith(" more warnings: --format json or bpe-bench tables info darts-bpe")
    # What this computation found comes first.
    assert "each recommended budget was chosen by the correlation shown beside it" in warnings[0]
    assert "predicted budgets were never trained" in warnings[1]
    assert "batch_size and learning_rate move together" in warnings[2]
    assert bpe_bench(*QUICK, "--quiet") == (0, out, "")


def test_the_same_seed_gives_the_same_bytes(bpe_bench):
    one, same, other = (
        bpe_bench(*QUICK, "--format", "json", "--seed", seed)[1] for seed in (1, 1, 2)
    )
    assert one == same
    assert one != other


def test_options_reach_the_library(as_json):
    found = as_json(
        *QUICK, "--evidence", "sequential", "--initial", 9, "--per-round", 2, "--keep", 5,
        "--importance", "xgboost", "--statistic", "kendall", "--confidence", 0.8,
        "--where", "lr_schedule=cosine",
    )  # fmt: skip
    assert found["evidence"] == "sequential"
    assert found["importance_estimator"] == "xgboost"
    assert (found["statistic"], found["confidence"]) == ("kendall", 0.8)
    assert [r["evaluated"] for r in found["rounds"]] == [
        9 + 2 * index for index in range(len(found["rounds"]))
    ]
    assert found["stop_reason"].startswith("5 groups")
    assert all(r["budget"]["lr_schedule"] == "cosine" for r in found["recommended"])


@pytest.mark.parametrize("importance", ESTIMATORS)
def test_every_estimator_can_be_named(as_json, importance):
    assert as_json(*QUICK, "--importance", importance)["importance_estimator"] == importance


def test_help_names_every_estimator(bpe_bench):
    out = "".join(bpe_bench("mip", "--help")[1].split())  # it may break lines at hyphens
    assert all(name in out for name in ESTIMATORS)


def test_output_and_plot_are_written(bpe_bench, tmp_path):
    found, figure = tmp_path / "found.json", tmp_path / "figure.png"
    status, out, _ = bpe_bench(*QUICK, "--format", "json", "-o", found, "--plot", figure)
    assert (status, out) == (0, "")
    assert found.read_text() == bpe_bench(*QUICK, "--format", "json")[1]
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ["--space", "darts", "--importance", "lime"],
            "unknown importance estimator 'lime'; there are: forest, permutation, xgboost, "
            "xgboost-permutation, fanova, xgboost-shap, ped-anova",
        ),
        (
            ["--space", "darts", "--table", "darts"],
            "unknown table 'darts' (did you mean 'darts-bpe'?); there are: {tables}; or give the "
            "path of a table file",
        ),
        (["--space", "darts", "--keep", "0"], "keep must be at least 1, found 0"),
        (["--space", "darts", "--resamples", "1"], "resamples must be at least 2, found 1"),
        (
            ["--space", "darts", "--resamples", "2", "--max-cost-hours", "0"],
            "an allowance must be above 0 GPU hours, found 0",
        ),
        (
            ["--space", "darts", "--resamples", "2", "--max-cost-hours", "inf"],
            "an allowance must be above 0 GPU hours, found inf",
        ),
        (
            ["--space", "darts", "--where", "epochs=300"],
            "pruning needs at least 4 settings with a correlation and a cost, found 3; widen the "
            "selection or use a larger table, or rank what there is: bpe-bench correlate darts-bpe",
        ),
        (
            ["--space", "darts", "--plot", "figure.bmp"],
            "a figure's file must end in .png, .svg, .pdf, found 'figure.bmp'",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_gets_one_line(fails, registry, arguments, text, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert fails("mip", *arguments) == text.format(tables=", ".join(registry))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["mip needs --space or --table, found neither; for instance --space darts"]),
        (["--space", "darts", "--reference-split", "val"], ["--reference-split", "found 'val'"]),
        (
            ["--space", "darts", "--evidence", "none"],
            ["--evidence", "one of table, sequential; found"],
        ),
        (["--space", "darts", "--keep", "two"], ["--keep", "wants a whole number, found 'two'"]),
        (
            ["--space", "darts", "--predictions", "-1"],
            ["--predictions", "at least 0, found '-1'"],
        ),
    ],
)
def test_bad_usage_gets_one_line(fails, arguments, parts):
    """Click words these; what matters is what they name and where they send one."""
    said = fails("mip", *arguments)
    assert all(part in said for part in parts)
    assert said.endswith("(see bpe-bench mip --help)")


def test_an_unknown_space_is_refused_with_those_that_exist(fails):
    said = fails("mip", "--space", "dart")
    assert said.startswith("unknown search space 'dart' (did you mean 'darts'?); there are: darts")


def test_a_table_of_another_space_is_refused(fails, monkeypatch, tables_of):
    """As the spaces that exist may change, one is made up."""
    monkeypatch.setattr("bpe_bench.tables.catalog.get_space", lambda name: name)
    path = tables_of / "no-costs.h5"
    assert fails("mip", "--space", "squares", "--table", path) == (
        f"table '{path}' is of space 'darts', not of 'squares'; choose another table or use "
        "--space darts"
    )
    assert fails("mip", "--space", "squares") == (
        "no table is registered for space 'squares'; name one by its path"
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("no-costs", "pruning needs at least 4 settings with a correlation and a cost, found 0"),
        ("no-reference", "the table has no reference (full training) for data set 'cifar10'"),
        ("equal", "nothing can be ranked: all accuracies of the reference 'full'"),
        ("truncated", "cannot read {} as a table: the file is truncated"),
    ],
)
def test_bad_tables_get_one_line(fails, tables_of, name, text):
    path = tables_of / f"{name}.h5"
    said = fails("mip", "--space", "darts", "--table", path)
    assert said.startswith(text.format(path))
