"""Networks: published counts, shapes, gradients, drop-path and refusals."""

import copy
import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from bpe_bench.budget import BPE_1, BPE_2, DARTS_FULL  # noqa: E402
from bpe_bench.errors import GenotypeError, TrainingError, UnknownNameError  # noqa: E402
from bpe_bench.spaces import Architecture, get_space  # noqa: E402
from bpe_bench.spaces.darts import from_cells  # noqa: E402
from bpe_bench.tables.importers import get_importer  # noqa: E402
from bpe_bench.training.networks.network import (  # noqa: E402
    build_network,
    count_flops,
)


def count_parameters(network, *, auxiliary=False):
    """Return the number of trained parameters, with or without those of the auxiliary head."""
    head = () if auxiliary or not network.auxiliary_head else network.auxiliary_head.parameters()
    return sum(p.numel() for p in network.parameters()) - sum(p.numel() for p in head)


NAS_BENCH_201 = BPE_1.replace(layers=17, channels=16, image_size=32)
SMALL = BPE_1.replace(layers=5, channels=4)


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def official(published):
    """The official records, as a table."""
    (folder,) = (published / "nats-bench").iterdir()
    return get_importer("nats-bench").read(folder, None)


def darts(seed=0):
    return get_space("darts").sample(np.random.default_rng(seed))


def every_edge():
    """A DARTS architecture of all 14 edges per cell, all seven operations in each cell."""
    cell, operation = [], 0
    for node in range(4):
        edges = []
        for source in range(node + 2):
            edges.append((operation % 7, source))
            operation += 1
        cell.append(tuple(edges))
    return from_cells(tuple(cell), tuple(cell))


def nas_bench_201(index=11):
    return get_space("nas-bench-201").from_index(index)


ARCHITECTURES = {
    "darts": darts(),
    "darts of 14 edges": every_edge(),
    "nas-bench-201": nas_bench_201(),
}
each = pytest.mark.parametrize(
    "architecture", ARCHITECTURES.values(), ids=[name.replace(" ", "-") for name in ARCHITECTURES]
)


def images(samples=2, size=16, channels=3):
    return torch.randn(samples, channels, size, size)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("budget", "mean", "digits"), [(BPE_1, 0.049, 3), (BPE_2, 0.517, 3), (DARTS_FULL, 2.89, 2)]
)
def test_darts_parameters_are_the_published_ones(darts_bpe, budget, mean, digits):
    with torch.device("meta"):  # shapes without memory
        counts = [
            count_parameters(build_network(architecture, budget, 10))
            for architecture in darts_bpe.architectures[:20]
        ]
    assert round(np.mean(counts) / 1e6, digits) == mean
    if budget is BPE_1:
        assert counts[:3] == [44_322, 56_802, 49_522]


def test_darts_parameters_by_hand():
    # All edges are identities in the normal cell, and max pooling in the reduction cell.
    skip, pool = 2, 0
    normal = tuple(((skip, 0), (skip, 1)) for _ in range(4))
    reduce = tuple(((pool, 0), (pool, 1)) for _ in range(4))
    network = build_network(from_cells(normal, reduce), BPE_1.replace(layers=3, channels=2), 10)
    stem = 3 * 6 * 9 + 2 * 6
    normal_0 = (6 * 2 + 2 * 2) * 2
    reduce_1 = (6 * 4 + 2 * 4) + (8 * 4 + 2 * 4) + 8 * 2 * 4
    reduce_2 = (8 * 8 + 2 * 8) + (16 * 8 + 2 * 8) + 8 * 2 * 8
    classifier = 32 * 10 + 10
    assert count_parameters(network) == stem + normal_0 + reduce_1 + reduce_2 + classifier
    head = 32 * 128 + 2 * 128 + 128 * 768 * 4 + 2 * 768 + 768 * 10 + 10
    assert count_parameters(network, auxiliary=True) == count_parameters(network) + head


@pytest.mark.parametrize(
    ("official_name", "classes", "size"),
    [("cifar10-valid", 10, 32), ("cifar100", 100, 32), ("ImageNet16-120", 120, 16)],
)
@pytest.mark.parametrize("index", [0, 11, 284])
def test_nas_bench_201_matches_the_official_records(official, official_name, classes, size, index):
    architecture = nas_bench_201(index)
    row = official.architectures.index(architecture)
    network = build_network(architecture, NAS_BENCH_201.replace(image_size=size), classes)
    for name, found in (
        ("parameters", count_parameters(network)),
        ("flops", count_flops(network, size)),
    ):
        recorded = official.measure(f"{official_name}-200", name)[row]  # millions
        assert found == round(recorded * 1e6)
        assert found / 1e6 == pytest.approx(recorded, rel=1e-12)


@pytest.mark.parametrize(
    ("index", "parameters", "flops"),
    [(0, 129_306, 15_647_370), (11, 802_426, 113_951_370), (284, 101_306, 11_715_210)],
)
def test_nas_bench_201_on_cifar10(index, parameters, flops):
    network = build_network(nas_bench_201(index), NAS_BENCH_201, 10)
    assert (count_parameters(network), count_flops(network, 32)) == (parameters, flops)


def test_counting_flops_leaves_the_network_alone():
    network = build_network(darts(), SMALL, 10)
    before = copy.deepcopy(network.state_dict())
    assert count_flops(network, 16) == count_flops(network.eval(), 16) > 0
    assert not network.training
    count_flops(network.train(), 16)
    assert network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())


@each
@pytest.mark.parametrize("size", [8, 9, 11, 16, 32, 40])
def test_shapes(architecture, size):
    network = build_network(architecture, SMALL.replace(image_size=size), 7, input_channels=1)
    logits, auxiliary = network(images(3, size, channels=1))
    assert logits.shape == (3, 7)
    if architecture.space == "darts":
        assert auxiliary.shape == (3, 7)
    else:
        assert auxiliary is None
    logits, auxiliary = network.eval()(images(3, size, channels=1))
    assert logits.shape == (3, 7)
    assert auxiliary is None


@pytest.mark.parametrize("layers", range(1, 9))
def test_darts_of_any_depth(layers):
    network = build_network(darts(), SMALL.replace(layers=layers), 10)
    logits, auxiliary = network(images())
    assert logits.shape == auxiliary.shape == (2, 10)
    assert len(network.cells) == layers
    assert network.classifier.in_features == 4 * 4 * (2 if layers == 1 else 4)


@pytest.mark.parametrize(("layers", "places"), [(6, [2, 4]), (16, [5, 10]), (20, [6, 13])])
def test_reductions_are_at_the_thirds(layers, places):
    network = build_network(darts(), SMALL.replace(layers=layers), 10)
    sizes = []
    for cell in network.cells:
        cell.register_forward_hook(lambda _, given, output: sizes.append(output.shape[1:]))
    network(images())
    for place, (channels, height, width) in enumerate(sizes):
        reductions = sum(place >= reduction for reduction in places)
        assert (channels, height, width) == (16 * 2**reductions, *[16 // 2**reductions] * 2)


def test_the_auxiliary_head_is_the_published_one_on_cifar10():
    network = build_network(darts(), BPE_1.replace(image_size=32), 10)
    features = torch.randn(2, 128, 8, 8)
    published = torch.nn.AvgPool2d(5, stride=3, padding=0, count_include_pad=False)
    assert torch.equal(network.auxiliary_head[1](features), published(features))


@pytest.mark.parametrize("size", range(2, 20))
def test_the_auxiliary_head_sees_the_features_from_corner_to_corner(size):
    network = build_network(darts(), BPE_1.replace(image_size=4 * size), 10)
    features = torch.ones(1, 128, size, size, requires_grad=True)
    pooled = network.auxiliary_head[1](features)
    assert pooled.shape[2:] == (2, 2)
    pooled.sum().backward()
    assert (features.grad > 0).all()


def test_no_auxiliary_head_unless_wanted():
    network = build_network(darts(), SMALL, 10, auxiliary=False)
    assert network.auxiliary_head is None
    assert network(images())[1] is None
    assert count_parameters(network) == count_parameters(network, auxiliary=True)
    assert count_parameters(network) == count_parameters(build_network(darts(), SMALL, 10))


@each
def test_gradient_flows_to_every_parameter(architecture):
    network = build_network(architecture, SMALL, 10)
    network.drop_path = 0.1
    logits, auxiliary = network(images(16), generator())
    loss = logits.square().sum()
    if auxiliary is not None:
        loss = loss + auxiliary.square().sum()
    loss.backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


@each
def test_channels_last_gives_the_same(architecture):
    network = build_network(architecture, SMALL, 10).double()
    batch = images().double()
    plain = network(batch, generator())
    # Running statistics do not enter in training, so the same network can be used again.
    network = network.to(memory_format=torch.channels_last)
    turned = network(batch.contiguous(memory_format=torch.channels_last), generator())
    for first, second in zip(plain, turned, strict=True):
        assert (first is None and second is None) or torch.allclose(first, second, atol=1e-9)


def test_channels_last_stays_so_through_the_cells():
    network = build_network(every_edge(), SMALL, 10).to(memory_format=torch.channels_last)
    kept = []
    for cell in network.cells:
        cell.register_forward_hook(
            lambda _, given, output: kept.append(
                output.is_contiguous(memory_format=torch.channels_last)
            )
        )
    network(images().contiguous(memory_format=torch.channels_last), generator())
    assert kept == [True] * 5


@each
@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_mixed_precision(architecture, precision):
    network = build_network(architecture, SMALL, 10)
    network.drop_path = 0.2
    with torch.autocast("cpu", dtype=precision):
        logits, auxiliary = network(images(), generator())
    assert logits.dtype == precision
    assert auxiliary is None or auxiliary.dtype == precision


def test_drop_path_is_drawn_from_the_generator_alone():
    network = build_network(darts(), SMALL, 10)
    network.drop_path = 0.5
    batch = images()
    first, same, other = (network(batch, generator(seed))[0] for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_drop_path_at_zero_changes_nothing():
    network = build_network(darts(), SMALL, 10)
    batch = images()
    assert network.drop_path == 0
    assert torch.equal(network(batch, generator())[0], network(batch)[0])


def test_drop_path_is_for_training_only():
    network = build_network(darts(), SMALL, 10).eval()
    batch = images()
    before = network(batch)[0]
    network.drop_path = 0.5
    assert torch.equal(network(batch, generator())[0], before)


def test_drop_path_reaches_every_edge_but_identities():
    network = build_network(every_edge(), SMALL, 10)
    network.eval()
    inputs = network.stem(images(64))
    network.train()
    cell = network.cells[0]
    states = [cell.before(inputs), cell.previous(inputs)]
    # With every path dropped, only identities are left of the sums.
    masks = iter(torch.zeros(cell.graph.paths, 64, 1, 1, 1))
    nodes = cell.graph(states, masks)[2:]
    # Edges in order: max, avg | skip, sep, sep | dil, dil, max, avg | skip, sep, ...
    assert cell.graph.paths == 14 - 2
    wanted = [0 * states[0], states[0], 0 * states[0], states[0]]
    assert all(torch.equal(node, want) for node, want in zip(nodes, wanted, strict=True))
    assert next(masks, None) is None


def test_drop_path_follows_its_setting_and_not_the_checkpoint():
    network = build_network(darts(), SMALL, 10)
    names = set(network.state_dict())
    network.drop_path = 0.3
    assert network.drop_path == 0.3
    assert not any("keep" in name for name in names)
    again = pickle.loads(pickle.dumps(network))
    assert again.drop_path == 0.3
    batch = images()
    assert torch.equal(again(batch, generator())[0], network(batch, generator())[0])


def test_nas_bench_201_drops_no_path():
    network = build_network(nas_bench_201(), SMALL, 10)
    network.drop_path = 0.5
    batch = images()
    assert torch.equal(network(batch, generator(1))[0], network(batch)[0])


def test_the_nodes_add_up_all_their_inputs():
    skip = 2
    normal = tuple(tuple((skip, source) for source in range(node + 2)) for node in range(4))
    network = build_network(from_cells(normal, normal), SMALL, 10).eval()
    cell = network.cells[0]
    stem = network.stem(images())
    before, previous = cell.before(stem), cell.previous(stem)
    joined = cell(stem, stem, None)
    total = before + previous
    wanted = torch.cat([total, 2 * total, 4 * total, 8 * total], dim=1)
    torch.testing.assert_close(joined, wanted)


def test_nas_bench_201_cell_by_hand():
    space = get_space("nas-bench-201")
    skips = space.parse(
        "|skip_connect~0|+|skip_connect~0|skip_connect~1|+|skip_connect~0|none~1|skip_connect~2|"
    )
    cell = build_network(skips, SMALL, 10).blocks[0]
    x = torch.randn(2, 4, 8, 8)
    torch.testing.assert_close(cell(x), 3 * x)  # 1 + (1 + 1)


def test_nas_bench_201_of_nothing_still_runs():
    space = get_space("nas-bench-201")
    nothing = space.build([0] * 6)
    network = build_network(nothing, SMALL, 10)
    first, second = (network(images())[0] for _ in range(2))
    assert torch.equal(first, second)
    first.sum().backward()
    assert torch.equal(network.blocks[0](images(channels=4)), torch.zeros(2, 4, 16, 16))


def test_the_same_seed_gives_the_same_weights():
    def weights(seed):
        torch.manual_seed(seed)
        network = build_network(darts(), SMALL, 10)
        return torch.cat([parameter.flatten() for parameter in network.parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_refuses_images_that_the_reductions_cannot_carry():
    with pytest.raises(TrainingError) as caught:
        build_network(darts(), BPE_1.replace(image_size=7), 10)
    assert str(caught.value) == (
        "the 2 reductions of a DARTS network of 6 layers need an image_size of at least 8 pixels, "
        "found 7; choose a larger image_size"
    )
    with pytest.raises(TrainingError, match=r"NAS-Bench-201 network of 5 layers .* 8 .* found 4"):
        build_network(nas_bench_201(), SMALL.replace(image_size=4), 10)


@pytest.mark.parametrize(
    ("layers", "nearest"), [(1, 5), (2, 5), (4, 5), (6, 5), (7, 8), (16, 17), (18, 17), (20, 20)]
)
def test_refuses_depths_that_nas_bench_201_does_not_have(layers, nearest):
    budget = NAS_BENCH_201.replace(layers=layers)
    if layers == nearest:
        assert len(build_network(nas_bench_201(), budget, 10).blocks) == layers
        return
    with pytest.raises(TrainingError) as caught:
        build_network(nas_bench_201(), budget, 10)
    assert str(caught.value) == (
        "a NAS-Bench-201 network is 3 stages of N cells and 2 residual blocks, so layers must be "
        f"3N + 2 (5, 8, ..., 17 as published), found {layers}; the nearest is {nearest}"
    )


def test_refuses_what_is_no_architecture():
    with pytest.raises(UnknownNameError, match=r"unknown search space 'dart' .*'darts'"):
        build_network(Architecture("dart", ()), BPE_1, 10)
    with pytest.raises(GenotypeError, match="end before both cells"):
        build_network(Architecture("darts", (2, 0)), BPE_1, 10)
    with pytest.raises(GenotypeError, match="6 numbers 0 to 4"):
        build_network(Architecture("nas-bench-201", (0, 1, 2)), NAS_BENCH_201, 10)


def test_refuses_to_drop_paths_without_a_generator():
    network = build_network(darts(), SMALL, 10)
    network.drop_path = 0.25
    with pytest.raises(TrainingError) as caught:
        network(images())
    assert str(caught.value) == (
        "dropping paths with probability 0.25 needs a generator, found none; pass one to forward, "
        "or set drop_path to 0"
    )


def test_refuses_to_train_the_auxiliary_head_on_one_image():
    network = build_network(darts(), SMALL, 10)
    with pytest.raises(TrainingError) as caught:
        network(images(1), generator())
    assert str(caught.value) == (
        "the auxiliary head needs at least 2 images in a training batch, found 1; choose a "
        "batch_size that does not leave a single image over"
    )
    assert network.eval()(images(1))[0].shape == (1, 10)
    assert build_network(darts(), SMALL, 10, auxiliary=False)(images(1))[0].shape == (1, 10)


@pytest.mark.parametrize("probability", [-0.1, 1, float("nan")])
def test_refuses_a_drop_path_that_is_no_probability(probability):
    network = build_network(darts(), SMALL, 10)
    with pytest.raises(TrainingError, match=rf"at least 0 and below 1, found {probability}"):
        network.drop_path = probability
    assert network.drop_path == 0
