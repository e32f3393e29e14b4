"""``bpe-bench mip evaluate``: what it prints and writes, and how it refuses."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest

from bpe_bench import Curves, write_table

CHEAP = ("--methods", "cheapest-first,halving,random", "--repeats", 3)


@pytest.fixture
def judge(bpe_bench):
    """Run the command."""
    return lambda *more: bpe_bench("mip", "evaluate", *more)


def test_the_table_and_the_conclusion(judge, tmp_path):
    figure = tmp_path / "judged.png"
    status, out, err = judge(*CHEAP, "--plot", figure)
    assert status == 0
    words = " ".join(out.split())
    assert " comes closest to the best budget: its regret is " in words.split(" darts-bpe: ")[0]
    assert (
        " darts-bpe: 37 settings, chosen on 50 of 100 architectures and scored on the others, 3 "
        "repeats; 1.79 to 2,718 device hours"
    ) in words
    assert "at 30 h at 100 h at 300 h at 1000 h held out optimism p" in words
    assert "…" not in out
    assert words.endswith("choices: split test; reference full")
    assert "Lowest regret at single allowances:" in words
    assert "is higher than its correlation on the other half" in words
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert "costs were measured on different devices" in err


def test_all_methods_fit_into_the_table(judge):
    status, out, _ = judge("--repeats", 2, "--max-cost-hours", 0.2, "--quiet", "--jobs", 1)
    assert status == 0
    assert "…" not in out
    for name in ("mip-xgboost-permutation", "mip-ped-anova", "tpe", "random", "halving"):
        assert f"\n{name} " in out
    assert "Of the importance estimators" in out


def test_json(judge):
    status, out, _ = judge(*CHEAP, "--format", "json", "--seed", 5)
    assert status == 0
    found = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert (found["table"], found["settings"], found["repeats"], found["seed"]) == (
        "darts-bpe", 37, 3, 5,
    )  # fmt: skip
    assert {m["name"] for m in found["methods"]} == {"cheapest-first", "halving", "random"}
    for method in found["methods"]:
        assert set(method["regret_at"]) == {"30", "100", "300", "1000"}
        assert len(method["curve"]["held_out"]) == len(found["hours"])
    assert len(found["comparisons"]) == 3
    assert found["answer"].splitlines()[0] == found["conclusion"][0]
    assert found["choices"]["split"] == "test"


def test_csv_has_a_line_per_method(judge):
    status, out, _ = judge(*CHEAP, "--format", "csv")
    assert status == 0
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["rank"] for row in rows] == ["1", "2", "3"]
    assert {row["method"] for row in rows} == {"cheapest-first", "halving", "random"}


def test_the_same_seed_gives_the_same_bytes_whatever_the_processes(judge):
    options = ("--methods", "mip-forest,random", "--repeats", 3, "--max-cost-hours", 0.2)
    outputs = [
        judge(*options, "--format", "json", "--seed", seed, "--jobs", jobs)[1]
        for seed, jobs in ((3, 1), (3, 2), (4, 1))
    ]
    assert outputs[0] == outputs[1] != outputs[2]


def test_a_table_by_its_path_says_its_space(judge, darts_bpe, tmp_path):
    path = tmp_path / "copy.h5"
    write_table(darts_bpe, path)
    status, out, _ = judge(*CHEAP, "--table", path, "--format", "json")
    assert (status, json.loads(out)["table"]) == (0, str(path))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--methods", "grid,random"], "unknown method 'grid'; there are: mip, mip-forest, "),
        (["--methods", "rndom,tpe"], "unknown method 'rndom' (did you mean 'random'?); there are"),
        (["--methods", "random"], "at least 2 methods are compared, found random; there are: "),
        (["--repeats", "1"], "repeats must be at least 2, found 1"),
        (["--jobs", "0"], "jobs must be at least 1, found 0"),
        (["--initial", "1"], "initial must be at least 2, found 1"),
        (["--keep", "0"], "keep must be at least 1, found 0"),
        (["--max-cost-hours", "0.05"], "judging needs at least 4 settings with a correlation and"),
        (["--max-cost-hours", "-1"], "an allowance per network must be above 0 hours and finite"),
        (["--hours", "1"], "the cheapest setting costs 1.79 device hours on 50 architectures, but"),
        (["--confidence", "95"], "confidence must be between 0 and 1, for instance 0.95; found 95"),
        (["--split", "train"], "unknown split 'train' of setting 'full'; there are: test"),
        (["--space", "darst"], "unknown search space 'darst' (did you mean 'darts'?)"),
        (["--table", "darts-bqe"], "unknown table 'darts-bqe' (did you mean 'darts-bpe'?)"),
        (["--plot", "x.gif"], "a figure's file must end in .png, .svg, .pdf, found 'x.gif'"),
        (["--table", "nas-bench-201-curves"], "judging needs at least 4 settings with a corr"),
    ],
)
def test_bad_input_is_one_line(judge, arguments, text):
    status, out, err = judge(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith(f"bpe-bench: error: {text}")
    assert err.count("\n") == 1


def test_too_few_architectures_to_halve(judge, darts_bpe, tmp_path):
    curves = {
        key: Curves(c.counts[..., :6], c.split_size, c.epochs, c.seeds)
        for key, c in darts_bpe.curves.items()
    }
    table = replace(darts_bpe, architectures=darts_bpe.architectures[:6], curves=curves)
    write_table(table, tmp_path / "few.h5")
    _, _, err = judge("--table", tmp_path / "few.h5")
    assert err == (
        "bpe-bench: error: halves need at least 8 architectures with full training, found 6; use a "
        "larger table\n"
    )


def test_a_table_without_costs(judge, darts_bpe, tmp_path):
    free = tuple(replace(s, seconds=np.nan) for s in darts_bpe.settings)
    write_table(replace(darts_bpe, settings=free), tmp_path / "free.h5")
    _, _, err = judge("--table", tmp_path / "free.h5")
    assert err.startswith(
        "bpe-bench: error: judging needs at least 4 settings with a correlation and a cost, found 0"
    )
