"""``bpe-bench correlate``: formats, comparisons, files and every refusal."""

import csv
import io
import os
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from bpe_bench import Split, write_table
from bpe_bench.tables.catalog import table_path

FIELDS = {
    "label", "budget", "epoch", "correlation", "low", "high", "p_value", "precision_at_k",
    "regret_at_k", "best_rank_at_k", "cost_seconds", "device", "pareto",
}  # fmt: skip
GENOTYPE = "Genotype(normal=[('sep_conv_9x9', 0)"


@pytest.fixture(scope="module")
def spearman(darts_bpe):
    """Correlations by scipy."""
    counts = {
        s.label: darts_bpe.curves[s.label, Split.TEST].counts[0, -1] for s in darts_bpe.settings
    }
    truth = counts.pop("full")
    return {label: stats.spearmanr(c, truth).statistic for label, c in counts.items()}


def test_json_has_the_fields_that_were_promised(as_json, spearman):
    found = as_json("correlate")
    assert {
        "table", "space", "dataset", "reference", "statistic", "confidence", "n_architectures",
        "noise_ceiling", "warnings", "rows",
    } <= set(found)  # fmt: skip
    assert (found["table"], found["space"], found["dataset"]) == ("darts-bpe", "darts", "cifar10")
    assert (found["reference"], found["statistic"]) == ("full", "spearman")
    assert (found["confidence"], found["n_architectures"]) == (0.95, 100)
    assert found["noise_ceiling"] is None  # one seed, so it is not known
    assert all(set(row) >= FIELDS for row in found["rows"])
    assert {r["label"]: r["correlation"] for r in found["rows"]} == pytest.approx(spearman)


def test_csv_has_a_line_per_budget(bpe_bench, spearman):
    status, out, _ = bpe_bench("correlate", "--format", "csv")
    assert status == 0
    lines = list(csv.DictReader(io.StringIO(out)))
    assert {r["label"]: float(r["correlation"]) for r in lines} == pytest.approx(spearman)
    assert (FIELDS - {"budget"}) | {"epochs", "layers"} <= set(lines[0])


def test_table_has_a_line_per_budget_cheapest_first(bpe_bench, darts_bpe, spearman):
    status, out, _ = bpe_bench("correlate")
    assert status == 0
    lines = {line.split()[0]: line for line in out.splitlines() if line}
    shown = [name for name in lines if name in spearman]
    seconds = darts_bpe.seconds()
    assert shown == sorted(spearman, key=lambda label: (seconds[label], label))
    for label, value in spearman.items():
        assert f" {value:.3f} " in lines[label]
    assert lines["test5"].startswith("test5 (BPE-1) ")
    assert "noise ceiling: unknown (one seed)" in out


def test_kendall_and_other_options_reach_the_library(as_json, darts_bpe):
    found = as_json(
        "correlate", "--statistic", "kendall", "--confidence", 0.9, "--where",
        "layers=6,precision=fp32", "--device", "V100", "--top-k", 3,
    )  # fmt: skip
    assert (found["statistic"], found["confidence"], found["top_k"]) == ("kendall", 0.9, 3)
    truth = darts_bpe.accuracy("full", Split.TEST)
    expected = {
        s.label: stats.kendalltau(darts_bpe.accuracy(s.label, Split.TEST), truth).statistic
        for s in darts_bpe.settings
        if (s.budget.layers, s.budget.precision, s.device) == (6, "fp32", "V100")
    }
    assert len(expected) > 1
    assert {r["label"]: r["correlation"] for r in found["rows"]} == pytest.approx(expected)


def test_how_the_held_out_figure_comes_about_is_said(bpe_bench):
    said = "held out: half of the architectures choose the best budget of at most 1.23 h, and the "
    assert bpe_bench("correlate")[1].endswith(f"{said}other half judges it\n")
    assert said not in bpe_bench("correlate", "darts-bpe", "--compare", "BPE-1", "BPE-2")[1]


def test_the_published_comparison_is_not_separable(bpe_bench, spearman):
    status, out, _ = bpe_bench("correlate", "darts-bpe", "--compare", "BPE-1", "BPE-2")
    assert status == 0
    verdict = out.splitlines()[0]
    difference = spearman["test32"] - spearman["test5"]
    assert verdict.startswith(f"BPE-2 correlates higher than BPE-1 by {difference:.3f} (95%")
    assert verdict.endswith("100 architectures do not separate them")


def test_all_conditions_of_where_hold(as_json, fails, darts_bpe):
    """Repeated or in one option; the values are read from the table directly."""
    expected = {
        s.label for s in darts_bpe.settings if (s.budget.epochs, s.budget.layers) == (100, 20)
    } - {"full"}
    assert 0 < len(expected) < 10
    for words in (["--where", "epochs=100,layers=20"],
                  ["--where", "epochs=100", "--where", "layers=20"]):  # fmt: skip
        assert {row["label"] for row in as_json("correlate", *words)["rows"]} == expected
    said = (
        "epochs is given twice in 'epochs=10,epochs=50'; a budget has one value of each, so leave "
        "one out"
    )
    assert fails("correlate", "--where", "epochs=10", "--where", "epochs=50") == said
    assert fails("mip", "--space", "darts", "--where", "epochs=10,epochs=50") == said


def test_a_csv_has_no_room_for_comparisons(fails):
    assert fails("correlate", "--compare", "BPE-1", "BPE-2", "--format", "csv") == (
        "a CSV has a line per budget and no room for comparisons, found --compare with --format "
        "csv; take --format json, or leave out --compare (see bpe-bench correlate --help)"
    )


def test_what_is_piped_is_neither_cut_nor_wrapped(bpe_bench, darts_bpe, tmp_path):
    long = "a device whose name is longer than any line of a terminal would be: " + "x" * 120
    settings = tuple(
        replace(s, device=long) if s.label == "test5" else s for s in darts_bpe.settings
    )
    write_table(replace(darts_bpe, settings=settings), tmp_path / "long.h5")
    for words in (["correlate"], ["tables", "info"]):
        _, out, _ = bpe_bench(*words, tmp_path / "long.h5")
        (line,) = (line for line in out.splitlines() if line.startswith("test5 "))
        assert long in line


def test_several_comparisons_are_corrected_by_holm(as_json):
    found = as_json("correlate", "--compare", "BPE-1", "BPE-2", "--compare", "test23", "BPE-1")
    first, second = found["comparisons"]
    p = np.array([first["p_value"], second["p_value"]])
    smaller = p.argmin()
    assert [first["p_adjusted"], second["p_adjusted"]][smaller] == pytest.approx(2 * p[smaller])
    assert second["separable"]
    assert "separate them" in second["verdict"]


def test_results_and_warnings_go_separate_ways(bpe_bench):
    status, out, err = bpe_bench("correlate")
    assert status == 0
    assert "warning" not in out
    assert err
    assert all(line.startswith("warning: ") for line in err.splitlines())
    assert "costs measured on different devices (RTX 2080 Ti, V100)" in err


def test_quiet_leaves_standard_error_empty(bpe_bench):
    loud, quiet = bpe_bench("correlate"), bpe_bench("correlate", "--quiet")
    assert quiet == (0, loud[1], "")


def test_normalised_costs_are_said_to_be(as_json, bpe_bench, darts_bpe):
    plain = {r["label"]: r["cost_seconds"] for r in as_json("correlate")["rows"]}
    found = as_json("correlate", "--normalise-devices", "RTX 2080 Ti=0.5")
    for row in found["rows"]:
        factor = 0.5 if row["device"] == "RTX 2080 Ti" else 1
        assert row["cost_seconds"] == pytest.approx(factor * plain[row["label"]])
    text = "costs are normalised across devices by the factors given: RTX 2080 Ti x 0.5, V100 x 1"
    assert text in found["warnings"]
    assert not any("compared as recorded" in warning for warning in found["warnings"])


@pytest.mark.parametrize("format_", ["table", "json", "csv"])
def test_output_goes_to_a_file_whole(bpe_bench, format_, tmp_path, mode_of_new_files):
    path = tmp_path / "found.txt"
    path.write_text("old")
    expected = bpe_bench("correlate", "--format", format_)[1]
    assert bpe_bench("correlate", "--format", format_, "-o", path, "--quiet") == (0, "", "")
    assert path.read_text(encoding="utf-8") == expected
    assert path.stat().st_mode & 0o777 == mode_of_new_files
    assert [p.name for p in tmp_path.iterdir()] == ["found.txt"]


def test_the_same_seed_gives_the_same_bytes(bpe_bench):
    arguments = ["correlate", "--interval", "bootstrap", "--where", "epochs=50", "--format", "json"]
    one, same, other = (bpe_bench(*arguments, "--seed", seed)[1] for seed in (3, 3, 4))
    assert one == same
    assert one != other


def test_a_plot_is_written_beside_the_results(bpe_bench, tmp_path):
    path = tmp_path / "figure.svg"
    status, out, _ = bpe_bench("correlate", "--plot", path)
    assert status == 0
    assert out.startswith("Use test32 (BPE-2): 33 min per network on RTX 2080 Ti, Spearman 0.625 ")
    assert path.read_bytes().startswith(b"<?xml")


def test_a_table_may_be_given_by_its_path(as_json, spearman):
    path = table_path("darts-bpe")
    found = as_json("correlate", path)
    assert found["table"] == str(path)
    assert {r["label"]: r["correlation"] for r in found["rows"]} == pytest.approx(spearman)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ["darts-bpf"],
            "unknown table 'darts-bpf' (did you mean 'darts-bpe'?); there are: {tables}; or give "
            "the path of a table file",
        ),
        (
            ["none.h5"],
            "no table file at none.h5; give a path that exists or one of the registered tables: "
            "{tables}",
        ),
        (
            ["--where", "depth=3"],
            "unknown hyper-parameter 'depth'; there are: epochs, batch_size, learning_rate, "
            "lr_schedule, layers, channels, image_size, precision, cutout, data_fraction",
        ),
        (["--where", "epochs=ten"], "epochs must be a whole number, found 'ten'"),
        (["--where", "epochs"], "expected name=value, found 'epochs' in 'epochs'"),
        (
            ["--where", "epochs=7"],
            "no budget is left to correlate with the reference 'full'; the table has 38 settings, "
            "so widen the selection; the selection asks for epochs=7",
        ),
        (
            ["--top-k", "101"],
            "k must be between 1 and the number of architectures, 100; found 101; give another "
            "(--top-k)",
        ),
        (
            ["--top-k", "0"],
            "k must be between 1 and the number of architectures, 100; found 0; give another "
            "(--top-k)",
        ),
        (
            ["--confidence", "1"],
            "confidence must be between 0 and 1, for instance 0.95; found 1.0",
        ),
        (
            ["--compare", "BPE-1", "BPE-3"],
            "unknown budget 'BPE-3' (did you mean 'BPE-2'?); there are: ",
        ),
        (
            ["--compare", "BPE-1", "test5"],
            "cannot compare 'BPE-1' with itself, found 'test5' as the second; choose another "
            "budget with --compare",
        ),
        (
            ["--normalise-devices", "V100"],
            "--normalise-devices wants DEVICE=FACTOR, found 'V100' (see bpe-bench correlate "
            "--help)",
        ),
        (
            ["--normalise-devices", "V100=1,RTX 2080 Ti=half"],
            "--normalise-devices wants DEVICE=FACTOR, found 'RTX 2080 Ti=half' (see bpe-bench "
            "correlate --help)",
        ),
        (["--normalise-devices", "P4=2"], "unknown device 'P4'; there are: RTX 2080 Ti, V100"),
        (
            ["--normalise-devices", "V100=-1"],
            "the factor of device 'V100' must be above 0, found -1.0",
        ),
        (["--device", "P4"], "unknown device 'P4'; there are: RTX 2080 Ti, V100"),
        (
            ["--split", "validation"],
            "unknown split 'validation' of setting 'full'; there are: test",
        ),
        (["--plot", "a.gif"], "a figure's file must end in .png, .svg, .pdf, found 'a.gif'"),
        (
            ["-o", "none/found.txt"],
            "cannot write none/found.txt: No such file or directory; give another file with -o",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_gets_one_line(fails, registry, arguments, text, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    said = fails("correlate", *arguments)
    text = text.format(tables=", ".join(registry))
    assert said == text if not text.endswith("there are: ") else said.startswith(text)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--bogus"], ["No such option", "--bogus"]),
        (["--compare", "BPE-1"], ["--compare", "requires 2 arguments"]),
        (
            ["--statistic", "pearson"],
            ["--statistic wants one of spearman, kendall, sparse-kendall; found 'pearson'"],
        ),
        (["--top-k", "few"], ["--top-k", "wants a whole number, found 'few'"]),
    ],
)
def test_bad_usage_gets_one_line(fails, arguments, parts):
    """Click words these; what matters is what they name and where they send one."""
    said = fails("correlate", *arguments)
    assert all(part in said for part in parts)
    assert said.endswith(" --help)")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("truncated", "cannot read {} as a table: the file is truncated, damaged or not HDF5 ("),
        ("text", "cannot read {} as a table: the file is truncated, damaged or not HDF5 ("),
        (
            "foreign",
            "{} is an HDF5 file but not a bpe-bench table: its attribute 'format' should be "
            "'bpe-bench-table', found None",
        ),
        (
            "no-reference",
            "the table has no reference (full training) for data set 'cifar10'; references: none; "
            "without one there is nothing to correlate with, so build the table with a setting "
            "named as its reference",
        ),
        (
            "equal",
            "nothing can be ranked: all accuracies of the reference 'full' or of every budget are "
            "equal",
        ),
    ],
)
def test_bad_tables_get_one_line(fails, tables_of, name, text):
    path = tables_of / f"{name}.h5"
    said = fails("correlate", path)
    text = text.format(path)
    if text.endswith("("):
        assert said.startswith(text)
        assert said.endswith("); fetch or build it again")
    else:
        assert said == text


def test_a_newer_table_asks_for_an_upgrade(fails, tables_of):
    path = tables_of / "newer.h5"
    said = fails("correlate", path)
    assert said.startswith(f"{path} has format version ")
    assert said.endswith("upgrade with: pip install --upgrade bpe-bench")


def test_a_write_that_fails_half_way_leaves_nothing_behind(fails, monkeypatch, tmp_path):
    path = tmp_path / "found.txt"
    path.write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bpe_bench_cli._output.Path.replace", full)
    said = fails("correlate", "-o", path)
    assert said == f"cannot write {path}: No space left on device; give another file with -o"
    assert [p.name for p in tmp_path.iterdir()] == ["found.txt"]
    assert path.read_text() == "old"


def test_a_pipe_is_written_to_and_not_replaced(bpe_bench, tmp_path):
    """What is no plain file, such as /dev/null, must not be renamed away."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert bpe_bench("correlate", "--quiet", "-o", path) == (0, "", "")
        assert os.read(reader, 100).startswith(b"Use test32 (BPE-2): 33 min per network")
    finally:
        os.close(reader)
    assert path.is_fifo()


def test_validation_against_test_and_rows_of_different_architectures(
    bpe_bench, as_json, golden, tmp_path
):
    write_table(golden, tmp_path / "golden.h5")
    arguments = (tmp_path / "golden.h5", "--reference-split", "test", "--epochs", "last")
    _, out, _ = bpe_bench("correlate", *arguments)
    lines = out.splitlines()
    assert lines[0].startswith("Nothing here can be recommended: no interval lies above 0")
    assert "validation accuracy against test accuracy of 'full'" in lines[2]
    assert " n " in lines[3]
    assert [line.split()[0] for line in lines[4:7]] == ["cheap", "middle", "full"]
    assert any(line.startswith("a random order has on average P@2 ") for line in lines)
    found = as_json("correlate", *arguments)
    assert (found["split"], found["reference_split"], found["top_k"]) == ("validation", "test", 2)
    assert {row["n_architectures"] for row in found["rows"]} == {5, 6}
    assert found["rows"][0]["precision_at_k_chance"] == pytest.approx(2 / 6)


def test_unknown_hyper_parameters_are_shown_as_such(bpe_bench, as_json, darts_bpe, tmp_path):
    settings = tuple(
        replace(s, budget=s.budget.replace(layers=None, batch_size=None)) if s.seconds < 200 else s
        for s in darts_bpe.settings
    )
    write_table(replace(darts_bpe, settings=settings), tmp_path / "unknown.h5")
    _, out, _ = bpe_bench("correlate", tmp_path / "unknown.h5")
    assert "test9 " in out
    assert out.count("10 x ? x 8, 16") == 3
    arguments = ("mip", "--table", tmp_path / "unknown.h5", "--resamples", 3)
    status, out, _ = bpe_bench(*arguments, "--evidence", "table")
    assert status == 0
    assert "10 x ? x 8, 16, batch size unknown, " in out
    warnings = as_json(*arguments, "--evidence", "table")["warnings"]
    assert "batch_size and layers: unknown in some settings, and left out" in warnings
