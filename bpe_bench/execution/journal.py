"""The journal: the one place where trainings report, shared safely by many processes.

An SQLite store with a write-ahead log. Every change is one transaction, so a killed process
leaves either a complete report or none; it loses only the epoch that was running. A worker owns
a trial from `Journal.claim` until it finishes or releases it, or until its heartbeat stops; the
store itself ensures that no trial has two owners and that no finished trial is taken again.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from ..errors import BpeBenchError, JournalError, LostTrialError, unknown_name
from ..training.trial import CODE_VERSION, STATES, EpochRecord, State, Trial
from ._store import _connect, _explaining

_FinalState = Literal["done", "failed", "diverged"]
FINAL_STATES: tuple[_FinalState, ...] = ("done", "failed", "diverged")
"""States in which no worker takes a trial."""

_MOST_CRASHES = 3
"""After so many workers died of a trial without recording an epoch, the trial counts as failed."""
_LONGEST_MESSAGE = 500


@dataclass(frozen=True)
class _Claim:
    """A trial that a worker owns, with the state to continue from."""

    trial: Trial
    worker: str
    """The owner."""
    records: tuple[EpochRecord, ...]
    """The epochs recorded so far."""
    checkpoint: bytes | None
    """The checkpoint of the last record; None without a record."""

    @property
    def state(self) -> _FinalState | None:
        """How the trial ended, if its last worker died before reporting it."""
        if self.records and not self.records[-1].finite:
            return "diverged"
        return "done" if len(self.records) >= self.trial.budget.epochs else None


@dataclass(frozen=True)
class JournalEntry:
    """A trial of the journal with its state and records."""

    trial: Trial
    state: State
    message: str
    """Why it failed; empty otherwise."""
    worker: str
    """Its worker, or the last one."""
    records: tuple[EpochRecord, ...]
    made_on: tuple[Mapping[str, str], ...] = field(repr=False)
    """Device and versions that made each record, as the worker described them."""


class Journal:
    """An open journal.

    Each thread needs its own; do not use one across a fork.

    Parameters
    ----------
    path
        The file; made if it is not there, unless ``read_only``.
    read_only
        Only read; works also on files and folders that cannot be written.
    busy_timeout
        Seconds to wait for another process that is writing.

    Raises
    ------
    JournalError
        If the file is missing, something else, of a newer version, or not writable. Every
        method also raises it if the file cannot be read or written, for instance when the disk
        is full.

    Examples
    --------
    >>> import tempfile
    >>> from bpe_bench import BPE_1, get_space
    >>> trial = Trial(get_space("nas-bench-201").from_index(284), BPE_1, "digits")
    >>> with tempfile.TemporaryDirectory() as folder, Journal(f"{folder}/x.sqlite") as journal:
    ...     print(journal.add([trial]), journal.add([trial]))
    ...     claim = journal.claim("me", stale_after=60)
    ...     print(claim.trial == trial, journal.claim("you", stale_after=60))
    1 0
    True None
    """

    def __init__(
        self, path: str | Path, *, read_only: bool = False, busy_timeout: float = 60.0
    ) -> None:
        self.path, self._busy_timeout = Path(path), busy_timeout
        self._read_only = read_only
        self._connection = _connect(self.path, read_only=read_only, busy_timeout=busy_timeout)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # What planners do

    def add(self, trials: Iterable[Trial]) -> int:
        """Plan trials; those that are already in the journal keep their state.

        Returns
        -------
        int
            Number of new trials.
        """
        rows = [
            (trial.id, _dumps(trial.to_json()), _kind(trial), trial.budget.epochs)
            for trial in trials
        ]
        with self._transaction() as connection:
            before = connection.total_changes
            connection.executemany(
                "INSERT OR IGNORE INTO trials (id, trial, kind, epochs) VALUES (?, ?, ?, ?)", rows
            )
            return connection.total_changes - before

    def retry(self, states: Sequence[_FinalState] = ("failed", "diverged")) -> int:
        """Plan failed or diverged trials again, from their first epoch on.

        Returns
        -------
        int
            How many.

        Raises
        ------
        UnknownNameError
            For a state that cannot be retried.
        """
        for state in states:
            if state not in ("failed", "diverged"):
                raise unknown_name("state to retry", state, ("failed", "diverged"))
        chosen = f"state IN ({', '.join('?' * len(states))})"
        with self._transaction() as connection:
            connection.execute(
                f"DELETE FROM records WHERE trial IN (SELECT id FROM trials WHERE {chosen})",
                states,
            )
            return connection.execute(
                "UPDATE trials SET state = 'planned', worker = '', crashes = 0, message = '', "
                f"recorded = 0, seconds = 0 WHERE {chosen}",
                states,
            ).rowcount

    # What workers do

    def claim(
        self,
        worker: str,
        *,
        stale_after: float,
        most_crashes: int = _MOST_CRASHES,
        trial_id: str | None = None,
    ) -> _Claim | None:
        """Take the first trial that is planned or whose worker has died.

        Parameters
        ----------
        worker
            Who takes it; no two processes may have the same name.
        stale_after
            Seconds without a heartbeat after which a worker counts as dead.
        most_crashes
            After so many workers died of a trial without recording an epoch, it fails.
        trial_id
            Take only this trial.

        Returns
        -------
        Claim or None
            None if no trial can be taken.
        """
        now = time.time()
        stale = "state = 'running' AND heartbeat <= ?"
        limit = now - stale_after
        with self._explaining():
            # Workers that wait for something to do should not hold up those that write.
            if not self._connection.execute(
                f"SELECT 1 FROM trials WHERE state = 'planned' OR ({stale}) LIMIT 1", (limit,)
            ).fetchone():
                return None
        with self._transaction() as connection:
            _abandon(connection, stale, (limit,), "its worker stopped reporting", most_crashes)
            while row := connection.execute(
                "SELECT id, trial FROM trials WHERE state = 'planned' AND id = coalesce(?, id) "
                "ORDER BY place LIMIT 1",
                (trial_id,),
            ).fetchone():
                identity, text = row
                trial = _trial_to_run(text)
                if isinstance(trial, str):
                    _finish(connection, identity, "failed", trial)
                    continue
                connection.execute(
                    "UPDATE trials SET state = 'running', worker = ?, heartbeat = ? WHERE id = ?",
                    (worker, now, identity),
                )
                records = tuple(record for record, _ in _records(connection, identity))
                found = connection.execute(
                    "SELECT content FROM checkpoints WHERE trial = ?", (identity,)
                ).fetchone()
                return _Claim(trial, worker, records, found[0] if found else None)
        return None

    def record(
        self,
        trial_id: str,
        worker: str,
        record: EpochRecord,
        checkpoint: bytes,
        made_on: Mapping[str, str] | None = None,
    ) -> None:
        """Write an epoch's record and the state after it, and renew the heartbeat.

        All in one transaction: after a crash, records and checkpoint fit together.

        Parameters
        ----------
        trial_id, worker
            The trial and its owner.
        record
            Record of the next epoch.
        checkpoint
            Replaces the previous one.
        made_on
            The device (``device``) and versions that made it.

        Raises
        ------
        LostTrialError
            If the worker does not own the trial any more.
        JournalError
            If the epoch does not follow the last one.
        """
        with self._transaction() as connection:
            recorded = self._owned(trial_id, worker)
            if record.epoch != recorded + 1:
                raise JournalError(
                    f"trial {trial_id[:12]} has {recorded} epochs recorded, so epoch "
                    f"{recorded + 1} is next, found {record.epoch}"
                )
            connection.execute(
                "INSERT INTO records (trial, epoch, record, made_on) VALUES (?, ?, ?, ?)",
                (trial_id, record.epoch, _dumps(record.to_json()), _dumps(dict(made_on or {}))),
            )
            connection.execute(
                "INSERT OR REPLACE INTO checkpoints (trial, content) VALUES (?, ?)",
                (trial_id, checkpoint),
            )
            connection.execute(
                "UPDATE trials SET recorded = recorded + 1, seconds = seconds + ?, crashes = 0, "
                "heartbeat = ? WHERE id = ?",
                (record.seconds, time.time(), trial_id),
            )

    def heartbeat(self, worker: str) -> int:
        """Renew the heartbeat of a worker between records.

        Returns
        -------
        int
            Number of trials that it owns.
        """
        with self._transaction() as connection:
            return connection.execute(
                "UPDATE trials SET heartbeat = ? WHERE state = 'running' AND worker = ?",
                (time.time(), worker),
            ).rowcount

    def finish(self, trial_id: str, worker: str, state: _FinalState, message: str = "") -> None:
        """End a trial, and drop its checkpoint.

        Parameters
        ----------
        trial_id, worker
            The trial and its owner.
        state
            How it ended.
        message
            The reason, if it failed; only the first line is kept.

        Raises
        ------
        LostTrialError
            If the worker does not own the trial any more.
        JournalError
            If it should be done, but lacks epochs.
        """
        if state not in FINAL_STATES:
            raise unknown_name("final state", state, FINAL_STATES)
        with self._transaction() as connection:
            recorded = self._owned(trial_id, worker)
            (epochs,) = connection.execute(
                "SELECT epochs FROM trials WHERE id = ?", (trial_id,)
            ).fetchone()
            if state == "done" and recorded < epochs:
                raise JournalError(
                    f"trial {trial_id[:12]} cannot be done with {recorded} of {epochs} epochs "
                    "recorded"
                )
            _finish(connection, trial_id, state, message)

    def release(self, trial_id: str, worker: str) -> bool:
        """Release a trial, so that it can be continued later from its last record.

        Returns
        -------
        bool
            Whether the worker owned it.
        """
        with self._transaction() as connection:
            return bool(
                connection.execute(
                    "UPDATE trials SET state = 'planned' "
                    "WHERE id = ? AND worker = ? AND state = 'running'",
                    (trial_id, worker),
                ).rowcount
            )

    def abandon(self, worker: str, reason: str, *, most_crashes: int = _MOST_CRASHES) -> int:
        """Release the trials of a dead worker at once, without waiting for its heartbeat to expire.

        Parameters
        ----------
        worker
            The dead one.
        reason
            The cause of death; the message of a trial that fails because of it.
        most_crashes
            As in `claim`; 0 if it did not die of the trial, which then is not counted.

        Returns
        -------
        int
            How many trials it owned.
        """
        with self._transaction() as connection:
            return _abandon(
                connection, "state = 'running' AND worker = ?", (worker,), reason, most_crashes
            )

    # What watchers do

    def counts(self) -> dict[State, int]:
        """Return how many trials are in each state."""
        with self._explaining():
            found = dict(
                self._connection.execute("SELECT state, count(*) FROM trials GROUP BY state")
            )
        return {state: found.get(state, 0) for state in STATES}

    def epochs_recorded(self) -> int:
        """Return how many epochs are recorded in all."""
        return int(self._sum("recorded"))

    def device_seconds(self) -> float:
        """Return the device seconds of all epochs recorded."""
        return float(self._sum("seconds"))

    def estimate_left(self) -> float | None:
        """Estimate the device seconds that planned and running trials still need.

        The estimate of an epoch is the mean over trials of the same budget, data set, protocol
        and space, or over all trials if there are no such trials.

        Returns
        -------
        float or None
            None if trials are left and no epoch was recorded yet.
        """
        with self._explaining():
            rows = self._connection.execute(
                "SELECT sum(seconds), sum(recorded), "
                "sum(CASE WHEN state IN ('planned', 'running') THEN epochs - recorded ELSE 0 END) "
                "FROM trials GROUP BY kind"
            ).fetchall()
        seconds, recorded = (sum(row[i] for row in rows) for i in (0, 1))
        if not any(left for *_, left in rows):
            return 0.0
        if not recorded:
            return None
        return float(sum(left * (s / n if n else seconds / recorded) for s, n, left in rows))

    def __len__(self) -> int:
        return sum(self.counts().values())

    def __iter__(self) -> Iterator[JournalEntry]:
        """Iterate over all trials in the order in which they were planned."""
        return self.entries()

    def find(self, trial: Trial) -> JournalEntry | None:
        """Return the journal's entry of a trial; None if it was never planned."""
        return next(self._entries("id = ?", (trial.id,)), None)

    def expected_seconds(self, trial: Trial) -> float | None:
        """Return the device seconds that a trial takes, from similar trials; None if unknown.

        Similar trials have the same budget, data set, protocol and space; their mean seconds
        per epoch count.
        """
        with self._explaining():
            seconds, recorded = self._connection.execute(
                "SELECT sum(seconds), sum(recorded) FROM trials WHERE kind = ?", (_kind(trial),)
            ).fetchone()
        return float(seconds / recorded * trial.budget.epochs) if recorded else None

    def entries(self, states: Sequence[State] = STATES) -> Iterator[JournalEntry]:
        """Iterate over the trials that are in some states, in the order of their planning."""
        return self._entries(f"state IN ({', '.join('?' * len(states))})", tuple(states))

    def _entries(self, condition: str, values: tuple[str, ...]) -> Iterator[JournalEntry]:
        with self._explaining():
            rows = self._connection.execute(
                "SELECT id, trial, state, message, worker FROM trials "
                f"WHERE {condition} ORDER BY place",
                values,
            ).fetchall()
        for identity, text, state, message, worker in rows:
            with self._explaining():
                found = list(_records(self._connection, identity))
            yield JournalEntry(
                _trial(text),
                state,
                message,
                worker,
                tuple(record for record, _ in found),
                tuple(made_on for _, made_on in found),
            )

    def _sum(self, column: str) -> Any:
        with self._explaining():
            return self._connection.execute(
                f"SELECT coalesce(sum({column}), 0) FROM trials"
            ).fetchone()[0]

    def _owned(self, trial_id: str, worker: str) -> int:
        """Return how many epochs a trial has recorded, if the worker owns it."""
        row = self._connection.execute(
            "SELECT state, worker, recorded FROM trials WHERE id = ?", (trial_id,)
        ).fetchone()
        if row is None:
            raise LostTrialError(f"the journal {self.path} has no trial {trial_id[:12]}")
        state, owner, recorded = row
        if (state, owner) != ("running", worker):
            who = f" with {owner}" if state == "running" else ""
            raise LostTrialError(
                f"trial {trial_id[:12]} does not belong to {worker} (any more): it is {state}{who}"
            )
        return int(recorded)

    def _explaining(self) -> Any:
        return _explaining(self.path, self._busy_timeout)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Run a transaction: everything is done or, after an error, nothing."""
        if self._read_only:
            raise JournalError(f"the journal {self.path} was opened for reading only")
        with self._explaining():
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                # SQLite has gone back by itself after some errors, a full disk for one.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise


def _finish(connection: sqlite3.Connection, identity: str, state: State, message: str) -> None:
    line = message.strip().partition("\n")[0][:_LONGEST_MESSAGE]
    connection.execute(
        "UPDATE trials SET state = ?, message = ? WHERE id = ?", (state, line, identity)
    )
    connection.execute("DELETE FROM checkpoints WHERE trial = ?", (identity,))


def _abandon(
    connection: sqlite3.Connection,
    condition: str,
    values: tuple[object, ...],
    reason: str,
    most_crashes: int,
) -> int:
    """Release trials whose workers died; fail those of which too many workers died."""
    rows = connection.execute(
        f"SELECT id, crashes + ? FROM trials WHERE {condition}", (bool(most_crashes), *values)
    ).fetchall()
    for identity, crashes in rows:
        connection.execute(
            "UPDATE trials SET state = 'planned', crashes = ? WHERE id = ?", (crashes, identity)
        )
        if most_crashes and crashes >= most_crashes:
            times = "once" if crashes == 1 else f"{crashes} times in a row"
            _finish(connection, identity, "failed", f"its worker died {times}: {reason}")
    return len(rows)


def _records(
    connection: sqlite3.Connection, identity: str
) -> Iterator[tuple[EpochRecord, Mapping[str, str]]]:
    rows = connection.execute(
        "SELECT record, made_on FROM records WHERE trial = ? ORDER BY epoch", (identity,)
    )
    for record, made_on in rows.fetchall():
        yield EpochRecord.from_json(json.loads(record)), json.loads(made_on)


def _trial(text: str) -> Trial:
    return Trial.from_json(json.loads(text))


def _trial_to_run(text: str) -> Trial | str:
    """Return a planned trial, or the reason why this version must not run it."""
    try:
        trial = _trial(text)
    except (BpeBenchError, KeyError, TypeError, ValueError) as error:
        return f"this version of bpe-bench cannot run it: {' '.join(str(error).split())}"
    if trial.code_version != CODE_VERSION:
        return (
            f"planned for version {trial.code_version} of the training code, this is version "
            f"{CODE_VERSION}; plan it again"
        )
    return trial


def _kind(trial: Trial) -> str:
    own = [trial.trainer] if trial.trainer else []
    alike = [trial.architecture.space, trial.budget.to_dict(), trial.dataset, trial.protocol]
    return _dumps([*alike, *own])


def _dumps(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
