"""What every searcher promises; a new one is tested by being registered."""

import copy
import functools
import itertools
import json
import math
import pickle
import random
import zlib

import numpy as np
import pytest

from bpe_bench.budget import BPE_1
from bpe_bench.estimators import Evaluation, TableEstimator
from bpe_bench.search import SEARCHERS, make_searcher, run_search
from bpe_bench.search.loop import _attach_outcome
from bpe_bench.spaces import SPACES, Architecture, get_space
from bpe_bench.spaces.darts import cells_of
from bpe_bench.tables.curves import Curves, Split
from bpe_bench.tables.table import Provenance, Setting, Table
from bpe_bench.training import supernet

EVALUATIONS = 30
SUPERNET = BPE_1.replace(epochs=1, channels=2, image_size=8, data_fraction=0.1)
LAYERS = {"darts": 3}
"""Of supernets, where the space's default is more than is needed."""

PAIRS = [
    (name, space)
    for name, space in itertools.product(SEARCHERS, SPACES)
    if name != "darts" or "supernet" in SPACES[space].abilities
]
pytestmark = pytest.mark.parametrize(("name", "space"), PAIRS, ids=map("-".join, PAIRS))


def make(name, space):
    """Return a searcher with its defaults; what has none comes from here."""
    if name == "darts":
        return make_searcher(
            name, budget=SUPERNET.replace(layers=LAYERS.get(space, SPACES[space].default_layers))
        )
    return make_searcher(name)


class Answers:
    """An estimator of any space; asked for final figures during a search, it fails."""

    source, dataset, budget, full_seconds = "table", "made up", None, math.nan

    def __init__(self, space, is_good=lambda number: True):
        self.space, self.is_good, self.number = space, is_good, 0

    def expected_seconds(self, architecture):
        return 60.0

    def evaluate(self, architecture, rng):
        self.number += 1
        if not self.is_good(self.number):
            state = ("diverged", "failed")[self.number % 2]
            return Evaluation(math.nan, 60.0, "table", state, "made up")
        return Evaluation(accuracy(architecture), 60.0, "table")

    def outcome(self, architecture):
        raise AssertionError("a search looked at final figures")

    def optimum(self):
        raise AssertionError("a search looked at the optimum")


def accuracy(architecture):
    """Return what nobody can guess, and is always the same."""
    return zlib.crc32(repr(architecture.genes).encode()) / 2**32


def search(searcher, estimator, *, seed=0, evaluations=EVALUATIONS):
    return run_search(searcher, estimator, evaluations=evaluations, rng=np.random.default_rng(seed))


def path(trace):
    """Return what was proposed and answered; the clock may hold this machine's seconds."""
    return [(step.architecture, step.accuracy, step.state) for step in trace.steps]


@functools.cache
def trained(space, order, seed, layers):
    """Train a supernet for real, once."""
    from bpe_bench.training.images.data import load_images

    budget = SUPERNET.replace(layers=layers)
    return real_supernet(space, load_images(), budget, order=order, seed=seed)


real_supernet = supernet.train_supernet


@pytest.fixture(autouse=True)
def supernets(name, space, monkeypatch):
    """Supernets of DARTS cells take a second each, so the same one is trained once for all tests.

    Those of other spaces are trained again each time: there the same seed must do it.
    """
    if name != "darts":
        yield
        return
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # more of them take far longer over networks this small

    def train(space, data, budget, *, order, seed, **rest):
        return trained(space, order, seed, budget.layers)

    if space == "darts":
        monkeypatch.setattr(supernet, "train_supernet", train)
    yield
    torch.set_num_threads(threads)


def test_it_is_registered_under_its_own_name(name, space):
    assert SEARCHERS[name].name == name
    assert make(name, space).name == name


def test_the_same_seed_gives_the_same_trace(name, space):
    first, again = (search(make(name, space), Answers(space)) for _ in range(2))
    assert path(first) == path(again)
    assert (first.found, first.stopped_by) == (again.found, again.stopped_by)
    assert first.parameters == again.parameters
    assert first.evaluations >= 1


def test_another_seed_gives_another_trace(name, space):
    traces = [search(make(name, space), Answers(space), seed=seed) for seed in range(2)]
    assert path(traces[0]) != path(traces[1])


def test_what_is_proposed_can_be_built(name, space):
    codec = get_space(space)
    trace = search(make(name, space), Answers(space))
    for architecture in [*(step.architecture for step in trace.steps), trace.found]:
        assert isinstance(architecture, Architecture)
        assert architecture.space == space
        assert all(type(gene) is int for gene in architecture.genes)
        assert codec.parse(codec.format(architecture)) == architecture
        if space == "darts":
            nodes = [node for cell in cells_of(architecture) for node in cell]
            assert [len(node) for node in nodes] == [2] * 8


def test_the_best_signal_is_what_is_found(name, space):
    trace = search(make(name, space), Answers(space))
    assert accuracy(trace.found) == max(step.accuracy for step in trace.steps)


def test_it_lives_with_trainings_that_diverge_or_fail(name, space):
    estimator = Answers(space, is_good=lambda number: number % 3 == 1)
    trace = search(make(name, space), estimator)
    failed = [step for step in trace.steps if step.state != "done"]
    assert len(failed) == trace.evaluations - math.ceil(trace.evaluations / 3)
    assert all(math.isnan(step.accuracy) for step in failed)
    assert accuracy(trace.found) == np.nanmax([step.accuracy for step in trace.steps])


def test_it_lives_with_nothing_but_failures(name, space):
    trace = search(make(name, space), Answers(space, is_good=lambda number: False))
    assert trace.evaluations == len(trace.steps) >= 1
    assert trace.found is None
    assert _attach_outcome(trace, Answers(space)).outcome is None


@functools.cache
def whole_table(name, test_counts_turned):
    """Return a table of all of a space, its test figures as they are or turned round."""
    space = get_space(name)
    rng = np.random.default_rng(0)

    def curves(low):
        counts = rng.integers(low, 10_001, (1, 1, space.size), dtype=np.int32)
        return Curves(counts, 10_000, np.array([1]), np.array([0]))

    cheap, full = BPE_1.replace(epochs=1), BPE_1
    found = {
        (label, split): curves(low)
        for label, low in (("cheap", 100), ("full", 5_001))
        for split in (Split.VALIDATION, Split.TEST)
    }
    if test_counts_turned:
        for label in ("cheap", "full"):
            old = found[label, Split.TEST]
            found[label, Split.TEST] = Curves(
                10_000 - old.all_counts(), 10_000, old.epochs, old.seeds
            )
    return Table(
        space=space.name,
        dataset="cifar10",
        architectures=tuple(space),
        settings=(Setting("cheap", cheap, "cifar10", 60.0), Setting("full", full, "cifar10", 9e2)),
        curves=found,
        references=("full",),
        provenance=Provenance("made up", "CC0-1.0", "nobody"),
    )


def test_test_figures_change_nothing_but_the_report(name, space):
    if not SPACES[space].listed:
        pytest.skip("no table holds the whole space")
    tables = [whole_table(space, turned) for turned in (False, True)]
    estimators = [TableEstimator(table) for table in tables]
    traces = [search(make(name, space), estimator, seed=1) for estimator in estimators]
    assert path(traces[0]) == path(traces[1])
    one, other = (
        _attach_outcome(trace, estimator).outcome
        for trace, estimator in zip(traces, estimators, strict=True)
    )
    assert one.validation == other.validation
    # The report does see that test figures are turned round.
    assert one.test > 0.5
    assert other.test == pytest.approx(1 - one.test)


def test_a_search_can_be_started_again(name, space):
    other = next(known for known in SPACES if known != space)
    expected = search(make(name, space), Answers(space), seed=0)
    searcher = make(name, space)
    search(searcher, Answers(space), seed=1)
    if name != "darts":  # whose supernet's layers are those of one space
        search(searcher, Answers(other), seed=1)
    again = search(searcher, Answers(space), seed=0)
    assert path(again) == path(expected)
    assert again.found == expected.found


def test_copies_search_apart(name, space):
    """Repeats are run on shallow copies: what they learn must not be shared."""
    expected = [search(make(name, space), Answers(space), seed=seed) for seed in (0, 1)]
    original = make(name, space)
    copies = [copy.copy(original) for _ in expected]
    paths = [[] for _ in expected]
    for seed, one in enumerate(copies):
        one.start(get_space(space), np.random.default_rng(seed).spawn(2)[0], EVALUATIONS)
    for _ in range(EVALUATIONS):
        for one, so_far in zip(copies, paths, strict=True):
            architecture = one.ask()
            if architecture is not None:
                one.tell(architecture, Evaluation(accuracy(architecture), 60.0, "table"))
                so_far.append((architecture, accuracy(architecture), "done"))
    assert paths == [path(trace) for trace in expected]


def test_global_generators_are_left_alone(name, space):
    np.random.seed(3)  # noqa: NPY002
    random.seed(3)
    before = np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    search(make(name, space), Answers(space))
    np.testing.assert_array_equal(before[0], np.random.get_state()[1])  # noqa: NPY002
    assert random.getstate() == before[1]


def test_parameters_are_json_and_do_not_change(name, space):
    searcher = make(name, space)
    before = json.dumps(searcher.parameters(), allow_nan=False)
    trace = search(searcher, Answers(space))
    assert json.dumps(searcher.parameters(), allow_nan=False) == before
    assert trace.parameters == json.loads(before)


def test_it_can_be_sent_to_another_process(name, space):
    searcher = make(name, space)
    expected = path(search(searcher, Answers(space)))
    sent = pickle.loads(pickle.dumps(searcher))  # even when it has searched
    assert path(search(sent, Answers(space))) == expected


def test_it_can_be_limited_by_seconds_only(name, space):
    seconds = 60.0 * EVALUATIONS + 1e4 * (name == "darts")  # which takes some of its own
    trace = run_search(
        make(name, space), Answers(space), seconds=seconds, rng=np.random.default_rng(0)
    )
    assert trace.evaluations == EVALUATIONS or trace.stopped_by == "searcher"
    assert trace.found is not None
