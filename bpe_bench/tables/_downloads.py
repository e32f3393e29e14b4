"""Downloaders for pooch: over HTTP, continuing what was interrupted, and from a folder.

pooch calls a downloader with a temporary file, compares the checksum and renames.
It cannot resume; here a download goes to ``NAME.part`` beside its target, which
stays when the connection breaks and is continued with a ``Range`` request.
"""

from __future__ import annotations

import http.client
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..errors import SourceFileError
from .catalog import SourceFile

Progress = Callable[[float], None]
Downloader = Callable[[str, str, Any], None]
"""What pooch calls: the URL, the file to write, and an object that is not needed here."""

TIMEOUT = 30.0
"""Seconds without an answer after which a server counts as unreachable."""
_AT_ONCE = 2**18
_MIRROR_HINT = "take the files from a folder or another host: --mirror DIR_OR_URL"


class _NotThereError(Exception):
    """A server does not have the file."""


def downloading(
    urls: Sequence[str],
    source: SourceFile,
    target: Path,
    progress: Progress,
    *,
    mirror: str | None = None,
) -> Downloader:
    """Return a downloader that tries URLs in turn until one has the file.

    It raises `SourceFileError` with one line if none has it, none can be reached,
    the connection breaks, or the checksum is wrong.
    """

    def download(_: str, output: str, __: Any) -> None:
        part = target.with_name(f"{target.name}.part")
        for url in urls:
            try:
                _download(url, part, source, progress, mirror)
            except _NotThereError:
                continue
            _check(part, source, url)
            part.replace(output)
            return
        if mirror is None:
            raise SourceFileError(f"{source.name} is no longer at {urls[0]}; {_MIRROR_HINT}")
        raise SourceFileError(
            f"mirror {mirror} has no {source.name}; looked for {' and '.join(urls)}"
        )

    return download


def copying(mirror: Path, source: SourceFile, progress: Progress) -> Downloader:
    """Return a downloader that copies from a folder; otherwise as `downloading`."""
    import pooch

    def copy(_: str, output: str, __: Any) -> None:
        if not mirror.is_dir():
            raise SourceFileError(
                f"no mirror at {mirror}; give a folder, or a URL that begins with http"
            )
        candidates = list(dict.fromkeys(_candidates(mirror, source)))
        if not candidates:
            raise SourceFileError(
                f"mirror {mirror} has no {source.name}; it is published at {source.url}"
            )
        try:
            found = {path: pooch.file_hash(str(path)) for path in candidates}
            good = [path for path, digest in found.items() if digest == source.sha256]
            if not good:
                raise SourceFileError(_mismatch(str(candidates[0]), source, found[candidates[0]]))
            shutil.copyfile(good[0], output)
        except OSError as error:
            raise SourceFileError(
                f"cannot copy {source.name} from {mirror}: {error.strerror}"
            ) from error
        progress(1.0)

    return copy


def _candidates(mirror: Path, source: SourceFile) -> Iterator[Path]:
    for path in (source.path, source.name):
        if path and (mirror / path).is_file():
            yield mirror / path
            return
    yield from (path for path in sorted(mirror.rglob(source.name)) if path.is_file())


def _download(
    url: str, part: Path, source: SourceFile, progress: Progress, mirror: str | None
) -> None:
    """Complete the partial file from a URL."""
    start = part.stat().st_size if part.is_file() else 0
    headers = {"User-Agent": "bpe-bench"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            _save(answer, url, part, start, progress)
    except urllib.error.HTTPError as error:
        with error:
            _refused(error, url, part, start)
        # The part is not the beginning of this file: once more, without it.
        if start and not part.is_file():
            _download(url, part, source, progress, mirror)
    except (
        urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError, ValueError
    ) as error:  # fmt: skip
        if isinstance(error, SourceFileError):
            raise
        reason = getattr(error, "reason", None) or error
        text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
        what = f"the mirror {mirror}" if mirror else urlsplit(url).hostname
        hint = (
            "give another: --mirror DIR_OR_URL" if mirror else f"without internet, {_MIRROR_HINT}"
        )
        raise SourceFileError(
            f"cannot reach {what} for {source.name} ({' '.join(text.split())}); {hint}"
        ) from error


def _refused(error: urllib.error.HTTPError, url: str, part: Path, start: int) -> None:
    """Handle an answer that is none of success; return if the part is whole or gone."""
    if error.code in (http.HTTPStatus.NOT_FOUND, http.HTTPStatus.GONE):
        raise _NotThereError
    if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        raise SourceFileError(f"{url} answers {error.code} {error.reason}; {_MIRROR_HINT}")
    total = re.fullmatch(r"bytes \*/(\d+)", error.headers.get("Content-Range", ""))
    if total is None or int(total[1]) != start:
        part.unlink()


def _save(
    answer: http.client.HTTPResponse, url: str, part: Path, start: int, progress: Progress
) -> None:
    """Write an answer's body behind what is there, or over it if the server sends all again."""
    continued = answer.headers.get("Content-Range", "").startswith(f"bytes {start}-")
    if answer.status != http.HTTPStatus.PARTIAL_CONTENT or not continued:
        start = 0
    length = answer.headers.get("Content-Length")
    total, done = (start + int(length) if length else None), start
    reason = "the connection was closed"
    part.parent.mkdir(parents=True, exist_ok=True)
    with part.open("ab" if start else "wb") as file:
        while True:
            try:
                data = answer.read(_AT_ONCE)
            except (OSError, http.client.HTTPException) as error:
                reason, data = str(error) or type(error).__name__, b""
                total = total or done + 1  # it was to go on, however far
            if not data:
                break
            file.write(data)
            done += len(data)
            progress(min(1.0, done / total) if total else 0.0)
    if total is not None and done < total:
        wanted = f" of {total}" if length else ""
        raise SourceFileError(
            f"download of {url} was interrupted after {done}{wanted} bytes ({reason}); what has "
            f"come is kept in {part}: run the same command again to go on from there"
        )


def _check(part: Path, source: SourceFile, url: str) -> None:
    """Compare the checksum; a file that is not the published one is of no use and is removed."""
    import pooch

    found = pooch.file_hash(str(part))
    if found != source.sha256:
        part.unlink()
        raise SourceFileError(f"{_mismatch(url, source, found)}; what was downloaded is removed")


def _mismatch(place: str, source: SourceFile, found: str) -> str:
    return (
        f"{place} is not the published {source.name}: its SHA-256 should be {source.sha256}, "
        f"found {found}"
    )
