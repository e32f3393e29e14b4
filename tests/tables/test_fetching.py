"""Fetching a registered table: from where, and what happens when something goes wrong.

Servers listen on loopback addresses only.
"""

import hashlib
import http.server
import multiprocessing
import socket
import sys
import threading
import types
from dataclasses import dataclass, field, replace

import pytest

from bpe_bench.errors import (
    OptionalDependencyError,
    SourceFileError,
    TableFileError,
    UnknownNameError,
)
from bpe_bench.tables import catalog, fetching
from bpe_bench.tables.catalog import RegisteredTable, _SourceFile, entries
from bpe_bench.tables.fetching import fetch
from bpe_bench.tables.storage import content_hash, verify_table, write_table

FILES = {"deep/one.bin": bytes(range(256)) * 4096, "two.bin": b"two"}
"""By path under a mirror: a megabyte, and three bytes."""


def sha256(data):
    return hashlib.sha256(data).hexdigest()


@dataclass
class Server:
    """Files over HTTP on a loopback address, and what was asked for."""

    url: str
    files: dict[str, bytes] = field(default_factory=lambda: dict(FILES))
    asked: list[str] = field(default_factory=list)
    """Path of every request."""
    cut: int | None = None
    """After how many bytes of a body the connection is closed."""
    status: int | None = None
    """What to answer instead."""


@pytest.fixture
def server(monkeypatch):
    """A server that is told how to misbehave."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            path = self.path.lstrip("/")
            state.asked.append(path)
            if state.status or path not in state.files:
                self.send_error(state.status or 404)
                return
            data = state.files[path]
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: state.cut])

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        state = Server(f"http://127.0.0.1:{running.server_port}")
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield state
        running.shutdown()
        thread.join()


@pytest.fixture
def entry(monkeypatch, golden, server):
    """A registered table ``tiny`` that the server's two files make."""

    def build(directory):
        said = ", ".join(sha256((directory / path.split("/")[-1]).read_bytes()) for path in FILES)
        return replace(golden, caveats=(said,))

    module = types.ModuleType("bpe_bench_tables.build.tiny")
    module.build = build
    monkeypatch.setitem(sys.modules, module.__name__, module)
    sources = tuple(
        _SourceFile(path.split("/")[-1], f"{server.url}/{path}", sha256(data), path)
        for path, data in FILES.items()
    )
    expected = replace(golden, caveats=(", ".join(sha256(data) for data in FILES.values()),))
    tiny = RegisteredTable(
        "tiny", "tiny.h5", "darts", "made up", content_hash(expected), "CC0-1.0", sources, "tiny"
    )
    registered = {**entries(), "tiny": tiny}
    for module in (catalog, fetching):
        monkeypatch.setattr(module, "entries", lambda: registered)

    def change(**values):
        registered["tiny"] = replace(registered["tiny"], **values)
        return registered["tiny"]

    return change


@pytest.fixture
def cache(tmp_path, monkeypatch, entry):
    """The cache, empty."""
    monkeypatch.setenv(catalog.CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def refused():
    """Return what fetches a table that cannot be had, and gives the one line that says why."""

    def run(kind=SourceFileError, **options):
        with pytest.raises(kind) as caught:
            fetch("tiny", **options)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return run


def kept(cache):
    return sorted(p.relative_to(cache).as_posix() for p in cache.rglob("*") if p.is_file())


WHOLE = [".lock", "sources/one.bin", "sources/two.bin", "tiny.h5"]


def test_a_table_is_downloaded_built_and_found_by_its_name(cache, server, capfd, entry):
    shares = []
    assert entry().path is None
    assert entry().place == "not here"
    path = fetch("tiny", progress=shares.append)
    assert path == cache / "tiny.h5"
    assert verify_table(path) == entry().content_sha256
    assert kept(cache) == WHOLE
    assert server.asked == ["deep/one.bin", "two.bin"]
    assert shares == sorted(shares)
    assert len(shares) > 4
    assert shares[-1] == 1.0
    assert entry().place == "cached"
    assert catalog.table_path("tiny") == path
    assert catalog.open_table("tiny").caveats
    assert capfd.readouterr() == ("", "")  # a library does not print


def test_what_is_cached_and_intact_is_not_downloaded_again(cache, server):
    path = fetch("tiny")
    server.asked.clear()
    before = path.stat()
    assert fetch("tiny", mirror="/nowhere") == path
    after = path.stat()  # but for the time of the last access, which reading may change
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    path.unlink()
    fetch("tiny")  # from the sources that are there
    assert server.asked == []


def test_what_is_cached_and_damaged_is_made_again(cache, server, golden, entry):
    path = fetch("tiny")
    write_table(golden, path)
    (cache / "sources" / "two.bin").write_bytes(b"tow")
    server.asked.clear()
    assert verify_table(fetch("tiny")) == entry().content_sha256
    assert server.asked == ["two.bin"]
    path.write_bytes(path.read_bytes()[:100])
    assert verify_table(fetch("tiny")) == entry().content_sha256


def test_another_cache(cache, tmp_path):
    assert fetch("tiny", cache=tmp_path / "other") == tmp_path / "other" / "tiny.h5"
    assert not cache.exists()


def test_the_cache_is_the_users_own_by_default(monkeypatch):
    import platformdirs

    monkeypatch.delenv(catalog.CACHE_VARIABLE, raising=False)
    assert catalog._cache_directory() == platformdirs.user_cache_path("bpe-bench")


@pytest.mark.parametrize("layout", [{p: p for p in FILES}, {p: p.split("/")[-1] for p in FILES},
                                    {p: f"some/where/{p.split('/')[-1]}" for p in FILES}],
                         ids=["by path", "by name", "anywhere below"])  # fmt: skip
def test_a_folder_as_mirror(cache, server, tmp_path, layout, entry):
    for path, place in layout.items():
        (tmp_path / "mirror" / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mirror" / place).write_bytes(FILES[path])
    assert verify_table(fetch("tiny", mirror=str(tmp_path / "mirror"))) == entry().content_sha256
    assert server.asked == []
    assert kept(cache) == WHOLE


def test_of_several_files_of_a_name_the_right_one_is_taken(cache, tmp_path):
    for folder, data in (("a", b"not it"), ("b", FILES["deep/one.bin"]), ("c", b"nor this")):
        (tmp_path / "mirror" / folder).mkdir(parents=True)
        (tmp_path / "mirror" / folder / "one.bin").write_bytes(data)
    (tmp_path / "mirror" / "two.bin").write_bytes(FILES["two.bin"])
    fetch("tiny", mirror=str(tmp_path / "mirror"))
    assert kept(cache) == WHOLE


@pytest.mark.parametrize("by_name", [False, True])
def test_a_url_as_mirror(cache, server, by_name, entry):
    entry(sources=tuple(replace(s, url="http://127.0.0.1:9/x") for s in entry().sources))
    server.files = {f"m/{p.split('/')[-1] if by_name else p}": d for p, d in FILES.items()}
    fetch("tiny", mirror=f"{server.url}/m/")
    assert kept(cache) == WHOLE
    assert server.asked == (
        ["m/deep/one.bin", "m/one.bin", "m/two.bin"] if by_name else [*server.files]
    )


def test_an_interrupted_download_leaves_nothing_and_runs_again(cache, server, refused):
    server.cut = 300_000
    said = refused()
    assert said.startswith("cannot download one.bin from 127.0.0.1 (IncompleteRead(300000 bytes")
    assert said.endswith(
        "; run again, or take the files from a folder or another host: --mirror DIR_OR_URL"
    )
    assert kept(cache) == [".lock"]
    server.cut = None
    fetch("tiny")
    assert kept(cache) == WHOLE


def test_a_wrong_checksum(cache, server, refused):
    server.files["two.bin"] = b"tow"
    expected, found = sha256(b"two"), sha256(b"tow")
    assert refused() == (
        f"{server.url}/two.bin is not the published two.bin: its SHA-256 should be {expected}, "
        f"found {found}; it is not kept"
    )
    assert kept(cache) == [".lock", "sources/one.bin"]


def test_a_wrong_checksum_in_a_folder_leaves_the_folder_alone(cache, tmp_path, refused):
    wrong = tmp_path / "mirror" / "one.bin"
    wrong.parent.mkdir()
    wrong.write_bytes(b"not it")
    assert refused(mirror=str(tmp_path / "mirror")) == (
        f"{wrong} is not the published one.bin: its SHA-256 should be "
        f"{sha256(FILES['deep/one.bin'])}, found {sha256(b'not it')}; it is not kept"
    )
    assert wrong.read_bytes() == b"not it"
    assert kept(cache) == [".lock"]


def test_a_mirror_without_the_file(cache, server, tmp_path, refused):
    del server.files["two.bin"]
    url = f"{server.url}/m"
    assert refused(mirror=url) == (
        f"mirror {url} has no one.bin; looked for {url}/deep/one.bin and {url}/one.bin"
    )
    assert refused(mirror=str(tmp_path)) == (
        f"mirror {tmp_path} has no one.bin; it is published at {server.url}/deep/one.bin"
    )
    assert refused(mirror=str(tmp_path / "no")) == (
        f"no mirror at {tmp_path / 'no'}; give a folder, or a URL that begins with http"
    )
    assert refused() == (
        f"two.bin is no longer at {server.url}/two.bin; take the files from a folder or another "
        "host: --mirror DIR_OR_URL"
    )
    assert kept(cache) == [".lock", "sources/one.bin"]


def test_a_host_that_cannot_be_reached(cache, refused, entry):
    with socket.socket() as taken:  # bound and not listening: it refuses
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        entry(sources=tuple(replace(s, url=f"{url}/{s.path}") for s in entry().sources))
        assert refused() == (
            "cannot download one.bin from 127.0.0.1 (Connection refused); run again, or take the "
            "files from a folder or another host: --mirror DIR_OR_URL"
        )
        assert refused(mirror=url) == (
            f"cannot download one.bin from the mirror {url} (Connection refused); run again, or "
            "give another: --mirror DIR_OR_URL"
        )
    assert kept(cache) == [".lock"]


def test_a_server_that_fails(cache, server, refused):
    server.status = 503
    assert refused() == (
        f"{server.url}/deep/one.bin answers 503 Service Unavailable; take the files from a folder "
        "or another host: --mirror DIR_OR_URL"
    )


def test_a_missing_package_is_said_before_anything_is_downloaded(cache, server, refused, entry):
    entry(packages=("numpy>=1", "no-such-package>=3.1"))
    assert refused(OptionalDependencyError) == (
        "building table 'tiny' needs the package no-such-package>=3.1, found: not installed; "
        "pip install 'no-such-package>=3.1'"
    )
    entry(packages=("numpy==0.1",))
    assert "needs the package numpy==0.1, found: version " in refused(OptionalDependencyError)
    assert server.asked == []


def test_what_was_built_must_be_what_is_registered(cache, refused, entry):
    digest = entry().content_sha256
    entry(content_sha256="0" * 64)
    assert refused(TableFileError).startswith(
        f"table 'tiny' was built but is not the registered one: its content should have SHA-256 "
        f"{'0' * 64}, found {digest}; "
    )
    assert kept(cache) == WHOLE[:3]


def test_an_unknown_table(cache):
    with pytest.raises(UnknownNameError, match=r"^unknown table 'tini' \(did you mean 'tiny'\?\)"):
        fetch("tini")


def test_a_cache_that_cannot_be_written(tmp_path, refused, entry):
    (tmp_path / "file").write_text("in the way")
    assert refused(cache=tmp_path / "file" / "cache") == (
        f"cannot write {tmp_path / 'file' / 'cache'}: Not a directory; set BPE_BENCH_CACHE to a "
        "folder that can be written"
    )


def test_two_processes_at_once(cache, server, entry):
    """Both get the whole table; one waits for the other and downloads nothing."""
    fork = multiprocessing.get_context("fork")
    workers = [fork.Process(target=fetch, args=("tiny",)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert verify_table(cache / "tiny.h5") == entry().content_sha256
    assert kept(cache) == WHOLE
    assert len(server.asked) == 2


def test_without_locks_nothing_is_corrupted_either(cache, server, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    fetch("tiny")
    assert kept(cache) == WHOLE


def test_a_table_that_is_not_here_says_how_to_get_it(cache):
    with pytest.raises(TableFileError, match=r"; get it with: bpe-bench tables fetch tiny$"):
        catalog.table_path("tiny")


def test_the_darts_table_is_built_from_the_published_files(published, tmp_path):
    pytest.importorskip("openpyxl")
    path = fetch("darts-bpe", mirror=str(published), cache=tmp_path)
    assert verify_table(path) == entries()["darts-bpe"].content_sha256
