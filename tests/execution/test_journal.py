"""The journal: states, owners, many processes at once, and files that are no good."""

import importlib
import itertools
import json
import math
import multiprocessing
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bpe_bench.budget import BPE_1
from bpe_bench.errors import JournalError, LostTrialError, UnknownNameError
from bpe_bench.execution import journal
from bpe_bench.execution.journal import Journal
from bpe_bench.spaces import SPACES, get_space
from bpe_bench.tables.curves import Split
from bpe_bench.training.trial import EpochRecord, SplitResult, Trial

NEVER = 1e9
"""Seconds after which a worker counts as dead."""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.sqlite"


@pytest.fixture
def opened(path):
    with Journal(path) as found:
        yield found


def entry_of(opened, trial):
    (entry,) = (entry for entry in opened if entry.trial == trial)
    return entry


def refuses(path, message, **options):
    with pytest.raises(JournalError) as caught:
        Journal(path, **options).claim("me", stale_after=NEVER)
    assert str(caught.value) == message


# One process


def test_adding_leaves_what_is_there(opened, make_trials, make_record):
    trials = make_trials(3)
    assert opened.add(trials[:2]) == 2
    claim = opened.claim("me", stale_after=NEVER)
    opened.record(claim.trial.id, "me", make_record(1), b"one")
    assert opened.add([*trials, trials[2]]) == 1
    assert [entry.trial for entry in opened] == trials
    assert [entry.state for entry in opened] == ["running", "planned", "planned"]
    assert opened.counts() == {"planned": 2, "running": 1, "done": 0, "failed": 0, "diverged": 0}
    assert len(opened) == 3


def test_claims_in_order_and_no_trial_twice(opened, make_trials):
    trials = make_trials(5)
    opened.add(trials[::-1])
    claims = [opened.claim(f"worker {i}", stale_after=NEVER) for i in range(5)]
    assert [claim.trial for claim in claims] == trials[::-1]
    assert [claim.worker for claim in claims] == [f"worker {i}" for i in range(5)]
    assert all(c.records == () and c.checkpoint is None and c.state is None for c in claims)
    assert opened.claim("late", stale_after=NEVER) is None


def test_a_trial_from_first_to_last(path, opened, make_trials, make_record):
    (trial,) = make_trials(1)
    opened.add([trial])
    opened.claim("me", stale_after=NEVER)
    records = [make_record(epoch, seconds=epoch / 3) for epoch in (1, 2, 3)]
    for record in records:
        made_on = {"device": "abacus", "epoch": str(record.epoch)}
        opened.record(trial.id, "me", record, b"x" * record.epoch, made_on)
    with pytest.raises(JournalError, match=r" has 3 epochs recorded, so epoch 4 is next, found 6$"):
        opened.record(trial.id, "me", make_record(6), b"")
    opened.finish(trial.id, "me", "done")
    # A second connection sees the same.
    with Journal(path, read_only=True) as other:
        (entry,) = other
        assert entry == entry_of(opened, trial)
    assert (entry.state, entry.message, entry.worker) == ("done", "", "me")
    assert entry.records == tuple(records)
    assert [made["epoch"] for made in entry.made_on] == ["1", "2", "3"]
    assert opened.claim("you", stale_after=-NEVER) is None
    assert opened.retry() == 0
    assert opened.add([trial]) == 0
    assert opened.epochs_recorded() == 3
    assert opened.device_seconds() == pytest.approx(2.0)
    with sqlite3.connect(path) as raw:
        assert raw.execute("SELECT count(*) FROM checkpoints").fetchone() == (0,)


def test_what_is_not_finite_comes_back(opened, make_trials, make_record):
    opened.add(make_trials(1))
    claim = opened.claim("me", stale_after=NEVER)
    opened.record(claim.trial.id, "me", make_record(1, loss=math.nan), b"1")
    opened.release(claim.trial.id, "me")
    claim = opened.claim("me", stale_after=NEVER)
    assert not claim.records[0].finite
    assert claim.state == "diverged"


def test_a_stale_trial_is_taken_up_where_it_was(opened, make_trials, make_record, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(journal.time, "time", lambda: now[0])
    trials = make_trials(2)
    opened.add(trials)
    opened.claim("old", stale_after=60)
    now[0] += 50
    opened.record(trials[0].id, "old", make_record(1), b"after one")
    now[0] += 50
    assert opened.claim("new", stale_after=60).trial == trials[1]
    assert opened.heartbeat("old") == 1
    now[0] += 59
    assert opened.heartbeat("new") == 1
    assert opened.claim("newer", stale_after=60) is None
    now[0] += 1
    claim = opened.claim("newer", stale_after=60)
    assert (claim.trial, claim.checkpoint) == (trials[0], b"after one")
    assert claim.records == (make_record(1),)
    # The one that was only slow hears of it, whatever it says, and changes nothing.
    name = trials[0].id[:12]
    message = rf"^trial {name} does not belong to old \(any more\): it is running with newer$"
    with pytest.raises(LostTrialError, match=message):
        opened.record(trials[0].id, "old", make_record(2), b"after two")
    with pytest.raises(LostTrialError, match=message):
        opened.finish(trials[0].id, "old", "failed", "of no interest")
    assert not opened.release(trials[0].id, "old")
    assert opened.heartbeat("old") == 0
    opened.record(trials[0].id, "newer", make_record(2), b"after two")


def test_release_keeps_all(opened, make_trials, make_record):
    (trial,) = make_trials(1)
    opened.add([trial])
    opened.claim("me", stale_after=NEVER)
    opened.record(trial.id, "me", make_record(1), b"after one")
    assert opened.release(trial.id, "me")
    assert entry_of(opened, trial).state == "planned"
    with pytest.raises(
        LostTrialError, match=r" does not belong to me \(any more\): it is planned$"
    ):
        opened.record(trial.id, "me", make_record(2), b"after two")
    claim = opened.claim("you", stale_after=NEVER)
    assert (claim.records, claim.checkpoint) == ((make_record(1),), b"after one")


def test_retry_starts_over(opened, make_trials, make_record):
    trials = make_trials(4)
    opened.add(trials)
    for state in ("failed", "diverged", "failed"):
        claim = opened.claim("me", stale_after=NEVER)
        opened.record(claim.trial.id, "me", make_record(1), b"after one")
        opened.finish(claim.trial.id, "me", state, "first line\nsecond line")
    assert entry_of(opened, trials[0]).message == "first line"
    assert opened.retry(["diverged"]) == 1
    assert [entry.state for entry in opened] == ["failed", "planned", "failed", "planned"]
    assert opened.retry() == 2
    for trial in trials:
        claim = opened.claim("me", stale_after=NEVER)
        assert (claim.trial, claim.records, claim.checkpoint) == (trial, (), None)
    assert opened.device_seconds() == 0
    assert {entry.message for entry in opened} == {""}
    with pytest.raises(UnknownNameError, match=r"^unknown state to retry 'done'.*: failed, div"):
        opened.retry(["done"])


def test_done_means_all_epochs(opened, make_trials, make_record):
    opened.add(make_trials(1))
    claim = opened.claim("me", stale_after=NEVER)
    opened.record(claim.trial.id, "me", make_record(1), b"")
    with pytest.raises(JournalError, match=r" cannot be done with 1 of 3 epochs recorded$"):
        opened.finish(claim.trial.id, "me", "done")
    with pytest.raises(UnknownNameError, match=r"^unknown final state 'planned'"):
        opened.finish(claim.trial.id, "me", "planned")
    with pytest.raises(LostTrialError, match=r"^the journal .* has no trial made up$"):
        opened.finish("made up", "me", "failed")


def test_crashes_in_a_row_fail_a_trial(opened, make_trials, make_record):
    trials = make_trials(2)
    opened.add(trials)
    for _ in range(2):
        assert opened.claim("me", stale_after=NEVER).trial == trials[0]
        assert opened.abandon("me", "struck by lightning") == 1
    # An epoch recorded means that it is not the trial's fault.
    opened.claim("me", stale_after=NEVER)
    opened.record(trials[0].id, "me", make_record(1), b"after one")
    for _ in range(2):
        opened.abandon("me", "struck by lightning")
        opened.claim("me", stale_after=NEVER)
        # Nor does it count if the worker was only stopped.
        opened.abandon("me", "", most_crashes=0)
        assert opened.claim("me", stale_after=NEVER).checkpoint == b"after one"
    assert opened.abandon("me", "struck by lightning") == 1
    assert opened.abandon("me", "struck by lightning") == 0
    entry = entry_of(opened, trials[0])
    assert (entry.state, entry.records) == ("failed", (make_record(1),))
    assert entry.message == "its worker died 3 times in a row: struck by lightning"
    # The same where nobody noticed but the others.
    for i in range(3):
        assert opened.claim(f"worker {i}", stale_after=-NEVER).trial == trials[1]
    assert opened.claim("last", stale_after=-NEVER) is None
    message = "its worker died 3 times in a row: its worker stopped reporting"
    assert entry_of(opened, trials[1]).message == message


def test_what_this_version_must_not_run_fails(path, opened, make_trials):
    (old,), (mine,) = make_trials(1, code_version="0"), make_trials(1)
    opened.add([old])
    with sqlite3.connect(path) as raw:
        other = json.dumps({**mine.to_json(), "space": "nas-bench-102"})
        row = ("some-id", other, "kind", 3)
        raw.execute("INSERT INTO trials (id, trial, kind, epochs) VALUES (?, ?, ?, ?)", row)
    opened.add([mine])
    assert opened.claim("me", stale_after=NEVER).trial == mine
    with sqlite3.connect(path) as raw:
        messages = [m for (m,) in raw.execute("SELECT message FROM trials WHERE state = 'failed'")]
    assert messages == [
        "planned for version 0 of the training code, this is version 1; plan it again",
        "this version of bpe-bench cannot run it: unknown search space 'nas-bench-102' (did you "
        f"mean 'nas-bench-201'?); there are: {', '.join(SPACES)}",
    ]


def test_estimates_are_by_kind(opened, make_trials, make_record):
    assert opened.estimate_left() == 0
    short, long = make_trials(4, epochs=2), make_trials(2, epochs=10)
    opened.add([*short, *long])
    assert opened.estimate_left() is None
    opened.claim("me", stale_after=NEVER)
    opened.record(short[0].id, "me", make_record(1, seconds=3.0), b"")
    # 1 + 3 x 2 epochs of the same kind, and 2 x 10 of one that nothing is known of.
    assert opened.estimate_left() == 27 * 3.0
    for trial in short[1:]:
        opened.claim("me", stale_after=NEVER)
        opened.finish(trial.id, "me", "failed")
    opened.claim("me", stale_after=NEVER)
    opened.record(long[0].id, "me", make_record(1, seconds=5.0), b"")
    assert opened.estimate_left() == 1 * 3.0 + 19 * 5.0


# Interleavings of several workers, against a model in plain Python


class Interleaving(RuleBasedStateMachine):
    """Workers that take turns in any order, die, are slow, and never do the same twice."""

    WORKERS = ("a", "b", "c")
    EPOCHS = 2
    SPACE = get_space("nas-bench-201")

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / "x"
        self.journals = {worker: Journal(path) for worker in self.WORKERS}
        self.held = dict.fromkeys(self.WORKERS)
        self.owners, self.states, self.records, self.checkpoints = {}, {}, {}, {}

    def teardown(self):
        for opened in self.journals.values():
            opened.close()
        self.folder.cleanup()

    def trial(self, seed):
        budget = BPE_1.replace(epochs=self.EPOCHS)
        return Trial(self.SPACE.from_index(seed), budget, "digits", seed=seed)

    @rule(worker=st.sampled_from(WORKERS), seed=st.integers(0, 3))
    def add(self, worker, seed):
        trial = self.trial(seed)
        assert self.journals[worker].add([trial]) == (trial.id not in self.states)
        self.states.setdefault(trial.id, "planned")
        self.records.setdefault(trial.id, [])

    @rule(worker=st.sampled_from(WORKERS), all_dead=st.booleans())
    def claim(self, worker, all_dead):
        # Crashes are not what this is about.
        claim = self.journals[worker].claim(
            worker, stale_after=-NEVER if all_dead else NEVER, most_crashes=10**6
        )
        if all_dead:
            for identity, state in self.states.items():
                self.states[identity] = "planned" if state == "running" else state
            self.owners.clear()
        free = [identity for identity, state in self.states.items() if state == "planned"]
        assert (claim.trial.id if claim else None) == (free[0] if free else None)
        if claim is None:
            return
        identity = claim.trial.id
        assert list(claim.records) == self.records[identity]
        assert claim.checkpoint == self.checkpoints.get(identity)
        self.states[identity], self.owners[identity] = "running", worker
        self.held[worker] = identity

    @precondition(lambda self: any(self.held.values()))
    @rule(worker=st.sampled_from(WORKERS), correct=st.integers(0, 9))
    def record(self, worker, correct):
        identity = self.held[worker]
        if identity is None:
            return
        epoch = len(self.records[identity]) + 1
        record = EpochRecord(epoch, {Split.TEST: SplitResult(correct, 9, 0.5)}, 1.0, 1)
        checkpoint = f"{epoch} {correct}".encode()
        if self.owners.get(identity) != worker:
            with pytest.raises(LostTrialError):
                self.journals[worker].record(identity, worker, record, checkpoint)
            self.held[worker] = None
        elif epoch <= self.EPOCHS:
            self.journals[worker].record(identity, worker, record, checkpoint)
            self.records[identity].append(record)
            self.checkpoints[identity] = checkpoint

    @rule(worker=st.sampled_from(WORKERS), state=st.sampled_from(journal.FINAL_STATES))
    def finish(self, worker, state):
        identity, self.held[worker] = self.held[worker], None
        if identity is None:
            return
        if self.owners.get(identity) != worker:
            with pytest.raises(LostTrialError):
                self.journals[worker].finish(identity, worker, state)
        elif state == "done" and len(self.records[identity]) < self.EPOCHS:
            with pytest.raises(JournalError):
                self.journals[worker].finish(identity, worker, state)
            self.held[worker] = identity
        else:
            self.journals[worker].finish(identity, worker, state)
            self.states[identity] = state
            del self.owners[identity]
            self.checkpoints.pop(identity, None)

    @rule(worker=st.sampled_from(WORKERS))
    def release(self, worker):
        identity, self.held[worker] = self.held[worker], None
        if identity is None:
            return
        owned = self.owners.get(identity) == worker
        assert self.journals[worker].release(identity, worker) == owned
        if owned:
            self.states[identity] = "planned"
            del self.owners[identity]

    @rule(worker=st.sampled_from(WORKERS))
    def retry(self, worker):
        again = [i for i, state in self.states.items() if state in ("failed", "diverged")]
        assert self.journals[worker].retry() == len(again)
        for identity in again:
            self.states[identity], self.records[identity] = "planned", []

    @invariant()
    def all_see_the_same(self):
        for opened in self.journals.values():
            found = list(opened)
            assert {entry.trial.id: entry.state for entry in found} == self.states
            assert {entry.trial.id: list(entry.records) for entry in found} == self.records
            assert opened.epochs_recorded() == sum(map(len, self.records.values()))
            running = {e.trial.id: e.worker for e in found if e.state == "running"}
            assert running == self.owners


Interleaving.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestInterleaving = Interleaving.TestCase


# Several processes


@pytest.fixture
def together(monkeypatch):
    """Return a function that runs one of `rivals` in four processes, from the same moment on."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    rivals = importlib.import_module("rivals")
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, context.Pool(4) as pool:

        def run(name, *arguments):
            start = manager.Barrier(4)
            calls = [(*(a[i] for a in arguments), start) for i in range(4)]
            return pool.starmap_async(getattr(rivals, name), calls, chunksize=1).get(600)

        yield run
    sys.modules.pop("rivals")


def test_several_processes_never_take_the_same_trial(path, make_trials, together):
    trials = make_trials(300, epochs=2)
    with Journal(path) as opened:
        opened.add(trials)
    done = together("work", [path] * 4, [f"worker {i}" for i in range(4)], range(4))
    assert Counter(itertools.chain(*done)) == Counter(trial.id for trial in trials)
    with Journal(path, read_only=True) as opened:
        owner = {identity: f"worker {i}" for i, own in enumerate(done) for identity in own}
        assert {entry.trial.id: entry.worker for entry in opened} == owner
        assert opened.counts()["done"] == 300
        assert opened.epochs_recorded() == 600


def test_several_processes_make_the_store_at_once(tmp_path, together):
    for turn in range(10):
        assert together("make_one", [tmp_path / f"store {turn}"] * 4, range(4)) == [1] * 4


# Files that are no good


def test_a_file_that_is_no_journal(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("Not a database. " * 100)
    for read_only in (True, False):
        refuses(path, f"{path} is not a journal: it is not an SQLite file", read_only=read_only)
    assert path.read_text() == "Not a database. " * 100
    path.write_text("")
    refuses(path, f"{path} is empty, not a journal of trainings", read_only=True)


def test_a_store_of_something_else_stays_as_it_is(tmp_path):
    path = tmp_path / "contacts"
    raw = sqlite3.connect(path)
    raw.execute("CREATE TABLE people (name)")
    raw.close()
    before = path.read_bytes()
    for read_only in (True, False):
        message = f"{path} is an SQLite store, but not a journal"
        refuses(path, message, read_only=read_only)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["contacts"]


def test_a_newer_journal(path, opened):
    with sqlite3.connect(path) as raw:
        raw.execute("PRAGMA user_version = 7")
    refuses(
        path,
        f"{path} is a journal of version 7, this bpe-bench reads up to version 1; use a newer "
        "bpe-bench",
    )


def test_a_damaged_journal(path, make_trials):
    with Journal(path) as opened:
        opened.add(make_trials(200))
    content = bytearray(path.read_bytes())
    content[4096:-4096] = np.random.default_rng(0).bytes(len(content) - 8192)
    path.write_bytes(content)
    with pytest.raises(
        JournalError, match=rf"^the journal {path} is damaged \(.*\); restore it from a copy$"
    ):
        Journal(path).claim("me", stale_after=NEVER)


def test_paths_that_cannot_be(tmp_path):
    missing = tmp_path / "no" / "x"
    refuses(missing, f"no folder {missing.parent} for the journal {missing}")
    refuses(tmp_path, f"{tmp_path} is a folder; a journal is a file")
    path = tmp_path / "x"
    message = f"no journal at {path}; `bpe-bench train --store {path}` makes one"
    refuses(path, message, read_only=True)
    assert not path.exists()


def test_opened_for_reading_only(path, make_trials):
    Journal(path).close()
    with Journal(path, read_only=True) as opened:
        assert len(opened) == 0
        message = rf"^the journal {path} was opened for reading only$"
        for change in (lambda: opened.add(make_trials(1)), opened.retry):
            with pytest.raises(JournalError, match=message):
                change()


def test_a_locked_journal(path, opened, make_trials):
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute("BEGIN IMMEDIATE")
    message = f"another process has kept the journal {path} locked for 0.1 s; end it or try again"
    refuses(path, message, busy_timeout=0.1)
    # Reading goes on beside it.
    with Journal(path, read_only=True, busy_timeout=0.1) as reader:
        assert len(reader) == 0
    raw.execute("ROLLBACK")
    assert opened.add(make_trials(1)) == 1


AS_NOBODY = """
import os, sys
sys.path[:] = sys.argv[2].split(os.pathsep)
from bpe_bench.execution.journal import Journal
from bpe_bench.errors import JournalError
if os.getuid() == 0:  # root may write everywhere
    os.setgid(65534)
    os.setuid(65534)
with Journal(sys.argv[1], read_only=True) as journal:
    print(len(journal))
try:
    with Journal(sys.argv[1]) as journal:
        print(journal.retry())
except JournalError as error:
    print(error)
"""


@pytest.mark.parametrize("read_only", ["file", "folder"])
def test_a_store_that_cannot_be_written(make_trials, read_only):
    # pytest's own folder is closed to all others.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "x"
        with Journal(path) as opened:
            opened.add(make_trials(3))
        path.chmod(0o666 if read_only == "folder" else 0o444)
        folder.chmod(0o777 if read_only == "file" else 0o555)
        done = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, str(path), os.pathsep.join(sys.path)],
            capture_output=True,
            text=True,
        )
        assert done.stderr == ""
        number, said = done.stdout.splitlines()
        assert number == "3"
        assert said in (
            f"cannot write to the journal {path}: it, or its folder, is read-only",
            f"cannot open {path}, or write beside it: check the rights on it and its folder",
        )
        folder.chmod(0o777)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of a megabyte, or where none can be mounted, None."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    yield folder if mounted else None
    if mounted:
        subprocess.run(["umount", str(folder)], check=True)


WITH_A_LIMIT = """
import resource, signal, sys
from bpe_bench.budget import BPE_1
from bpe_bench.execution.journal import Journal
from bpe_bench.errors import JournalError
from bpe_bench.training.trial import EpochRecord
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with Journal(sys.argv[1]) as journal:
    claim = journal.claim("me", stale_after=60)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
    journal.record(claim.trial.id, "me", EpochRecord(1, {}, 1.0, 1), b"small")
    try:
        journal.record(claim.trial.id, "me", EpochRecord(2, {}, 1.0, 1), bytes(10**6))
    except JournalError as error:
        print(error)
        journal.finish(claim.trial.id, "me", "failed", str(error))
"""


def test_a_full_disk_costs_one_trial(small_disk, make_trials, make_record):
    if small_disk is None:
        pytest.skip("no file system can be mounted here; the next test needs none")
    path = small_disk / "x"
    with Journal(path) as opened:
        trials = make_trials(2)
        opened.add(trials)
        opened.claim("me", stale_after=NEVER)
        opened.record(trials[0].id, "me", make_record(1), bytes(100_000))
        message = f"no space left for the journal {path}; free some and run again"
        with pytest.raises(JournalError) as caught:
            opened.record(trials[0].id, "me", make_record(2), bytes(2_000_000))
        assert str(caught.value) == message
        # Nothing of it is there, and the store goes on.
        assert entry_of(opened, trials[0]).records == (make_record(1),)
        opened.finish(trials[0].id, "me", "failed", message)
        claim = opened.claim("me", stale_after=NEVER)
        assert claim.trial == trials[1]
        for epoch in (1, 2, 3):
            opened.record(trials[1].id, "me", make_record(epoch), bytes(100_000))
        opened.finish(trials[1].id, "me", "done")
        assert [entry.state for entry in opened] == ["failed", "done"]


def test_a_file_that_may_not_grow_costs_one_trial(path, make_trials):
    with Journal(path) as opened:
        opened.add(make_trials(1))
    done = subprocess.run(
        [sys.executable, "-c", WITH_A_LIMIT, str(path)], capture_output=True, text=True
    )
    assert done.stderr == ""
    assert done.stdout == (
        f"the journal {path} could not be read or written (disk I/O error); check the disk and its "
        "free space\n"
    )
    with Journal(path) as opened:
        (entry,) = opened
    assert (entry.state, len(entry.records), entry.message) == ("failed", 1, done.stdout.strip())


def test_any_other_error_is_a_line_too(path, opened):
    opened.close()
    with pytest.raises(JournalError, match=rf"^the journal {path} does not respond as expected: "):
        opened.counts()
