"""Which tables exist, and how to open one by name or path.

Small tables are shipped with the package; others are built on the user's machine
(`bpe_bench.tables.fetching`) and lie in the cache, ``$BPE_BENCH_CACHE`` or the user's own.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from ..errors import SelectionError, TableFileError, unknown_name
from ..spaces import get_space
from .storage import read_table, verify_table
from .table import Table

_SHIPPED_PACKAGE = "bpe_bench_tables"
CACHE_VARIABLE = "BPE_BENCH_CACHE"


@dataclass(frozen=True)
class _SourceFile:
    """A published file that a table is built from."""

    name: str
    """File name."""
    url: str
    """Where it is published."""
    sha256: str
    """Its checksum."""
    path: str = ""
    """Its path below a mirror, if it is in a folder there."""


@dataclass(frozen=True)
class Promise:
    """A figure that a registered table promises; `correlation.regression` recomputes it."""

    figure: str
    """What is promised, a key of `bpe_bench.correlation.regression.FIGURES`."""
    expected: float
    tolerance: float
    source: str
    """Where the expected figure was published."""
    arguments: Mapping[str, Any]
    """What it is a figure of: statistic, budget, data set, ..."""

    @property
    def title(self) -> str:
        """The figure and its arguments, in one line."""
        said = (f"{name} {value}" for name, value in self.arguments.items())
        return ", ".join([self.figure, *said])


@dataclass(frozen=True)
class RegisteredTable:
    """A registered table."""

    name: str
    """The name under which `open_table` finds it."""
    file: str
    """File name of the table."""
    space: str
    """Its search space."""
    summary: str
    """What it holds, in one line."""
    content_sha256: str
    """SHA-256 of its content (`bpe_bench.tables.storage.content_hash`)."""
    licence: str
    """Licence of the figures."""
    sources: tuple[_SourceFile, ...]
    """What it is built from."""
    build: str = ""
    """The module of ``bpe_bench_tables.build`` that builds it."""
    packages: tuple[str, ...] = ()
    """Packages that building needs, as pip names them."""
    promises: tuple[Promise, ...] = ()
    """Figures that it promises."""

    def require_path(self) -> Path:
        """Return the path of the table.

        Raises
        ------
        TableFileError
            If it is not on this machine.
        """
        if self.path is None:
            raise TableFileError(
                f"table {self.name!r} is registered but not on this machine; get it with: "
                f"bpe-bench tables fetch {self.name}"
            )
        return self.path

    @property
    def path(self) -> Path | None:
        """Path of the table on this machine, None if it is not here."""
        for path in (self._shipped, _cache_directory() / self.file):
            if path.is_file():
                return path
        return None

    @property
    def place(self) -> Literal["shipped", "cached", "not here"]:
        """Whether the table came with the package, was fetched, or is not on this machine."""
        if self._shipped.is_file():
            return "shipped"
        return "not here" if self.path is None else "cached"

    @property
    def _shipped(self) -> Path:
        return Path(str(resources.files(_SHIPPED_PACKAGE))) / self.file


def _cache_directory() -> Path:
    """Return where fetched tables and their sources are kept."""
    import platformdirs

    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen) if chosen else platformdirs.user_cache_path("bpe-bench")


@cache
def entries() -> Mapping[str, RegisteredTable]:
    """Return the registered tables by name, as listed in ``tables/registry.toml``."""
    text = (resources.files(_SHIPPED_PACKAGE) / "registry.toml").read_text(encoding="utf-8")
    found = {}
    for name, fields in tomllib.loads(text)["table"].items():
        sources = tuple(_SourceFile(**source) for source in fields["sources"])
        found[name] = RegisteredTable(
            name=name,
            file=fields["file"],
            space=fields["space"],
            summary=fields["summary"],
            content_sha256=fields["content_sha256"],
            licence=fields["licence"],
            sources=sources,
            build=fields["build"],
            packages=tuple(fields.get("packages", ())),
            promises=tuple(map(_promise, fields.get("promises", ()))),
        )
    return MappingProxyType(found)


def _promise(fields: Mapping[str, Any]) -> Promise:
    fixed = ("figure", "expected", "tolerance", "source")
    arguments = {name: value for name, value in fields.items() if name not in fixed}
    return Promise(**{name: fields[name] for name in fixed}, arguments=arguments)


def table_path(name: str | os.PathLike[str]) -> Path:
    """Return the file of a table given by name or path.

    A name with a separator or the ending ``.h5`` is taken as a path.

    Raises
    ------
    UnknownNameError
        If no table has that name.
    TableFileError
        If the file is not there.
    """
    text = os.fspath(name)
    entry = entries().get(text)
    if entry is not None:
        return entry.require_path()
    path = Path(text)
    if path.is_file():
        return path
    if path.suffix in (".h5", ".hdf5") or path.name != text:
        raise TableFileError(
            f"no table file at {path}; give a path that exists or one of the registered tables: "
            f"{', '.join(entries())}"
        )
    raise unknown_name("table", text, entries(), hint="or give the path of a table file")


def open_table(name: str | os.PathLike[str]) -> Table:
    """Open a table by its registered name or its path.

    Raises
    ------
    UnknownNameError
        If no table has that name.
    TableFileError
        If the file is not a readable table.
    """
    return read_table(table_path(name))


TableLike = Table | str | os.PathLike[str]
"""A table: the object, its registered name, or its path."""


def given_table(table: TableLike, name: str = "") -> tuple[Table, str]:
    """Return a table that may be given by name or path, and what to call it.

    Parameters
    ----------
    table
        The object, its registered name, or its path.
    name
        What to call it; by default how it was given.

    Raises
    ------
    UnknownNameError
        If no table has that name.
    TableFileError
        If the file is not a readable table.
    """
    if isinstance(table, Table):
        return table, name
    return open_table(table), name or os.fspath(table)


def open_table_of(space: str | None, given: TableLike | None = None) -> tuple[str, Table]:
    """Open a table of a search space: the one named, or the first registered one on this machine.

    Without a space it is the one named, whatever its space.

    Returns
    -------
    str, Table
        The table's name, and the table.

    Raises
    ------
    UnknownNameError
        If there is no such space or table.
    SelectionError
        If the table is of another space, or no table is registered for this one.
    """
    if given is None:
        if space is None:
            raise SelectionError(
                "a space or a table is needed, found neither; name one, for instance --space darts"
            )
        get_space(space)
        registered = [entry for entry in entries().values() if entry.space == space]
        if not registered:
            raise SelectionError(
                f"no table is registered for space {space!r}; name one by its path"
            )
        here = [entry for entry in registered if entry.path is not None]
        given = (here or registered)[0].name
    table, name = given_table(given)
    if space not in (None, table.space):
        raise SelectionError(
            f"table {name!r} is of space {table.space!r}, not of {space!r}; choose another table "
            f"or use --space {table.space}"
        )
    return name, table


def verify_registered(name: str | os.PathLike[str]) -> str:
    """Verify a table's content against its own hash and, if it is registered, the registry's.

    Returns
    -------
    str
        The SHA-256 of the content.

    Raises
    ------
    TableFileError
        If the file is damaged, or has another content than the registered table.
    """
    found = verify_table(table_path(name))
    entry = entries().get(os.fspath(name))
    if entry is not None and found != entry.content_sha256:
        raise TableFileError(
            f"table {entry.name!r} is not the registered one: its content should have SHA-256 "
            f"{entry.content_sha256}, found {found}; "
            + ("install bpe-bench again" if entry.place == "shipped" else "fetch it again")
        )
    return found
