"""Real training as the source of correlations: tiny networks on the digits, through a journal."""

import hashlib
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from bpe_bench import BudgetSpace, Curves, get_space
from bpe_bench.budget import parse_budget
from bpe_bench.correlation.candidates import Candidate, Cost, Measured
from bpe_bench.errors import JournalError, MissingReferenceError, RankingError, SelectionError
from bpe_bench.execution import Progress
from bpe_bench.execution.journal import Journal
from bpe_bench.pruning import Rules, prune
from bpe_bench.pruning.trained import Trained, _Workplace
from bpe_bench.tables.curves import Split
from bpe_bench.training.networks.network import flops_of
from bpe_bench.training.trial import EpochRecord, SplitResult, Trial

BASE = parse_budget(
    "epochs=1,batch_size=32,learning_rate=0.1,layers=3,channels=4,image_size=8,data_fraction=0.3"
)
REFERENCE = BASE.replace(epochs=3, data_fraction=0.5)
VARY = {"epochs": (1, 2), "data_fraction": (0.2, 0.4)}
SETTINGS = 4
RNG = np.random.default_rng(3)
MORE = tuple(get_space("darts").sample(RNG) for _ in range(4))
CELLS = MORE[:3]


def objective(store, **options):
    given = {
        "settings": BudgetSpace.around(BASE, VARY),
        "reference": REFERENCE,
        "architectures": CELLS,
        "workplace": _Workplace(store, "digits", jobs=1),
        "rng": np.random.default_rng(0),
        **options,
    }
    return Trained(**given)


def campaign_of(failing):
    """Return what trains in no time: a second per epoch on the record, and figures by hashing."""

    def campaign(store, trials, *, on_progress, stop, **_):
        with Journal(store) as journal:
            journal.add(trials)
            while not stop.is_set() and (claim := journal.claim("tester", stale_after=60)):
                train(journal, claim, on_progress, stop)

    def train(journal, claim, on_progress, stop):
        trial = claim.trial
        if trial.architecture in failing:
            journal.finish(trial.id, "tester", "failed", "no luck")
            return
        for epoch in range(len(claim.records) + 1, trial.budget.epochs + 1):
            luck = int(hashlib.sha256(f"{trial.id} {epoch}".encode()).hexdigest(), 16) % 100
            good = 500 + 60 * MORE.index(trial.architecture) + luck
            result = {Split.VALIDATION: SplitResult(good, 1000, 0.5)}
            journal.record(trial.id, "tester", EpochRecord(epoch, result, 1.0, 1), b"")
            seconds = journal.device_seconds()
            on_progress(Progress(journal.counts(), journal.epochs_recorded(), seconds, None))
            if stop.is_set() and epoch < trial.budget.epochs:
                journal.release(trial.id, "tester")
                return
        journal.finish(trial.id, "tester", "done")

    return campaign


@pytest.fixture
def made_up(monkeypatch):
    """Trainings that take no time; returns the set of cells whose trainings are to fail."""
    failing = set()
    monkeypatch.setattr("bpe_bench.pruning.trained.run_campaign", campaign_of(failing))
    return failing


@pytest.fixture(scope="module", params=["made up", pytest.param("real", marks=pytest.mark.slow)])
def pruned(request, tmp_path_factory):
    """Everything trained, one setting after the other, in no time or for real."""
    steps = []

    class Watched:
        def __init__(self, what):
            steps.append(what)

        def __enter__(self):
            return lambda share: steps.append(share)

        def __exit__(self, *error):
            return None

    with pytest.MonkeyPatch.context() as patch:
        if request.param == "made up":
            patch.setattr("bpe_bench.pruning.trained.run_campaign", campaign_of(set()))
        source = objective(tmp_path_factory.mktemp("mip") / "store.sqlite", watch=Watched)
        yield source, run(source, max_cost_hours=(1.0,), predictions=0), steps


@pytest.fixture
def store(pruned):
    """The journal of these trainings."""
    return pruned[0].workplace.store


def accuracies(store, budget):
    with Journal(store, read_only=True) as journal:
        found = {e.trial.architecture: e for e in journal if e.trial.budget == budget}
    results = [found[cell].records[-1].results[Split.VALIDATION] for cell in CELLS]
    return [result.correct / result.size for result in results]


def test_the_correlations_are_those_of_the_journal(store, pruned):
    source, report, _ = pruned
    assert 2 <= len(source.known.rows) <= SETTINGS
    truth = accuracies(store, REFERENCE)
    for row in source.known.rows:
        expected = stats.spearmanr(accuracies(store, row.budget), truth).statistic
        assert row.correlation == pytest.approx(expected)
        assert row.n_architectures == len(CELLS)
    assert report.objective == "train"
    assert report.evidence == "sequential"
    # Three networks show nothing: whatever the correlation, no interval lies above 0.
    assert report.recommended == ()
    assert all(isinstance(row, Measured) and not row.low > 0 for row in source.known.rows)
    best = max(row.correlation for row in source.known.rows)
    assert max(row.correlation for row in report.not_shown_to_rank) == best
    assert report.answer.startswith(
        "Nothing here can be recommended: no interval lies above 0 (chance). The best is "
    )
    assert f"Spearman {best:.3f} " in report.answer
    assert report.table == "store.sqlite"


def test_the_cost_is_that_of_all_trainings(store, pruned):
    _, report, _ = pruned
    with Journal(store, read_only=True) as journal:
        entries = list(journal)
    seconds = sum(record.seconds for entry in entries for record in entry.records)
    assert report.cost_hours == pytest.approx(seconds / 3600)
    trained = {entry.trial.budget for entry in entries}
    assert REFERENCE in trained
    assert len(entries) == len(CELLS) * len(trained)


def test_every_step_of_training_shows_its_progress(pruned):
    _, _, steps = pruned
    names = [step for step in steps if isinstance(step, str)]
    assert names[:2] == [
        "training the reference x 3 networks",
        "training 2 settings x 3 networks",
    ]
    shares = [step for step in steps if not isinstance(step, str)]
    assert shares
    assert all(0 <= share <= 1 for share in shares)


def test_what_was_trained_is_not_trained_again(store, pruned):
    _, report, _ = pruned
    with Journal(store, read_only=True) as journal:
        before = journal.epochs_recorded(), journal.device_seconds()
    again = run(objective(store), max_cost_hours=(1.0,), predictions=0)
    with Journal(store, read_only=True) as journal:
        assert (journal.epochs_recorded(), journal.device_seconds()) == before
    assert again.to_json() == report.to_json()


def run(source, **options):
    rules = Rules(keep=1, initial=2, per_round=2, resamples=3)
    return prune(source, rules, rng=np.random.default_rng(1), **options)


def test_other_trainings_of_the_store_do_not_count(tmp_path, made_up):
    """A network that no one asked for would be one more to rank."""
    store = tmp_path / "store.sqlite"
    run(objective(store, architectures=MORE))
    source = objective(store)
    report = run(source)
    assert {row.n_architectures for row in source.known.rows} == {3}
    # Nor do their hours: a second per epoch of these three.
    epochs = REFERENCE.epochs + sum(row.budget.epochs for row in source.known.rows)
    assert report.cost_hours == pytest.approx(3 * epochs / 3600)


def test_plans_of_others_are_not_trained_at_its_expense(tmp_path, made_up):
    store = tmp_path / "store.sqlite"
    with Journal(store) as journal:
        journal.add([Trial(CELLS[0], BASE.replace(layers=9), "digits")])
    with pytest.raises(JournalError) as error:
        run(objective(store))
    assert str(error.value) == (
        f"the store {store} has 1 unfinished trainings that are not of this pruning, and would be "
        f"trained at its expense; finish them with: bpe-bench train --store {store}, or give "
        "another file with --store"
    )


def test_an_allowance_is_kept_and_a_larger_one_goes_on(tmp_path, made_up):
    store = tmp_path / "small.sqlite"
    tight = objective(store, max_device_hours=1e-9)
    with pytest.raises(MissingReferenceError) as error:
        run(tight)
    assert str(error.value) == (
        "the allowance of 1e-09 device hours ends before all 3 architectures have their reference "
        f"({REFERENCE}); the same command with a larger --max-device-hours continues"
    )
    # Nine seconds pay for the reference, and for nothing more.
    report = run(objective(store, max_device_hours=9.1 / 3600))
    assert (report.recommended, report.rounds, report.best()) == ((), (), None)
    assert report.stop_reason == (
        "the allowance of 0.00252778 device hours is used up; the same command with a larger one "
        "continues"
    )
    assert report.cost_hours == pytest.approx(9 / 3600)
    more = run(objective(store, max_device_hours=12.6 / 3600))
    assert len(more.rounds) <= 1
    with Journal(store, read_only=True) as journal:
        assert journal.device_seconds() <= 12.6
    whole = run(objective(store))
    assert whole.rounds[-1].evaluated == SETTINGS
    once = run(objective(tmp_path / "other.sqlite"))
    assert whole.to_json() == {**once.to_json(), "table": "small.sqlite"}


def test_networks_that_fail_are_left_out_and_said(tmp_path, made_up):
    made_up.add(MORE[1])
    source = objective(tmp_path / "some.sqlite", architectures=MORE)
    report = run(source)
    assert {row.n_architectures for row in source.known.rows} == {3}
    assert any("failed and are missing" in note for note in report.warnings)


def test_a_reference_that_most_fail_is_said(tmp_path, made_up):
    made_up.update(MORE[:2])
    store = tmp_path / "failed.sqlite"
    with pytest.raises(MissingReferenceError) as error:
        run(objective(store, architectures=MORE))
    assert str(error.value) == (
        f"2 of 4 architectures could be trained under the reference ({REFERENCE}), at least 3 are "
        f"needed; the reasons: bpe-bench train status --store {store}"
    )


def test_bad_options_are_refused_before_anything_is_trained(tmp_path, made_up):
    with pytest.raises(SelectionError, match="an allowance must be above 0 GPU hours, found 0"):
        run(objective(tmp_path / "none.sqlite"), max_cost_hours=(0.0,))
    assert list(tmp_path.iterdir()) == []


def test_a_reference_under_which_all_are_equal_is_refused(store, pruned):
    source, _, _ = pruned
    table = source._table
    label = table.reference().label
    curves = table.curves[label, Split.VALIDATION]
    same = Curves(np.ones_like(curves.counts), curves.split_size, curves.epochs, curves.seeds)
    equal = replace(table, curves={**table.curves, (label, Split.VALIDATION): same})
    with pytest.raises(RankingError) as error:
        source._ranks(equal, label)
    assert str(error.value) == (
        f"all networks are equally good under the reference ({REFERENCE}), so there is no "
        "ranking to compare with; train it "
        "longer (--reference)"
    )


def test_what_was_begun_is_paid_for_in_part(store, pruned, monkeypatch):
    """Half of a setting's cost is spent: the allowance need pay for the other half only."""
    source, _, _ = pruned
    row = source.pool.rows[0]
    monkeypatch.setattr(source, "_finished", lambda budget: False)
    monkeypatch.setattr(source, "_spent", lambda: 0.0)
    monkeypatch.setattr(source, "_rate", lambda: 60.0 / (row.cost.amount * len(CELLS)))
    for begun, hours, affordable in ((0, 59, 0), (0, 61, 1), (30, 29, 0), (30, 31, 1)):
        monkeypatch.setattr(source, "_seconds", lambda budgets, begun=begun: float(begun))
        monkeypatch.setattr(source, "max_device_hours", hours / 3600)
        assert len(source._affordable([row])) == affordable


def test_expected_costs_are_multiply_adds(tmp_path):
    source = objective(tmp_path / "none.sqlite")
    for row in source.pool.rows:
        adds = np.mean([flops_of(cell, row.budget) for cell in CELLS])
        assert row.cost.unit == "multiply-adds"
        assert row.cost.amount == pytest.approx(adds * row.budget.epochs * row.budget.data_fraction)
    assert not (tmp_path / "none.sqlite").exists()


def test_measured_costs_replace_expected_ones_once_there_are_enough(tmp_path):
    source = objective(tmp_path / "none.sqlite")
    expected = source.costs.costs([BASE, BASE.replace(epochs=2)])
    assert expected[0].unit == "multiply-adds"
    assert expected[1].amount / expected[0].amount == pytest.approx(2, rel=0.05)
    rows = [
        Candidate(label=str(n), budget=row.budget,
                  cost=Cost(3.0 * row.budget.epochs**3, device="CPU")).predicted(0.5, 0.0, 1.0)
        for n, row in enumerate([*source.pool.rows, *source.pool.rows])
    ]  # fmt: skip
    source.known = type(source.known)(tuple(rows[:2]))
    assert source.costs.device == "CPU"
    source.known = type(source.known)(tuple(rows))
    measured = source.costs.costs([BASE, BASE.replace(epochs=2)])
    assert measured[0].unit == "seconds"
    assert measured[1].amount / measured[0].amount == pytest.approx(8, rel=1e-6)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"architectures": (*CELLS[:2], CELLS[0])},
            "a rank correlation needs at least 3 different architectures, found 2; name more with "
            "--architectures",
        ),
        ({"max_device_hours": 0.0}, "the allowance must be above 0 device hours, found 0"),
        ({"max_device_hours": math.nan}, "the allowance must be above 0 device hours, found nan"),
        (
            {"settings": BudgetSpace.around(BASE, {})},
            "all settings are the same budget, so there is nothing to prune",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_trained(tmp_path, options, text):
    with pytest.raises(SelectionError) as error:
        objective(tmp_path / "none.sqlite", **options)
    assert str(error.value) == text
    assert list(tmp_path.iterdir()) == []
