"""``bpe-bench train``: real networks on the digits, from the command to a ranking."""

import json

import pytest
from bpe_bench_cli.main import run

from bpe_bench.execution.journal import Journal
from bpe_bench.spaces import get_space
from bpe_bench.tables.curves import Split
from bpe_bench.tables.storage import read_table

CHEAP = "epochs=1,batch_size=64,learning_rate=0.05,layers=5,channels=2,image_size=8"
FULL = "epochs=2,batch_size=64,learning_rate=0.05,layers=5,channels=4,image_size=8"


@pytest.fixture
def train(tmp_path, capsys):
    """Run the command on six small networks; return its status and what it printed."""
    store = tmp_path / "trainings.sqlite"
    cells = tmp_path / "cells.txt"
    space = get_space("nas-bench-201")
    cells.write_text("".join(space.format(space.from_index(i)) + "\n" for i in range(6)))

    def call(*more):
        words = [
            "train", "--space", "nas-bench-201", "--architectures", str(cells), "--jobs", "2",
            "--store", str(store), "--format", "json", "--budget", CHEAP, "--budget", FULL, *more,
        ]  # fmt: skip
        status = run(words)
        printed = capsys.readouterr()
        return status, json.loads(printed.out) if printed.out else None, printed.err

    call.store = store
    return call


def test_from_training_to_a_ranking(train, tmp_path, capsys):
    status, found, said = train()
    assert (status, found["done"], found["planned"]) == (0, 12, 0)
    assert found["device_seconds"] > 0
    assert "tables import journal" in said
    assert said.startswith("12 networks are trained on digits, 2 at a time; Ctrl-C stops")
    best = found["best"]
    assert found["answer"].startswith("12 of 12 trainings of nas-bench-201 on digits are done, in ")
    assert (
        f"The best of 6 under epochs=2, channels=4 has {best['accuracy']:.1%} ["
        in (found["answer"])
    )
    with Journal(train.store, read_only=True) as journal:
        last = [e.records[-1].results for e in journal if e.trial.budget.epochs == 2]
    counts = sorted(results[Split.VALIDATION].correct for results in last)
    assert (best["images"], best["accuracy"]) == (287, counts[-1] / 287)
    assert best["rival"] == counts[-2] / 287
    choices = found["choices"]
    assert (choices["images"], choices["dataset"]) == ("digits (of scikit-learn)", "digits")
    assert choices["architectures"].startswith("6 (")
    assert (choices["seeds"], choices["device"], choices["jobs"]) == ([0], "cpu", 2)
    assert len(choices["budgets"]) == 2
    assert choices["protocol"].startswith("split")
    again = train()[1]["answer"]
    assert again.startswith("All 12 trainings of nas-bench-201 on digits were in the store, so ")
    table = str(tmp_path / "trained.h5")
    assert run(["tables", "import", "journal", str(train.store), "-o", table, "--quiet"]) == 0
    labels = [setting.label for setting in read_table(table).settings]
    capsys.readouterr()
    words = ["tables", "import", "journal", str(train.store), "-o", table, "--reference"]
    assert run([*words, labels[-1], "--quiet"]) == 0
    assert run(["tables", "info", table]) == 0
    assert "digits" in capsys.readouterr().out
    assert run(["correlate", table, "--top-k", "3", "--format", "json", "--quiet"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["dataset"] == "digits"
    # The cheap budget, and the earlier epoch of the reference.
    assert [row["label"] for row in report["rows"]] == [labels[0], f"{labels[1]}@1"]
    assert all(row["cost_seconds"] > 0 for row in report["rows"])
    assert run([*words, "nonsense"]) == 2
    assert "unknown budget 'nonsense'" in capsys.readouterr().err


def test_a_dry_run_trains_nothing(train):
    status, found, _ = train("--dry-run")
    assert status == 0
    assert [row["trainings"] for row in found["rows"]] == [6, 6]
    assert found["rows"][0]["predicted_seconds"] is None  # no table has costs of the digits
    assert found["answer"] == (
        "12 trainings: their time is unknown, as no table has costs on digits; train one network "
        "first, with --architectures sample:1."
    )
    assert not train.store.exists()


def test_a_dry_run_predicts_from_the_table(capsys, monkeypatch):
    monkeypatch.setattr("bpe_bench.execution.campaign.dataset_name", lambda data: "cifar10-jpeg")
    words = ["train", "--budget", "BPE-1", "--architectures", "darts-bpe:0-19", "--dry-run"]
    assert run([*words, "--data", "some/images", "--format", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["trainings"] == 20
    assert row["dataset"] == "cifar10-jpeg"
    assert row["device"] == "V100"
    # 307 seconds as published, to within the factor by which the regression misses.
    assert 200 < row["predicted_seconds_each"] < 460


def test_failures_are_said_and_can_be_tried_again(train, train_by, capsys):
    train_by("not_eight_layers")
    status, found, _ = train("--budget", CHEAP.replace("layers=5", "layers=8"))
    assert (status, found["failed"], found["done"]) == (1, 6, 12)
    assert len(found["failures"]) == 6
    assert (
        "6 failed or diverged; start them over with: bpe-bench train retry --store "
        in (found["answer"])
    )
    store = ["--store", str(train.store)]
    assert run(["train", "status", *store]) == 0
    said = capsys.readouterr().out
    assert said.startswith(
        "12 of 18 trainings are done, 6 failed or diverged; start them over with"
    )
    assert run(["train", "retry", *store, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"planned_again": 6}
    assert run(["train", "status", *store, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["planned"] == 6


def test_a_long_path_stays_in_one_line(capsys, tmp_path):
    """Programs read what goes to no terminal: no line is broken and no word cut."""
    store = tmp_path / " ".join(["a long name"] * 15) / "trainings.sqlite"
    store.parent.mkdir()
    with Journal(store):
        assert run(["train", "status", "--store", str(store)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "No trainings are planned in this store; plan some with: bpe-bench train",
        f"{store}: 0 planned, 0 running, 0 done, 0 failed, 0 diverged; 0 s of device time",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--space", "mars"], "unknown search space 'mars'"),
        (["--budget", "BPE-7"], "unknown budget 'BPE-7'"),
        (["--budget", "BPE-1,epochs=0"], "epochs must be a whole number of at least 1, found 0"),
        (["--seeds", "0,0"], "--seeds 0,0 names a seed twice; name each once"),
        (["--seeds", "0-2,1"], "--seeds 0-2,1 names a seed twice; name each once"),
        *(
            (
                ["--seeds", text],
                "--seeds wants whole numbers from 0 to 2147483647, as 0 or 0,1,2 or 0-2, found "
                f"'{text}'",
            )
            for text in ("x", "", "-1", "3000000000", "4294967295", "0-4000000000", "5-2")
        ),
        (
            ["--budget", "BPE-1", "--budget", "BPE-1,epochs=10"],
            "--budget BPE-1,epochs=10 is the same as --budget BPE-1; leave one out",
        ),
        (
            ["--architectures", "darts-bpe:0-3", "--seed", "1"],
            "--seed goes with --architectures sample:N, found --architectures darts-bpe:0-3",
        ),
        (["--device", "gpu"], "networks are trained on cpu, cuda or cuda:N, found device 'gpu'"),
        (["--store", "none/a.sqlite"], "cannot write the store none/a.sqlite: No such file"),
        (["--architectures", "darts-bpe:200"], "table 'darts-bpe' has architectures 0-99"),
        (["--data", "no/such/folder"], "no/such/folder"),
    ],
)
def test_bad_input_is_one_line(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["train", *words]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["status", "retry"])
def test_a_store_that_is_not_there(command, capsys, tmp_path):
    store = tmp_path / "none.sqlite"
    assert run(["train", command, "--store", str(store)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not store.exists()


def test_a_plan_names_trainings_and_what_they_bring(capsys):
    words = ["train", "plan", "--hours", "5", "--budget", "BPE-1,epochs=20", "--format", "json"]
    assert run(words) == 0
    printed = capsys.readouterr()
    plan = json.loads(printed.out)
    (row,) = plan["rows"]
    assert plan["answer"].startswith(
        f"Train {row['trainings']} more architectures under {row['label']}: in "
        f"{row['trainings'] * row['cost_seconds'] / 3600:.3g} device hours its predicted "
        f"correlation of {row['correlation']:.2f} is known to ± "
    )
    assert row["trainings"] == len(row["architectures"]) >= 10
    assert plan["hours_planned"] <= 5
    assert row["expected_half_width"] < row["half_width"]
    assert "warning: " in printed.err
    assert run(["train", "plan", "--hours", "0"]) == 2
    assert "an allowance must be above 0 hours" in capsys.readouterr().err
