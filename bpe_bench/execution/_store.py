"""The file of a journal: an SQLite store, with one-line errors."""

from __future__ import annotations

import shlex
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from ..errors import JournalError

_APPLICATION_ID = 0x42504A31
"""``BPJ1`` in the file's head, which marks an SQLite store as a journal."""
_SCHEMA_VERSION = 1

_SCHEMA = f"""
CREATE TABLE trials (
    place INTEGER PRIMARY KEY AUTOINCREMENT,  -- trials are taken in this order
    id TEXT NOT NULL UNIQUE,                  -- SHA-256 of the content
    trial TEXT NOT NULL,                      -- JSON
    kind TEXT NOT NULL,                       -- what trials of about equal cost share, JSON
    epochs INTEGER NOT NULL,                  -- of the budget
    state TEXT NOT NULL DEFAULT 'planned',
    worker TEXT NOT NULL DEFAULT '',          -- who has it, or had it last
    heartbeat REAL NOT NULL DEFAULT 0,        -- seconds since 1970
    crashes INTEGER NOT NULL DEFAULT 0,       -- workers that died of it since its last record
    message TEXT NOT NULL DEFAULT '',
    recorded INTEGER NOT NULL DEFAULT 0,      -- epochs, as counted in records
    seconds REAL NOT NULL DEFAULT 0           -- device seconds, as added up in records
);
CREATE INDEX trials_by_state ON trials (state, place);
CREATE TABLE records (
    trial TEXT NOT NULL REFERENCES trials (id),
    epoch INTEGER NOT NULL,
    record TEXT NOT NULL,                     -- JSON
    made_on TEXT NOT NULL,                    -- JSON: device and versions
    PRIMARY KEY (trial, epoch)
);
CREATE TABLE checkpoints (
    trial TEXT PRIMARY KEY REFERENCES trials (id),
    content BLOB NOT NULL
);
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {_SCHEMA_VERSION};
"""


def _connect(path: Path, *, read_only: bool, busy_timeout: float) -> sqlite3.Connection:
    """Open a journal; make it if it does not exist, unless that is not allowed.

    Raises
    ------
    JournalError
        If the file is missing, is not a journal, or cannot be read or written.
    """
    if not path.parent.is_dir():
        raise JournalError(f"no folder {path.parent} for the journal {path}")
    if path.is_dir():
        raise JournalError(f"{path} is a folder; a journal is a file")
    if read_only and not path.exists():
        raise JournalError(
            f"no journal at {path}; `bpe-bench train --store {shlex.quote(str(path))}` makes one"
        )
    with _explaining(path, busy_timeout):
        connection = _connect_once(path, "ro" if read_only else "rwc", busy_timeout)
        try:
            empty = _is_empty(connection, path)
            if not read_only:
                _prepare(connection, path, busy_timeout, empty=empty)
        except BaseException as error:
            connection.close()
            if not (read_only and _needs_no_log(error, path)):
                raise
            # Where nothing can be written, SQLite cannot keep the log's index beside the
            # file; without a log there is nothing that the index would be for.
            connection = _connect_once(path, "ro&immutable=1", busy_timeout)
            empty = _is_empty(connection, path)
    if read_only and empty:
        connection.close()
        raise JournalError(f"{path} is empty, not a journal of trainings")
    return connection


def _connect_once(path: Path, mode: str, busy_timeout: float) -> sqlite3.Connection:
    address = f"file:{quote(str(path.absolute()))}?mode={mode}"
    return sqlite3.connect(address, uri=True, isolation_level=None, timeout=busy_timeout)


def _needs_no_log(error: BaseException, path: Path) -> bool:
    log = path.with_name(f"{path.name}-wal")
    return (
        isinstance(error, sqlite3.OperationalError)
        and error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
        and not (log.exists() and log.stat().st_size)
    )


def _is_empty(connection: sqlite3.Connection, path: Path) -> bool:
    """Return whether a store is still empty; refuse a store that is not a journal."""
    # In this order: another process may be making both at this moment, in one transaction.
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    application = _number(connection, "application_id")
    if application != _APPLICATION_ID:
        if not application and not tables:
            return True
        raise JournalError(f"{path} is an SQLite store, but not a journal")
    version = _number(connection, "user_version")
    if version > _SCHEMA_VERSION:
        raise JournalError(
            f"{path} is a journal of version {version}, this bpe-bench reads up to version "
            f"{_SCHEMA_VERSION}; use a newer bpe-bench"
        )
    return False


def _prepare(
    connection: sqlite3.Connection, path: Path, busy_timeout: float, *, empty: bool
) -> None:
    """Make the tables if they are missing, and check that the store can be written."""
    # Every commit reaches the disk, so that not even a power cut takes an epoch back.
    connection.execute("PRAGMA synchronous = FULL")
    if empty:
        _use_log(connection, busy_timeout)
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have been faster.
        if empty and _is_empty(connection, path):
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _use_log(connection: sqlite3.Connection, busy_timeout: float) -> None:
    """Switch to a write-ahead log, waiting for other processes, as SQLite does not wait here."""
    until = time.monotonic() + busy_timeout
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])


@contextmanager
def _explaining(path: Path, busy_timeout: float) -> Iterator[None]:
    """Turn an error of SQLite into one line that says what to do.

    Raises
    ------
    JournalError
        In place of any error of SQLite.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise JournalError(_explanation(error, path, busy_timeout)) from error


def _explanation(error: sqlite3.Error, path: Path, busy_timeout: float) -> str:
    code = getattr(error, "sqlite_errorcode", None)
    match None if code is None else code & 0xFF:
        case sqlite3.SQLITE_NOTADB:
            return f"{path} is not a journal: it is not an SQLite file"
        case sqlite3.SQLITE_CORRUPT:
            return f"the journal {path} is damaged ({error}); restore it from a copy"
        case sqlite3.SQLITE_FULL:
            return f"no space left for the journal {path}; free some and run again"
        case sqlite3.SQLITE_READONLY:
            return f"cannot write to the journal {path}: it, or its folder, is read-only"
        case sqlite3.SQLITE_CANTOPEN:
            return f"cannot open {path}, or write beside it: check the rights on it and its folder"
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return (
                f"another process has kept the journal {path} locked for {busy_timeout:g} s; "
                "end it or try again"
            )
        case sqlite3.SQLITE_IOERR:
            return (
                f"the journal {path} could not be read or written ({error}); check the disk and "
                "its free space"
            )
    return f"the journal {path} does not respond as expected: {error}"
