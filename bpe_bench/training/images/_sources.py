"""Sources of images: recognising what is at a path, and decoding it.

Every kind of source gives arrays of train and of test images. A malformed file is refused with
a one-line error that names it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import OptionalDependencyError, SourceFileError
from . import _cifar_archives
from ._pixels import Images, _PixelArray

_UNDERSTOOD = (
    "digits (bundled with scikit-learn), a folder of train-*.parquet and test-*.parquet (as "
    "uoft-cs/cifar10 on Hugging Face), cifar-10-python.tar.gz or cifar-10-binary.tar.gz or the "
    "folder that either unpacks to, or a folder of train/CLASS/*.png and test/CLASS/*.png"
)
_SPLITS = ("train", "test")
_SUFFIXES = frozenset(
    [".parquet", ".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"]
)
_JPEG = b"\xff\xd8\xff"
_Encoded = tuple[bytes, str, int]
"""An image as it is stored, what messages call it, and its label."""


@dataclass(frozen=True)
class _Decoded:
    """The content of a source."""

    train: Images
    test: Images
    classes: int
    """Number of classes."""
    lossy: bool = False
    """Whether any image was JPEG-coded."""


@dataclass(frozen=True)
class _Source:
    """A source of images that was recognised, but not read."""

    kind: str
    root: Path
    """The folder in which the files are."""
    files: tuple[Path, ...]
    """All files that the images depend on, in a fixed order."""
    decode: Callable[[Path, Sequence[Path]], _Decoded]
    """Reads all images from root and files. Raises `SourceFileError` if a file is not what it
    should be, `OptionalDependencyError` if reading needs a package that is not installed."""
    title: str
    """Name of images that are not a known data set."""


def _recognise(path: Path) -> _Source:
    """Return the source at a path.

    Raises
    ------
    SourceFileError
        If the path does not exist, a split is missing, or the kind of source is unknown.
    """
    if path.is_file():
        if re.search(r"\.(tar(\.\w+)?|tgz)$", path.name):
            return _Source("cifar-10 archive", path.parent, (path,), _archive, "cifar10")
        raise SourceFileError(f"{path} is not a source of images; understood are: {_UNDERSTOOD}")
    if not path.is_dir():
        raise SourceFileError(f"no images at {path}; understood are: {_UNDERSTOOD}")
    for folder in (path, path / "plain_text"):
        if any(folder.glob("*.parquet")):
            found = _in_splits(folder, "{}-*.parquet")
            return _Source("parquet", folder, found, _parquet, _title(folder))
    for folder in (path, path / _cifar_archives._PYTHON, path / _cifar_archives._BINARY):
        kind = _cifar_archives._batches_of(_names(folder))
        if kind is not None:
            files = (folder / name for name in _cifar_archives._BATCHES[kind])
            found = tuple(file for file in files if file.is_file())
            return _Source("cifar-10 batches", folder, found, _batches, "cifar10")
    if any((path / split).is_dir() for split in _SPLITS):
        found = _in_splits(path, "{}/*/*")
        return _Source("class folders", path, found, _class_folders, _title(path))
    raise SourceFileError(
        f"the folder {path} holds no images that are understood; understood are: {_UNDERSTOOD}"
    )


def _title(root: Path) -> str:
    name = root.resolve().name
    if name == "plain_text":
        name = root.resolve().parent.name
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "images"


def _names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()} if folder.is_dir() else set()


def _in_splits(folder: Path, pattern: str) -> tuple[Path, ...]:
    """Return the files of both splits, each split's sorted by name."""
    found = {
        split: sorted(
            file
            for file in folder.glob(pattern.format(split))
            if file.suffix.lower() in _SUFFIXES and not file.name.startswith(".")
        )
        for split in _SPLITS
    }
    for split, files in found.items():
        if not files:
            raise SourceFileError(
                f"{folder} has no {split} images; needed are {_SPLITS[0]} and {_SPLITS[1]} images"
            )
    return tuple(file for files in found.values() for file in files)


def _archive(root: Path, files: Sequence[Path]) -> _Decoded:
    (file,) = files
    train, test = _cifar_archives._read_batches(_cifar_archives._unpack(file), str(file))
    return _Decoded(train, test, _cifar_archives._CLASSES)


def _batches(root: Path, files: Sequence[Path]) -> _Decoded:
    contents = {}
    for file in files:
        with _explaining(f"{file} cannot be read"):
            _cifar_archives._check_size(str(file), file.stat().st_size)
            contents[file.name] = file.read_bytes()
    train, test = _cifar_archives._read_batches(contents, str(root))
    return _Decoded(train, test, _cifar_archives._CLASSES)


def _parquet(root: Path, files: Sequence[Path]) -> _Decoded:
    of = {split: [f for f in files if f.name.startswith(f"{split}-")] for split in _SPLITS}
    encoded = {split: [row for f in own for row in _read_parquet(f)] for split, own in of.items()}
    known = np.unique([label for *_, label in encoded["train"]])
    decoded = _decoded(encoded, root, known.size)
    if not np.array_equal(known, np.arange(known.size)):
        raise SourceFileError(
            f"{root}: the labels of the train images must count from 0 without a gap, "
            f"found {', '.join(map(str, known[:20]))}"
        )
    return decoded


def _class_folders(root: Path, files: Sequence[Path]) -> _Decoded:
    of = {split: [f for f in files if f.parent.parent.name == split] for split in _SPLITS}
    train, test = (_classes(root / split, own) for split, own in of.items())
    if train != test:
        raise SourceFileError(
            f"{root}: train and test must have images of the same classes; only one has "
            f"{', '.join(sorted(set(train) ^ set(test)))[:200]}"
        )
    encoded = {
        split: ((_content(f), str(f), train.index(f.parent.name)) for f in own)
        for split, own in of.items()
    }
    return _decoded(encoded, root, len(train))


def _content(file: Path) -> bytes:
    with _explaining(f"{file} cannot be read"):
        return file.read_bytes()


def _classes(folder: Path, files: Sequence[Path]) -> list[str]:
    named = sorted(p.name for p in folder.iterdir() if p.is_dir())
    full = {file.parent.name for file in files}
    for name in named:
        if name not in full and not name.startswith("."):
            raise SourceFileError(f"{folder / name} holds no images")
    return [name for name in named if name in full]


def _decoded(encoded: Mapping[str, Iterable[_Encoded]], root: Path, classes: int) -> _Decoded:
    """Decode the images of both splits."""
    decoder = _Decoder()
    parts = []
    for split, rows in encoded.items():
        images, labels = [], []
        for content, where, label in rows:
            images.append(decoder.decode(content, where))
            labels.append(label)
        parts.append(decoder.stack(images, labels, f"{root} ({split})"))
    train, test = parts
    return _Decoded(train, test, classes, decoder.lossy)


def _read_parquet(file: Path) -> Iterator[_Encoded]:
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError:
        raise OptionalDependencyError(
            "reading images from Parquet needs pyarrow, which is not installed; "
            "pip install 'bpe-bench[train]'"
        ) from None
    with _explaining(f"{file} is not a readable Parquet file", arrow.ArrowException):
        opened = parquet.ParquetFile(file)
        schema = opened.schema_arrow
        types = {field.name: field.type for field in schema}
        image = arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
        if types.get("img") != image or types.get("label") != arrow.int64():
            found = ", ".join(f"{name}: {kind}" for name, kind in types.items())
            raise SourceFileError(
                f"{file} has another schema; expected img: struct<bytes: binary, path: string>, "
                f"label: int64, found {found[:300]}"
            )
        table = opened.read(columns=["img", "label"])
        rows, labels = table.column("img").to_pylist(), table.column("label").to_pylist()
    for row, (image, label) in enumerate(zip(rows, labels, strict=True)):
        if image is None or image["bytes"] is None or label is None or label < 0:
            raise SourceFileError(f"{file}, row {row}: an image or its label is missing")
        name = f" ({image['path'][:100]!r})" if image["path"] else ""
        yield image["bytes"], f"{file}, row {row}{name}", label


class _Decoder:
    """Decodes images of one size and remembers their common properties."""

    def __init__(self) -> None:
        try:
            from PIL import Image
        except ImportError:
            raise OptionalDependencyError(
                "decoding images needs pillow, which is not installed; "
                "pip install 'bpe-bench[train]'"
            ) from None
        self._pillow = Image
        self.size: tuple[int, int] | None = None
        """Width and height in pixels."""
        self.lossy = False

    def decode(self, content: bytes, where: str) -> _PixelArray:
        """Return an image, shape (C, H, W) with one channel if it is grey and three if not."""
        kinds = (ValueError, SyntaxError, self._pillow.DecompressionBombError)
        with (
            _explaining(f"{where}: the image cannot be decoded", *kinds),
            self._pillow.open(io.BytesIO(content)) as image,
        ):
            self._check_size(image.size, where)  # before the pixels take any memory
            grey = image.mode in ("1", "L")
            pixels = np.asarray(image.convert("L" if grey else "RGB"))
        self.lossy |= content.startswith(_JPEG)
        return pixels[None] if grey else pixels.transpose(2, 0, 1)

    def stack(self, images: Sequence[_PixelArray], labels: Iterable[int], where: str) -> Images:
        """Return images as one array; grey ones among colour ones become colour ones."""
        if not images:
            raise SourceFileError(f"{where} holds no images")
        channels = max(image.shape[0] for image in images)
        whole = np.empty((len(images), channels, *images[0].shape[1:]), np.uint8)
        for place, image in enumerate(images):
            whole[place] = image
        return Images(whole, np.fromiter(labels, np.int64, len(images)))

    def _check_size(self, size: tuple[int, int], where: str) -> None:
        self.size = self.size or size
        if size[0] != size[1] or size != self.size:
            raise SourceFileError(
                f"{where}: the image has {size[0]}x{size[1]} pixels; images must be square and of "
                f"one size, and the first has {self.size[0]}x{self.size[1]}"
            )


@contextmanager
def _explaining(fault: str, *kinds: type[Exception]) -> Iterator[None]:
    """Turn errors of reading into one line."""
    try:
        yield
    except SourceFileError:
        raise
    except Exception as error:
        if not isinstance(error, (OSError, *kinds)):
            raise
        # Pillow names the object that it was given, which says nothing to the user.
        reason = re.sub(r" <[^<>]* object at 0x[0-9a-f]+>", "", " ".join(str(error).split()))
        reason = reason or type(error).__name__
        raise SourceFileError(f"{fault} ({reason[:200]})") from error
