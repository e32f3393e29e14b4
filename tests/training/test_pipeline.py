"""Batches: against a naive pipeline that makes one image after the other, and repeatable."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from bpe_bench.budget import BPE_1  # noqa: E402
from bpe_bench.errors import SelectionError, TrainingError  # noqa: E402
from bpe_bench.tables.curves import Split  # noqa: E402
from bpe_bench.training import pipeline as module  # noqa: E402
from bpe_bench.training.images.data import (  # noqa: E402
    ImageData,
    Images,
    load_images,
    split_indices,
    subset,
)
from bpe_bench.training.pipeline import Pipeline, _Draws  # noqa: E402


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def made_up(train=500, test=100, size=32, channels=3, *, mirrors=True):
    rng = np.random.default_rng(0)
    parts = [
        Images(
            rng.integers(0, 256, (count, channels, size, size), dtype=np.uint8),
            np.arange(count, dtype=np.int64) % 10,
        )
        for count in (train, test)
    ]
    return ImageData("made-up", 10, *parts, mirrors=mirrors)


DATA = made_up()
SMALL = BPE_1.replace(batch_size=64)


def epoch_of(pipeline, seed=0, epoch=1):
    """All batches of an epoch as one."""
    images, labels = zip(*pipeline.training_batches(seed, epoch), strict=True)
    return torch.cat(images), torch.cat(labels)


def naive_resize(image, size):
    """An image (C, H, W) at another size; an area mean through a grid that both sizes divide."""
    source = image.shape[1]
    if size > source:
        tensor = torch.from_numpy(image)[None]
        return functional.interpolate(
            tensor, (size, size), mode="bilinear", align_corners=False, antialias=False
        )[0].numpy()
    fine = image.repeat(size, axis=1).repeat(size, axis=2)
    return fine.reshape(-1, size, source, size, source).mean((2, 4))


def naive(pipeline, data, draws, place):
    """One image of an epoch, the way that a loader with one transform after the other does it."""
    train, _ = split_indices(data, "split")
    chosen = subset(data, train, pipeline.budget.data_fraction)[draws.order[place]]
    image = data.train.pixels[chosen].astype(np.float64)
    source, pad = image.shape[1], pipeline.padding
    padded = np.pad(image, ((0, 0), (pad, pad), (pad, pad)))
    row, column = int(draws.rows[place]), int(draws.columns[place])
    image = padded[:, row : row + source, column : column + source]
    if draws.flips[place]:
        image = image[:, :, ::-1]
    size, cut = pipeline.budget.image_size, pipeline.budget.cutout
    image = naive_resize(np.ascontiguousarray(image), size) / 255
    image = (image - np.reshape(pipeline.mean, (-1, 1, 1))) / np.reshape(pipeline.std, (-1, 1, 1))
    top = int(draws.cut_rows[place]) - cut // 2
    left = int(draws.cut_columns[place]) - cut // 2
    for y in range(top, top + cut):
        for x in range(left, left + cut):
            if 0 <= y < size and 0 <= x < size:
                image[:, y, x] = 0
    return image, data.train.labels[chosen]


# What a batch holds


@pytest.mark.parametrize(
    ("data", "image_size", "cutout", "fraction"),
    [
        (DATA, 16, 0, 1.0),
        (DATA, 16, 8, 1.0),
        (DATA, 32, 16, 0.5),
        (DATA, 32, 5, 1.0),
        (DATA, 8, 3, 1.0),
        (DATA, 12, 0, 1.0),
        (DATA, 23, 0, 1.0),
        (DATA, 48, 1, 1.0),
        (made_up(size=8, channels=1, mirrors=False), 8, 2, 1.0),
        (made_up(size=8, channels=1, mirrors=False), 16, 0, 0.3),
    ],
)
def test_augmentation_is_that_of_a_naive_pipeline(data, image_size, cutout, fraction):
    budget = SMALL.replace(image_size=image_size, cutout=cutout, data_fraction=fraction)
    pipeline = Pipeline(data, budget)
    images, labels = epoch_of(pipeline, seed=3, epoch=2)
    draws = pipeline.draw(3, 2)
    assert images.dtype == torch.float32
    for place in range(0, len(labels), 3):
        image, label = naive(pipeline, data, draws, place)
        np.testing.assert_allclose(images[place].numpy(), image, atol=2e-5)
        assert labels[place] == label


def test_halving_is_the_exact_mean_of_two_by_two_pixels():
    pixels = torch.from_numpy(DATA.test.pixels)
    halving = module._resizing(32, 16).expand(len(pixels), -1, -1)
    found = module._transform(pixels, halving, halving.mT)
    expected = pixels.double().unflatten(2, (16, 2)).unflatten(4, (16, 2)).mean((3, 5))
    assert torch.equal(found.double(), expected)


@pytest.mark.parametrize("target", [1, 5, 8, 16, 31, 32, 40, 64])
def test_resizing_keeps_the_mean_of_what_it_sees(target):
    weights = module._resizing(32, target)
    assert weights.shape == (target, 32)
    torch.testing.assert_close(weights.sum(1), torch.ones(target))
    torch.testing.assert_close(weights, weights.flip(0, 1))


@pytest.mark.parametrize(("size", "padding"), [(32, 4), (8, 1), (4, 1), (64, 8)])
def test_padding_goes_with_the_image(size, padding):
    pipeline = Pipeline(made_up(size=size), SMALL.replace(image_size=4))
    draws = pipeline.draw(0, 1)
    assert pipeline.padding == padding
    for moved in (draws.rows, draws.columns):
        assert sorted(set(moved.tolist())) == list(range(2 * padding + 1))


def test_half_of_the_images_are_turned_round_but_no_digit():
    share = Pipeline(DATA, SMALL).draw(0, 1).flips.double().mean()
    assert 0.4 < share < 0.6
    digits = load_images()
    assert not Pipeline(digits, SMALL.replace(image_size=8)).draw(0, 1).flips.any()


@pytest.mark.parametrize("cutout", [1, 4, 7, 15])
def test_the_cutout_has_its_area_and_ends_at_the_border(cutout):
    data = made_up(train=2000, test=10)
    data.train.pixels[:] = np.random.default_rng(0).integers(0, 2, data.train.pixels.shape) * 255
    pipeline = Pipeline(data, SMALL.replace(cutout=cutout, batch_size=1000))
    draws = pipeline.draw(0, 1)
    # In the middle of the crop, so that nothing but the cutout is filled with one value.
    images, _ = pipeline.augment(draws)
    uncut, _ = Pipeline(data, SMALL.replace(batch_size=1000)).augment(draws)
    covered = (images == 0).all(dim=1)
    assert torch.equal(images, uncut.masked_fill(covered[:, None], 0))

    def inside(centres):
        first = centres - cutout // 2
        return (first + cutout).clamp(max=16) - first.clamp(min=0)

    area = inside(draws.cut_rows) * inside(draws.cut_columns)
    assert torch.equal(covered.sum((1, 2)), area)
    assert area.max() == cutout**2
    assert sorted(set(draws.cut_rows.tolist())) == list(range(16))


def test_without_a_cutout_nothing_is_cut():
    assert not (epoch_of(Pipeline(DATA, SMALL))[0] == 0).all(dim=1).any()


# How an epoch goes


def labelled(count, size=32):
    """Images that say which one they are: of one brightness each."""
    pixels = np.broadcast_to(
        np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 3, size, size)
    ).copy()
    part = Images(pixels, np.arange(count, dtype=np.int64))
    return ImageData("labelled", count, part, part)


def test_every_image_is_shown_once_with_its_own_label():
    pipeline = Pipeline(labelled(250), SMALL, protocol="paper")
    images, labels = epoch_of(pipeline)
    assert sorted(labels.tolist()) == list(range(250))
    assert labels.tolist() != list(range(250))
    # The middle of an image is never padding.
    shown = images[:, 0, 8, 8] * pipeline.std[0] + pipeline.mean[0]
    torch.testing.assert_close(shown * 255, labels.float(), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("images", "batch", "expected"),
    [
        (100, 25, [25] * 4),
        (100, 30, [30, 30, 30, 10]),
        (100, 200, [100]),
        (100, 33, [33, 33, 34]),
        (100, 99, [100]),
        (3, 1, [1, 1, 1]),
    ],
)
@pytest.mark.parametrize("chunk", [1, 60, 4096])
def test_the_sizes_of_batches(monkeypatch, images, batch, expected, chunk):
    """A single image left over joins the last batch: it could not be normalised alone."""
    monkeypatch.setitem(module._CHUNK, "cpu", chunk)
    pipeline = Pipeline(labelled(images), SMALL.replace(batch_size=batch), protocol="paper")
    batches = list(pipeline.training_batches(0, 1))
    assert [len(labels) for _, labels in batches] == expected
    assert all(len(images) == len(labels) for images, labels in batches)


def test_how_many_images_are_made_at_once_changes_nothing(monkeypatch):
    budget = SMALL.replace(cutout=4)
    one = epoch_of(Pipeline(DATA, budget))
    monkeypatch.setitem(module._CHUNK, "cpu", 4096)
    other = epoch_of(Pipeline(DATA, budget))
    assert torch.equal(one[0], other[0])
    assert torch.equal(one[1], other[1])


def test_the_same_seed_and_epoch_give_the_same_bytes():
    budget = SMALL.replace(cutout=4)
    one = epoch_of(Pipeline(DATA, budget), 5, 7)
    pipeline = Pipeline(DATA, budget)
    epoch_of(pipeline, 5, 6)
    torch.rand(3)
    other = epoch_of(pipeline, 5, 7)
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("other", [(5, 8), (6, 7), (7, 5)])
def test_another_seed_or_epoch_draws_anew(other):
    pipeline = Pipeline(DATA, SMALL)
    one, two = vars(pipeline.draw(5, 7)), vars(pipeline.draw(*other))
    assert all(not torch.equal(one[name], two[name]) for name in one)


def test_the_global_generators_are_left_alone():
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    epoch_of(Pipeline(DATA, SMALL))
    assert torch.equal(states[0], torch.get_rng_state())
    np.testing.assert_array_equal(states[1], np.random.get_state()[1])  # noqa: NPY002


class Recorder(TorchDispatchMode):
    """Notes every operation that torch runs."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(str(function))
        return function(*args, **(kwargs or {}))


def test_nothing_in_an_epoch_waits_for_the_device_or_goes_image_by_image():
    pipeline = Pipeline(DATA, SMALL.replace(cutout=4, batch_size=128))
    with Recorder() as recorder:
        batches = sum(1 for _ in pipeline.training_batches(0, 1))
    waiting = ("_local_scalar_dense", "nonzero", "equal", "unique", "masked_select", "is_nonzero")
    assert not [n for n in recorder.names if n.split(".")[1] in waiting]
    assert len(recorder.names) / batches < 80


@pytest.mark.parametrize("layout", [True, False])
def test_memory_layout(layout):
    pipeline = Pipeline(DATA, SMALL, channels_last=layout)
    kind = torch.channels_last if layout else torch.contiguous_format
    for batches in (pipeline.training_batches(0, 1), pipeline.evaluation_batches(Split.TEST)):
        for images, _ in batches:
            assert images.is_contiguous(memory_format=kind)


def test_16_bit_training_gets_the_same_images():
    pipeline = Pipeline(DATA, SMALL)
    expected = epoch_of(pipeline)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(epoch_of(pipeline)[0], expected)


# Splits and statistics


def test_sizes():
    assert Pipeline(DATA, SMALL).sizes == {
        Split.TRAIN: 400,
        Split.VALIDATION: 100,
        Split.TEST: 100,
    }
    assert Pipeline(DATA, SMALL, protocol="paper").sizes == {Split.TRAIN: 500, Split.TEST: 100}
    part = Pipeline(DATA, SMALL.replace(data_fraction=0.25))
    assert part.sizes == {Split.TRAIN: 100, Split.VALIDATION: 100, Split.TEST: 100}
    assert (part.classes, part.input_channels) == (10, 3)


def test_statistics_are_those_of_the_images_trained_on():
    budget = SMALL.replace(data_fraction=0.5)
    pipeline = Pipeline(DATA, budget)
    train, _ = split_indices(DATA, "split")
    part = subset(DATA, train, 0.5)
    used = DATA.train.pixels[part] / 255
    np.testing.assert_allclose(pipeline.mean, used.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(pipeline.std, used.std((0, 2, 3)), rtol=1e-12)
    pixels = np.zeros_like(DATA.train.pixels)
    pixels[part] = DATA.train.pixels[part]
    dark = Images(np.zeros_like(DATA.test.pixels), DATA.test.labels)
    other = Pipeline(ImageData("x", 10, Images(pixels, DATA.train.labels), dark), budget)
    assert (other.mean, other.std) == (pipeline.mean, pipeline.std)


def test_a_channel_that_never_varies_is_no_division_by_zero():
    data = labelled(20)
    data.train.pixels[:, 1] = 7
    pipeline = Pipeline(data, SMALL, protocol="paper")
    assert pipeline.std[1] == 1
    assert torch.isfinite(epoch_of(pipeline)[0]).all()


@pytest.mark.parametrize("split", [Split.TRAIN, Split.VALIDATION, Split.TEST])
@pytest.mark.parametrize("batch", [1000, 7])
def test_evaluation_is_resized_and_normalised_only(split, batch):
    pipeline = Pipeline(DATA, SMALL.replace(cutout=8))
    parts = list(pipeline.evaluation_batches(split, batch))
    assert all(len(labels) <= batch for _, labels in parts)
    images, labels = (torch.cat(column) for column in zip(*parts, strict=True))
    train, validation = split_indices(DATA, "split")
    part = DATA.test if split is Split.TEST else DATA.train
    chosen = {Split.TRAIN: train, Split.VALIDATION: validation}.get(split, np.arange(100))
    np.testing.assert_array_equal(labels.numpy(), part.labels[chosen])
    mean, std = (np.reshape(v, (-1, 1, 1)) for v in (pipeline.mean, pipeline.std))
    for place in range(0, len(chosen), 9):
        image = naive_resize(part.pixels[chosen[place]].astype(np.float64), 16) / 255
        np.testing.assert_allclose(images[place], (image - mean) / std, atol=2e-5)


def test_refusals():
    pipeline = Pipeline(DATA, SMALL, protocol="paper")
    with pytest.raises(SelectionError) as error:
        next(pipeline.evaluation_batches(Split.VALIDATION))
    assert str(error.value) == "the trial has no validation images; it has train, test images"
    with pytest.raises(TrainingError) as error:
        Pipeline(DATA, SMALL.replace(data_fraction=0.001))
    assert str(error.value) == (
        "made-up has 500 training images, of which 1 would be left to train on and 100 to "
        "validate on; raise data_fraction or take more images"
    )
    with pytest.raises(SelectionError, match="protocol must be one of split, paper, found 'x'"):
        Pipeline(DATA, SMALL, protocol="x")


def test_draws_are_cut_and_moved_together():
    draws = Pipeline(DATA, SMALL).draw(0, 1)
    part = draws.part(10, 20).to(torch.device("cpu"))
    assert isinstance(part, _Draws)
    assert all(torch.equal(vars(part)[name], vars(draws)[name][10:20]) for name in vars(draws))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_makes_the_same_images_without_waiting():
    budget = SMALL.replace(cutout=4)
    expected = epoch_of(Pipeline(DATA, budget))
    pipeline = Pipeline(DATA, budget, device="cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = list(pipeline.training_batches(0, 1))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.testing.assert_close(torch.cat([b[0] for b in found]).cpu(), expected[0])
    assert torch.equal(torch.cat([b[1] for b in found]).cpu(), expected[1])
