"""The official NATS-Bench topology space: a directory or .tar of bz2 pickles.

``meta.pickle.pbz2`` lists all architectures, ``000011.pickle.pbz2`` is the record
of the one with index 11. Records are read one after the other and never written
to disk; a directory may hold only some of them, and the table then holds those.
See Dong, Liu, Musial, Gabrys: NATS-Bench, TPAMI 2021, arXiv 2009.00437.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from bpe_bench.errors import SourceFileError
from bpe_bench.tables.importers import Progress
from bpe_bench.tables.table import Provenance, Table

from ._nas_bench_201 import CITATION
from ._official_records import CAVEATS, _OfficialRecords, _parse_architectures
from ._pickles import load_records, unpack_bz2

FOLDER = "NATS-tss-v1_0-3ffb9-simple"
"""Name of the official directory."""
META = "meta.pickle.pbz2"

_RECORD = re.compile(r"(\d{1,6})\.pickle\.pbz2")
_MOST_PACKED = 2**24
"""Packed files of more bytes are refused; the official ones have about 100,000."""
_MOST_UNPACKED = 2**26
"""Likewise after unpacking; the largest official one has 1.4 million."""
_THREADS = 2
_AHEAD = 8
"""Files unpacked ahead of the one that is read."""


def read(source: Path, progress: Progress) -> Table:
    """Read the official directory, or a .tar of it.

    Raises
    ------
    SourceFileError
        If it is missing, damaged, dangerous, or not the official directory.
    """
    with _opened(source) as files:
        if META not in files.names:
            raise SourceFileError(
                f"{source} lacks {META}, the list of all architectures; it should be the official "
                f"directory {FOLDER} or a .tar of it"
            )
        records = _records(files)
        (_, meta), *_ = _contents(files, [META])
        texts = meta.get("meta_archs") if isinstance(meta, dict) else None
        if not isinstance(texts, list):
            raise SourceFileError(f"{META} of {source} has no list 'meta_archs' of architectures")
        architectures = _parse_architectures(texts, records, str(source))
        collected = _OfficialRecords(len(records))
        contents = _contents(files, records.values())
        for place, (index, (name, record)) in enumerate(zip(records, contents, strict=True)):
            collected.add(place, record, texts[index], f"{name} of {source}")
            progress((place + 1) / len(records))
    return collected.table(architectures, _provenance(source, len(texts)), CAVEATS, str(source))


class _Files(Protocol):
    """A directory or archive of small files."""

    @property
    def names(self) -> Iterable[str]:
        """Names of the files."""

    def read(self, name: str) -> bytes:
        """Return the content of a file."""


class _Directory:
    def __init__(self, path: Path) -> None:
        self._path = path
        self.names = sorted(file.name for file in path.iterdir() if file.is_file())

    def read(self, name: str) -> bytes:
        file = self._path / name
        _check_size(file.stat().st_size, name, self._path)
        return file.read_bytes()


class _Archive:
    """The files of a .tar, read in place; the name of their folder does not matter."""

    def __init__(self, archive: tarfile.TarFile, path: Path) -> None:
        self._archive, self._path = archive, path
        self._members: dict[str, tarfile.TarInfo] = {}
        folders = set()
        for member in archive:
            place = PurePosixPath(member.name)
            if place.is_absolute() or ".." in place.parts:
                self._refuse(member, "outside its folder")
            if member.isdir():
                continue
            if not member.isreg():
                self._refuse(member, "a link or a device")
            folders.add(place.parent)
            if len(folders) > 1 or len(place.parts) > 2:
                self._refuse(member, "outside its folder")
            if place.name in self._members:
                self._refuse(member, "there twice")
            self._members[place.name] = member

    @property
    def names(self) -> Iterable[str]:
        return self._members

    def read(self, name: str) -> bytes:
        member = self._members[name]
        _check_size(member.size, name, self._path)
        stream = self._archive.extractfile(member)
        return stream.read() if stream else b""

    def _refuse(self, member: tarfile.TarInfo, fault: str) -> None:
        raise SourceFileError(
            f"{self._path} is not safe to open: its member {member.name[:120]!r} is {fault}; "
            f"the official archive holds the files of one folder, {FOLDER}, and nothing else"
        )


@contextmanager
def _opened(source: Path) -> Iterator[_Files]:
    """Give the files of a source, without extracting any."""
    try:
        if source.is_dir():
            yield _Directory(source)
            return
        if not source.is_file():
            raise SourceFileError(
                f"no directory or file at {source}; it should be the official directory {FOLDER} "
                "or a .tar of it"
            )
        with tarfile.open(source, "r:") as archive:
            yield _Archive(archive, source)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise SourceFileError(
            f"cannot read {source} ({' '.join(str(error).split())}); it should be the official "
            f"directory {FOLDER} or an uncompressed .tar of it"
        ) from error


def _check_size(size: int, name: str, source: Path) -> None:
    if size > _MOST_PACKED:
        raise SourceFileError(
            f"{name} of {source} has {size} bytes, more than the {_MOST_PACKED} that any official "
            "file has; fetch it again"
        )


def _records(files: _Files) -> dict[int, str]:
    """Return the names of the records by the index of their architecture, ascending."""
    found: dict[int, str] = {}
    for name in files.names:
        match = _RECORD.fullmatch(name)
        if match and found.setdefault(int(match[1]), name) != name:
            raise SourceFileError(f"both {found[int(match[1])]} and {name} are record {match[1]}")
    return dict(sorted(found.items()))


def _contents(files: _Files, names: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """Give the content of the files, in order.

    Unpacking takes four fifths of the time and does not hold the interpreter's
    lock, so threads do it for the files that come next.
    """

    def unpacked(pending: tuple[str, Future[bytes]]) -> tuple[str, Any]:
        name, content = pending
        return name, load_records(io.BytesIO(content.result()), name)

    with ThreadPoolExecutor(_THREADS) as pool:
        waiting: deque[tuple[str, Future[bytes]]] = deque()
        for name in names:
            packed = files.read(name)
            waiting.append((name, pool.submit(unpack_bz2, packed, name, _MOST_UNPACKED)))
            if len(waiting) > _AHEAD:
                yield unpacked(waiting.popleft())
        while waiting:
            yield unpacked(waiting.popleft())


def _provenance(source: Path, networks: int) -> Provenance:
    return Provenance(
        source=f"NATS-Bench topology space, official records {FOLDER} (read from {source.name})",
        licence="MIT (NATS-Bench, Xuanyi Dong)",
        citation="Dong, Liu, Musial, Gabrys: NATS-Bench: Benchmarking NAS Algorithms for "
        f"Architecture Topology and Size, TPAMI 2021, arXiv 2009.00437; {CITATION}",
        builder="bpe_bench.tables.importers.nats_bench",
        builder_version=version("bpe-bench"),
    )
