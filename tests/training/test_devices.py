"""Devices of this machine, and what a checkpoint takes."""

import io
import sys

import pytest
import torch

from bpe_bench import BPE_1, get_space
from bpe_bench.errors import OptionalDependencyError, TrainingError
from bpe_bench.training.devices import check_device, checkpoint_bytes
from bpe_bench.training.images.data import load_images
from bpe_bench.training.trainer import Trainer
from bpe_bench.training.trial import Trial


@pytest.fixture
def gpus(monkeypatch):
    """Return what gives this machine so many GPUs, as far as torch says."""

    def have(count):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return have


@pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:0", "cuda:1"])
def test_devices_that_are_here(device, gpus):
    gpus(2)
    check_device(device)


@pytest.mark.parametrize(
    ("device", "count", "said"),
    [
        ("cuda", 0, "there is no device 'cuda' here, as torch"),
        ("cuda:7", 2, "there is no device 'cuda:7' here; this machine has: cpu, cuda, cuda:0, "),
        ("gpu", 2, "networks are trained on cpu, cuda or cuda:N, found device 'gpu'; this machine"),
        ("mps", 0, "networks are trained on cpu, cuda or cuda:N, found device 'mps'; this machine"),
        ("cuda:-1", 2, "networks are trained on cpu, cuda or cuda:N, found device 'cuda:-1'"),
    ],
)
def test_other_devices_are_refused_with_those_that_exist(device, count, said, gpus):
    gpus(count)
    with pytest.raises(TrainingError) as caught:
        check_device(device)
    assert str(caught.value).startswith(said)
    assert "this machine has: cpu" in str(caught.value)


def test_without_torch_the_way_to_get_it_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(OptionalDependencyError) as caught:
        check_device("cpu")
    assert str(caught.value) == (
        "training needs torch, which is not installed; pip install 'bpe-bench[train]'"
    )


def test_the_size_of_a_checkpoint_is_about_that_of_a_real_one():
    space = get_space("nas-bench-201")
    budget = BPE_1.replace(epochs=1, layers=5, channels=32, image_size=8, data_fraction=0.02)
    trial = Trial(space.from_index(284), budget, "digits")
    trainer = Trainer(trial, load_images())
    list(trainer.epochs())
    real = io.BytesIO(trainer.checkpoint()).getbuffer().nbytes
    small = Trial(space.from_index(0), budget.replace(channels=4), "digits")
    assert 0.7 * real < checkpoint_bytes([small, trial]) < real
