"""Data sets of images and their splits, without torch.

Images are decoded once into arrays of bytes, which are kept on disk and mapped into memory. A
second load only has to read the source's bytes once, and workers on one machine share the
memory.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...errors import SelectionError
from ..trial import PROTOCOLS, Protocol
from ._cache import _cache_key, _load_cached, _store
from ._pixels import ImageData, Images, _LabelArray
from ._sources import _Decoded, _recognise

__all__ = ["ImageData", "Images", "load_images", "split_indices", "subset"]

_IndexArray = npt.NDArray[np.int64]

_DIGITS = "digits"
"""The data set that comes with scikit-learn: 1,797 grey images of 8x8 pixels."""
_VALIDATION_SHARE = 5
"""One training image in this many is kept for validation (CIFAR-10: 10,000 of 50,000)."""
_DIGITS_TEST = 360
_WHOLE_CIFAR_10 = (50_000, 10_000, 10, (3, 32, 32))


def load_images(source: str | Path | None = None, *, cache: str | Path | None = None) -> ImageData:
    """Load a data set of images.

    Parameters
    ----------
    source
        None or ``"digits"`` for the bundled digits; or the path of a folder of
        Hugging Face Parquet files (``train-*.parquet`` and ``test-*.parquet``, there
        or under ``plain_text``), of CIFAR-10's official python or binary archive or
        of the folder that it unpacks to, or of a folder ``train/CLASS/*.png`` and
        ``test/CLASS/*.png``.
    cache
        The folder to keep decoded images in; by default under the user's cache,
        or under ``BPE_BENCH_CACHE``.

    Returns
    -------
    ImageData
        ``cifar10`` if it is all of CIFAR-10, ``cifar10-jpeg`` if JPEG-coded. Other images are
        named after their folder and a part of their SHA-256, so results of different images
        never have the same name.

    Raises
    ------
    SourceFileError
        If the source is not there, not understood or damaged.
    OptionalDependencyError
        If reading it needs a package that is not installed.

    Examples
    --------
    >>> digits = load_images()
    >>> digits.classes, digits.train.pixels.shape, digits.test.pixels.shape
    (10, (1437, 1, 8, 8), (360, 1, 8, 8))
    """
    if source is None or source == _DIGITS:
        return _digits()
    found = _recognise(Path(source).expanduser())
    key = _cache_key(found.kind, found.root, found.files)
    folder = Path(cache or _cache_directory()) / "images" / key[:32]
    kept = _load_cached(folder)
    if kept is not None:
        return kept
    decoded = found.decode(found.root, found.files)
    data = _named(decoded, found.title)
    _store(data, folder)
    return _load_cached(folder) or data


def split_indices(
    data: ImageData, protocol: Protocol, seed: int = 0
) -> tuple[_IndexArray, _IndexArray]:
    """Split the training images into those to train on and those to validate on.

    Parameters
    ----------
    data
        The data set.
    protocol
        ``"split"``: a fifth validates, the same share of every class. ``"paper"``:
        all train, none validates.
    seed
        Determines the split; trials of one table share it.

    Returns
    -------
    train, validation : arrays of shape (T,) and (V,)
        Places in ``data.train``, ascending.

    Raises
    ------
    SelectionError
        If there is no such protocol.

    Examples
    --------
    >>> train, validation = split_indices(load_images(), "split")
    >>> len(train), len(validation)
    (1150, 287)
    """
    if protocol not in PROTOCOLS:
        raise SelectionError(f"protocol must be one of {', '.join(PROTOCOLS)}, found {protocol!r}")
    labels = data.train.labels
    kept = round(labels.size / _VALIDATION_SHARE) if protocol == "split" else 0
    order = _stratified_order(labels, seed)
    return np.sort(order[kept:]), np.sort(order[:kept])


def subset(data: ImageData, train: _IndexArray, fraction: float, seed: int = 0) -> _IndexArray:
    """Return a share of the images to train on, the same share of every class.

    Parameters
    ----------
    data
        The data set.
    train
        Places in ``data.train``, shape (T,).
    fraction
        In (0, 1]; at least one image is left.
    seed
        Another seed gives another subset.

    Returns
    -------
    array of shape (round(fraction * T),)
        A part of ``train``, ascending. A smaller fraction gives a part of a larger one's.
    """
    count = max(1, round(fraction * train.size))
    # A stream of its own: the order that split validation off must not choose here again.
    order = _stratified_order(data.train.labels[train], seed, stream=1)
    return np.sort(train[order[:count]])


def _stratified_order(labels: _LabelArray, seed: int, *, stream: int = 0) -> _IndexArray:
    """Return a random order in which every prefix has all classes in their proportions.

    Parameters
    ----------
    labels
        Shape (N,).
    seed, stream
        Seeds of the random order.

    Returns
    -------
    array of shape (N,)
        A permutation. The first n places hold ``n * share`` images of a class whose
        share of the labels that is, off by one or two at most.
    """
    # Raw numbers of a bit generator, which numpy promises never to change, unlike its shuffles.
    bits = np.random.PCG64(np.random.SeedSequence((seed, stream)))
    shuffled = np.argsort(bits.random_raw(labels.size), kind="stable")
    position = np.empty(labels.size)
    for label in np.unique(labels):
        members = np.flatnonzero(labels[shuffled] == label)
        position[members] = (np.arange(members.size) + 0.5) / members.size
    return shuffled[np.argsort(position, kind="stable")]


def _digits() -> ImageData:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    # 0 to 16 in the source; the full range of bytes here.
    pixels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    labels = bunch.target.astype(np.int64)
    order = _stratified_order(labels, 0)
    test, train = np.sort(order[:_DIGITS_TEST]), np.sort(order[_DIGITS_TEST:])
    return ImageData(
        _DIGITS,
        10,
        Images(pixels[train], labels[train]),
        Images(pixels[test], labels[test]),
        mirrors=False,
    )


def _named(decoded: _Decoded, title: str) -> ImageData:
    data = ImageData(title, decoded.classes, decoded.train, decoded.test)
    found = (data.train.labels.size, data.test.labels.size, data.classes, data.shape)
    if found == _WHOLE_CIFAR_10:
        name = "cifar10-jpeg" if decoded.lossy else "cifar10"
    else:
        name = f"{title}-{data.digest()[:8]}"
    return ImageData(name, data.classes, data.train, data.test)


def _cache_directory() -> Path:
    """Return the folder of the catalog, which lies above this package and cannot be imported."""
    import platformdirs

    chosen = os.environ.get("BPE_BENCH_CACHE")
    return Path(chosen) if chosen else platformdirs.user_cache_path("bpe-bench")
