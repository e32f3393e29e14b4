"""Where images come from: what a path holds, and how it is decoded.

Every kind of source gives the same: arrays of train and of test images. A file
that is not what it should be is refused in one line that names it.
"""

from __future__ import annotations

import io
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import OptionalDependencyError, SourceFileError
from . import _cifar_archives
from ._pixels import Images, PixelArray

UNDERSTOOD = (
    "digits (bundled with scikit-learn), a folder of train-*.parquet and test-*.parquet (as "
    "uoft-cs/cifar10 on Hugging Face), cifar-10-python.tar.gz or cifar-10-binary.tar.gz or the "
    "folder that either unpacks to, or a folder of train/CLASS/*.png and test/CLASS/*.png"
)
_SPLITS = ("train", "test")
_SUFFIXES = frozenset(
    [".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"]
)
_JPEG = b"\xff\xd8\xff"


@dataclass(frozen=True)
class _Decoded:
    """What a source holds."""

    train: Images
    test: Images
    classes: int
    """Number of classes."""
    lossy: bool = False
    """Whether any image was JPEG-coded."""


class _ImageSource(ABC):
    """A place with images, recognised but not read.

    Parameters
    ----------
    root
        The path given, or the folder in which the files are.
    files
        Everything that the images depend on, in a fixed order.
    """

    kind: str

    def __init__(self, root: Path, files: Sequence[Path]) -> None:
        self.root, self.files = root, tuple(files)

    @property
    def title(self) -> str:
        """A name for images that are nobody's known data set: of the folder or file."""
        name = self.root.resolve().name
        if name == "plain_text":
            name = self.root.resolve().parent.name
        return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "images"

    @abstractmethod
    def decode(self) -> _Decoded:
        """Read all images.

        Raises
        ------
        SourceFileError
            If a file is not what it should be.
        OptionalDependencyError
            If reading needs a package that is not installed.
        """


def _recognise(path: Path) -> _ImageSource:
    """Return the source that a path is.

    Raises
    ------
    SourceFileError
        If nothing is there, a split is missing, or what is there is not understood.
    """
    if path.is_file():
        if re.search(r"\.(tar(\.\w+)?|tgz)$", path.name):
            return _Archive(path.parent, [path])
        raise SourceFileError(f"{path} is no source of images; understood are: {UNDERSTOOD}")
    if not path.is_dir():
        raise SourceFileError(f"no images at {path}; understood are: {UNDERSTOOD}")
    for folder in (path, path / "plain_text"):
        if any(folder.glob("*.parquet")):
            return _Parquet(folder, _in_splits(folder, _parquet_files))
    for folder in (path, path / _cifar_archives.PYTHON, path / _cifar_archives.BINARY):
        kind = _cifar_archives._batches_of(_names(folder))
        if kind is not None:
            files = [folder / name for name in _cifar_archives.BATCHES[kind]]
            return _Batches(folder, [file for file in files if file.is_file()])
    if any((path / split).is_dir() for split in _SPLITS):
        return _Folders(path, _in_splits(path, _image_files))
    raise SourceFileError(
        f"the folder {path} holds no images that are understood; understood are: {UNDERSTOOD}"
    )


def _names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()} if folder.is_dir() else set()


def _in_splits(folder: Path, find: Callable[[Path, str], Iterable[Path]]) -> list[Path]:
    """Return the files of both splits, each split's sorted by name."""
    found = {split: sorted(find(folder, split)) for split in _SPLITS}
    for split, files in found.items():
        if not files:
            raise SourceFileError(
                f"{folder} has no {split} images; needed are {_SPLITS[0]} and {_SPLITS[1]} images"
            )
    return [file for files in found.values() for file in files]


def _parquet_files(folder: Path, split: str) -> Iterable[Path]:
    return folder.glob(f"{split}-*.parquet")


def _image_files(folder: Path, split: str) -> Iterator[Path]:
    for file in (folder / split).glob("*/*"):
        if file.suffix.lower() in _SUFFIXES and not file.name.startswith("."):
            yield file


class _Archive(_ImageSource):
    kind = "cifar-10 archive"

    def decode(self) -> _Decoded:
        (file,) = self.files
        train, test = _cifar_archives._read_batches(_cifar_archives._unpack(file), str(file))
        return _Decoded(train, test, _cifar_archives.CLASSES)

    @property
    def title(self) -> str:
        return "cifar10"


class _Batches(_ImageSource):
    kind = "cifar-10 batches"

    def decode(self) -> _Decoded:
        contents = {}
        for file in self.files:
            with _explaining(f"{file} cannot be read"):
                _cifar_archives._check_size(str(file), file.stat().st_size)
                contents[file.name] = file.read_bytes()
        train, test = _cifar_archives._read_batches(contents, str(self.root))
        return _Decoded(train, test, _cifar_archives.CLASSES)

    @property
    def title(self) -> str:
        return "cifar10"


class _Parquet(_ImageSource):
    kind = "parquet"

    def decode(self) -> _Decoded:
        decoder = _Decoder()
        parts = {}
        for split in _SPLITS:
            labels: list[int] = []
            images = []
            for file in self.files:
                if file.name.startswith(f"{split}-"):
                    encoded, found = _read_parquet(file)
                    images += [decoder.decode(data, where) for data, where in encoded]
                    labels += found
            parts[split] = decoder.stack(images, labels, f"{self.root} ({split})")
        known = np.unique(parts["train"].labels)
        if not np.array_equal(known, np.arange(known.size)):
            raise SourceFileError(
                f"{self.root}: the labels of the train images must count from 0 without a gap, "
                f"found {', '.join(map(str, known[:20]))}"
            )
        return _Decoded(parts["train"], parts["test"], known.size, decoder.lossy)


class _Folders(_ImageSource):
    kind = "class folders"

    def decode(self) -> _Decoded:
        classes = {split: self._classes(split) for split in _SPLITS}
        if classes["train"] != classes["test"]:
            differ = sorted(set(classes["train"]) ^ set(classes["test"]))
            raise SourceFileError(
                f"{self.root}: train and test must have images of the same classes; only one has "
                f"{', '.join(differ)[:200]}"
            )
        places = {name: place for place, name in enumerate(classes["train"])}
        decoder = _Decoder()
        parts = {}
        for split in _SPLITS:
            files = self._of(split)
            images = []
            for file in files:
                with _explaining(f"{file} cannot be read"):
                    content = file.read_bytes()
                images.append(decoder.decode(content, str(file)))
            labels = [places[file.parent.name] for file in files]
            parts[split] = decoder.stack(images, labels, f"{self.root}/{split}")
        return _Decoded(parts["train"], parts["test"], len(places), decoder.lossy)

    def _of(self, split: str) -> list[Path]:
        return [file for file in self.files if file.parent.parent.name == split]

    def _classes(self, split: str) -> list[str]:
        named = sorted(p.name for p in (self.root / split).iterdir() if p.is_dir())
        full = {file.parent.name for file in self._of(split)}
        for name in named:
            if name not in full and not name.startswith("."):
                raise SourceFileError(f"{self.root / split / name} holds no images")
        return [name for name in named if name in full]


def _read_parquet(file: Path) -> tuple[list[tuple[bytes, str]], list[int]]:
    """Return the encoded images of a file, each with what messages call it, and the labels."""
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
    encoded = []
    for row, (image, label) in enumerate(zip(rows, labels, strict=True)):
        if image is None or image["bytes"] is None or label is None or label < 0:
            raise SourceFileError(f"{file}, row {row}: an image or its label is missing")
        name = f" ({image['path'][:100]!r})" if image["path"] else ""
        encoded.append((image["bytes"], f"{file}, row {row}{name}"))
    return encoded, labels


class _Decoder:
    """Decodes images of one size, of which it remembers what they have in common."""

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

    def decode(self, content: bytes, where: str) -> PixelArray:
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

    def stack(self, images: Sequence[PixelArray], labels: Iterable[int], where: str) -> Images:
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
    """Turn what reading raises into one line."""
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
