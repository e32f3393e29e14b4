"""Batches for training from images in memory, as tensor operations on the device.

Cropping, turning round and resizing are linear along each axis, so each is a
row of a small matrix, and all three together are two batched products per
batch, whatever the budget's image size: ``out = A(row, size) X B(column, flip,
size)``. No step works image by image, and no step waits for the device.

All random numbers of an epoch are drawn before it begins, on the CPU, from the seed and the
number of the epoch only. So an epoch can be repeated after a restart, and sees the same images
on every device.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from ..budget import Budget
from ..errors import SelectionError, TrainingError
from ..tables.curves import Split
from .images.data import ImageData, split_indices, subset
from .trial import Protocol

_PADDING = 8
"""Each side is padded by the image size divided by this before the crop: 4 pixels for 32."""
_CHUNK = {"cpu": 128, "cuda": 4096}
"""So many images are made at once: they fit a CPU's cache and keep a GPU busy."""


@dataclass(frozen=True)
class _Draws:
    """All random numbers of an epoch of N images, one entry per image shown."""

    order: Tensor
    """The images, as places in the training part, shape (N,): a permutation."""
    rows: Tensor
    """Row of the padded image at which the crop begins, shape (N,)."""
    columns: Tensor
    """Column likewise, shape (N,)."""
    flips: Tensor
    """1 where the crop is turned round, else 0, shape (N,)."""
    cut_rows: Tensor
    """Row of the resized image that is the centre of the cutout, shape (N,)."""
    cut_columns: Tensor
    """Column likewise, shape (N,)."""

    def to(self, device: torch.device) -> _Draws:
        """Return the draws on a device."""
        return _Draws(*(values.to(device, non_blocking=True) for values in vars(self).values()))

    def part(self, start: int, stop: int) -> _Draws:
        """Return the draws of some of the images, in the order of the epoch."""
        return _Draws(*(values[start:stop] for values in vars(self).values()))


class Pipeline:
    """The images of a trial, ready to be trained on.

    Parameters
    ----------
    data
        The data set.
    budget
        Its ``batch_size``, ``image_size``, ``cutout`` and ``data_fraction`` count.
    protocol
        ``"split"`` keeps images for validation, ``"paper"`` does not.
    device
        Where the images are held and the batches are made.
    channels_last
        Memory layout of the batches: channels innermost, which convolutions on a
        CPU and 16-bit ones on a GPU prefer.

    Raises
    ------
    SelectionError
        If there is no such protocol.
    TrainingError
        If fewer than two training images, or no validation image, would be left.

    Examples
    --------
    >>> from bpe_bench import BPE_1
    >>> from bpe_bench.training.images.data import load_images
    >>> pipeline = Pipeline(load_images(), BPE_1.replace(image_size=8))
    >>> {str(split): size for split, size in pipeline.sizes.items()}
    {'train': 1150, 'validation': 287, 'test': 360}
    >>> images, labels = next(iter(pipeline.training_batches(seed=0, epoch=1)))
    >>> images.shape, labels.shape
    (torch.Size([128, 1, 8, 8]), torch.Size([128]))
    """

    classes: int
    """Number of classes."""
    input_channels: int
    """Channels of an image: 1 if grey, 3 if in colour."""
    sizes: Mapping[Split, int]
    """Images of each split: train, validation (not if the protocol is ``paper``) and test."""
    mean: tuple[float, ...]
    """Mean of each channel over the images trained on; pixels are 0 to 1."""
    std: tuple[float, ...]
    """Standard deviation likewise."""

    def __init__(
        self,
        data: ImageData,
        budget: Budget,
        *,
        protocol: Protocol = "split",
        device: str | torch.device = "cpu",
        channels_last: bool = True,
    ) -> None:
        self.budget, self.device = budget, torch.device(device)
        self.classes, self.input_channels = data.classes, data.shape[0]
        self._layout = torch.channels_last if channels_last else torch.contiguous_format
        self._mirrors = data.mirrors

        train, validation = split_indices(data, protocol)
        train = subset(data, train, budget.data_fraction)
        places = {Split.TRAIN: train, Split.VALIDATION: validation}
        if protocol == "paper":
            del places[Split.VALIDATION]
        if train.size < 2 or any(not part.size for part in places.values()):
            raise TrainingError(
                f"{data.name} has {data.train.labels.size} training images, of which "
                f"{train.size} would be left to train on and {validation.size} to validate on; "
                "raise data_fraction or take more images"
            )
        # All training images stay where they are, mapped into memory on a CPU; splits are places.
        pixels, labels = (self._hold(a) for a in (data.train.pixels, data.train.labels))
        self._parts = {
            split: (pixels, labels, self._hold(place)) for split, place in places.items()
        }
        self._parts[Split.TEST] = (
            self._hold(data.test.pixels),
            self._hold(data.test.labels),
            torch.arange(data.test.labels.size, device=self.device),
        )
        self.sizes = MappingProxyType({s: len(part[2]) for s, part in self._parts.items()})

        self.mean, self.std = _statistics(pixels, self._parts[Split.TRAIN][2])
        mean, std = (torch.tensor(v, device=self.device) for v in (self.mean, self.std))
        self._scale, self._shift = (v.view(-1, 1, 1) for v in (1 / (255 * std), -mean / std))
        self.padding = max(1, round(data.shape[1] / _PADDING))
        # [row], and [column + flip * number of columns], each (image_size, size of the source).
        crops = _crops(data.shape[1], self.padding, budget.image_size)
        turned = crops.flip(1)
        self._rows = crops.to(self.device)
        self._columns = torch.cat([crops, turned]).transpose(1, 2).contiguous().to(self.device)
        self._plain = _resizing(data.shape[1], budget.image_size).to(self.device)
        self._pixel = torch.arange(budget.image_size, device=self.device)

    def training_batches(self, seed: int, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Iterate over the batches of an epoch, each image once, augmented.

        Parameters
        ----------
        seed
            Of the trial.
        epoch
            Counted from 1.

        Yields
        ------
        images, labels : tensors of shape (B, C, S, S), 32-bit floats, and (B,)
            On the device, to be read only. The last batch is smaller if the
            batch size does not divide the images; a single image left over joins
            the batch before, for batch normalisation is not defined on one image.
        """
        batch, draws = self.budget.batch_size, self.draw(seed, epoch).to(self.device)
        size = self.sizes[Split.TRAIN]
        step = batch * max(1, _CHUNK.get(self.device.type, 1) // batch)
        start = 0
        while start < size:
            stop = size if size - start - step <= 1 else start + step
            images, labels = self.augment(draws.part(start, stop))
            yield from _batches(images, labels, batch)
            start = stop

    def evaluation_batches(
        self, split: Split, batch_size: int = 1000
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Iterate over a split, in its order, resized and normalised only.

        Parameters
        ----------
        split
            One of `sizes`.
        batch_size
            Images at once.

        Yields
        ------
        images, labels : tensors of shape (B, C, S, S), 32-bit floats, and (B,)
            On the device.

        Raises
        ------
        SelectionError
            If the trial has no such split.
        """
        if split not in self._parts:
            raise SelectionError(
                f"the trial has no {split} images; it has {', '.join(self.sizes)} images"
            )
        pixels, labels, places = self._parts[split]
        for chosen in torch.split(places, batch_size):
            transform = self._plain.expand(len(chosen), -1, -1)
            images = _transform(pixels.index_select(0, chosen), transform, transform.mT)
            yield self._normalise(images), labels.index_select(0, chosen)

    def draw(self, seed: int, epoch: int) -> _Draws:
        """Draw all random numbers of an epoch, on the CPU."""
        state = np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(state[0]))
        size = self.sizes[Split.TRAIN]

        def below(limit: int) -> Tensor:
            return torch.randint(limit, (size,), generator=generator)

        return _Draws(
            order=torch.randperm(size, generator=generator),
            rows=below(2 * self.padding + 1),
            columns=below(2 * self.padding + 1),
            flips=below(2 if self._mirrors else 1),
            cut_rows=below(self.budget.image_size),
            cut_columns=below(self.budget.image_size),
        )

    def augment(self, draws: _Draws) -> tuple[Tensor, Tensor]:
        """Return training images as drawn.

        Parameters
        ----------
        draws
            Of B images, on the device.

        Returns
        -------
        images, labels : tensors of shape (B, C, S, S) and (B,)
            Padded with black, cropped, turned round, resized, normalised, and with
            the cutout filled with the mean, 0.
        """
        pixels, labels, places = self._parts[Split.TRAIN]
        chosen = places.index_select(0, draws.order)
        columns = draws.columns + draws.flips * len(self._rows)
        images = _transform(
            pixels.index_select(0, chosen),
            self._rows.index_select(0, draws.rows),
            self._columns.index_select(0, columns),
        )
        images = self._normalise(images)
        if self.budget.cutout:
            rows = self._within(draws.cut_rows)[:, None, :, None]
            images.masked_fill_(rows & self._within(draws.cut_columns)[:, None, None, :], 0)
        return images, labels.index_select(0, chosen)

    def _within(self, centres: Tensor) -> Tensor:
        """Return which pixels of an axis a cutout covers, shape (B, S); it ends at the border."""
        first = centres[:, None] - self.budget.cutout // 2
        return (self._pixel >= first) & (self._pixel < first + self.budget.cutout)

    def _normalise(self, images: Tensor) -> Tensor:
        out = torch.empty(images.shape, device=self.device, memory_format=self._layout)
        return torch.addcmul(self._shift, images, self._scale, out=out)

    def _hold(self, array: np.ndarray) -> Tensor:
        # torch warns of arrays that it could not write to; it does not write.
        array = array if array.flags.writeable else array.copy()
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)


def _batches(images: Tensor, labels: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Cut images into batches; a single image left over joins the last batch."""
    whole, rest = divmod(len(labels), size)
    sizes = [size] * whole
    if rest == 1 and sizes:
        sizes[-1] += 1
    elif rest:
        sizes.append(rest)
    yield from zip(torch.split(images, sizes), torch.split(labels, sizes), strict=True)


def _transform(pixels: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return ``rows @ image @ columns`` of every image and channel.

    Parameters
    ----------
    pixels
        Bytes, shape (B, C, H, W).
    rows, columns
        Shapes (B, S, H) and (B, W, S).

    Returns
    -------
    tensor of shape (B, C, S, S)
        32-bit floats from 0 to 255. Its axes are not in the order of memory.
    """
    images, channels, height, width = pixels.shape
    size = rows.shape[1]
    # Off also where a caller has it on: 16-bit products would lose digits of the pixels.
    with torch.autocast(pixels.device.type, enabled=False):
        # Channels inside rows: one product per image and axis, instead of one per channel.
        flat = pixels.transpose(1, 2).to(torch.float32, memory_format=torch.contiguous_format)
        flat = torch.bmm(rows, flat.view(images, height, channels * width))
        flat = torch.bmm(flat.view(images, size * channels, width), columns)
    return flat.view(images, size, channels, size).transpose(1, 2)


def _crops(source: int, padding: int, target: int) -> Tensor:
    """Return for every offset of a crop the matrix that crops and resizes an axis.

    Returns
    -------
    tensor of shape (2 * padding + 1, target, source)
        The padding is black: rows that show only padding are 0.
    """
    resizing = torch.zeros(target, source + 2 * padding)
    resizing[:, :source] = _resizing(source, target)
    moved = [resizing.roll(place, dims=1) for place in range(2 * padding + 1)]
    return torch.stack(moved)[:, :, padding : padding + source].contiguous()


def _resizing(source: int, target: int) -> Tensor:
    """Return the matrix that resizes an axis, shape (target, source).

    Shrinking averages the area that a new pixel covers, so halving is the mean of
    two by two pixels; enlarging interpolates between centres (bilinear).
    """
    scale = source / target
    if scale >= 1:
        edges = np.arange(target + 1) * scale
        pixel = np.arange(source)
        overlap = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
        weights = np.maximum(overlap, 0) / scale
    else:
        centres = np.clip((np.arange(target) + 0.5) * scale - 0.5, 0, source - 1)
        weights = np.maximum(1 - np.abs(centres[:, None] - np.arange(source)), 0)
    return torch.from_numpy(weights.astype(np.float32))


def _statistics(pixels: Tensor, places: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of every channel, pixels being 0 to 1.

    They are computed from histograms, so they are the same on every device. A
    channel that never varies has the deviation 1.
    """
    counts = torch.zeros(pixels.shape[1], 256, dtype=torch.int64, device=pixels.device)
    for chosen in torch.split(places, 500):
        part = pixels.index_select(0, chosen)
        for channel in range(part.shape[1]):
            counts[channel] += torch.bincount(part[:, channel].flatten(), minlength=256)
    values = np.arange(256) / 255
    shares = counts.cpu().numpy() / int(counts[0].sum())
    means = shares @ values
    deviations = [np.sqrt(s @ (values - m) ** 2) for s, m in zip(shares, means, strict=True)]
    return tuple(map(float, means)), tuple(float(d) if d > 1e-6 else 1.0 for d in deviations)
