"""What the tests of several commands need: a command run, and files that are no tables."""

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from bpe_bench_cli.main import run

from bpe_bench import Curves, Setting, Split, Table, get_space, write_table
from bpe_bench.budget import BPE_1
from bpe_bench.errors import JournalError
from bpe_bench.execution.journal import Journal
from bpe_bench.surrogate import Question, fit_surrogate, save_surrogate
from bpe_bench.tables.catalog import table_path
from bpe_bench.tables.table import Provenance
from bpe_bench.training.trial import Trial


@pytest.fixture
def bpe_bench(capsys):
    """Return what runs a command line and gives its status, standard output and error."""

    def call(*arguments):
        capsys.readouterr()
        status = run([str(argument) for argument in arguments])
        return status, *capsys.readouterr()

    return call


@pytest.fixture
def fails(bpe_bench):
    """Return what runs a command that must be refused, and gives its one line.

    Without the option's name at its end, which test_commands looks at.
    """

    def call(*arguments):
        status, out, err = bpe_bench(*arguments)
        assert (status, out) == (2, "")
        assert err.startswith("bpe-bench: error: ")
        assert err.endswith("\n")
        assert err.count("\n") == 1
        message = err.removeprefix("bpe-bench: error: ").removesuffix("\n")
        return re.sub(r" \(in (--[a-z-]+|[A-Z]+)\)$", "", message)

    return call


@pytest.fixture
def as_json(bpe_bench):
    """Return what runs a command with ``--format json`` and parses what it says."""

    def call(*arguments):
        status, out, _ = bpe_bench(*arguments, "--format", "json")
        assert status == 0
        return json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))

    return call


@pytest.fixture(scope="session")
def registry(repository):
    """The registered tables by name, read without the library."""
    return tomllib.loads((repository / "tables" / "registry.toml").read_text())["table"]


@pytest.fixture(scope="session")
def tables_of(darts_bpe, tmp_path_factory):
    """A folder of variants of the shipped table and of files that are no tables."""
    folder = tmp_path_factory.mktemp("tables")
    shipped = table_path("darts-bpe")
    (folder / "truncated.h5").write_bytes(shipped.read_bytes()[: shipped.stat().st_size // 2])
    (folder / "text.h5").write_text("not HDF5 at all\n")
    with h5py.File(folder / "foreign.h5", "w") as file:
        file["x"] = [1, 2, 3]
    for name in ("newer", "flipped"):
        shutil.copy(shipped, folder / f"{name}.h5")
    with h5py.File(folder / "newer.h5", "r+") as file:
        file.attrs["format_version"] = file.attrs["format_version"] + 7
    with h5py.File(folder / "flipped.h5", "r+") as file:
        file["curves/test5/test/correct"][0, 0, 0] -= 1
    write_table(replace(darts_bpe, references=()), folder / "no-reference.h5")
    key = "full", Split.TEST
    full = darts_bpe.curves[key]
    equal = np.full((1, 1, 100), 9000)
    equal = Curves(equal, full.split_size, full.epochs, full.seeds)
    write_table(replace(darts_bpe, curves={**darts_bpe.curves, key: equal}), folder / "equal.h5")
    free = tuple(replace(s, seconds=math.nan) for s in darts_bpe.settings)
    write_table(replace(darts_bpe, settings=free), folder / "no-costs.h5")
    return folder


@pytest.fixture(scope="session")
def whole_space():
    """All of NAS-Bench-201 with made-up figures: the more 3x3 convolutions, the better."""
    space, rng = get_space("nas-bench-201"), np.random.default_rng(0)
    cells = [space.from_index(i) for i in range(space.size)]
    good = np.array([cell.genes.count(3) for cell in cells]) * 100
    long = BPE_1.replace(epochs=200, layers=17, channels=16, image_size=32)
    curves = {}
    for label, epochs, splits in (
        ("short", 12, (Split.VALIDATION,)),
        ("long", 200, (Split.VALIDATION, Split.TEST)),
    ):
        for split in splits:
            counts = 300 + good + rng.integers(100, size=good.size)
            seeds = np.array([0], dtype=np.int32)
            curves[label, split] = Curves(counts[None, None], 1000, np.array([epochs]), seeds)
    return Table(
        space="nas-bench-201",
        dataset="cifar10",
        architectures=cells,
        settings=(
            Setting("short", long.replace(epochs=12), "cifar10", 100.0, "abacus"),
            Setting("long", long, "cifar10", 1600.0, "abacus"),
        ),
        curves=curves,
        references=("long",),
        provenance=Provenance("made up", "CC0-1.0", "nobody"),
    )


@pytest.fixture(scope="session")
def correlating(darts_bpe, tmp_path_factory):
    """A file with a surrogate of the correlations of darts-bpe."""
    file = tmp_path_factory.mktemp("surrogates") / "correlating"
    question = Question("correlation")
    rng = np.random.default_rng(0)
    fitted = fit_surrogate(darts_bpe, question, rng=rng, name="darts-bpe", folds=10)
    save_surrogate(file, fitted)
    return file


@pytest.fixture
def example_folder(darts_bpe, whole_space, correlating, monkeypatch, repository, tmp_path):
    """A folder with the files that examples of help texts name, and a cache beside it.

    The cache has a made-up table in the place of the one that is fetched.
    """
    folder = tmp_path / "examples"
    folder.mkdir()
    (tmp_path / "cache").mkdir()
    write_table(whole_space, tmp_path / "cache" / "nas-bench-201.h5")
    monkeypatch.setenv("BPE_BENCH_CACHE", str(tmp_path / "cache"))
    published = os.environ.get("BPE_BENCH_PUBLISHED", repository.parent / "shared" / "published")
    if Path(published).is_dir():
        (folder / "published").symlink_to(published)
    for name in ("a.h5", "b.h5"):
        write_table(darts_bpe, folder / name)
    (folder / "results.csv").write_text(
        "architecture,epochs,batch_size,learning_rate,layers,channels,image_size,epoch,split,"
        "accuracy,split_size,reference\n"
        "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|,12,256,0.1,17,16,32,12,validation,0.5,"
        "1000,true\n"
    )
    shutil.copy(correlating, folder / "fitted.surrogate")
    with Journal(folder / "trainings.sqlite") as journal:
        journal.add([Trial(darts_bpe.architectures[0], BPE_1, "digits")])
    return folder


TRAINED_BY = """
import sys
sys.path.insert(0, sys.argv[1])
from bpe_bench.execution import campaign
from bpe_bench_cli.main import run
campaign.TRAINING_TASK = sys.argv[2]
sys.exit(run(sys.argv[3:]))
"""


@pytest.fixture(scope="session")
def start(repository):
    """Return what starts a command line in a process of its own, perhaps with a fake training."""

    def begin(*arguments, fake=None):
        how = ["-m", "bpe_bench_cli"]
        if fake is not None:
            folder = str(repository / "tests" / "execution")
            how = ["-c", TRAINED_BY, folder, f"fake_training:{fake}"]
        return subprocess.Popen(
            [sys.executable, *how, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    return begin


@pytest.fixture(scope="session")
def wait_for_epochs():
    """Return what waits until a process has recorded so many epochs in a store."""

    def wait(store, count, process):
        deadline = time.monotonic() + 300  # however busy the machine is
        while time.monotonic() < deadline and process.poll() is None:
            # At first the store is not there, then it is there and empty.
            with suppress(JournalError), Journal(store, read_only=True) as journal:
                if journal.epochs_recorded() >= count:
                    return
            time.sleep(0.02)
        pytest.fail(f"fewer than {count} epochs after 300 s: {process.communicate()}")

    return wait


@pytest.fixture(scope="session")
def kill(processes_now):
    """Return what kills a process and its workers at once, as if the machine had gone."""

    def end(process):
        now = processes_now().items()
        for pid in [process.pid, *(p for p, (parent, _) in now if parent == process.pid)]:
            os.kill(pid, signal.SIGKILL)
        process.wait()

    return end
