"""A real training that is stopped or killed goes on, and ends as one that never was."""

import signal

import pytest

from bpe_bench.execution.journal import Journal
from bpe_bench.training.task import train_trial

WORDS = [
    "train", "--space", "nas-bench-201", "--architectures", "sample:2", "--seed", "3",
    "--quiet", "--budget",
    "epochs=8,batch_size=64,learning_rate=0.05,layers=5,channels=4,image_size=8",
]  # fmt: skip


def results(store):
    """What must not depend on interruptions: states and counts, by trial."""
    with Journal(store, read_only=True) as journal:
        return {
            entry.trial.id: (entry.state, [(r.epoch, dict(r.results)) for r in entry.records])
            for entry in journal
        }


def uninterrupted(trial):
    """Return the state and the results that a trial ends with in this process, never stopped."""
    records = []

    def report(record, checkpoint, made_on):
        records.append((record.epoch, dict(record.results)))
        return True

    return train_trial(trial, None, {}, report), records


@pytest.mark.parametrize(
    ("how", "jobs"),
    [
        ("SIGKILL", 1),
        pytest.param("SIGKILL", 2, marks=pytest.mark.slow),
        pytest.param("SIGINT", 2, marks=pytest.mark.slow),
    ],
)
def test_it_goes_on_where_it_stopped(how, jobs, tmp_path, start, wait_for_epochs, kill):
    store = tmp_path / "trainings.sqlite"
    command = (*WORDS, "--jobs", jobs, "--store", store)
    process = start(*command)
    wait_for_epochs(store, 2, process)
    if how == "SIGINT":
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=300)
        assert process.returncode == 1
        assert said.strip() == "bpe-bench: stopped"  # click ends the line of the ^C
    else:
        kill(process)
    before = results(store)
    recorded = sum(len(records) for _, records in before.values())
    assert recorded >= 2
    again = start(*command)
    assert again.wait(timeout=600) == 0, again.communicate()
    after = results(store)
    with Journal(store, read_only=True) as journal:
        assert after == {entry.trial.id: uninterrupted(entry.trial) for entry in journal}
    # What was recorded before was kept, not made again.
    for identity, (_, records) in before.items():
        assert after[identity][1][: len(records)] == records
