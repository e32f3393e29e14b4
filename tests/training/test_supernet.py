"""The supernet: its mixture, what is derived from it, and its training, alone and interrupted."""

import dataclasses
import hashlib
import io
import json
import math
import os
from functools import cache
from itertools import chain

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from bpe_bench.budget import Budget  # noqa: E402
from bpe_bench.errors import TrainingError, UnknownNameError  # noqa: E402
from bpe_bench.spaces import Architecture, get_space  # noqa: E402
from bpe_bench.spaces.darts import NODES, cells_of, edge_index, from_cells  # noqa: E402
from bpe_bench.spaces.nas_bench_201 import EDGES  # noqa: E402
from bpe_bench.tables.curves import Split  # noqa: E402
from bpe_bench.training import _architect  # noqa: E402
from bpe_bench.training import supernet as module  # noqa: E402
from bpe_bench.training._architect import _architecture_gradient  # noqa: E402
from bpe_bench.training.images.data import ImageData, Images, load_images  # noqa: E402
from bpe_bench.training.networks.mixed import _derive, _Supernet  # noqa: E402
from bpe_bench.training.networks.network import _module_of, build_network  # noqa: E402
from bpe_bench.training.pipeline import Pipeline  # noqa: E402
from bpe_bench.training.supernet import (  # noqa: E402
    SearchRecipe,
    SupernetEpoch,
    SupernetResult,
    train_supernet,
)
from bpe_bench.training.trial import Recipe, SplitResult  # noqa: E402

SMALL = Budget(
    epochs=3, batch_size=60, learning_rate=0.05, layers=5, channels=2, image_size=8,
    data_fraction=0.1,
)  # fmt: skip
# A supernet of DARTS is dear: two epochs must do.
BUDGETS = {"darts": SMALL.replace(layers=3, epochs=2), "nas-bench-201": SMALL}
STEPS = 3
"""Of `SMALL`: 1,437 images, of which a fifth validates; a tenth of the rest, halved, is 57."""
each = pytest.mark.parametrize("space", BUDGETS)
both = pytest.mark.parametrize("order", [1, 2])


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def digits():
    return load_images()


def search(digits, space="nas-bench-201", order=1, seed=0, **options):
    changes = options.pop("changes", {})
    budget = BUDGETS[space].replace(**changes)
    return train_supernet(space, digits, budget, order=order, seed=seed, **options)


def timeless(result):
    """What must not depend on when a search ran: all but seconds."""
    epochs = [dataclasses.replace(epoch, seconds=0.0) for epoch in result.epochs]
    return dataclasses.replace(result, seconds=0.0, epochs=tuple(epochs))


@cache
def plain():
    """The search that others are compared with; made in a test, as threads change the last bits."""
    return timeless(search(load_images()))


def candidates(space):
    return _module_of(space, "supernet").SUPERNET.candidates


def supernet(space, **changes):
    return _Supernet(space, BUDGETS[space].replace(channels=4, **changes), 10, input_channels=3)


def images(samples=6, size=8, channels=3):
    return torch.randn(samples, channels, size, size)


# The mixture


def test_architecture_parameters_begin_small():
    for space, shape in {"darts": (2, 14, 8), "nas-bench-201": (6, 5)}.items():
        networks = [supernet(space) for _ in range(4)]
        network, alphas = networks[0], torch.cat([n.alphas.flatten() for n in networks])
        assert network.alphas.shape == shape
        assert len(candidates(space)) == shape[-1]
        assert candidates(space)[0] == "none"
        assert float(alphas.std()) == pytest.approx(1e-3, rel=0.2)
        assert not any(parameter is network.alphas for parameter in network.parameters())
        assert "alphas" in network.state_dict()
        np.testing.assert_allclose(
            network.probabilities, torch.softmax(network.alphas.double(), -1).numpy()
        )


def only(space, architecture):
    """Return architecture parameters of which the softmax is 1 for the architecture, else 0."""
    network_shape = supernet(space).alphas.shape
    alphas = torch.full(network_shape, -1e4)
    alphas[..., 0] = 1e3  # none, unless said otherwise
    if space == "darts":
        for kind, cell in enumerate(cells_of(architecture)):
            for node, edges in enumerate(cell):
                for operation, source in edges:
                    alphas[kind, edge_index(node, source), operation + 1] = 1e4
    else:
        alphas[range(6), architecture.genes] = 1e4
    return alphas


def convolutions(module):
    return [parameter for parameter in module.parameters() if parameter.dim() == 4]


@each
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_a_mixture_of_one_operation_is_the_discrete_network(space, training, seed):
    architecture = get_space(space).canonical(get_space(space).sample(np.random.default_rng(seed)))
    if space == "nas-bench-201":
        architecture = Architecture(space, (3, 4, 1, 0, 2, 1 + seed))
    mixed = supernet(space)
    mixed.alphas.copy_(only(space, architecture))
    budget = BUDGETS[space].replace(channels=4)
    plain = build_network(architecture, budget, 10, auxiliary=False)
    assert mixed.alphas.softmax(-1).unique().tolist() == [0, 1]

    with torch.no_grad():
        for name, layer in plain.named_modules():
            if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear) and "graph" not in name:
                layer.load_state_dict(mixed.network.get_submodule(name).state_dict())
        pairs = zip(
            (m for m in plain.modules() if hasattr(m, "graph")),
            (m for m in mixed.modules() if hasattr(m, "graph")),
            strict=True,
        )
        for cell, mixture in pairs:
            for operation, chosen in zip(
                cell.graph.operations, chosen_ones(architecture, cell, mixture), strict=True
            ):
                copies = zip(convolutions(operation), convolutions(chosen), strict=True)
                for own, given in copies:
                    own.copy_(given)
        batch = images()
        wanted = plain.train(training)(batch)[0]
        found = mixed.train(training)(batch)[0]
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


def chosen_ones(architecture, cell, mixture):
    """Return of every edge that the architecture has the one operation that is mixed in."""
    if architecture.space == "nas-bench-201":
        return [
            operation.operations[gene - 1]
            for operation, gene in zip(mixture.graph.operations, architecture.genes, strict=True)
            if gene
        ]
    reduces = any(operation.stride == 2 for operation in mixture.graph.operations)
    return [
        mixture.graph.operations[edge_index(node, source)].operations[operation]
        for node, edges in enumerate(cells_of(architecture)[reduces])
        for operation, source in edges
    ]


@each
@pytest.mark.parametrize("stride", [1, 2])
def test_shares_weigh_the_operations(space, stride):
    if space == "nas-bench-201" and stride == 2:
        pytest.skip("its cells have no stride")
    network = supernet(space).train()
    operation = next(m for m in network.modules() if getattr(m, "stride", 0) == stride
                     and hasattr(m, "shares"))  # fmt: skip
    channels, count = 4 * stride, len(candidates(space))
    x = images(channels=channels)
    alone = []
    for place in range(count):
        operation.shares = torch.eye(count)[place]
        alone.append(operation(x))
    assert not alone[0].any()  # none
    assert all(value.shape == (6, channels, 8 // stride, 8 // stride) for value in alone)
    shares = torch.rand(count)
    operation.shares = shares
    wanted = sum(share * value for share, value in zip(shares, alone, strict=True))
    torch.testing.assert_close(operation(x), wanted)


def test_normalisations_in_cells_have_no_scale_and_keep_statistics():
    for space, cells in {"darts": "cells", "nas-bench-201": "graph"}.items():
        network = supernet(space)
        kinds = {True: 0, False: 0}
        for name, norm in network.named_modules():
            if isinstance(norm, torch.nn.BatchNorm2d):
                assert norm.affine == (cells not in name), name
                assert (norm.weight is None) == (norm.bias is None) == (cells in name)
                assert norm.running_mean is not None
                kinds[norm.affine] += 1
        # The stem, and in NAS-Bench-201 two in each of two residual blocks, and the last.
        assert kinds[True] == (1 if space == "darts" else 6)
        assert kinds[False] > 10


@each
def test_every_parameter_has_a_gradient(space):
    network = supernet(space).train()
    with network.searching() as alphas:
        loss = network(images(16))[0].square().sum()
        loss.backward()
    assert alphas is network.alphas
    assert alphas.grad.isfinite().all()
    assert (alphas.grad != 0).all()
    for name, parameter in network.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


@each
def test_passes_for_the_architecture_leave_the_statistics_alone(space):
    network = supernet(space).train()
    batch = images()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with network.searching() as alphas:
        assert alphas.requires_grad
        searching = network(batch)[0]
    after = network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not network.alphas.requires_grad
    training = network(batch)[0]
    assert torch.equal(searching, training)  # both normalise by the batch
    assert not all(torch.equal(before[name], after[name]) for name in before)


def smooth(network, monkeypatch):
    """Make a network differentiable twice: no kinks of ReLUs and of poolings."""
    monkeypatch.setattr(
        torch.nn.functional, "relu", lambda x, inplace=False: torch.nn.functional.softplus(x)
    )
    for parent in network.modules():
        for name, child in parent.named_children():
            if isinstance(child, torch.nn.MaxPool2d):
                setattr(parent, name, torch.nn.AvgPool2d(3, child.stride, padding=1))
    return network


@each
def test_second_order_of_a_supernet_is_that_of_autograd(space, monkeypatch):
    network = smooth(supernet(space), monkeypatch).double().train()
    names = [name for name, _ in network.network.named_parameters()]
    weights = [parameter for _, parameter in network.network.named_parameters()]
    velocities = [0.1 * torch.randn_like(weight) for weight in weights]
    batches = [(images().double(), torch.randint(10, (6,))) for _ in range(2)]
    step, momentum, decay = 0.05, 0.9, 3e-3

    def loss(which, given=None):
        inputs, labels = batches[which]
        values = {} if given is None else {f"network.{n}": v for n, v in given.items()}
        logits = torch.func.functional_call(network, values, (inputs,))[0]
        return torch.nn.functional.cross_entropy(logits, labels)

    with network.searching() as alphas:
        gradients = torch.autograd.grad(loss(0), weights, create_graph=True)
        moved = [
            w - step * (momentum * v + g + decay * w)
            for w, v, g in zip(weights, velocities, gradients, strict=True)
        ]
        ahead = loss(1, dict(zip(names, moved, strict=True)))
        (wanted,) = torch.autograd.grad(ahead, alphas)

        def error(size):
            found = _architecture_gradient(
                weights, alphas, lambda: loss(0), lambda: loss(1), step=size,
                momentum=momentum, weight_decay=decay, velocities=velocities,
            )  # fmt: skip
            return float((found - wanted).norm() / wanted.norm())

        assert error(0) > 0.01
        assert error(step) < 2e-3
        # What is left is the curvature along the difference: a shorter one has less of it.
        monkeypatch.setattr(_architect, "_PERTURBATION", 1e-4)
        assert error(step) < 1e-6


@pytest.mark.parametrize("layers", [1, 2, 4])
def test_darts_of_few_layers(layers):
    network = supernet("darts", layers=layers).train()
    assert network(images())[0].shape == (6, 10)


def test_what_no_supernet_can_be_made_of():
    with pytest.raises(UnknownNameError, match=r"^unknown search space 'dart' .*'darts'"):
        _Supernet("dart", SMALL, 10)
    with pytest.raises(TrainingError, match=r"so layers must be 3N \+ 2 .* found 6; the nearest"):
        _Supernet("nas-bench-201", SMALL.replace(layers=6), 10)
    with pytest.raises(TrainingError, match=r"DARTS network of 5 layers need .* 8 pixels, found 7"):
        _Supernet("darts", SMALL.replace(image_size=7), 10)


# What is derived


def test_nas_bench_201_takes_the_largest_share_of_every_edge():
    shares = np.full((6, 5), 0.1)
    genes = (3, 0, 4, 1, 2, 0)  # none is one of the operations
    for edge, operation in enumerate(genes):
        shares[edge, operation] = 0.6
    assert _derive("nas-bench-201", shares) == Architecture("nas-bench-201", genes)
    # Genes are in the order of the edges.
    assert len(EDGES) == len(genes)
    # Of equal shares the first counts.
    assert _derive("nas-bench-201", np.full((6, 5), 0.2)).genes == (0,) * 6
    assert _derive("nas-bench-201", torch.full((6, 5), 0.2)).genes == (0,) * 6


def test_darts_keeps_two_edges_per_node_and_never_none():
    shares = np.full((2, 14, 8), 0.01)
    shares[:, :, 0] = 0.9  # none is the largest everywhere
    wanted = []
    for kind in range(2):
        nodes = []
        for node in range(NODES):
            # The later sources first in share, but inputs come out in order.
            first, second = node + 1, max(node - 1, 0) if kind else 0
            operations = (3 + kind) % 7, (5 + kind + node) % 7
            shares[kind, edge_index(node, first), operations[0] + 1] = 0.08
            shares[kind, edge_index(node, second), operations[1] + 1] = 0.05
            nodes.append(((operations[1], second), (operations[0], first)))
        wanted.append(tuple(nodes))
    found = _derive("darts", shares)
    assert found == from_cells(*wanted)
    assert found == get_space("darts").canonical(found)


def test_the_share_of_none_weakens_an_edge():
    # Within an edge, none changes nothing; among edges it does: 0.3 of 1 against 0.2 of 0.25.
    alphas = np.zeros((2, 14, 8))
    alphas[:, :, 4] = 2
    alphas[:, edge_index(1, 1), 0] = 5  # much of this edge is none
    shares = np.exp(alphas) / np.exp(alphas).sum(axis=-1, keepdims=True)
    for cell in cells_of(_derive("darts", shares)):
        assert cell[1] == ((3, 0), (3, 2))
        assert all(operation == 3 for node in cell for operation, _ in node)


def test_of_equal_shares_the_first_edges_and_operations_count():
    for cell in cells_of(_derive("darts", np.full((2, 14, 8), 1 / 8))):
        assert cell == (((0, 0), (0, 1)),) * NODES


@each
def test_what_is_derived_is_an_architecture(space):
    rng = np.random.default_rng(0)
    shape = {"darts": (2, 14, 8), "nas-bench-201": (6, 5)}[space]
    found = [_derive(space, rng.dirichlet(np.ones(shape[-1]), shape[:-1])) for _ in range(20)]
    assert len(set(found)) > 10
    for architecture in found:
        assert get_space(space).parse(get_space(space).format(architecture)) == architecture


def test_shares_that_cannot_be():
    with pytest.raises(TrainingError) as caught:
        _derive("darts", np.zeros((2, 14, 7)))
    assert str(caught.value) == (
        "the shares of operations in darts must have the shape (2, 14, 8), found (2, 14, 7)"
    )
    with pytest.raises(TrainingError) as caught:
        _derive("nas-bench-201", np.full((6, 5), np.nan))
    assert str(caught.value) == "the shares of operations in nas-bench-201 must be finite numbers"
    with pytest.raises(UnknownNameError, match="unknown search space 'nasbench'"):
        _derive("nasbench", np.zeros((6, 5)))


# The training


@both
def test_the_same_search_gives_the_same(digits, order):
    before = torch.random.get_rng_state()
    first = search(digits, order=order)
    again = plain() if order == 1 else timeless(search(digits, order=order))
    assert timeless(first) == again
    assert timeless(search(digits, order=order, seed=1)) != timeless(first)
    # The global generator is as it was.
    assert torch.equal(before, torch.random.get_rng_state())
    assert [epoch.epoch for epoch in first.epochs] == [1, 2, 3]
    assert first.seconds == pytest.approx(sum(epoch.seconds for epoch in first.epochs))
    assert first.seconds > 0
    assert first.device.startswith("CPU")
    assert not first.diverged
    assert {epoch.train.size for epoch in first.epochs} == {57}
    assert {epoch.validation.size for epoch in first.epochs} == {287}


def test_the_second_order_is_another_search(digits):
    # The first epoch's weights already meet other mixtures.
    assert plain().epochs[0].train.loss != search(digits, order=2).epochs[0].train.loss


def test_it_learns(digits):
    changes = {"epochs": 5, "data_fraction": 1.0, "channels": 6, "learning_rate": 0.2}
    epochs = search(digits, changes=changes).epochs
    # Ten classes: chance is 0.1.
    assert max(epoch.validation.correct for epoch in epochs) / epochs[0].validation.size > 0.5
    assert epochs[-1].train.loss < epochs[0].train.loss


@pytest.mark.parametrize(
    "change",
    [
        {"precision": "bf16"},
        {"precision": "fp16"},
        {"lr_schedule": "linear"},
        {"cutout": 3},
        {"image_size": 12},
        {"batch_size": 16},
        {"learning_rate": 0.01},
        {"channels": 3},
        {"data_fraction": 0.15},
        {"layers": 8},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_field_of_the_budget_counts(digits, change):
    changed = search(digits, changes=change)
    assert len(changed.epochs) == 3
    assert timeless(changed) != plain()


@pytest.mark.parametrize(
    "recipe",
    [
        SearchRecipe(architecture_learning_rate=0.1),
        SearchRecipe(architecture_betas=(0.9, 0.9)),
        SearchRecipe(architecture_weight_decay=100.0),
        SearchRecipe(weights=Recipe(momentum=0.0)),
        SearchRecipe(weights=Recipe(weight_decay=0.5)),
        SearchRecipe(weights=Recipe(gradient_clip=1e-3)),
    ],
    ids=["rate", "betas", "decay", "momentum of weights", "decay of weights", "clip"],
)
def test_the_recipe_counts(digits, recipe):
    assert timeless(search(digits, recipe=recipe)) != plain()


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_differences_are_taken_in_32_bits(digits, precision, monkeypatch):
    enabled = []

    def spy(weights, alphas, training_loss, validation_loss, **options):
        def loss():
            enabled.append(torch.is_autocast_enabled("cpu"))
            return training_loss()

        return _architecture_gradient(weights, alphas, loss, validation_loss, **options)

    monkeypatch.setattr(module, "_architecture_gradient", spy)
    assert not search(digits, order=2, changes={"precision": precision}).diverged
    assert len(enabled) == 3 * STEPS
    assert not any(enabled)


@both
def test_the_optimisers_are_those_of_the_recipe(digits, order, monkeypatch):
    seen, norms = [], []
    step, clip = torch.optim.Adam.step, torch.nn.utils.clip_grad_norm_

    def spy(self, *given):
        (group,) = self.param_groups
        (alphas,) = group["params"]
        seen.append((alphas.shape, alphas.grad.norm() > 0, group["lr"], group["betas"],
                     group["weight_decay"]))  # fmt: skip
        return step(self, *given)

    def clipping(parameters, most):
        parameters = list(parameters)
        total = clip(parameters, most)
        norms.append((most, float(torch.stack([p.grad.norm() for p in parameters]).norm())))
        return total

    monkeypatch.setattr(torch.optim.Adam, "step", spy)
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", clipping)
    search(digits, order=order)
    assert seen == [((6, 5), True, 3e-4, (0.5, 0.999), 1e-3)] * STEPS
    assert len(norms) == STEPS
    assert all(most == 5 and norm <= 5 + 1e-3 for most, norm in norms)


def test_second_order_looks_as_far_as_the_weights_step(digits, monkeypatch):
    given = []

    def spy(*args, **options):
        given.append(options)
        return _architecture_gradient(*args, **options)

    monkeypatch.setattr(module, "_architecture_gradient", spy)
    search(digits, order=2)
    rates = [0.05 * (1 + math.cos(math.pi * epoch / 3)) / 2 for epoch in range(3)]
    assert [options["step"] for options in given] == pytest.approx(rates)
    assert {(o["momentum"], o["weight_decay"]) for o in given} == {(0.9, 3e-4)}
    assert given[0]["velocities"] is None
    assert all(any(v.any() for v in options["velocities"]) for options in given[1:])


# The images


@pytest.fixture
def shown(monkeypatch):
    """The places of the images of every batch that is made, in order."""
    places, augment = [], Pipeline.augment

    def spy(self, draws):
        places.append(draws.order.tolist())
        return augment(self, draws)

    monkeypatch.setattr(Pipeline, "augment", spy)
    return places


def test_weights_and_architecture_see_halves_of_the_images(digits, shown):
    search(digits, changes={"data_fraction": 1.0, "epochs": 2, "batch_size": 128})
    batches = math.ceil(575 / 128)
    assert len(shown) == 2 * 2 * batches
    first, second = shown[: 2 * batches], shown[2 * batches :]
    halves = []
    for epoch in (first, second):
        weights, architecture = (list(chain(*epoch[place::2])) for place in (0, 1))
        # Each image once, and all of them.
        assert sorted(weights + architecture) == list(range(1150))
        halves.append((weights, architecture))
    assert [set(half) for half in halves[0]] == [set(half) for half in halves[1]]
    assert halves[0] != halves[1]  # in another order


def test_halves_are_stratified_and_follow_the_seed(digits, shown):
    changes = {"data_fraction": 1.0, "epochs": 1, "batch_size": 575}
    for seed in (0, 1):
        search(digits, changes=changes, seed=seed)
    train, _ = module.split_indices(digits, "split")
    labels = digits.train.labels[train]
    assert len(shown) == 4
    for half in shown:
        counts = np.bincount(labels[half], minlength=10)
        assert np.abs(counts - np.bincount(labels, minlength=10) / 2).max() <= 1
    assert set(shown[0]) != set(shown[2])


@pytest.mark.parametrize(("batch_size", "sizes"), [(28, [28, 29]), (29, [29, 28]), (60, [57])])
def test_no_batch_of_a_single_image(digits, shown, batch_size, sizes):
    search(digits, changes={"batch_size": batch_size, "epochs": 1})
    # 115 images: 57 and 58, and as many batches of both.
    assert [len(batch) for batch in shown[::2]] == sizes
    assert len(shown) == 2 * len(sizes)


class Trap(ImageData):
    """Images whose test part may not be looked at."""

    def __getattribute__(self, name):
        if name == "test" and "armed" in vars(self):
            raise AssertionError("the test images were looked at")
        return super().__getattribute__(name)


def test_test_images_are_not_looked_at(digits, monkeypatch):
    noise = np.random.default_rng(0).integers(256, size=digits.test.pixels.shape, dtype=np.uint8)
    garbage = Images(noise, np.zeros_like(digits.test.labels))
    assert timeless(search(dataclasses.replace(digits, test=garbage))) == plain()
    trap = Trap(**{field.name: getattr(digits, field.name) for field in dataclasses.fields(digits)})
    object.__setattr__(trap, "armed", True)
    with pytest.raises(AssertionError):
        _ = trap.test
    assert timeless(search(trap)) == plain()
    evaluated, batches = [], Pipeline.evaluation_batches

    def spy(self, split):
        evaluated.append(split)
        return batches(self, split)

    monkeypatch.setattr(Pipeline, "evaluation_batches", spy)
    assert search(trap, order=2).epochs
    assert evaluated == [Split.VALIDATION] * 3


def test_validation_images_train_nothing(digits):
    _, validation = module.split_indices(digits, "split")
    pixels = digits.train.pixels.copy()
    pixels[validation] = 255 - pixels[validation]
    turned = dataclasses.replace(digits, train=Images(pixels, digits.train.labels))
    before, after = plain().epochs, search(turned).epochs
    assert len(before) == 3
    assert [epoch.train for epoch in before] == [epoch.train for epoch in after]
    assert [epoch.architecture for epoch in before] == [epoch.architecture for epoch in after]
    assert [e.validation.loss for e in before] != [e.validation.loss for e in after]


# Which epoch


@pytest.fixture
def results(monkeypatch):
    """Let epochs end as written down here: correct validation images, or None for an infinite loss.

    What is derived after an epoch, and before the first, has its number as gene.
    """
    written = []

    def evaluate(self, split):
        count = written[self.done]
        return SplitResult(count or 0, 287, math.inf if count is None else 1.0)

    monkeypatch.setattr(module.Trainer, "_evaluate", evaluate)
    number = iter(range(100))

    def derived(space, probabilities):
        return Architecture(space, (next(number) % 5,) * 6)

    monkeypatch.setattr(module, "_derive", derived)
    return written


@pytest.mark.parametrize(
    ("counts", "best"), [([5, 9, 7], 2), ([5, 9, 9], 2), ([0, 0, 0], 1), ([1, 2, 3], 3)]
)
def test_the_first_of_the_best_epochs_is_returned(digits, results, counts, best):
    results += counts
    found = search(digits)
    assert [epoch.validation.correct for epoch in found.epochs] == counts
    assert [epoch.architecture.genes[0] for epoch in found.epochs] == [1, 2, 3]
    assert found.architecture.genes[0] == best


@pytest.mark.parametrize(("counts", "best"), [([None], 0), ([5, None], 1), ([5, 9, None], 2)])
def test_a_loss_that_is_not_finite_ends_the_search(digits, results, counts, best, tmp_path):
    results += counts
    told = []
    options = {"on_epoch": told.append, "checkpoint": tmp_path / "search.pt"}
    found = search(digits, **options)
    assert found.diverged
    assert [epoch.validation.correct for epoch in found.epochs] == counts[:-1]
    assert told == list(found.epochs)
    assert found.architecture.genes[0] == best
    assert found.seconds > sum(epoch.seconds for epoch in found.epochs)
    assert search(digits, **options) == found  # and it does not try again
    assert len(told) == len(found.epochs)


@each
def test_weights_that_explode_diverge(digits, space):
    found = search(digits, space, changes={"learning_rate": 1e30})
    assert found.diverged
    assert not found.epochs
    # The mixture that it began with has an architecture.
    assert get_space(space).parse(get_space(space).format(found.architecture))


# Interrupted


class Stop(Exception):
    """What an impatient caller raises."""


def stop_after(number):
    def on_epoch(epoch):
        if epoch.epoch == number:
            raise Stop

    return on_epoch


@pytest.mark.parametrize(
    ("space", "order", "stop"),
    [
        ("nas-bench-201", 1, 1),
        ("nas-bench-201", 1, 3),
        ("nas-bench-201", 2, 2),
        pytest.param("darts", 2, 1, marks=pytest.mark.slow),
    ],
)
def test_going_on_from_a_checkpoint_changes_nothing(digits, space, order, stop, tmp_path):
    # Two steps an epoch where that is not too dear.
    options = {"changes": {"batch_size": 60 if space == "darts" else 32}}
    whole = search(digits, space, order, **options)
    options["checkpoint"] = file = tmp_path / "search.pt"
    with pytest.raises(Stop):
        search(digits, space, order, on_epoch=stop_after(stop), **options)
    told = []
    found = search(digits, space, order, on_epoch=told.append, **options)
    assert timeless(found) == timeless(whole)
    assert [epoch.epoch for epoch in told] == list(range(stop + 1, BUDGETS[space].epochs + 1))
    assert found.seconds == pytest.approx(sum(epoch.seconds for epoch in found.epochs))
    assert list(tmp_path.iterdir()) == [file]  # nothing else is left


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_going_on_in_16_bits(digits, precision, tmp_path):
    changes = {"precision": precision}
    file = tmp_path / "search.pt"
    with pytest.raises(Stop):
        search(digits, changes=changes, checkpoint=file, on_epoch=stop_after(2))
    found = search(digits, changes=changes, checkpoint=file)
    assert timeless(found) == timeless(search(digits, changes=changes))


def test_a_finished_search_is_free(digits, tmp_path, monkeypatch):
    file = tmp_path / "search.pt"
    found = search(digits, checkpoint=file)
    size = file.stat().st_size

    def never(*_):
        raise AssertionError

    monkeypatch.setattr(module, "_Search", never)
    assert search(digits, checkpoint=file, on_epoch=never) == found
    assert file.stat().st_size == size < 20_000  # no weights


@each
def test_results_survive_json(space):
    rng = np.random.default_rng(0)
    epochs = tuple(
        SupernetEpoch(
            number, get_space(space).canonical(get_space(space).sample(rng)),
            SplitResult(number, 9, 0.1), SplitResult(number, 8, 1 / 3), 0.7 * number,
        )
        for number in (1, 2)
    )  # fmt: skip
    found = SupernetResult(epochs[1].architecture, epochs, 2.1, "CPU", diverged=True)
    assert SupernetResult.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_the_checkpoint_of_another_search_is_refused(digits, tmp_path):
    file = tmp_path / "search.pt"
    search(digits, checkpoint=file, changes={"epochs": 1})
    with pytest.raises(TrainingError) as caught:
        search(digits, checkpoint=file, seed=3, order=2, changes={"epochs": 1})
    assert str(caught.value) == (
        f"{file} is the checkpoint of another training: order is 1 there and 2 here, seed is 0 "
        "there and 3 here; remove it, or choose another file"
    )
    others = [
        {"changes": {"epochs": 2}},
        {"changes": {"epochs": 1, "learning_rate": 0.1}},
        {"changes": {"epochs": 1}, "recipe": SearchRecipe(architecture_weight_decay=0.0)},
        {"changes": {"epochs": 1}, "recipe": SearchRecipe(weights=Recipe(momentum=0.5))},
        {"space": "darts"},
    ]
    for other in others:
        with pytest.raises(TrainingError, match="is the checkpoint of another training: "):
            search(digits, checkpoint=file, **other)
    renamed = dataclasses.replace(digits, name="letters")
    with pytest.raises(TrainingError, match="data set is 'digits' there and 'letters' here"):
        search(renamed, checkpoint=file, changes={"epochs": 1})


def test_a_file_that_is_no_checkpoint_is_refused(digits, tmp_path):
    file = tmp_path / "search.pt"
    search(digits, checkpoint=file, changes={"epochs": 1})
    good = file.read_bytes()
    flipped = bytearray(good)
    flipped[-200] ^= 1
    for bad in (b"", b"nonsense", good[:-1], good[:30], good + b"x", bytes(flipped), good[40:]):
        file.write_bytes(bad)
        with pytest.raises(TrainingError) as caught:
            search(digits, checkpoint=file, changes={"epochs": 1})
        assert str(caught.value) == (
            f"{file} is not a checkpoint, or is damaged; remove it, or choose another file"
        )
        assert file.read_bytes() == bad  # nor is it replaced


def test_a_checkpoint_that_cannot_be_there(digits, tmp_path):
    with pytest.raises(TrainingError) as caught:
        search(digits, checkpoint=tmp_path / "no" / "search.pt")
    assert str(caught.value) == (
        f"no folder {tmp_path / 'no'} for the checkpoint {tmp_path / 'no' / 'search.pt'}"
    )
    with pytest.raises(TrainingError) as caught:
        search(digits, checkpoint=tmp_path)
    assert str(caught.value) == f"{tmp_path} cannot be read: Is a directory"


def test_a_checkpoint_that_cannot_be_written_is_said(digits, tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    file = tmp_path / "search.pt"
    with pytest.raises(TrainingError) as caught:
        search(digits, checkpoint=file)
    assert str(caught.value) == f"{file} cannot be written: No space left on device"
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_cannot_run_code(digits, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made"),)

    file = tmp_path / "search.pt"
    search(digits, checkpoint=file, changes={"epochs": 1})
    head = file.read_bytes().partition(b"\n")[0] + b"\n"
    buffer = io.BytesIO()
    torch.save({"content": Evil(), "state": {}}, buffer)
    file.write_bytes(head + hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue())
    with pytest.raises(TrainingError) as caught:
        search(digits, checkpoint=file, changes={"epochs": 1})
    assert str(caught.value) == (
        f"{file} is not a readable checkpoint; remove it, or choose another file"
    )
    assert not (tmp_path / "made").exists()


def test_what_cannot_be_searched(digits):
    with pytest.raises(UnknownNameError, match=r"^unknown search space 'nas201'"):
        train_supernet("nas201", digits, SMALL)
    with pytest.raises(TrainingError, match=r"^order must be 1 or 2, found 3$"):
        search(digits, order=3)
    with pytest.raises(TrainingError, match=r"^seed must be at least 0, found -1$"):
        search(digits, seed=-1)
    with pytest.raises(TrainingError, match=r"need an image_size of at least 8 pixels, found 4"):
        search(digits, changes={"image_size": 4})
    with pytest.raises(TrainingError) as caught:
        search(digits, changes={"data_fraction": 0.0026})
    assert str(caught.value) == (
        "digits has 1437 training images, of which 3 would be left to halve; a search needs at "
        "least 4: raise data_fraction or take more images"
    )
    assert len(search(digits, changes={"data_fraction": 0.0035}).epochs) == 3  # four images


def test_running_out_of_memory_is_said(digits, monkeypatch):
    def no_room(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(module._Search, "_step_architecture", no_room)
    with pytest.raises(TrainingError, match=r"^the training does not fit into the memory of cpu;"):
        search(digits)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@each
@both
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_on_a_gpu(digits, space, order, precision, tmp_path):
    options = {"device": "cuda", "checkpoint": tmp_path / "search.pt",
               "changes": {"precision": precision}}  # fmt: skip
    with pytest.raises(Stop):
        search(digits, space, order, on_epoch=stop_after(1), **options)
    found = search(digits, space, order, **options)
    assert len(found.epochs) == BUDGETS[space].epochs
    assert not found.diverged
