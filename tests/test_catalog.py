"""Which tables exist and how they are opened."""

import re
import shutil

import pytest

from bpe_bench import catalog
from bpe_bench.catalog import entries, open_table, table_path
from bpe_bench.errors import TableFileError, UnknownNameError
from bpe_bench.storage import content_hash, verify_table

shipped = pytest.mark.parametrize("entry", entries().values(), ids=list(entries()))


@shipped
def test_a_registered_table_is_what_it_promises(entry):
    table = open_table(entry.name)
    assert table.space == entry.space
    assert content_hash(table) == verify_table(entry.path) == entry.content_sha256
    assert table_path(entry.name) == entry.path


@shipped
def test_a_registered_table_names_its_sources(entry):
    assert entry.summary
    assert entry.licence
    assert entry.sources
    for source in entry.sources:
        assert re.fullmatch("[0-9a-f]{64}", source.sha256)
        # Pinned to a commit, so that the address keeps giving these bytes.
        assert re.search("/[0-9a-f]{40}/", source.url)


def test_a_table_is_opened_by_its_path(tmp_path, darts_bpe):
    for name in ("mine.h5", "mine"):
        path = tmp_path / name
        shutil.copy(entries()["darts-bpe"].path, path)
        assert content_hash(open_table(path)) == content_hash(darts_bpe)
        assert content_hash(open_table(str(path))) == content_hash(darts_bpe)


def test_an_unknown_name_lists_those_that_exist():
    with pytest.raises(UnknownNameError) as caught:
        open_table("darts-bqe")
    assert str(caught.value) == (
        "unknown table 'darts-bqe' (did you mean 'darts-bpe'?); there are: "
        f"{', '.join(entries())}; or give the path of a table file"
    )


@pytest.mark.parametrize("path", ["no.h5", "no.hdf5", "some/where/table"])
def test_what_looks_like_a_path_is_looked_for_as_one(path):
    with pytest.raises(TableFileError) as caught:
        open_table(path)
    assert str(caught.value) == (
        f"no table file at {path}; give a path that exists or one of the registered tables: "
        f"{', '.join(entries())}"
    )


def test_a_folder_is_no_table(tmp_path):
    with pytest.raises(TableFileError, match=r"^no table file at "):
        open_table(tmp_path)


def test_a_registered_table_that_is_not_here(monkeypatch):
    monkeypatch.setattr(catalog.Entry, "path", None)
    with pytest.raises(
        TableFileError, match=r"^table 'darts-bpe' is registered but its file is not"
    ):
        table_path("darts-bpe")
