"""Registered tables that are not shipped: download the sources, build, keep in the cache.

Whatever happens on the way, a file under its final name is whole: pooch renames downloads
into place after their hash has been compared, and so are tables.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import logging
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from ..errors import OptionalDependencyError, SourceFileError, TableFileError, unknown_name
from ..files import reason_of
from .catalog import (
    _SHIPPED_PACKAGE,
    RegisteredTable,
    _cache_directory,
    _SourceFile,
    entries,
    verify_registered,
)
from .storage import content_hash, verify_table, write_table
from .table import Table

_Progress = Callable[[float], None]
"""Called with the share of the work that is done."""
_Downloader = Callable[[str, str, Any], None]
"""What pooch calls with the URL, the file to write, and an object that is not needed here."""

_SOURCES_FOLDER = "sources"
_TIMEOUT = 30.0
"""Seconds without an answer after which a server counts as unreachable."""
_AT_ONCE = 2**18
_GONE = (404, 410)
_MIRROR_HINT = "take the files from a folder or another host: --mirror DIR_OR_URL"
_DOWNLOADS = 0.8
"""Share of the work that counts as downloading; the rest is building."""
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)\s*(?:==\s*([^,;\s]+))?")


def fetch(
    name: str,
    *,
    mirror: str | Path | None = None,
    progress: _Progress | None = None,
    cache: str | Path | None = None,
) -> Path:
    """Return the file of a registered table in the cache; build it if it is not there.

    Parameters
    ----------
    name
        A registered table.
    mirror
        A folder or a URL with the sources, instead of where they are published. It is searched
        for a source's path in the registry and for its name; a folder is searched with all
        folders below it.
    progress
        Called with the share of the work that is done.
    cache
        The folder to keep everything in; by default that of the catalog.

    Raises
    ------
    UnknownNameError
        If there is no such table.
    OptionalDependencyError
        If a package that building needs is not installed.
    SourceFileError
        If a source is not available or is not the published one.
    TableFileError
        If the built table is not the registered one, or cannot be written.
    """
    if name not in entries():
        raise unknown_name("table", name, entries())
    entry, tell = entries()[name], progress or (lambda share: None)
    if not entry.sources:
        # Made by this project: it ships, and there is nothing else to get it from.
        verify_registered(name)
        return entry.require_path()
    folder = Path(cache or _cache_directory())
    told = None if mirror is None else str(mirror)
    target = folder / entry.file
    with _locked(folder):
        if _intact(target, entry):
            return target
        _check_packages(entry)
        sources = folder / _SOURCES_FOLDER
        step = _DOWNLOADS / len(entry.sources)
        for place, source in enumerate(entry.sources):
            _fetch_source(source, sources, told, _part_of(tell, place * step, step))
        _write(_build(entry, sources), entry, target)
    tell(1.0)
    return target


def _part_of(progress: _Progress, start: float, width: float) -> _Progress:
    return lambda share: progress(start + width * share)


def _intact(target: Path, entry: RegisteredTable) -> bool:
    """Return whether the table is in the cache and intact."""
    with suppress(TableFileError):
        return target.is_file() and verify_table(target) == entry.content_sha256
    return False


def _check_packages(entry: RegisteredTable) -> None:
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


def _fetch_source(
    source: _SourceFile, folder: Path, mirror: str | None, progress: _Progress
) -> None:
    """Put a source into the cache, unless it is there."""
    import pooch

    if mirror is None:
        download = _from_urls([source.url], source, progress)
    elif urlsplit(mirror).scheme in ("http", "https"):
        base = mirror.rstrip("/")
        urls = [f"{base}/{quote(path)}" for path in (source.path, source.name) if path]
        download = _from_urls(urls, source, progress, mirror)
    else:
        download = _from_folder(Path(mirror), source)
    with _silent(pooch.get_logger()):
        try:
            pooch.retrieve(
                source.url,
                known_hash=f"sha256:{source.sha256}",
                fname=source.name,
                path=folder,
                downloader=download,
            )
        except OSError as error:
            raise SourceFileError(
                f"cannot write {folder / source.name}: {reason_of(error)}; set BPE_BENCH_CACHE to "
                "a folder that can be written"
            ) from error
    progress(1.0)


@dataclass
class _Bar:
    """What pooch tells how far a download is."""

    progress: _Progress
    total: int = 0
    done: int = 0

    def update(self, size: int) -> None:
        self.done += size
        if self.total:
            self.progress(min(1.0, self.done / self.total))

    def reset(self) -> None:
        self.done = 0

    def close(self) -> None:
        pass


def _from_urls(
    urls: Sequence[str], source: _SourceFile, progress: _Progress, mirror: str | None = None
) -> _Downloader:
    """Return a downloader for pooch that tries URLs in turn until one has the file."""
    import pooch
    import requests

    def download(_: str, output: str, own: Any) -> None:
        get = pooch.HTTPDownloader(_Bar(progress), _AT_ONCE, timeout=_TIMEOUT)
        for url in urls:
            try:
                get(url, output, own)
            except requests.HTTPError as error:
                if error.response.status_code in _GONE:
                    continue
                raise SourceFileError(
                    f"{url} answers {error.response.status_code} {error.response.reason}; "
                    f"{_MIRROR_HINT}"
                ) from error
            except requests.RequestException as error:
                raise _failed(error, url, source, mirror) from error
            _check(Path(output), source, url)
            return
        if mirror is None:
            raise SourceFileError(f"{source.name} is no longer at {urls[0]}; {_MIRROR_HINT}")
        raise SourceFileError(
            f"mirror {mirror} has no {source.name}; looked for {' and '.join(urls)}"
        )

    return download


def _failed(
    error: BaseException, url: str, source: _SourceFile, mirror: str | None
) -> SourceFileError:
    """Say why a download failed, by the error that others were raised from."""
    while error.__context__ is not None:
        error = error.__context__
    what = f"the mirror {mirror}" if mirror else urlsplit(url).hostname
    hint = "give another: --mirror DIR_OR_URL" if mirror else _MIRROR_HINT
    return SourceFileError(
        f"cannot download {source.name} from {what} ({reason_of(error)}); run again, or {hint}"
    )


def _from_folder(mirror: Path, source: _SourceFile) -> _Downloader:
    """Return a downloader for pooch that copies from a folder."""
    import pooch

    def copy(_: str, output: str, __: Any) -> None:
        if not mirror.is_dir():
            raise SourceFileError(
                f"no mirror at {mirror}; give a folder, or a URL that begins with http"
            )
        direct = [mirror / path for path in (source.path, source.name) if path]
        found = [path for path in direct if path.is_file()][:1]
        found = found or [path for path in sorted(mirror.rglob(source.name)) if path.is_file()]
        if not found:
            raise SourceFileError(
                f"mirror {mirror} has no {source.name}; it is published at {source.url}"
            )
        try:
            good = (path for path in found if pooch.file_hash(str(path)) == source.sha256)
            path = next(good, found[0])
            shutil.copyfile(path, output)
        except OSError as error:
            raise SourceFileError(
                f"cannot copy {source.name} from {mirror}: {reason_of(error)}"
            ) from error
        _check(Path(output), source, str(path))

    return copy


def _check(file: Path, source: _SourceFile, place: str) -> None:
    import pooch

    found = pooch.file_hash(str(file))
    if found != source.sha256:
        raise SourceFileError(
            f"{place} is not the published {source.name}: its SHA-256 should be {source.sha256}, "
            f"found {found}; it is not kept"
        )


def _build(entry: RegisteredTable, sources: Path) -> Table:
    module = importlib.import_module(f"{_SHIPPED_PACKAGE}.build.{entry.build}")
    table = module.build(sources)
    assert isinstance(table, Table)
    return table


def _write(table: Table, entry: RegisteredTable, target: Path) -> None:
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

    Without locks (Windows, some network file systems) two processes may download the same file;
    renaming keeps it complete.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("a")
    except OSError as error:
        raise SourceFileError(
            f"cannot write {folder}: {reason_of(error)}; set BPE_BENCH_CACHE to a folder that can "
            "be written"
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
