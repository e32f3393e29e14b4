"""Local processes: nothing done twice, nothing lost, whatever dies."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from bpe_bench.errors import ExecutionError, JournalError, SelectionError
from bpe_bench.execution import local, run_local
from bpe_bench.execution.journal import Journal

TASK = "fake_training:train"


@pytest.fixture
def store(tmp_path):
    return tmp_path / "journal.sqlite"


@pytest.fixture
def log(tmp_path):
    """The fake task's log, and a function that counts its lines by event, trial and epoch."""

    class Log:
        path = str(tmp_path / "log")

        def __call__(self):
            try:
                lines = Path(self.path).read_text().splitlines()
                return Counter(tuple(line.split()) for line in lines)
            except FileNotFoundError:
                return Counter()

        def number(self, event):
            return sum(n for (found, _, _), n in self().items() if found == event)

    return Log()


@pytest.fixture
def processes(monkeypatch):
    """Every worker process that is started."""
    started, make = [], local._Pool._start

    def start(pool):
        worker = make(pool)
        started.append(worker.process)
        return worker

    monkeypatch.setattr(local._Pool, "_start", start)
    yield started
    assert all(process.exitcode is not None for process in started)


def plan(store, trials):
    with Journal(store) as journal:
        journal.add(trials)


def entries(store):
    with Journal(store, read_only=True) as journal:
        return {entry.trial.seed: entry for entry in journal}


def wait_for(condition, seconds=300):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_runs_everything_once(fake, store, log, make_trials, uninterrupted, processes):
    trials = make_trials(20)
    plan(store, trials)
    seen = []
    end = run_local(store, TASK, {"log": log.path}, jobs=3, on_progress=seen.append)
    assert end.counts == {"planned": 0, "running": 0, "done": 20, "failed": 0, "diverged": 0}
    assert end == seen[-1]
    assert (end.left, end.epochs, end.seconds_left) == (0, 60, 0.0)
    found = entries(store)
    for trial in trials:
        assert found[trial.seed].records == uninterrupted(trial)
        assert found[trial.seed].made_on == (fake.MADE_ON,) * 3
    assert set(log().values()) == {1}
    assert len(processes) == 3
    # With nothing left, nobody is started.
    assert run_local(store, TASK, {"log": log.path}, jobs=3) == end
    assert len(processes) == 3


@pytest.mark.parametrize("kills", [10, pytest.param(50, marks=pytest.mark.slow)])
def test_kills_lose_no_more_than_running_epochs(
    kills, fake, store, log, make_trials, uninterrupted, tmp_path
):
    """Workers die at random while they work; the last trials wait until all kills are done."""
    trials, rng = make_trials(3 * kills, epochs=5), random.Random(kills)
    plan(store, trials)
    hurry, workers, killed = tmp_path / "hurry", tmp_path / "workers", []
    workers.mkdir()

    def kill():
        while len(killed) < kills and not ended.wait(rng.uniform(0.0, 0.1)):
            working = {int(file.name) for file in workers.iterdir()}.difference(killed)
            if working:
                killed.append(rng.choice(sorted(working)))
                os.kill(killed[-1], signal.SIGKILL)
        hurry.touch()

    ended = threading.Event()
    killer = threading.Thread(target=kill)
    killer.start()
    options = {
        "log": log.path, "workers": str(workers), "hurry": str(hurry), "pause": 0.03,
        "hold": [trial.seed for trial in trials[-3:]], "size": 100_000,
    }  # fmt: skip
    try:
        # Kills at random may hit the same epoch of the same trial time and again.
        end = run_local(store, TASK, options, jobs=3, most_crashes=kills + 1)
    finally:
        ended.set()
        killer.join()
    assert len(killed) == kills
    assert end.counts["done"] == len(trials)
    found = entries(store)
    assert [found[trial.seed].records for trial in trials] == [*map(uninterrupted, trials)]
    events = log()
    assert all(n == 1 for (event, *_), n in events.items() if event == "kept")
    # A kill costs the epoch that was running, and no other is computed twice.
    assert log.number("start") <= end.epochs + kills
    for trial in trials:
        begun = sum(
            n for (event, id_, _), n in events.items() if (event, id_) == ("begin", trial.id)
        )
        starts = sum(events["start", trial.id, str(epoch)] for epoch in range(1, 6))
        assert starts <= 5 + begun - 1


def test_a_failed_trial_stops_no_other(fake, store, log, make_trials):
    plan(store, make_trials(8))
    options = {"log": log.path, "fail": [1], "exit": [3], "diverge": [5]}
    end = run_local(store, TASK, options, jobs=2)
    assert end.counts == {"planned": 0, "running": 0, "done": 5, "failed": 2, "diverged": 1}
    found = entries(store)
    assert found[1].message == "ValueError: this network cannot be trained"
    assert found[3].message == "SystemExit"
    assert found[5].state == "diverged"
    assert len(found[5].records) == 1
    # As before, unless asked to: then they are tried again.
    assert run_local(store, TASK, {}, jobs=2).counts == end.counts
    with Journal(store) as journal:
        assert journal.retry() == 3
    assert run_local(store, TASK, {}, jobs=2).counts["done"] == 8


def test_a_trial_that_kills_its_workers_fails_and_the_others_go_on(
    fake, store, log, make_trials, uninterrupted
):
    trials = make_trials(6)
    plan(store, trials)
    end = run_local(store, TASK, {"log": log.path, "die": [2]}, jobs=2)
    assert (end.counts["done"], end.counts["failed"]) == (5, 1)
    entry = entries(store)[2]
    assert entry.message == (
        "its worker died 3 times in a row: killed by SIGKILL, perhaps for its memory; it said: "
        "out of luck"
    )
    assert entry.records == uninterrupted(trials[2])[:1]
    assert log()["start", trials[2].id, "2"] == 3


def test_stopping_releases_and_running_again_goes_on(
    fake, store, log, make_trials, uninterrupted, processes, monkeypatch
):
    monkeypatch.setattr(local, "_GRACE", 60)  # however busy the machine is
    trials = make_trials(12, epochs=4)
    plan(store, trials)
    stop = threading.Event()
    options = {"log": log.path, "pause": 0.1}

    def watch():
        wait_for(lambda: log.number("kept") >= 6)
        stop.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    end = run_local(store, TASK, options, jobs=2, stop=stop)
    watcher.join()
    assert end.counts["running"] == 0
    assert 0 < end.left < 12
    assert {process.exitcode for process in processes} == {0}  # none was cut short
    end = run_local(store, TASK, {**options, "pause": 0}, jobs=2)
    assert end.counts["done"] == 12
    assert set(log().values()) == {1}
    assert [entries(store)[t.seed].records for t in trials] == [*map(uninterrupted, trials)]


def test_a_long_epoch_is_cut_short_by_a_stop(fake, store, log, make_trials, processes, monkeypatch):
    monkeypatch.setattr(local, "_GRACE", 0.3)
    monkeypatch.setattr(local, "_LAST_GRACE", 300)  # however busy the machine is
    plan(store, make_trials(3))
    stop = threading.Event()

    def watch():
        wait_for(lambda: log.number("start") >= 2)
        stop.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    end = run_local(store, TASK, {"log": log.path, "pause": 600}, jobs=2, stop=stop)
    watcher.join()
    assert end.counts["planned"] == 3
    assert {process.exitcode for process in processes} == {143}


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from bpe_bench.execution import run_local
try:
    run_local(sys.argv[2], "fake_training:train", {"log": sys.argv[3], "pause": 0.1}, jobs=2)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.fixture
def parent(store, log, tmp_path):
    """A process that runs the trials in the store; its group is that of a terminal's job."""
    folder = str(Path(__file__).parent)
    (tmp_path / "temporary").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, folder, str(store), log.path],
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,
        env={**os.environ, "TMPDIR": str(tmp_path / "temporary")},
    )
    yield process
    process.kill()
    process.communicate()


def test_ctrl_c_in_a_terminal_ends_cleanly(fake, store, log, make_trials, parent):
    plan(store, make_trials(200))
    wait_for(lambda: log.number("kept") >= 4)
    os.killpg(parent.pid, signal.SIGINT)
    assert parent.communicate(timeout=300)[0] == "interrupted\n"
    with Journal(store, read_only=True) as journal:
        assert journal.counts()["running"] == 0
        assert journal.epochs_recorded() >= 4
    assert set(log().values()) == {1}


def test_workers_of_a_killed_parent_stop_too(fake, store, log, make_trials, parent, tmp_path):
    plan(store, make_trials(200))
    wait_for(lambda: log.number("kept") >= 4)
    parent.kill()
    wait_for(lambda: not any((tmp_path / "temporary").iterdir()))  # nothing is left there
    with Journal(store, read_only=True) as journal:
        wait_for(lambda: journal.counts()["running"] == 0)
    number = log.number("start")
    time.sleep(0.5)
    assert log.number("start") == number


def test_a_trial_of_a_worker_that_vanished_is_taken_up(fake, store, make_trials, uninterrupted):
    trials = make_trials(2)
    plan(store, trials)
    with Journal(store) as journal:
        claim = journal.claim("on a machine that burnt", stale_after=60)
        record = uninterrupted(claim.trial)[0]
        value = []
        fake.train(claim.trial, None, {}, lambda r, checkpoint, made_on: value.append(checkpoint))
        journal.record(claim.trial.id, claim.worker, record, value[0])
    end = run_local(store, TASK, {}, jobs=2, stale_after=2)
    assert end.counts["done"] == 2
    assert entries(store)[0].records == uninterrupted(trials[0])


def test_a_heartbeat_outlasts_a_long_epoch(fake, store, log, make_trials, tmp_path):
    """The only epoch ends once the worker has said three times that it is alive."""
    (trial,) = make_trials(1, epochs=1)
    plan(store, [trial])
    hurry, beats = tmp_path / "hurry", set()

    def listen():
        with closing(sqlite3.connect(store)) as journal:
            while not ended.wait(0.02) and len(beats) < 4:
                if log.number("start"):
                    beats.update(journal.execute("SELECT heartbeat FROM trials").fetchall())
        hurry.touch()

    ended = threading.Event()
    listener = threading.Thread(target=listen)
    listener.start()
    options = {"log": log.path, "hurry": str(hurry), "hold": [trial.seed]}
    try:
        end = run_local(store, TASK, options, stale_after=1)
    finally:
        ended.set()
        listener.join()
    assert end.counts["done"] == 1
    assert len(beats) == 4
    assert set(log().values()) == {1}


def test_a_last_word_that_was_missing_is_made_up_for(fake, store, log, make_trials, uninterrupted):
    (trial,) = make_trials(1)
    plan(store, [trial])
    with Journal(store) as journal:
        journal.claim("died just before it could say done", stale_after=60)
        for record in uninterrupted(trial):
            journal.record(trial.id, "died just before it could say done", record, b"")
        journal.abandon("died just before it could say done", "", most_crashes=0)
    assert run_local(store, TASK, {"log": log.path}).counts["done"] == 1
    assert log() == {}


def test_two_executors_share_a_store(fake, store, log, make_trials):
    plan(store, make_trials(30))
    ends = []
    options = {"log": log.path, "pause": 0.01}

    def run():
        ends.append(run_local(store, TASK, options, jobs=2))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [end.counts["done"] for end in ends] == [30, 30]
    assert set(log().values()) == {1}


def test_one_thread_per_worker_unless_more_are_asked_for(fake, store, make_trials):
    plan(store, make_trials(1))
    run_local(store, "fake_training:threads")
    assert entries(store)[0].message == "RuntimeError: 1 1"
    with Journal(store) as journal:
        journal.retry()
    run_local(store, "fake_training:threads", {"threads": 2})
    assert entries(store)[0].message == "RuntimeError: 2 2"


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (
            "fake_training:trian",
            r"^cannot import the task 'fake_training:trian', which should be module:function: "
            r"no trian here$",
        ),
        (
            "no_such_module:train",
            r"^cannot import the task 'no_such_module:train', which should be module:function: "
            r"No module named 'no_such_module'$",
        ),
        ("fake_training:MADE_ON", r"^the task 'fake_training:MADE_ON' is not a function$"),
    ],
)
def test_a_task_that_does_not_exist(fake, store, make_trials, task, message):
    plan(store, make_trials(3))
    with pytest.raises(ExecutionError, match=message):
        run_local(store, task, jobs=2)
    with Journal(store) as journal:
        assert journal.counts()["planned"] == 3


def test_workers_that_die_before_they_work(fake, store, make_trials, monkeypatch):
    monkeypatch.setattr(local, "_MOST_IDLE_DEATHS", 3)
    plan(store, make_trials(3))
    with pytest.raises(
        ExecutionError, match=r"^3 workers died before they took a trial: exit status 9$"
    ):
        run_local(store, "fake_training:deadly")


def test_files_of_the_folder_are_not_imported(fake, store, make_trials, tmp_path, monkeypatch):
    # A worker that took up this module instead of Python's could not start.
    (tmp_path / "queue.py").write_text("raise RuntimeError('of the user')\n")
    monkeypatch.chdir(tmp_path)
    plan(store, make_trials(1))
    assert run_local(store, TASK).counts["done"] == 1


def test_an_end_is_seen_where_nobody_may_ask_how_children_ended(fake, store, make_trials):
    plan(store, make_trials(2))
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # as some services start programs
    try:
        assert run_local(store, TASK, jobs=2).counts["done"] == 2
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_ctrl_c_while_a_worker_starts_leaves_no_process(
    fake, store, make_trials, processes, monkeypatch
):
    plan(store, make_trials(2))
    known, start = [], local._without_interrupts

    @contextmanager
    def interrupted():
        with start():
            yield
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(local, "_without_interrupts", interrupted)
    stop = local._Pool.stop

    def stopped(pool):
        known.extend(worker.process for worker in pool._workers)
        stop(pool)

    monkeypatch.setattr(local._Pool, "stop", stopped)
    with pytest.raises(KeyboardInterrupt):
        run_local(store, TASK, jobs=2)
    assert [process.exitcode is None for process in known] == [False]


def test_what_cannot_be_run_is_refused(fake, tmp_path, store):
    with pytest.raises(SelectionError, match=r"^jobs must be at least 1, found 0$"):
        run_local(store, TASK, jobs=0)
    with pytest.raises(JournalError, match=r"^no folder .*/no for the journal .*/no/x$"):
        run_local(tmp_path / "no" / "x", TASK)
