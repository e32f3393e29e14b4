"""Which tables exist and how they are opened."""

import dataclasses
import importlib.util
import re
import shutil

import pytest

from bpe_bench.errors import TableFileError, UnknownNameError
from bpe_bench.tables import catalog
from bpe_bench.tables.catalog import entries, given_table, open_table, open_table_of, table_path
from bpe_bench.tables.storage import content_hash, verify_table

registered = pytest.mark.parametrize("entry", entries().values(), ids=list(entries()))
SHIPPED = [entry for entry in entries().values() if entry.place == "shipped"]
shipped = pytest.mark.parametrize("entry", SHIPPED, ids=[entry.name for entry in SHIPPED])


def test_some_tables_are_shipped():
    assert "darts-bpe" in [entry.name for entry in SHIPPED]


@shipped
def test_a_registered_table_is_what_it_promises(entry):
    table = open_table(entry.name)
    assert table.space == entry.space
    assert content_hash(table) == verify_table(entry.path) == entry.content_sha256
    assert table_path(entry.name) == entry.path


@registered
def test_a_registered_table_names_its_sources(entry):
    assert entry.summary
    assert entry.licence
    assert entry.sources or entry.place == "shipped"  # what cannot be built anew has to ship
    assert importlib.util.find_spec(f"bpe_bench_tables.build.{entry.build}")
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
    monkeypatch.setattr(catalog.RegisteredTable, "path", None)
    with pytest.raises(TableFileError, match=r"^table 'darts-bpe' is registered but not on this"):
        table_path("darts-bpe")


def test_a_space_without_a_name_is_of_a_table_that_is_here(monkeypatch):
    """Registered first, a table that was never fetched would be of no use."""
    here = entries()["darts-bpe"]
    absent = dataclasses.replace(here, name="absent", file="absent.h5")
    monkeypatch.setattr(catalog, "entries", lambda: {"absent": absent, here.name: here})
    assert open_table_of("darts")[0] == "darts-bpe"
    monkeypatch.setattr(catalog, "entries", lambda: {"absent": absent})
    with pytest.raises(TableFileError, match=r"get it with: bpe-bench tables fetch absent$"):
        open_table_of("darts")


def test_names_of_sources_are_of_one_file_each():
    """All sources lie in one folder of the cache."""
    by_name = {}
    for entry in entries().values():
        for source in entry.sources:
            assert by_name.setdefault(source.name, source.sha256) == source.sha256


def test_a_table_is_given_as_itself_by_its_name_or_by_its_path(darts_bpe):
    path = table_path("darts-bpe")
    for given in ("darts-bpe", path, str(path)):
        table, name = given_table(given)
        assert content_hash(table) == content_hash(darts_bpe)
        assert name == str(given)
    assert given_table("darts-bpe", "mine")[1] == "mine"
    assert given_table(darts_bpe, "mine") == (darts_bpe, "mine")
    with pytest.raises(UnknownNameError, match=r"^unknown table 'darts-bqe' \(did you mean"):
        given_table("darts-bqe")
