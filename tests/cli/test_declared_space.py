"""A table of a space that a file declares, through every command that needs no network."""

import csv
import json

import numpy as np
import pytest

SPACE = """\
name = "nets"
[parameters.width]
kind = "ordered"
values = [16, 24, 32, 48]
[parameters.activation]
kind = "categorical"
values = ["relu", "gelu"]
[parameters.depth]
kind = "integer"
low = 1
high = 4
[parameters.rate]
kind = "real"
low = 0.001
high = 1.0
log = true
"""
SETTINGS = ((2, 0.5, 40), (2, 1, 30), (8, 0.5, 20), (8, 1, 15), (32, 1, 5))
"""Epochs, share of the images, and the noise of accuracies in images."""


@pytest.fixture
def table(tmp_path, bpe_bench):
    """Made-up results of forty networks under four settings; two networks lack the cheapest."""
    (tmp_path / "nets.toml").write_text(SPACE)
    rng = np.random.default_rng(0)
    with (tmp_path / "nets.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            [
                "architecture",
                "epochs",
                "data_fraction",
                "split",
                "split_size",
                "correct",
                "seconds",
                "reference",
            ]
        )
        for place in range(40):
            width, depth = (16, 24, 32, 48)[place % 4], 1 + place % 3
            rate = round(float(rng.uniform(0.001, 1)), 4)
            text = (
                f"width={width},activation={('relu', 'gelu')[place % 2]},depth={depth},rate={rate}"
            )
            quality = 500 + 3 * width + 40 * depth + 100 * rate
            for epochs, share, noise in (
                (2, 0.5, 40),
                (2, 1, 30),
                (8, 0.5, 20),
                (8, 1, 15),
                (32, 1, 5),
            ):
                if (epochs, share, place > 37) == (2, 0.5, True):
                    continue
                correct = int(quality + rng.normal(0, noise))
                seconds = epochs * share * (1 + width * depth / 50)
                full = "true" if epochs == 32 else "false"
                writer.writerow([text, epochs, share, "validation", 1000, correct, seconds, full])
    path = tmp_path / "nets.h5"
    made = bpe_bench(
        "tables", "import", "long-csv", tmp_path / "nets.csv", "--space", tmp_path / "nets.toml",
        "-o", path,
    )  # fmt: skip
    assert made[0] == 0, made
    return path


def test_it_is_imported_ranked_and_pruned(as_json, table):
    report = as_json("correlate", table)
    assert (report["space"], len(report["rows"])) == ("nets", 4)
    pruned = as_json("mip", "--space", "nets", "--table", table, "--force")
    assert set(pruned["pruning_order"]) <= {"epochs", "data_fraction"}


def test_it_is_learned_and_what_is_learned_is_kept(as_json, bpe_bench, table, tmp_path):
    rows = as_json("surrogate", "evaluate", table, "--model", "forest")["rows"]
    assert rows[0]["kendall"]["value"] > 0.3
    file = tmp_path / "nets.surrogate"
    assert bpe_bench("surrogate", "fit", table, "-o", file, "--model", "forest")[0] == 0
    text = "width=48,activation=gelu,depth=3,rate=0.5"
    (tmp_path / "wanted.txt").write_text(text + "\n")
    predicted = as_json("surrogate", "predict", file, "--architectures", tmp_path / "wanted.txt")
    assert text in json.dumps(predicted)


@pytest.mark.parametrize("searcher", ["random", "evolution", "reinforce"])
def test_it_is_searched_for_what_it_holds(bpe_bench, table, searcher):
    arguments = ("--searcher", searcher, "--space", "nets", "--table", table, "--repeats", 5)
    status, out, err = bpe_bench(
        "search", *arguments, "--evaluations", 50, "--budget", "epochs-2-data_fraction-0.5"
    )
    assert (status, "best found by" in out) == (0, True)
    # Two of its 40 networks lack the setting, and are not proposed either.
    assert (
        "the table holds 38 of 2.88e+17 architectures under this budget: the others are never "
        "proposed" in out
    )
    assert "failed evaluations" not in out
    assert "the 38 architectures that the table holds" in err


def test_other_processes_search_it_as_this_one_does(as_json, table):
    arguments = ("search", "--searcher", "evolution", "--space", "nets", "--table", table)
    runs = [
        as_json(*arguments, "--repeats", 4, "--evaluations", 30, "--jobs", jobs) for jobs in (1, 2)
    ]
    assert runs[0] == runs[1]


def test_options_of_the_space(fails, table, tmp_path):
    source, toml = tmp_path / "nets.csv", tmp_path / "nets.toml"
    arguments = (source, "--space", toml, "-o", tmp_path / "x.h5")
    assert fails("tables", "import", "journal", *arguments).startswith(
        "--space is for long-csv and long-parquet; journal has its own"
    )
    toml.write_text(SPACE.replace("0.001", "-1.0"))
    assert fails("tables", "import", "long-csv", *arguments) == (
        f"{toml} declares no space: parameter 'rate': log must be true or false, and with it low "
        "above 0"
    )
    toml.write_text(SPACE.replace("48]", "64]"))
    assert fails("tables", "import", "long-csv", *arguments).startswith(
        "the name nets is taken by another search space"
    )
