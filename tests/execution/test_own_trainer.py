"""Campaigns by one's own trainer: processes, the journal, what continues, what is refused."""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bpe_bench.budget import parse_budget
from bpe_bench.correlation import correlate
from bpe_bench.errors import ExecutionError, JournalError, SelectionError
from bpe_bench.execution import OWN_TASK, run_trial
from bpe_bench.execution.campaign import expected_costs, make_trials, run_campaign, status_of
from bpe_bench.execution.journal import Journal
from bpe_bench.execution.journal_table import read
from bpe_bench.spaces import SPACES, DeclaredSpace, get_space, open_space
from bpe_bench.tables.curves import Split
from bpe_bench.training.own_trainer import OwnTrainer

GOLDEN = Path(__file__).parents[1] / "golden" / "journal.sqlite"
SPACE = """
name = "nets"
[parameters.width]
kind = "ordered"
values = [1, 2, 3, 4, 5, 6]
[parameters.bias]
kind = "categorical"
values = [true, false]
"""
HERE = __name__
SHORT, LONG = (parse_budget(f"epochs={epochs}", complete=False) for epochs in (1, 3))


@pytest.fixture
def nets(tmp_path):
    """The architectures of a declared space, by falling width."""
    (tmp_path / "nets.toml").write_text(SPACE)
    space = open_space(str(tmp_path / "nets.toml"))
    return sorted(space, key=lambda net: net.genes, reverse=True)


@pytest.fixture
def train_nothing():
    """A trainer; as it is local it is sent whole, and need not be imported elsewhere."""

    def train(architecture, budget, seed, report):
        report(validation=0.5, size=10, seconds=1)

    return train


def make_trainer(folder):
    """Return a trainer that notes what it begins and that every wider network is a bit better."""

    def train(architecture, budget, seed, report):
        width, biased = architecture.choices["width"], architecture.choices["bias"]
        (folder / f"{width}{biased}-{budget.epochs}-{os.getpid()}").touch()
        for epoch in range(1, budget.epochs + 1):
            right = 100 + 10 * epoch + 10 * width + biased
            report(validation=right / 1000, size=1000, seconds=width * 0.5)

    return train


def test_processes_train_and_the_journal_becomes_a_table(nets, tmp_path):
    (tmp_path / "begun").mkdir()
    train = make_trainer(tmp_path / "begun")
    train.dataset, train.device, train.version = "letters", "slide rule", "2"
    store = tmp_path / "store.sqlite"
    trials = make_trials(nets, [SHORT, LONG], trainer=train)
    assert {trial.dataset for trial in trials} == {"letters"}
    status = run_campaign(store, trials, trainer=train, jobs=2)
    assert status.counts["done"] == 24
    begun = [path.name.rsplit("-", 1) for path in (tmp_path / "begun").iterdir()]
    assert len({what for what, _ in begun}) == len(begun) == 24
    assert str(os.getpid()) not in {process for _, process in begun}
    assert status.device_seconds == 4 * 2 * 0.5 * (1 + 2 + 3 + 4 + 5 + 6)
    # Once more there is nothing to do.
    assert run_campaign(store, trials, trainer=train).counts["done"] == 24
    assert len(list((tmp_path / "begun").iterdir())) == 24
    # A process that knows nothing of the space reads the store.
    del SPACES["nets"]
    table = read(store, lambda share: None)
    assert (table.space, table.dataset) == ("nets", "letters")
    assert [setting.device for setting in table.settings] == ["slide rule"] * 2
    cheap, full = (setting.label for setting in table.settings)
    assert f"trainer: {HERE}:train@2" in table.provenance.source
    report = correlate(table.with_reference(full))
    assert report.row(cheap).correlation == 1
    counts = table.curves[full, Split.VALIDATION].all_counts()[0]
    assert counts[:, 0].tolist() == [170, 180, 190]  # the widest, without bias


def test_what_was_interrupted_continues_and_keeps_its_epochs(nets, tmp_path):
    store, begun = tmp_path / "store.sqlite", []

    def train(architecture, budget, seed, report):
        begun.append(seed)
        for epoch in range(budget.epochs):
            if epoch == 2 and len(begun) == 1:
                raise KeyboardInterrupt
            report(validation=0.5, size=10, seconds=len(begun))

    (trial,) = make_trials(nets[:1], [LONG], trainer=train)
    told = {"trainer": OwnTrainer.of(train)}
    with pytest.raises(KeyboardInterrupt):
        run_trial(store, trial, OWN_TASK, told)
    assert (status_of(store).counts["planned"], status_of(store).device_seconds) == (1, 2)
    entry = run_trial(store, trial, OWN_TASK, told)
    assert [record.seconds for record in entry.records] == [1, 1, 2]
    assert (run_trial(store, trial, OWN_TASK, told), len(begun)) == (entry, 2)


def test_an_exception_is_a_failed_trial_with_the_line(nets, tmp_path):
    def train(architecture, budget, seed, report):
        if architecture.choices["width"] == 6:
            raise ValueError("too\n wide")
        report(validation=50 if architecture.choices["width"] == 5 else 0.5, size=10)

    store, line = tmp_path / "store.sqlite", train.__code__.co_firstlineno
    trials = make_trials(nets[:6], [SHORT], trainer=train)
    status = run_campaign(store, trials, trainer=train, jobs=1)
    assert (status.counts["failed"], status.counts["done"]) == (4, 2)
    said = {failure.partition(": ")[2] for failure in status.failures}
    assert said == {
        f"ValueError: too wide ({HERE}:train, line {line + 2})",
        "TrainingError: validation must be an accuracy as a fraction from 0 to 1, found 50; 50 % "
        f"is written 0.5 ({HERE}:train, line {line + 3})",
    }


def test_trainings_of_another_trainer_are_not_run(nets, tmp_path, train_nothing):
    store = tmp_path / "store.sqlite"
    cell = get_space("nas-bench-201").from_index(284)
    with Journal(store) as journal:
        journal.add(make_trials([cell], [parse_budget("BPE-1")], dataset="digits"))
    trials = make_trials(nets[:2], [SHORT], trainer=train_nothing)
    with pytest.raises(JournalError) as caught:
        run_campaign(store, trials, trainer=train_nothing)
    assert str(caught.value) == (
        f"the store {store} has 1 unfinished trainings by bpe-bench, not by {HERE}:train; "
        "finish them by their own trainer (--trainer), or give another file with "
        "--store"
    )
    assert status_of(store).counts["planned"] == 1
    with pytest.raises(SelectionError, match="give the same to make_trials and to run_campaign"):
        run_campaign(tmp_path / "other.sqlite", trials)


def test_what_cannot_be_sent_is_refused_before_anything_is_planned(nets, tmp_path):
    lock = threading.Lock()

    def train(architecture, budget, seed, report):
        with lock:
            report(validation=0.5, size=10)

    store = tmp_path / "store.sqlite"
    with pytest.raises(ExecutionError, match=r"cannot be sent to other processes \(.*lock"):
        run_campaign(store, make_trials(nets, [SHORT], trainer=train), trainer=train)
    assert not store.exists()


def test_nobody_knows_what_it_will_cost(darts_bpe, train_nothing):
    budget = parse_budget("BPE-1")
    trials = make_trials(
        darts_bpe.architectures, [budget], dataset="cifar10", trainer=train_nothing
    )
    assert expected_costs(trials)[0].device == ""
    trials = make_trials(darts_bpe.architectures, [budget], dataset="cifar10")
    assert expected_costs(trials)[0].device == "V100"


def test_versions_are_settings_of_their_own(nets, tmp_path, train_nothing):
    store = tmp_path / "store.sqlite"
    for version in ("1", "2"):
        train_nothing.version = version
        for trial in make_trials(nets[:2], [SHORT], dataset="x", trainer=train_nothing):
            run_trial(store, trial, OWN_TASK, {"trainer": OwnTrainer.of(train_nothing)})
    table = read(store, lambda share: None)
    one, two = (setting.label for setting in table.settings)
    assert (
        f"The settings differ in trainer: {HERE}:train@1 for {one}, {HERE}:train@2 for {two}."
    ) in table.caveats


def test_journals_of_before_are_the_same_to_those_without_a_trainer(tmp_path):
    """The stored ids are those that the trials have now."""
    with Journal(shutil.copy(GOLDEN, tmp_path)) as journal:
        stored = [
            row[0] for row in journal._connection.execute("SELECT id FROM trials ORDER BY place")
        ]
        entries = list(journal)
        assert [entry.trial.id for entry in entries] == stored
        assert {entry.trial.trainer for entry in entries} == {""}
        assert journal.add([entry.trial for entry in entries]) == 0


SCRIPT = """
from pathlib import Path
from bpe_bench.budget import parse_budget
from bpe_bench.execution.campaign import make_trials, run_campaign
from bpe_bench.spaces import open_space

def train(architecture, budget, seed, report):
    report(validation=architecture.choices["width"] / 10, size=10)

space = open_space("nets.toml")
trials = make_trials(list(space)[:3], [parse_budget("epochs=1", complete=False)], trainer=train)
status = run_campaign(Path("store.sqlite"), trials, trainer=train, jobs=1)
print(trials[0].trainer, status.counts["done"])
"""


@pytest.mark.parametrize(
    ("how", "name"),
    [
        ("script", "mine:train"),
        pytest.param("standard input", "train", marks=pytest.mark.slow),
    ],
)
def test_it_may_be_defined_in_a_script_without_a_guard(how, name, nets, tmp_path):
    (tmp_path / "mine.py").write_text(SCRIPT)
    script = how == "script"
    done = subprocess.run(
        [sys.executable, "mine.py" if script else "-"],
        input=None if script else SCRIPT,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == (f"{name} 3\n", "")


def test_a_space_is_opened_by_name_or_by_file(nets, tmp_path):
    assert open_space("darts") is get_space("darts")
    assert isinstance(open_space(str(tmp_path / "nets.toml")), DeclaredSpace)
