"""The training loop: deterministic, resumable to the count, honest about what went wrong."""

import io
import itertools
import math
import os

import pytest
import torch

from bpe_bench.budget import Budget
from bpe_bench.errors import TrainingError
from bpe_bench.spaces import get_space
from bpe_bench.tables.curves import Split
from bpe_bench.training import trainer as trainer_module
from bpe_bench.training.images.data import load_images
from bpe_bench.training.trainer import Trainer, _learning_rate
from bpe_bench.training.trial import EpochRecord, Recipe, Trial

CELL = get_space("nas-bench-201").from_index(284)
SMALL = Budget(
    epochs=3, batch_size=64, learning_rate=0.05, layers=5, channels=4, image_size=8,
    data_fraction=0.2,
)  # fmt: skip


@pytest.fixture(scope="module")
def digits():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield load_images()
    torch.set_num_threads(threads)


def results(records):
    """What must not depend on when or where a training ran: all but times and memory."""
    return [(r.epoch, dict(r.results)) for r in records]


def train(digits, budget=SMALL, cell=CELL, **options):
    return list(Trainer(Trial(cell, budget, "digits", **options), digits).epochs())


def test_the_same_trial_gives_the_same_counts(digits):
    before = torch.random.get_rng_state()
    first = train(digits)
    assert results(first) == results(train(digits))
    assert results(first) != results(train(digits, seed=1))
    # The global generator is as it was.
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("cell", [CELL, "darts"], ids=["nas-bench-201", "darts"])
@pytest.mark.parametrize("stop", [1, 2])
def test_going_on_from_a_checkpoint_changes_nothing(digits, darts_bpe, cell, stop):
    cell = darts_bpe.architectures[0] if cell == "darts" else cell
    trial = Trial(cell, SMALL, "digits")
    whole = results(Trainer(trial, digits).epochs())
    first = Trainer(trial, digits)
    records = list(itertools.islice(first.epochs(), stop))
    second = Trainer(trial, digits)
    second.restore(first.checkpoint())
    records += second.epochs()
    assert results(records) == whole


def test_it_learns(digits):
    records = train(digits, SMALL.replace(epochs=6, data_fraction=1.0, channels=8))
    accuracies = [r.results[Split.VALIDATION].correct / r.results[Split.VALIDATION].size
                  for r in records]  # fmt: skip
    # Ten classes: chance is 0.1.
    assert accuracies[-1] > 0.5
    assert records[-1].results[Split.TRAIN].loss < records[0].results[Split.TRAIN].loss
    assert all(r.seconds > 0 and r.peak_memory > 0 for r in records)


def test_the_sizes_of_the_splits(digits):
    images = len(digits.train.labels)
    record = train(digits, SMALL.replace(epochs=1, data_fraction=1.0))[0]
    sizes = {split: result.size for split, result in record.results.items()}
    assert sizes[Split.TRAIN] + sizes[Split.VALIDATION] == images
    assert sizes[Split.TEST] == len(digits.test.labels)
    paper = train(digits, SMALL.replace(epochs=1, data_fraction=1.0), protocol="paper")[0]
    assert {s: r.size for s, r in paper.results.items()} == {
        Split.TRAIN: images,
        Split.TEST: len(digits.test.labels),
    }


@pytest.mark.parametrize(
    "change",
    [
        {"precision": "bf16"},
        {"precision": "fp16"},
        {"lr_schedule": "linear"},
        {"cutout": 3},
        {"image_size": 12},
        {"batch_size": 32},
        {"learning_rate": 0.01},
        {"channels": 6},
        {"data_fraction": 0.3},
        {"layers": 8},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_field_of_the_budget_counts(digits, change):
    budget = SMALL  # of three epochs: after one of two, cosine and linear agree
    changed = train(digits, budget.replace(**change))
    assert results(changed) != results(train(digits, budget))
    assert all(record.finite for record in changed)


def test_a_loss_that_is_not_finite_ends_the_training(digits):
    records = train(digits, SMALL.replace(learning_rate=1e30))
    assert len(records) == 1
    assert not records[-1].finite


def test_the_recipe_counts(digits):
    plain = results(train(digits))
    # Weight decay and the clip apply to every parameter.
    assert results(train(digits, recipe=Recipe(weight_decay=0.5))) != plain
    assert results(train(digits, recipe=Recipe(gradient_clip=1e-3))) != plain
    assert results(train(digits, recipe=Recipe(momentum=0.0))) != plain


def test_the_gradient_is_clipped_and_decay_spares_nothing(digits, monkeypatch):
    trainer = Trainer(Trial(CELL, SMALL, "digits"), digits)
    norms = []
    clip = torch.nn.utils.clip_grad_norm_

    def spy(parameters, most):
        parameters = list(parameters)
        clip(parameters, most)
        norms.append(math.sqrt(sum(float((p.grad**2).sum()) for p in parameters)))

    monkeypatch.setattr(trainer_module.nn.utils, "clip_grad_norm_", spy)
    next(trainer.epochs())
    assert max(norms) <= 5.0 + 1e-3
    assert {group["weight_decay"] for group in trainer.optimizer.param_groups} == {3e-4}
    held = sum(len(group["params"]) for group in trainer.optimizer.param_groups)
    assert held == len(list(trainer.network.parameters()))


def test_schedules_by_hand():
    linear = SMALL.replace(lr_schedule="linear", epochs=4, learning_rate=0.4)
    assert [_learning_rate(linear, e) for e in (1, 2, 3, 4)] == pytest.approx([0.4, 0.3, 0.2, 0.1])
    cosine = SMALL.replace(epochs=4, learning_rate=0.4)
    expected = [0.2 * (1 + math.cos(math.pi * e / 4)) for e in range(4)]
    assert [_learning_rate(cosine, e) for e in (1, 2, 3, 4)] == pytest.approx(expected)


def test_running_out_of_memory_is_said(digits, monkeypatch):
    trainer = Trainer(Trial(CELL, SMALL, "digits"), digits)

    def no_room(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(trainer, "_train", no_room)
    with pytest.raises(TrainingError) as caught:
        next(trainer.epochs())
    assert str(caught.value) == (
        "the training does not fit into the memory of cpu; choose a smaller batch_size, fewer "
        "channels or another device"
    )


def test_what_cannot_be_trained(digits):
    with pytest.raises(TrainingError, match=r"^the trial is for data set 'cifar10', the images"):
        Trainer(Trial(CELL, SMALL, "cifar10"), digits)
    trainer = Trainer(Trial(CELL, SMALL, "digits"), digits)
    other = Trainer(Trial(CELL, SMALL.replace(channels=6), "digits"), digits)
    for checkpoint in (b"", b"nonsense", other.checkpoint()):
        with pytest.raises(TrainingError, match=r"^the checkpoint does not fit the trial: "):
            trainer.restore(checkpoint)


def test_a_checkpoint_cannot_run_code(digits, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made"),)

    buffer = io.BytesIO()
    torch.save({"epoch": 1, "network": Evil()}, buffer)
    with pytest.raises(TrainingError, match=r"^the checkpoint does not fit"):
        Trainer(Trial(CELL, SMALL, "digits"), digits).restore(buffer.getvalue())
    assert not (tmp_path / "made").exists()


def test_records_survive_json(digits):
    record = train(digits, SMALL.replace(epochs=1))[0]
    assert EpochRecord.from_json(record.to_json()) == record
    trial = Trial(CELL, SMALL, "digits", seed=3, protocol="paper")
    assert Trial.from_json(trial.to_json()) == trial
    assert trial.id != Trial(CELL, SMALL, "digits", seed=3).id


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_on_a_gpu(digits, precision):
    trial = Trial(CELL, SMALL.replace(precision=precision), "digits")
    records = list(Trainer(trial, digits, device="cuda").epochs())
    assert len(records) == 3
    assert all(record.finite for record in records)
