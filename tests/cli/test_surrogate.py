"""``bpe-bench surrogate``: fit, evaluate, predict."""

import csv
import json
from dataclasses import replace

import pytest
from bpe_bench_cli.main import run

from bpe_bench import open_table, write_table

FEW = ("--budget", "test5", "--budget", "test6", "--folds", "3")


@pytest.fixture(scope="module")
def informed(tmp_path_factory):
    """A file with a surrogate of accuracies under test5 and test6 that is told those of test7."""
    file = tmp_path_factory.mktemp("cli") / "informed"
    arguments = ["--given", "test7", "--model", "forest", "--quiet", "-o", str(file)]
    assert run(["surrogate", "fit", "darts-bpe", *FEW, *arguments]) == 0
    return file


# --- fit -------------------------------------------------------------------------------------


def test_fit_says_what_it_wrote(bpe_bench, tmp_path):
    file = tmp_path / "made.surrogate"
    status, out, err = bpe_bench("surrogate", "fit", "darts-bpe", *FEW, "-o", file, "--format",
                                 "json")  # fmt: skip
    said = json.loads(out)
    assert status == 0
    assert said["file"] == str(file)
    assert (said["target"], said["model"], said["table"]) == ("accuracy", "xgboost", "darts-bpe")
    assert said["settings"] == ["test5", "test6"]
    assert said["n_architectures"] == 100
    assert file.is_file()
    assert err.startswith("warning: fitted to test accuracies: architectures found with it")
    first = file.read_bytes()
    bpe_bench("surrogate", "fit", "darts-bpe", *FEW, "-o", file, "--quiet")
    assert file.read_bytes() == first
    bpe_bench("surrogate", "fit", "darts-bpe", *FEW, "-o", file, "--quiet", "--seed", "1")
    assert file.read_bytes() != first


def test_fit_answers_first_and_lists_what_there_is(bpe_bench, tmp_path):
    file = tmp_path / "made"
    _, out, _ = bpe_bench("surrogate", "fit", "darts-bpe", *FEW, "-o", file)
    lines = out.splitlines()
    assert lines[0].startswith("Fitted xgboost to the test accuracies of 100 darts architectures ")
    assert lines[1].split() == ["file", str(file)]
    assert not any("–" in line for line in lines)


def test_fit_understands_given_labels_with_an_epoch(bpe_bench, tmp_path):
    """As `correlate` prints them; the last epoch is the setting itself."""
    for given, said in (("cifar10-valid-200@12", "cifar10-valid-200@12"),
                        ("cifar10-valid-12@12", "cifar10-valid-12")):  # fmt: skip
        status, out, _ = bpe_bench("surrogate", "fit", "nas-bench-201-curves", "--budget",
                                   "cifar10-valid-200", "--given", given, "--architectures", "40",
                                   "--model", "forest", "--folds", "3", "-o", tmp_path / "x",
                                   "--format", "json")  # fmt: skip
        assert status == 0
        assert json.loads(out)["given"] == [said]
        assert next(iter(json.loads(out))) == "answer"


@pytest.mark.parametrize("command", ["fit", "evaluate"])
@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--statistic", "kendall"],
         "--statistic goes with --target correlation, found --target accuracy"),
        (["--target", "cost", "--split", "test"],
         "--split goes with --target accuracy or correlation, found --target cost"),
        (["--target", "cost", "--encoding", "all"],
         "--target cost has one value for all architectures of a setting in this table, found "
         "--encoding; leave out, or take --target accuracy"),
    ],
)  # fmt: skip
def test_options_without_use_are_refused(command, options, text, fails, tmp_path):
    said = fails("surrogate", command, "darts-bpe", *options, "-o", tmp_path / "x")
    assert said.startswith(text)


def test_fit_needs_a_file(fails):
    assert fails("surrogate", "fit", "darts-bpe").startswith("Missing option '-o'")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["nowhere"], "nowhere"),
        (
            ["darts-bpe", "--architectures", "none"],
            "--architectures wants a number of at least 1, ",
        ),
        (["darts-bpe", "--architectures", "0"], "or all; found '0'"),
        (["darts-bpe", "--budget", "tset5"], "did you mean 'test5'?"),
        (["darts-bpe", "--given", "x"], "unknown budget 'x'; there are: full, test1"),
        (["darts-bpe", "--target", "cost", "--given", "test5"], "leave out --given"),
        (
            ["darts-bpe", "--split", "validation"],
            "unknown split 'validation' of setting 'full'; there are: test",
        ),
        (["darts-bpe", "--architectures", "4"], "in 10 folds needs at least 10 architectures"),
        (["darts-bpe", "--dataset", "svhn"], "unknown data set 'svhn'"),
    ],
)
def test_fit_refuses(arguments, text, fails, tmp_path):
    assert text in fails("surrogate", "fit", *arguments, "-o", tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_fit_into_a_folder_that_is_not_there(fails, tmp_path):
    file = tmp_path / "nowhere" / "x"
    said = fails("surrogate", "fit", "darts-bpe", *FEW, "-o", file)
    assert said == f"cannot write {file}: No such file or directory; give another file with -o"


@pytest.mark.parametrize("command", ["fit", "evaluate"])
@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--architectures", "20", "--encoding", "operations"], "--architectures and --encoding"),
        (["--architectures", "1000"], "--architectures"),
        (["--encoding", "structure"], "--encoding"),
    ],
)
def test_options_of_single_architectures_do_not_go_with_correlations(
    command, options, text, fails, tmp_path
):
    said = fails("surrogate", command, "darts-bpe", "--target", "correlation", *options, "-o",
                 tmp_path / "x")  # fmt: skip
    assert said.startswith(
        f"--target correlation has one value for all architectures, found {text}; leave out, or "
        "take --target accuracy (see "
    )


# --- evaluate --------------------------------------------------------------------------------


def test_evaluate_has_the_fields_of_the_contract(as_json):
    said = as_json("surrogate", "evaluate", "darts-bpe", *FEW, "--model", "forest", "--model",
                   "xgboost")  # fmt: skip
    assert (said["table"], said["target"], said["folds"]) == ("darts-bpe", "accuracy", 3)
    assert [(row["model"], row["grouping"]) for row in said["rows"]] == [
        ("forest", "architecture"), ("xgboost", "architecture"),
    ]  # fmt: skip
    for row in said["rows"]:
        for name in ("r2", "kendall", "sparse_kendall", "coverage_90"):
            assert row[name]["low"] <= row[name]["value"] <= row[name]["high"]


def test_evaluate_by_setting_as_a_table_and_as_csv(bpe_bench):
    arguments = ["surrogate", "evaluate", "darts-bpe", "--target", "correlation", "--folds", "5"]
    status, out, _ = bpe_bench(*arguments)
    lines = out.splitlines()
    assert status == 0
    assert lines[0].startswith("forest ranks settings that it never saw by their Spearman ")
    assert lines[1].startswith(
        "darts-bpe: Spearman correlation of 100 darts architectures under 37 settings"
    )
    assert lines[2].split()[:4] == ["model", "held", "out", "R²"]
    assert lines[3].split()[:2] == ["forest", "budget"]
    assert "–" not in lines[3]
    status, out, _ = bpe_bench(*arguments, "--format", "csv")
    (row,) = csv.DictReader(out.splitlines())
    assert (row["model"], row["grouping"], row["n_rows"]) == ("forest", "budget", "37")


def test_evaluate_is_the_same_for_a_seed(bpe_bench):
    arguments = ["surrogate", "evaluate", "darts-bpe", *FEW, "--format", "json"]
    first, again, other = (bpe_bench(*arguments, "--seed", seed)[1] for seed in (3, 3, 4))
    assert first == again != other


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--target", "correlation", "--grouping", "both"], "can be judged by budget, not by both"),
        (["--top-k", "0"], "k must be at least 1, found 0"),
        (["--confidence", "2"], "confidence"),
        (["--folds", "2"], "--folds wants a whole number of at least 3, found '2'"),
        (["--folds", "101"], "needs at least 101 architectures, found 100"),
    ],
)
def test_evaluate_refuses(arguments, text, fails):
    assert text in fails("surrogate", "evaluate", "darts-bpe", *arguments)


# --- predict ---------------------------------------------------------------------------------


def test_predict_correlations_and_costs(correlating, as_json):
    said = as_json("surrogate", "predict", correlating, "--budget", "BPE-1", "--budget", "test5",
                   "--budget", "BPE-1,epochs=20")  # fmt: skip
    assert said["target"] == "correlation"
    named, labelled, new = said["rows"]
    assert {k: v for k, v in named.items() if k != "label"} == {
        k: v for k, v in labelled.items() if k != "label"
    }
    assert new["budget"]["epochs"] == 20
    for row in said["rows"]:
        assert row["correlation_low"] < row["correlation"] < row["correlation_high"]
        assert row["cost_seconds_low"] < row["cost_seconds"] < row["cost_seconds_high"]
    assert len(as_json("surrogate", "predict", correlating)["rows"]) == 37


def test_predict_says_where_it_has_no_interval(correlating, as_json, bpe_bench):
    arguments = ["surrogate", "predict", correlating, "--budget", "BPE-1,epochs=2000"]
    (row,) = as_json(*arguments, "--extrapolate")["rows"]
    assert row["correlation_low"] is None
    _, out, _ = bpe_bench(*arguments, "--extrapolate")
    assert "without an interval" in out.splitlines()[0]
    assert "interval" not in out.splitlines()[2]  # a column that has nothing
    _, out, _ = bpe_bench(*arguments, "--budget", "BPE-1", "--extrapolate")
    assert "[–, –]" in out


def test_predict_says_why_it_has_no_interval(correlating, bpe_bench, as_json):
    arguments = ["surrogate", "predict", correlating, "--budget", "BPE-1,epochs=2000",
                 "--extrapolate"]  # fmt: skip
    text = "under BPE-1,epochs=2000: the budget is outside of what was seen: epochs=2000 (fitted: "
    assert as_json(*arguments)["warnings"] == [
        f"no 90% interval of {target} {text}10 to 300)" for target in ("correlation", "cost")
    ]
    _, _, err = bpe_bench(*arguments)
    assert f"warning: no 90% interval of correlation {text}" in err
    _, _, err = bpe_bench("surrogate", "predict", correlating, "--confidence", "0.99")
    assert "37 rows were held out, and the confidence needs 99" in err
    _, _, err = bpe_bench("surrogate", "predict", correlating)
    assert err == ""


@pytest.fixture(scope="module")
def partly_costly(tmp_path_factory):
    """A file with a surrogate of accuracies under settings with and without recorded cost."""
    file = tmp_path_factory.mktemp("cli") / "partly"
    arguments = ["--budget", "full", "--model", "forest", "--quiet", "-o", str(file)]
    assert run(["surrogate", "fit", "darts-bpe", *FEW, *arguments]) == 0
    return file


def test_predict_leaves_out_costs_that_are_not_known(partly_costly, bpe_bench, as_json):
    arguments = ["surrogate", "predict", partly_costly, "--architectures", "darts-bpe:0"]
    said = as_json(*arguments)
    assert [row["cost_seconds"] for row in said["rows"]] == [306.72, pytest.approx(517, abs=300),
                                                             None]  # fmt: skip
    assert [row["accuracy"] is None for row in said["rows"]] == [False] * 3
    assert said["warnings"][1:] == [
        "no 90% interval of cost under test5, test6: it is the mean that the table records",
        "no cost under full: the table records none, and too few others to learn from",
    ]
    status, out, _ = bpe_bench(*arguments)
    assert status == 0
    assert "test accuracy predicted by forest" in out


def test_predict_answers_first_with_published_names(correlating, bpe_bench):
    _, out, _ = bpe_bench("surrogate", "predict", correlating, "--budget", "test5", "--budget",
                          "test32")  # fmt: skip
    lines = out.splitlines()
    assert lines[0].startswith("The best of 2 budgets is test32 (BPE-2): Spearman correlation 0.6")
    assert [line.split("  ")[0] for line in lines[3:]] == ["test5 (BPE-1)", "test32 (BPE-2)"]


def test_predict_refuses_a_seed_where_nothing_is_drawn(correlating, informed, fails):
    said = fails("surrogate", "predict", correlating, "--seed", "1")
    assert said.startswith(
        "--seed goes with --architectures sample:N, found a surrogate of settings"
    )
    said = fails("surrogate", "predict", informed, "--architectures", "darts-bpe:0", "--table",
                 "darts-bpe", "--seed", "1")  # fmt: skip
    assert "found --architectures darts-bpe:0" in said


@pytest.mark.parametrize("table", ["darts-bpe", "nas-bench-201-curves"])
def test_predict_shows_numbers_beside_long_architectures_and_budgets(table, bpe_bench, tmp_path):
    labels = {"darts-bpe": "test5", "nas-bench-201-curves": "cifar10-valid-12"}
    file, label = tmp_path / "fitted", labels[table]
    bpe_bench("surrogate", "fit", table, "--budget", label, "--folds", "3", "--model", "forest",
              "--architectures", "40", "-o", file)  # fmt: skip
    budget = open_table(table).setting(label).budget
    long = ",".join(f"{name}={value}" for name, value in budget.to_dict().items())
    asked = ["surrogate", "predict", file, "--architectures", f"{table}:0-1", "--budget", label,
             "--budget", long]  # fmt: skip
    status, out, _ = bpe_bench(*asked)
    assert status == 0
    _, as_csv, _ = bpe_bench(*asked, "--format", "csv")
    rows = list(csv.DictReader(as_csv.splitlines()))
    assert len(rows) == 4
    for row in rows:
        value, low, high = (
            f"{100 * float(row[name]):.2f} %" for name in ("accuracy", "accuracy_low",
                                                           "accuracy_high")
        )  # fmt: skip
        assert any(value in line and f"[{low}, {high}]" in line for line in out.splitlines())
        assert out.count(row["architecture"]) == 1


def test_predict_accuracies_from_given_ones(informed, as_json):
    arguments = ["--budget", "test5", "--architectures", "darts-bpe:3-5", "--table", "darts-bpe"]
    said = as_json("surrogate", "predict", informed, *arguments)
    assert [row["label"] for row in said["rows"]] == ["test5"] * 3
    assert all(row["architecture"].startswith("Genotype(") for row in said["rows"])
    for row in said["rows"]:
        assert 0 <= row["accuracy_low"] <= row["accuracy"] <= row["accuracy_high"] <= 1
        assert row["cost_seconds"] == 306.72


def test_predict_as_csv_has_a_column_per_hyper_parameter(correlating, bpe_bench):
    _, out, _ = bpe_bench(
        "surrogate", "predict", correlating, "--budget", "test5", "--format", "csv"
    )
    (row,) = csv.DictReader(out.splitlines())
    assert (row["label"], row["epochs"], row["layers"]) == ("test5", "10", "6")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "FILE is missing; make one with: bpe-bench surrogate fit TABLE -o FILE"),
        (["nowhere"], "no surrogate file at nowhere; make one with: bpe-bench surrogate fit TABLE"),
        (["x" * 300], f"cannot read surrogate {'x' * 300}: File name too long; give another file"),
    ],
)
def test_predict_needs_a_file(arguments, text, fails):
    assert fails("surrogate", "predict", *arguments).startswith(text)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ["--budget", "BPE-1,epochs=2000"],
            "would have to extrapolate: epochs=2000 (fitted: 10 to",
        ),
        (["--budget", "tset5"], "unknown setting 'tset5' (did you mean 'test5'?)"),
        (["--budget", "epochs=3"], "a budget needs batch_size"),
        (["--budget", "BPE-1,epoch=3"], "unknown hyper-parameter 'epoch'"),
        (
            ["--architectures", "sample:3"],
            "for all architectures together; leave out --architectur",
        ),
        (["--table", "nas-bench-201-curves"], "was fitted to table 'darts-bpe' with content SHA-2"),
        (["--confidence", "0"], "confidence"),
    ],
)
def test_predict_refuses(arguments, text, correlating, fails):
    assert text in fails("surrogate", "predict", correlating, *arguments)


def test_predict_refuses_a_table_that_changed(informed, fails, tmp_path):
    changed = replace(open_table("darts-bpe"), caveats=("another",))
    write_table(changed, tmp_path / "changed.h5")
    said = fails("surrogate", "predict", informed, "--table", tmp_path / "changed.h5")
    assert "the table given has" in said
    said = fails("surrogate", "predict", informed, "--budget", "test5")
    assert said.startswith("accuracies under test7 must be given")
    assert said.endswith("name the one that has them (--table darts-bpe)")


def test_predict_refuses_a_damaged_file(correlating, fails, tmp_path):
    (tmp_path / "cut").write_bytes(correlating.read_bytes()[:5000])
    assert fails("surrogate", "predict", tmp_path / "cut").startswith(
        f"cannot read {tmp_path / 'cut'} as a surrogate: it is truncated, damaged or of another ki"
    )
