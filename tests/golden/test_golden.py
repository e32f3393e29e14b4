"""Files of earlier versions open as before.

The files here were made at commit ee51897, and every expected figure was read from them by
the code of that commit.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest

from bpe_bench.budget import BPE_1, parse_budget
from bpe_bench.correlation import correlate
from bpe_bench.execution.campaign import run_campaign, status_of
from bpe_bench.execution.journal import Journal
from bpe_bench.execution.journal_table import read as read_journal
from bpe_bench.search import read_traces
from bpe_bench.surrogate import load_surrogate
from bpe_bench.tables.curves import Split
from bpe_bench.tables.storage import read_table, verify_table
from bpe_bench.training.images.data import load_images

GOLDEN = Path(__file__).parent
IDS = ["cd9ba91d5750", "2627b2ea4e4b", "d24dd31a8146", "50a13e1a7403"]
TABLE_SHA256 = "473d452c95ec9b922d61e2d5e94c857501499c91379ff0e3b4ccadd26b3f604a"
TINY = parse_budget(
    "epochs=2,batch_size=128,learning_rate=0.05,layers=5,channels=2,image_size=8,data_fraction=0.1"
)


@pytest.fixture(scope="module")
def table():
    return read_table(GOLDEN / "table.h5")


@pytest.fixture
def journal(tmp_path):
    """A copy of the journal, which may be written to."""
    return Path(shutil.copy(GOLDEN / "journal.sqlite", tmp_path))


def test_a_table_has_the_same_hash_and_description(table):
    assert verify_table(GOLDEN / "table.h5") == TABLE_SHA256
    assert (table.space, table.dataset, table.references) == ("nas-bench-201", "cifar10", ("full",))
    assert table.caveats == ("Made up.",)
    assert (table.provenance.source, table.provenance.builder) == ("Made for tests", "golden")
    full, cheap = table.settings
    assert full.budget == parse_budget(
        "BPE-1,epochs=4,layers=17,channels=16,image_size=32,batch_size=256,learning_rate=0.1"
    )
    assert cheap.budget == full.budget.replace(epochs=2, channels=8)
    assert (full.label, full.seconds, full.device) == ("full", 812.5, "V100")
    assert (cheap.label, cheap.seconds, cheap.device) == ("cheap", 101.25, "V100")
    assert table.architectures[1].genes == (2, 4, 4, 2, 2, 3)


def test_a_table_has_the_same_counts_and_measures(table):
    assert len(table.architectures) == 30
    mean = table.curves["cheap", Split.VALIDATION]
    assert (mean.split_size, mean.scale) == (5000, 3)
    assert mean.sources == ("a mean over three seeds",)
    assert mean.seeds.tolist() == [-1]
    assert mean.all_counts()[0, :, :3].tolist() == [[8727, 9840, 9405], [10023, 10863, 10632]]
    whole = table.curves["full", Split.VALIDATION]
    assert whole.epochs.tolist() == [1, 2, 3, 4]
    assert whole.seeds.tolist() == [0, 7]
    assert whole.all_counts()[1, 2, :8].tolist() == [
        3438, 4029, 3891, 3923, 3417, -1, 3535, 3519,
    ]  # fmt: skip
    assert whole.all_counts()[:, 3, 7].tolist() == [-1, -1]
    test = table.curves["full", Split.TEST].all_counts()
    assert test[:, 0, :3].tolist() == [[6917, 8134, 7960], [6895, 8194, 7932]]
    nan = np.nan
    for name, values in {
        "flops": [87.25, 27.384, 89.509, nan, 6.668],
        "parameters": [40.979, 67.43, 20.301, nan, 33.184],
        "seconds": [70.307, 47.761, 81.408, nan, 29.756],
    }.items():
        np.testing.assert_array_equal(table.measures["full", name][:5], values)


def test_a_table_correlates_as_before(table):
    assert {row.label: row.correlation for row in correlate(table).rows} == pytest.approx(
        {
            "full@1": 0.9886699507389161,
            "full@2": 0.9837438423645319,
            "full@3": 0.9876847290640391,
            "cheap@1": 0.9443349753694579,
            "cheap": 0.8837438423645317,
        },
        rel=1e-12,
    )


def check(forecast, value, low, high):
    """Compare a forecast with an earlier one, which was not yet settled to 12 digits."""
    for found, wanted in ((forecast.value, value), (forecast.low, low), (forecast.high, high)):
        np.testing.assert_allclose(found, wanted, rtol=5e-12)


def test_a_surrogate_of_accuracies_predicts_as_before(table):
    fitted = load_surrogate(GOLDEN / "accuracy.surrogate")
    described = fitted.describe()
    assert (described["model"], described["encoding"]) == ("xgboost", "operations")
    assert (described["members"], described["settings"]) == (4, ["full", "cheap"])
    assert fitted.notes == ("1 of 16 trainings are missing and left out",)
    full = table.setting("full").budget
    check(
        fitted.accuracy(table.architectures[:4], full),
        [0.7547742173730897, 0.7669354564224659, 0.7525487865748073, 0.7680024474414178],
        [0.47833819397077704, 0.49015092881755695, 0.5068860346763617, 0.5304733075609948],
        [0.8778398915668411, 0.8870992110760875, 0.8684114610088629, 0.8785233766181104],
    )
    check(fitted.cost(table.architectures[:4], full), [812.5] * 4, [np.nan] * 4, [np.nan] * 4)


def test_a_surrogate_with_early_epochs_predicts_as_before(table):
    fitted = load_surrogate(GOLDEN / "given.surrogate")
    assert fitted.describe()["model"] == "forest"
    assert (fitted.given, fitted.table_sha256) == (("cheap",), TABLE_SHA256)
    cells, full = table.architectures[:4], table.setting("full").budget
    check(
        fitted.accuracy(cells, full, given=fitted.given_from(table, cells)),
        [0.6962737050455756, 0.8077135651949263, 0.7919482164094366, 0.801706089077272],
        [0.5426148249528673, 0.7264719579582479, 0.6905445697742502, 0.6941570352220547],
        [0.790569840856497, 0.8787402761921946, 0.8583047647022632, 0.8599588611944728],
    )
    check(
        fitted.cost(cells, full),
        [45.161376983751815, 51.2154167545616, 75.28352191683794, 57.10220957204089],
        [7.900547517085268, 9.12871616289619, 15.559777336928727, 12.650944292595149],
        [216.26418568916728, 249.88323443241902, 425.92270573636137, 346.29829891162734],
    )


def test_a_surrogate_of_correlations_predicts_as_before():
    fitted = load_surrogate(GOLDEN / "correlation.surrogate")
    assert fitted.describe()["settings"] == [f"test{i}" for i in range(1, 9)]
    check(fitted.correlation([BPE_1]), [0.4282179342587918], [np.nan], [np.nan])
    assert fitted.error == pytest.approx(0.2320106432795177, rel=1e-12)


def test_a_journal_holds_the_same_trials(journal):
    with Journal(journal, read_only=True) as opened:
        done, _, failed, planned = entries = list(opened)
    assert [entry.state for entry in entries] == ["done", "done", "failed", "planned"]
    assert [entry.trial.id[:12] for entry in entries] == IDS
    assert [entry.trial.architecture.genes for entry in entries] == [
        (1, 1, 1, 0, 2, 0), (3, 3, 4, 0, 3, 4), (1, 1, 1, 0, 2, 0), (4, 1, 0, 0, 0, 1),
    ]  # fmt: skip
    assert [entry.trial.budget for entry in entries] == [TINY, TINY, TINY.replace(layers=6), TINY]
    assert [entry.trial.seed for entry in entries] == [0, 0, 0, 5]
    assert failed.message.startswith("TrainingError: a NAS-Bench-201 network is 3 stages of N")
    first, second = done.records
    assert first.results[Split.TRAIN].correct == 10
    assert second.results[Split.TRAIN].loss == 2.366183042526245
    assert (first.seconds, first.peak_memory) == (0.01603743900000154, 483893248)
    assert len(planned.records) == 1
    assert status_of(journal).device_seconds == pytest.approx(0.050876775000233465)


def test_a_journal_becomes_the_same_table(journal):
    table = read_journal(journal, lambda share: None)
    (setting,) = table.settings
    assert (setting.label, setting.budget, setting.dataset) == ("digits", TINY, "digits")
    assert setting.seconds == pytest.approx(0.01938393700004326)
    counts = {split: c.all_counts().tolist() for (_, split), c in table.curves.items()}
    assert counts == {
        Split.TEST: [[[37, 37], [37, 37]]],
        Split.TRAIN: [[[10, 11], [8, 3]]],
        Split.VALIDATION: [[[29, 29], [29, 29]]],
    }
    sizes = {split: c.split_size for (_, split), c in table.curves.items()}
    assert sizes == {Split.TEST: 360, Split.TRAIN: 115, Split.VALIDATION: 287}


def test_a_journal_goes_on_from_its_checkpoint(journal):
    assert run_campaign(journal, [], jobs=1).counts["done"] == 3
    with Journal(journal) as opened:
        *_, last = opened
    first, second = last.records
    assert first.results[Split.TRAIN].loss == 2.311613082885742  # as recorded, not trained anew
    # Trained on from the checkpoint; the last digits rest on the processor.
    assert second.results[Split.TRAIN].loss == pytest.approx(2.3165361881256104, rel=1e-4)
    assert second.results[Split.TEST].loss == pytest.approx(2.316202629937066, rel=1e-4)


def test_traces_are_the_same():
    traces = read_traces(GOLDEN / "traces.jsonl")
    assert [trace.searcher for trace in traces] == ["random"] * 2 + ["evolution"] * 2
    assert [trace.found.genes for trace in traces] == [
        (0, 0, 4, 2, 0, 3), (2, 1, 1, 1, 1, 4), (2, 4, 3, 1, 0, 2), (2, 1, 1, 2, 0, 3),
    ]  # fmt: skip
    assert [trace.outcome.validation for trace in traces] == [
        0.7645293820739661, 0.7651177708286439, 0.7669669051756959, 0.7658379900634222,
    ]  # fmt: skip
    trace = traces[2]
    assert trace.parameters == {"population": 3, "tournament": 2, "score": "pruned"}
    assert (len(trace.steps), trace.seconds, trace.stopped_by) == (8, 6500.0, "evaluations")
    last = trace.steps[-1]
    assert (last.architecture.genes, last.clock, last.state) == ((4, 0, 3, 1, 0, 2), 6500.0, "done")
    assert (last.accuracy, last.low, last.high) == (
        0.7582663780364618, 0.5179299877151827, 0.8715452424916582,
    )  # fmt: skip


def test_a_finished_search_by_supernet_is_not_trained_again(tmp_path):
    from bpe_bench.training.supernet import train_supernet

    file = Path(shutil.copy(GOLDEN / "supernet.pt", tmp_path))

    def never(epoch):
        raise AssertionError("it was trained again")

    budget = TINY.replace(epochs=1)
    found = train_supernet("nas-bench-201", load_images(), budget, checkpoint=file, on_epoch=never)
    assert found.architecture.genes == (0, 2, 3, 2, 2, 1)
    assert found.seconds == 0.03596936999997524
    assert found.epochs[0].train.loss == 2.3597323894500732
