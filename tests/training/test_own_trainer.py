"""One's own trainer: how it is given, what it is told, and what it may report."""

import pickle
import sys

import numpy as np
import pytest

from bpe_bench.budget import parse_budget
from bpe_bench.errors import (
    BpeBenchError,
    LostTrialError,
    SelectionError,
    TrainingError,
    UnknownNameError,
)
from bpe_bench.spaces import DeclaredSpace, get_space
from bpe_bench.tables.curves import Split
from bpe_bench.training.own_trainer import OwnTrainer, train_trial
from bpe_bench.training.trial import SplitResult, Trial

THREE = parse_budget("epochs=3", complete=False)
CELL = get_space("nas-bench-201").from_index(284)

FILE = """
import helper

seen = helper.SEEN

def train(architecture, budget, seed, report):
    seen.append((architecture, budget, seed))
    for epoch in range(budget.epochs):
        report(validation=0.25 * (epoch + 1), size=200, test=0.5, test_size=40, seconds=2.5)

def broken(architecture, budget):
    pass

class Trains:
    version = 3
    dataset = "letters"
    device = "slide rule"
    def __call__(self, architecture, budget, seed, report):
        raise KeyError("no such letter")

trains = Trains()
"""


@pytest.fixture
def file(tmp_path):
    """A file with trainers, and one beside it that it imports."""
    (tmp_path / "helper.py").write_text("SEEN = []\n")
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    before = list(sys.path)
    yield path
    sys.path[:] = before
    for name in ("helper", "trainer_mine"):
        sys.modules.pop(name, None)


@pytest.fixture
def run():
    """Return a function that has a trainer train a trial, and gives the state and the records."""

    def train(function, *, budget=THREE, checkpoint=None, stop_after=None, lost_at=None):
        own = OwnTrainer.of(function)
        trial = Trial(CELL, budget, own.dataset, 7, trainer=own.name)
        kept = []

        def report(record, checkpoint, made_on):
            if record.epoch == lost_at:
                raise LostTrialError("somebody else has it")
            kept.append((record, checkpoint, made_on))
            return record.epoch != stop_after

        return train_trial(trial, checkpoint, {"trainer": own}, report), kept

    return train


def test_a_file_is_imported_with_what_lies_beside_it(file, run):
    own = OwnTrainer.of(f"{file}:train")
    assert (own.name, own.dataset, own.device) == ("mine:train", "mine:train", "")
    state, kept = run(own)
    assert state == "done"
    assert sys.modules["trainer_mine"].seen == [(CELL, THREE, 7)]
    records = [record for record, _, _ in kept]
    assert [(r.epoch, r.seconds) for r in records] == [(1, 2.5), (2, 2.5), (3, 2.5)]
    assert [r.results[Split.VALIDATION] for r in records] == [
        SplitResult(correct, 200) for correct in (50, 100, 150)
    ]
    assert {r.results[Split.TEST] for r in records} == {SplitResult(20, 40)}
    assert kept[0][2]["trainer"] == "mine:train"
    assert kept[0][2]["device"].startswith("CPU")


def test_attributes_name_version_images_and_device(file, run):
    own = OwnTrainer.of(f"{file}:trains")
    assert (own.name, own.dataset, own.device) == ("mine:trains@3", "letters", "slide rule")
    with pytest.raises(KeyError) as caught:
        run(own)
    assert caught.value.__notes__ == ["mine.py, line 19"]


def test_it_is_sent_by_what_it_was_imported_by(file):
    own = OwnTrainer.of(f"{file}:train")
    again = pickle.loads(pickle.dumps(own))
    assert (again.name, again.source) == (own.name, f"{file}:train")

    def local(architecture, budget, seed, report):
        report(validation=1, size=len(str(file)))

    sent = pickle.loads(pickle.dumps(OwnTrainer.of(local)))
    assert sent.name == OwnTrainer.of(local).name
    assert sent.train is not local


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("train", SelectionError, "a trainer is given as FILE.py:FUNCTION or MODULE:FUNCTION, "),
        ("{folder}/none.py:train", SelectionError, "no file {folder}/none.py for the trainer"),
        ("{folder}/mine.py:trian", UnknownNameError, "did you mean 'train'?); there are: train, b"),
        ("no_such_module:train", TrainingError, "No module named 'no_such_module'; give FILE.py:F"),
        ("{folder}/wrong.py:train", TrainingError, "ZeroDivisionError: division by zero (wrong.py"),
        ("{folder}/slip.py:train", TrainingError, "SyntaxError: '(' was never closed (slip.py, li"),
        (
            "{folder}/mine.py:broken",
            SelectionError,
            "the trainer mine:broken is called as train(architecture, budget, seed, report), but "
            "it is broken(architecture, budget); give it these four parameters",
        ),
        (3, SelectionError, "a trainer is a function, called as train(architecture, budget, seed"),
    ],
)
def test_what_is_no_trainer_is_refused_in_one_line(file, text, error, message):
    (file.parent / "wrong.py").write_text("\n1 / 0\n")
    (file.parent / "slip.py").write_text("def train(\n")
    folder = str(file.parent)
    with pytest.raises(error) as caught:
        OwnTrainer.of(text.replace("{folder}", folder) if isinstance(text, str) else text)
    assert message.replace("{folder}", folder) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("reported", "message"),
    [
        ({"validation": 93.5, "size": 10}, "validation must be an accuracy as a fraction from 0 to "
         "1, found 93.5; 93.5 % is written 0.935"),
        ({"validation": -0.1, "size": 10}, "fraction from 0 to 1, found -0.1"),
        ({"validation": float("nan"), "size": 10}, "fraction from 0 to 1, found nan"),
        ({"validation": "good", "size": 10}, "fraction from 0 to 1, found good"),
        ({"validation": 0.5, "size": 0}, "size must be the number of validation images, at least "
         "1, found 0"),
        ({"validation": 0.5, "size": 10.5}, "at least 1, found 10.5"),
        ({"validation": 0.5, "size": 10, "test": 0.5}, "test_size must be the number of test imag"),
        ({"validation": 0.5, "size": 10, "test_size": 5}, "test must be an accuracy as a fraction"),
        ({"validation": 0.5, "size": 10, "seconds": -1}, "seconds must be at least 0 and finite"),
        ({"validation": 0.5, "size": 10, "checkpoint": {}}, "checkpoint must be bytes, for instan"),
    ],
)  # fmt: skip
def test_reports_out_of_range_are_refused(run, reported, message):
    def train(architecture, budget, seed, report):
        report(**reported)

    with pytest.raises(TrainingError) as caught:
        run(train)
    assert message in str(caught.value)
    assert caught.value.__notes__ == [f"test_own_trainer.py, line {line_of(train) + 1}"]


def line_of(function):
    return function.__code__.co_firstlineno


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (0, "reported none of 3 epochs; call report after each, or give a budget of fewer"),
        (2, "reported 2 of 3 epochs; call report after each"),
        (4, "report was called more often than the budget has epochs, which are 3"),
    ],
)
def test_every_epoch_is_reported_once(run, times, message):
    def train(architecture, budget, seed, report):
        for _ in range(times):
            report(validation=0.5, size=10)

    with pytest.raises(TrainingError, match=message):
        run(train)


def test_seconds_are_measured_where_they_are_not_given(run):
    import time

    def train(architecture, budget, seed, report):
        for _ in range(3):
            time.sleep(0.02)
            report(validation=np.float32(0.5), size=np.int64(10))

    _, kept = run(train)
    assert all(0.02 <= record.seconds < 5 for record, _, _ in kept)


def test_one_without_checkpoint_starts_over_and_what_was_recorded_stays(run):
    begun = []

    def train(architecture, budget, seed, report):
        assert (report.checkpoint, report.done) == (None, 0)
        for epoch in range(budget.epochs):
            begun.append(epoch)
            report(validation=0.1 * epoch, size=10)

    state, kept = run(train, stop_after=2)
    assert (state, len(kept), begun) == ("planned", 2, [0, 1])
    state, rest = run(train, checkpoint=kept[-1][1])
    assert (state, begun) == ("done", [0, 1, 0, 1, 2])
    assert [record.epoch for record, _, _ in rest] == [3]


def test_one_with_a_checkpoint_continues(run):
    begun = []

    def train(architecture, budget, seed, report):
        state = pickle.loads(report.checkpoint) if report.checkpoint else {"right": 1}
        for epoch in range(report.done, budget.epochs):
            begun.append(epoch)
            state["right"] += 1
            report(validation=state["right"] / 10, size=10, checkpoint=pickle.dumps(state))

    state, kept = run(train, stop_after=2)
    assert (state, begun) == ("planned", [0, 1])
    state, rest = run(train, checkpoint=kept[-1][1])
    assert (state, begun) == ("done", [0, 1, 2])
    ((record, _, _),) = rest
    assert record.results[Split.VALIDATION].correct == 4


@pytest.mark.parametrize("when", [{"stop_after": 1}, {"lost_at": 2}])
def test_it_is_left_whatever_it_catches(run, when):
    begun = []

    def train(architecture, budget, seed, report):
        for epoch in range(budget.epochs):
            begun.append(epoch)
            try:
                report(validation=0.5, size=10)
            except Exception:
                begun.append("caught")

    if "lost_at" in when:
        with pytest.raises(LostTrialError):
            run(train, **when)
    else:
        assert run(train, **when)[0] == "planned"
    assert "caught" not in begun


def test_what_it_prints_is_not_among_results(run, capsys):
    def train(architecture, budget, seed, report):
        sys.stdout.write("hello\n")
        for _ in range(3):
            report(validation=0.5, size=10)

    run(train)
    assert capsys.readouterr() == ("", "hello\n")


def test_a_trial_of_another_trainer_is_not_trained(run):
    def train(architecture, budget, seed, report):
        raise AssertionError

    own = OwnTrainer.of(train)
    trial = Trial(CELL, THREE, "x", trainer="other")
    with pytest.raises(TrainingError, match="the trial is for other, not for"):
        train_trial(trial, None, {"trainer": own}, lambda *_: True)


# Its place in a trial


def test_the_trainer_and_the_declaration_are_part_of_a_trial_and_the_recipe_is_not():
    space = DeclaredSpace.of(
        {"name": "nets", "parameters": {"width": {"kind": "ordered", "values": [0.5, 16, "wide"]}}}
    )
    DeclaredSpace.known(space.declaration)
    trial = Trial(space.parse("width=16"), THREE, "x", trainer="mine:train@2")
    values = trial.to_json()
    assert values["trainer"] == "mine:train@2"
    assert values["declaration"] == space.declaration
    assert not {"recipe", "code_version"} & set(values)
    assert Trial.from_json(values) == trial
    other = Trial(space.parse("width=16"), THREE, "x", trainer="mine:train@3")
    assert other.id != trial.id
    with pytest.raises(BpeBenchError, match=r"or train by a function of your own \(--trainer\)"):
        Trial(space.parse("width=16"), THREE, "x")


def test_an_architecture_has_its_choices_as_they_were_declared():
    values = [0.5, 16, "wide", True]
    space = DeclaredSpace.of(
        {
            "name": "nets",
            "parameters": {
                "width": {"kind": "ordered", "values": values},
                "depth": {"kind": "integer", "low": 2, "high": 8, "step": 2},
                "rate": {"kind": "real", "low": 0, "high": 1},
                "text": {"kind": "categorical", "values": "observed"},
            },
        }
    )
    DeclaredSpace.known(space.declaration)
    found = [
        space.parse(f"width={value},depth=6,rate=0.25,text=seen").choices
        for value in ("0.5", "16", "wide", "true")
    ]
    assert [own.pop("width") for own in found] == values
    assert found == [{"depth": 6, "rate": 0.25, "text": "seen"}] * 4
    assert [type(value) for value in found[0].values()] == [int, float, str]


def test_the_choices_of_other_spaces_are_their_operations():
    text = "|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|skip_connect~0|none~1|avg_pool_3x3~2|"
    cell = get_space("nas-bench-201").parse(text)
    assert list(cell.choices.values()) == [
        *("nor_conv_3x3", "nor_conv_3x3", "none", "skip_connect", "none", "avg_pool_3x3")
    ]
    darts = get_space("darts").sample(np.random.default_rng(0)).choices
    assert len(darts) == 16
