"""One's own trainer on the command line: the example of the documentation, and what is refused."""

import json
import os
import sys

import pytest

from bpe_bench.execution.journal import Journal
from bpe_bench.tables.curves import Split
from bpe_bench.tables.storage import read_table


@pytest.fixture(autouse=True)
def _import_nothing_for_good(monkeypatch):
    """A trainer's folder is added to where Python looks for modules."""
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def example(repository, tmp_path, monkeypatch):
    """The example's trainer and space as arguments, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    folder = os.path.relpath(repository / "docs" / "examples", tmp_path)
    return "--trainer", f"{folder}/digits_mlp.py:train", "--space", f"{folder}/digits_mlp.toml"


def test_from_training_to_a_ranking(bpe_bench, as_json, example):
    budgets = ("--budget", "epochs=1", "--budget", "epochs=2,data_fraction=0.25", "--budget")
    arguments = (*example, *budgets, "epochs=8", "--architectures", "sample:12", "--jobs", 1)
    dry = as_json("train", *arguments, "--dry-run")
    assert [row["trainings"] for row in dry["rows"]] == [12, 12, 12]
    status, out, err = bpe_bench("train", *arguments, "--store", "own.sqlite")
    assert (status, "36 done" in out) == (0, True)
    assert err.endswith("bpe-bench tables import journal own.sqlite -o trained.h5\n")
    full = "digits-epochs-8-data_fraction-1.0"
    words = ("tables", "import", "journal", "own.sqlite", "-o", "own.h5", "--reference", full)
    assert bpe_bench(*words)[0] == 0
    table = read_table("own.h5")
    assert (table.space, table.dataset) == ("digits-mlp", "digits")
    assert table.curves[full, Split.TEST].split_size == 360
    assert "trainer: digits_mlp:train" in table.provenance.source
    report = as_json("correlate", "own.h5", "--epochs", "last")
    assert [row["label"] for row in report["rows"]] == [
        *("digits-epochs-1-data_fraction-1.0", "digits-epochs-2-data_fraction-0.25")
    ]
    assert all(row["cost_seconds"] > 0 for row in report["rows"])
    # The networks do learn: after eight epochs the best is right four times in five.
    assert table.accuracy(full, Split.TEST).max() > 0.8


def test_a_search_trains_by_it(as_json, example):
    found = as_json(
        "search", "--searcher", "evolution", "--estimator", "train", *example, "--budget",
        "epochs=1", "--evaluations", 4, "--repeats", 1, "--jobs", 1, "--store", "own.sqlite",
    )  # fmt: skip
    assert (found["space"], found["dataset"]) == ("digits-mlp", "digits")
    assert found["evaluations_mean"] == 4
    assert found["choices"]["trainer"] == "digits_mlp:train"
    with Journal("own.sqlite", read_only=True) as journal:
        trials = [entry.trial for entry in journal]
    assert len(trials) <= 4
    assert {trial.trainer for trial in trials} == {"digits_mlp:train"}


def test_pruning_trains_by_it(as_json, example):
    arguments = ("mip", "--objective", "train", *example, "--reference", "epochs=4")
    arguments += ("--vary", "epochs=1,2", "--vary", "data_fraction=0.25,1", "--patience", 1)
    arguments += ("--architectures", "sample:5", "--initial", 3, "--resamples", 3, "--jobs", 1)
    report = as_json(*arguments, "--store", "own.sqlite")
    assert (report["space"], report["objective"]) == ("digits-mlp", "train")
    with Journal("own.sqlite", read_only=True) as journal:
        budgets = {entry.trial.budget for entry in journal}
    assert {(budget.epochs, budget.data_fraction) for budget in budgets} > {(4, 1.0)}
    assert len(budgets) >= 4


def test_a_failure_names_the_line(bpe_bench, example, tmp_path):
    (tmp_path / "wrong.py").write_text(
        "def train(architecture, budget, seed, report):\n    report(validation=93, size=100)\n"
    )
    arguments = ("--budget", "epochs=1", "--architectures", "sample:1", "--store", "own.sqlite")
    arguments += (*example, "--trainer", "wrong.py:train")[2:]
    status, out, _ = bpe_bench("train", *arguments, "--jobs", 1)
    assert status == 1
    said = (
        "TrainingError: validation must be an accuracy as a fraction from 0 to 1, found 93; 93 % "
        "is written 0.93 (wrong.py, line 2)"
    )
    assert sum(line.endswith(said) for line in out.splitlines()) == 1
    assert json.loads(bpe_bench("train", "retry", "--store", "own.sqlite", "--format", "json")[1])[
        "planned_again"
    ]


TRAIN = ("train", "--budget", "epochs=1")
SEARCH = ("search", "--searcher", "random", "--space", "darts")
BY_TRAINING = (*SEARCH, "--estimator", "train")
MIP = ("mip", "--objective", "train", "--space", "darts")
OWN = ("--trainer", "mine.py:train")
NETS = ("--space", "nets.toml")
BRINGS = "goes with training without --trainer, found --trainer mine.py:train"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((*TRAIN, "--trainer", "train"), "for instance --trainer mine.py:train"),
        ((*TRAIN, "--trainer", "no.py:train"), "no file no.py for the trainer 'no.py:train'"),
        ((*TRAIN, "--trainer", "mine.py:tarin"), "unknown function 'tarin' of mine.py (did you"),
        ((*TRAIN, "--trainer", "mine.py:few"), "but it is few(architecture); give it these four"),
        ((*TRAIN, "--trainer", "x.py:train"), "NameError: name 'x' is not defined (x.py, line 1)"),
        ((*TRAIN, "--trainer", "none_such:train"), "No module named 'none_such'; give FILE.py:FU"),
        (("train", *OWN), "--trainer needs --budget, because its budgets have no default; for"),
        ((*TRAIN, *OWN, "--data", "x"), f"--data {BRINGS}"),
        ((*TRAIN, *OWN, "--device", "cuda"), f"--device {BRINGS}"),
        ((*TRAIN, *OWN, "--protocol", "paper"), f"--protocol {BRINGS}"),
        ((*TRAIN, *OWN, "--space", "no.toml"), "cannot read the space no.toml: No such file"),
        ((*TRAIN, *NETS), "take one of them, or train by a function of your own (--trainer)"),
        ((*SEARCH, *OWN), "--trainer goes with --estimator train, found --estimator table"),
        ((*BY_TRAINING, *OWN), "a trainer of your own needs --budget, because"),
        ((*BY_TRAINING, *TRAIN[1:], "--trainer", "mine.py:few"), "give it these four parameters"),
        ((*BY_TRAINING[:3], *BY_TRAINING[5:], *NETS), "by a function of your own (--trainer)"),
        ((*BY_TRAINING, *OWN, "--data", "x"), f"--data {BRINGS}"),
        ((*MIP, *OWN), "a trainer of your own needs --reference and --vary, because"),
        ((*MIP, *OWN, "--device", "cuda"), f"--device {BRINGS}"),
        ((*MIP[:3], *NETS), "take one of them, or train by a function of your own (--trainer)"),
        (("mip", *MIP[3:], *OWN), "--trainer goes with --objective train, found --objective repl"),
    ],
)
def test_what_cannot_be_is_one_line_before_any_work(fails, words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "def train(architecture, budget, seed, report):\n    raise AssertionError\n"
        "def few(architecture):\n    pass\n"
    )
    (tmp_path / "x.py").write_text("x\n")
    (tmp_path / "nets.toml").write_text(
        'name = "nets"\n[parameters.width]\nkind = "integer"\nlow = 1\nhigh = 9\n'
    )
    assert message in fails(*words)
    assert not list(tmp_path.glob("*.sqlite*"))
