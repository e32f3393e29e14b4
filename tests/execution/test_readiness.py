"""What is checked before the first training."""

import os
from collections import namedtuple

import pytest

from bpe_bench import BPE_1, get_space
from bpe_bench.errors import JournalError, TrainingError
from bpe_bench.execution.campaign import run_campaign
from bpe_bench.execution.journal import Journal
from bpe_bench.execution.readiness import check_ready, check_space
from bpe_bench.training.trial import Trial

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def trial():
    return Trial(
        get_space("nas-bench-201").from_index(284), BPE_1.replace(layers=5, channels=32), "digits"
    )


def test_a_store_that_could_be_made_is_not_made(tmp_path):
    check_ready(tmp_path / "a.sqlite", "cpu")
    assert list(tmp_path.iterdir()) == []


def test_a_device_that_is_not_here_plans_nothing(trial, tmp_path):
    with pytest.raises(TrainingError, match="there is no device 'cuda:99' here"):
        run_campaign(tmp_path / "a.sqlite", [trial], device="cuda:99")
    assert list(tmp_path.iterdir()) == []


def test_a_store_in_a_folder_that_does_not_exist(tmp_path):
    store = tmp_path / "none" / "a.sqlite"
    with pytest.raises(JournalError) as caught:
        check_ready(store, None)
    assert str(caught.value) == (
        f"cannot write the store {store}: No such file or directory; give another file with --store"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only to root")
def test_a_store_in_a_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(JournalError, match="Permission denied; give another file"):
        check_ready(tmp_path / "a.sqlite", None)


def test_a_file_that_is_no_store(tmp_path):
    (tmp_path / "a.txt").write_text("not SQLite")
    with pytest.raises(JournalError, match="is not a journal: it is not an SQLite file"):
        check_ready(tmp_path / "a.txt", None)


def test_a_store_of_before_is_ready(trial, tmp_path):
    with Journal(tmp_path / "a.sqlite") as journal:
        journal.add([trial])
    check_ready(tmp_path / "a.sqlite", "cpu")


def test_a_disk_without_room_for_checkpoints(trial, tmp_path, monkeypatch):
    free = 1_000_000
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(10**9, 10**9 - free, free))
    store = tmp_path / "a.sqlite"
    with pytest.raises(JournalError) as caught:
        check_space(store, [trial] * 3, 2)
    said = str(caught.value)
    assert said.startswith(f"the store {store} needs about ")
    assert "for checkpoints of 2 trainings at a time and records of 30 epochs" in said
    assert "has 1 MB left; free some, give another place with --store, or fewer --jobs" in said
    with pytest.raises(JournalError, match="needs about"):
        run_campaign(store, [trial])
    assert not store.exists()
    free = 10**9
    check_space(store, [trial] * 3, 2)


def test_a_budget_that_no_network_of_the_space_has_is_refused_before_any_training(tmp_path):
    trial = Trial(get_space("nas-bench-201").from_index(284), BPE_1, "digits")
    with pytest.raises(TrainingError, match=r"so layers must be 3N \+ 2 .* found 6; the nearest"):
        run_campaign(tmp_path / "a.sqlite", [trial])
    assert list(tmp_path.iterdir()) == []
