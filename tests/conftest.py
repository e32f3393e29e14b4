"""Fixtures that several test files share."""

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

# Under xdist a test runs on every core; threads of numerical libraries would only fight for them.
if "PYTEST_XDIST_WORKER" in os.environ:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from bpe_bench import open_table
from bpe_bench.budget import Budget
from bpe_bench.spaces import get_space
from bpe_bench.tables.table import MISSING, Curves, Provenance, Setting, Split, Table

# No deadline: machines that run tests are shared. The same examples every time
# under CI, so that a red run can be repeated.
settings.register_profile("local", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("local"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")

# A shell that starts the tests in the background has them ignore Ctrl-C, and their children, too;
# some tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Colours and widths that a person has chosen for the terminal are not for what tests read.
for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS", "LINES"):
    os.environ.pop(name, None)

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def _no_cache_of_the_user(tmp_path_factory):
    """Tables that somebody has fetched here must not be found by tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BPE_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def mode_of_new_files():
    """The rights that a file has that is made here and now, as the umask wants them."""
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask


@pytest.fixture(scope="session")
def processes_now():
    """Return what lists the processes of this machine: the parent and the state of each by its id.

    Without ps, which small containers lack; where there is no /proc, with it.
    """

    def look():
        if not Path("/proc/self/stat").exists():
            command = ["ps", "-A", "-o", "pid=,ppid=,stat="]
            said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            lines = map(str.split, said.splitlines())
            return {int(process): (int(parent), state) for process, parent, state in lines}
        found = {}
        for file in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # it has ended meanwhile
                state, parent, *_ = file.read_text().rpartition(")")[2].split()
                found[int(file.parent.name)] = int(parent), state
        return found

    return look


@pytest.fixture(scope="session")
def repository():
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture
def train_by(monkeypatch):
    """Return what has campaigns run a task of ``tests/execution/fake_training.py`` for training."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "tests" / "execution"))

    def choose(task):
        chosen = f"fake_training:{task}"
        monkeypatch.setattr("bpe_bench.execution.campaign.TRAINING_TASK", chosen)

    return choose


@pytest.fixture(scope="session")
def darts_bpe():
    """The shipped table of 100 DARTS cells under 37 budgets."""
    return open_table("darts-bpe")


@pytest.fixture(scope="session")
def published():
    """The folder of the files that the authors published."""
    beside = REPOSITORY.parent / "shared" / "published"
    folder = Path(os.environ.get("BPE_BENCH_PUBLISHED", beside))
    if not folder.is_dir():
        pytest.skip("the published files are not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def published_budgets(published):
    """The sheet of 37 budgets as rows of values, read without the library."""
    import openpyxl

    file = published / "darts-bpe" / "experimantal_stastics.xlsx"
    book = openpyxl.load_workbook(file, read_only=True, data_only=True)
    return list(book.worksheets[1].iter_rows(values_only=True))


@pytest.fixture(scope="session")
def published_truth(published):
    """The sheet of 100 genotypes and their accuracies, read without the library."""
    import openpyxl

    file = published / "darts-bpe" / "Search_Hyperparameters_Results.xlsx"
    book = openpyxl.load_workbook(file, read_only=True, data_only=True)
    return list(book.worksheets[0].iter_rows(values_only=True))[1:101]


FULL = Budget(epochs=10, batch_size=96, learning_rate=0.025, layers=20, channels=36, image_size=32)
CHEAP = FULL.replace(layers=6, channels=8, image_size=16)
MIDDLE = FULL.replace(layers=8)


@pytest.fixture(scope="session")
def make_curves():
    """Return a function from counts at the last epoch, (seeds, architectures), to curves."""

    def make(last, *, size=1000, epochs=(1, 5, 10)):
        last = np.asarray(last, dtype=np.int32)
        rise = np.arange(len(epochs) - 1, -1, -1)[None, :, None] * 40
        counts = np.where(last[:, None] == MISSING, MISSING, last[:, None] - rise)
        return Curves(counts, size, np.array(epochs), np.arange(last.shape[0]))

    return make


@pytest.fixture(scope="session")
def golden(make_curves):
    """Six DARTS cells, two budgets and full training, two seeds, three epochs, both splits.

    Small enough for every figure to be worked out by hand. The middle budget
    lacks the last cell, and two trainings lack their second seed.
    """
    space, rng = get_space("darts"), np.random.default_rng(0)
    last = {
        "full": [[910, 920, 930, 940, 950, 960], [912, 918, 934, MISSING, 948, 964]],
        "cheap": [[610, 600, 640, 630, 660, 650], [612, 602, 642, 632, 662, MISSING]],
        "middle": [[710, 700, 720, 730, 740, MISSING], [712, 702, 722, 732, 742, MISSING]],
    }
    curves = {}
    for label, counts in last.items():
        curves[label, Split.VALIDATION] = make_curves(counts)
        # On test data the ranking is turned round, so a mix-up of splits shows.
        counts = np.array(counts)
        turned = np.where(counts == MISSING, MISSING, 2000 - counts)
        curves[label, Split.TEST] = make_curves(turned, size=2000)
    return Table(
        space="darts",
        dataset="cifar10",
        architectures=tuple(space.sample(rng) for _ in range(6)),
        settings=(
            Setting("full", FULL, "cifar10", 4000.0, "V100"),
            Setting("cheap", CHEAP, "cifar10", 10.0, "V100"),
            Setting("middle", MIDDLE, "cifar10", 100.0, "RTX 2080 Ti"),
        ),
        curves=curves,
        references=("full",),
        provenance=Provenance("made up", "CC0-1.0", "nobody", "tests", "1", "2020-01-01T00:00:00"),
        caveats=("made up for the tests",),
    )


@pytest.fixture(autouse=True)
def known_spaces():
    """Forget the spaces that a test made known."""
    from bpe_bench.spaces import SPACES

    known = dict(SPACES)
    yield
    for name in SPACES.keys() - known.keys():
        del SPACES[name]
