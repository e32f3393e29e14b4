"""Files that are whole or not there, and JSON without what JSON lacks.

Pickles are tested with their readers, in tests/tables/importers and tests/training.
"""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from bpe_bench.files import replacing, to_json_value, write_whole


def mode(path):
    return path.stat().st_mode & 0o777


@pytest.fixture
def umask():
    """Set a umask that no default is, and set the old one again."""
    before = os.umask(0o027)
    yield
    os.umask(before)


def test_a_new_file_has_the_mode_that_the_umask_says(tmp_path, umask):
    write_whole(tmp_path / "new", "x")
    assert mode(tmp_path / "new") == 0o640


def test_an_old_file_keeps_its_mode_and_a_link_its_target(tmp_path, umask):
    (tmp_path / "old").write_text("before")
    (tmp_path / "old").chmod(0o600)
    (tmp_path / "link").symlink_to("old")
    write_whole(tmp_path / "link", "after")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "old").read_text() == "after"
    assert mode(tmp_path / "old") == 0o600


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, error):
    (tmp_path / "table.h5").write_text("before")

    def fail():
        with replacing(tmp_path / "table.h5") as temporary:
            assert temporary.parent == tmp_path
            assert temporary.suffix == ".h5"
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["table.h5"]
    assert (tmp_path / "table.h5").read_text() == "before"


def test_it_is_on_the_disk_before_it_is_renamed(tmp_path, monkeypatch):
    done = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (done.append("fsync"), fsync(handle)))
    monkeypatch.setattr(
        Path, "replace", lambda path, to: (done.append("rename"), replace(path, to))
    )
    write_whole(tmp_path / "x", "y")
    assert done == ["fsync", "rename"]


def test_folders_and_pipes(tmp_path):
    with pytest.raises(IsADirectoryError, match="Is a directory"):
        write_whole(tmp_path, "x")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_whole(pipe, "through")
        assert os.read(reader, 100) == b"through"
    finally:
        os.close(reader)
    with pytest.raises(OSError, match="a device or a pipe, not a file"), replacing(pipe):
        pass
    assert pipe.is_fifo()
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "no" / "x", "x")


def test_a_name_as_long_as_names_may_be(tmp_path):
    write_whole(tmp_path / ("x" * 251 + ".svg"), "x")
    assert [len(path.name) for path in tmp_path.iterdir()] == [255]


def test_json_values():
    values = {
        "none": [math.nan, math.inf, -math.inf, np.float32("nan")],
        "kept": [0.1, 3, True, None, "text"],
        "numpy": (np.int64(3), np.bool_(True), np.array([[1.5, math.nan]])),
    }
    found = to_json_value(values)
    assert found == {
        "none": [None] * 4,
        "kept": [0.1, 3, True, None, "text"],
        "numpy": [3, True, [[1.5, None]]],
    }
    json.dumps(found, allow_nan=False)
    assert math.isnan(values["none"][0])  # not changed
