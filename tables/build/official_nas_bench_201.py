"""The official NAS-Bench-201 file, ``NAS-Bench-201-v1_1-096897.pth`` or v1_0.

It is one pickle of all records, written by ``torch.save``: in torch's old format (pickles one
after the other) or its newer one (a zip archive). Both are read without torch. A single pickle
cannot be read in parts, so all of it is in memory at once, as with the official package;
NATS-Bench's directory has the same records in single files.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

from bpe_bench.errors import SourceFileError
from bpe_bench.tables.importers import Progress
from bpe_bench.tables.table import Provenance, Table

from ._nas_bench_201 import CITATION
from ._official_records import CAVEATS, _OfficialRecords, _parse_architectures
from ._pickles import load_records

MEMORY_PER_BYTE = 6
"""Bytes of memory that a byte of the file needs: 28 GB for the official 4.7 GB."""

# The first two pickles of torch's old format (torch/serialization.py).
_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_ZIP = b"PK\x03\x04"
_KEYS = ("meta_archs", "arch2infos", "evaluated_indexes")
_LOADING = 0.8
"""Share of the time that unpickling takes."""


def _available_memory() -> int | None:
    """Return the bytes of memory that are free for this process, None if unknown."""
    found = []
    for file, read in (
        (Path("/proc/meminfo"), _available_of_machine),
        (Path("/sys/fs/cgroup/memory.max"), _available_of_group),
    ):
        try:
            found.append(read(file))
        except (OSError, ValueError, LookupError):
            continue
    return min(found, default=None)


def announcement(source: Path, available: Callable[[], int | None] = _available_memory) -> str:
    """Return a warning of the memory that reading a file will need."""
    free = available()
    have = "" if free is None else f" ({_gigabytes(free)} available)"
    return f"reading {source.name} needs about {_gigabytes(_memory_needed(source))} of memory{have}"


def _memory_needed(source: Path) -> int:
    """Return about how many bytes of memory reading a file needs."""
    try:
        return MEMORY_PER_BYTE * source.stat().st_size
    except OSError as error:
        raise SourceFileError(
            f"no file at {source}; it should be the official NAS-Bench-201-v1_1-096897.pth or v1_0"
        ) from error


def read(
    source: Path,
    progress: Progress,
    *,
    available: Callable[[], int | None] = _available_memory,
) -> Table:
    """Read the official file.

    Raises
    ------
    SourceFileError
        If it is missing, damaged, dangerous, not the official file, or needs more
        memory than there is.
    """
    _check_memory(source, available())
    with _explaining(source):
        content = _load(source, lambda share: progress(_LOADING * share))
    missing = [key for key in _KEYS if not isinstance(content, dict) or key not in content]
    if missing or not isinstance(content["arch2infos"], dict):
        raise SourceFileError(
            f"{source} is not the official NAS-Bench-201 file: it should be a dictionary with "
            f"{', '.join(_KEYS)}, and lacks {', '.join(missing) or 'records under arch2infos'}"
        )
    texts, records = content["meta_archs"], content["arch2infos"]
    if not all(isinstance(index, int) for index in records):
        raise SourceFileError(
            f"{source} is not the official NAS-Bench-201 file: its records should be numbered"
        )
    indices = sorted(records)
    architectures = _parse_architectures(texts, indices, str(source))
    collected = _OfficialRecords(len(indices))
    for place, index in enumerate(indices):
        # Taken out, so that memory falls while the arrays fill.
        collected.add(place, records.pop(index), texts[index], f"record {index:06d} of {source}")
        progress(_LOADING + (1 - _LOADING) * (place + 1) / len(indices))
    return collected.table(architectures, _provenance(source), CAVEATS, str(source))


def _check_memory(source: Path, available: int | None) -> None:
    needed = _memory_needed(source)
    if available is not None and available < needed:
        raise SourceFileError(
            f"reading {source} needs about {_gigabytes(needed)} of memory, as with the official "
            f"package, and {_gigabytes(available)} are available; use a larger machine, or "
            "NATS-Bench's directory NATS-tss-v1_0-3ffb9-simple (kind nats-bench): the same "
            "records, read one by one in less than 2 GB"
        )


def _load(source: Path, progress: Progress) -> Any:
    with source.open("rb") as file:
        if file.read(4) == _ZIP:
            with zipfile.ZipFile(file) as archive:
                return _load_zip(archive, source, progress)
        file.seek(0)
        return _load_legacy(_watched(file, source.stat().st_size, progress), str(source))


def _load_zip(archive: zipfile.ZipFile, source: Path, progress: Progress) -> Any:
    found = [entry for entry in archive.infolist() if entry.filename.endswith("/data.pkl")]
    if len(found) != 1:
        raise SourceFileError(
            f"{source} is a zip archive but not one of torch: it should have one data.pkl, "
            f"found {len(found)}"
        )
    # torch never compresses; compressed data could be of any size.
    if found[0].compress_type != zipfile.ZIP_STORED:
        raise SourceFileError(f"{source} is not a file of torch: its data.pkl is compressed")
    with archive.open(found[0]) as entry:
        stream = _watched(entry, found[0].file_size, progress)
        content = load_records(stream, str(source))
        stream.read(1)  # at the end of the entry its checksum is compared
    return content


def _load_legacy(stream: io.BufferedReader, name: str) -> Any:
    if load_records(stream, name) != _MAGIC or load_records(stream, name) != _PROTOCOL:
        raise SourceFileError(
            f"{name} was not written by torch.save; it should be the official "
            "NAS-Bench-201-v1_1-096897.pth or v1_0"
        )
    load_records(stream, name)  # sizes of C types on the machine that wrote it
    content = load_records(stream, name)
    load_records(stream, name)  # keys of tensors; there only if the file is whole
    return content


class _Watched(io.RawIOBase):
    """A stream that reports how much of it was read."""

    def __init__(self, stream: IO[bytes], size: int, progress: Progress) -> None:
        self._stream, self._size, self._progress, self._done = stream, size, progress, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        self._done += len(data)
        self._progress(min(self._done / max(self._size, 1), 1.0))
        return len(data)


def _watched(stream: IO[bytes], size: int, progress: Progress) -> io.BufferedReader:
    return io.BufferedReader(_Watched(stream, size, progress), 2**20)


@contextmanager
def _explaining(source: Path) -> Iterator[None]:
    """Turn the errors that a damaged archive causes into one line."""
    try:
        yield
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise SourceFileError(
            f"{source} is damaged ({' '.join(str(error).split())}); fetch it again"
        ) from error


def _available_of_machine(file: Path) -> int:
    lines = dict(line.split(":", 1) for line in file.read_text().splitlines() if ":" in line)
    return int(lines["MemAvailable"].split()[0]) * 1024


def _available_of_group(file: Path) -> int:
    """Return the memory that a container or a cluster's job may still use (cgroup, version 2)."""
    used = int((file.parent / "memory.current").read_text())
    lines = (file.parent / "memory.stat").read_text().splitlines()
    # Cached files count as used, but make room when it is needed.
    cached = int(dict(line.split() for line in lines)["inactive_file"])
    return max(0, int(file.read_text()) - used + cached)


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"


def _provenance(source: Path) -> Provenance:
    return Provenance(
        source=f"NAS-Bench-201, official file {source.name}",
        licence="MIT (NAS-Bench-201, Xuanyi Dong)",
        citation=CITATION,
        builder="bpe_bench.tables.importers.nas_bench_201",
        builder_version=version("bpe-bench"),
    )
