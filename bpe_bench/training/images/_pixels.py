"""Images and their labels as arrays, the common form of all sources."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...errors import SourceFileError

_PixelArray = npt.NDArray[np.uint8]
_LabelArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Images:
    """Images of one size and their labels.

    Raises
    ------
    SourceFileError
        If the arrays do not fit each other.
    """

    pixels: _PixelArray
    """Shape (N, C, H, W), 0 to 255."""
    labels: _LabelArray
    """Shape (N,), classes counted from 0."""

    def __post_init__(self) -> None:
        pixels, labels = self.pixels, self.labels
        if pixels.ndim != 4 or pixels.dtype != np.uint8 or labels.dtype != np.int64:
            raise SourceFileError(
                "images must be whole numbers of 8 bits in the shape (N, C, H, W) with labels of "
                f"64 bits, found {pixels.dtype} in the shape {pixels.shape} with {labels.dtype}"
            )
        if labels.shape != pixels.shape[:1] or not labels.size:
            raise SourceFileError(
                f"there must be one label per image, found {labels.shape[0]} labels of "
                f"{pixels.shape[0]} images"
            )


@dataclass(frozen=True)
class ImageData:
    """A data set of images, to train on and to judge by.

    Raises
    ------
    SourceFileError
        If the parts do not belong together.
    """

    name: str
    """Name of the data set in results, for instance ``cifar10-jpeg``."""
    classes: int
    """Number of classes."""
    train: Images
    """For training and validation."""
    test: Images
    """For the final report only."""
    mirrors: bool = True
    """Whether a mirrored image still shows its class, unlike a digit."""

    def __post_init__(self) -> None:
        shapes = {part.pixels.shape[1:] for part in (self.train, self.test)}
        if len(shapes) > 1:
            raise SourceFileError(
                "train and test images must have one shape (channels, height, width), found "
                f"{self.train.pixels.shape[1:]} and {self.test.pixels.shape[1:]}"
            )
        for split, part in (("train", self.train), ("test", self.test)):
            low, high = int(part.labels.min()), int(part.labels.max())
            if low < 0 or high >= self.classes:
                raise SourceFileError(
                    f"labels of {split} images must be 0 to {self.classes - 1}, "
                    f"found {low} to {high}"
                )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of every image."""
        channels, height, width = self.train.pixels.shape[1:]
        return channels, height, width

    def digest(self) -> str:
        """Return the SHA-256 of all pixels and labels, 64 hexadecimal digits."""
        whole = hashlib.sha256()
        for part in (self.train, self.test):
            whole.update(repr(part.pixels.shape).encode())
            whole.update(np.ascontiguousarray(part.pixels).data)
            whole.update(np.ascontiguousarray(part.labels, dtype="<i8").data)
        return whole.hexdigest()
