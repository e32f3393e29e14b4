"""The operations of cells, against sums written out pixel by pixel."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from bpe_bench.spaces import darts, nas_bench_201  # noqa: E402
from bpe_bench.training.networks.darts import OPERATIONS as DARTS_OPERATIONS  # noqa: E402
from bpe_bench.training.networks.nas_bench_201 import (  # noqa: E402
    OPERATIONS as NAS_BENCH_201_OPERATIONS,
)
from bpe_bench.training.networks.operations import (  # noqa: E402
    _drop_path,
    _FactorizedReduction,
    _path_masks,
)

CHANNELS = 4
ALL = [
    (factories, name)
    for factories in (DARTS_OPERATIONS, NAS_BENCH_201_OPERATIONS)
    for name in factories
]
NAMES = [("darts " if f is DARTS_OPERATIONS else "nas-bench-201 ") + name for f, name in ALL]


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
    torch.set_num_threads(threads)


def convolved(x, weight, *, stride=1, dilation=1, groups=1):
    """Convolution by its definition, (C, H, W) and (C', C / groups, k, k), 'same' padding."""
    out, per_group, size, _ = weight.shape
    reach = dilation * (size // 2)
    padded = np.pad(x, ((0, 0), (reach, reach), (reach, reach)))
    height, width = (-(-side // stride) for side in x.shape[1:])
    result = np.zeros((out, height, width))
    for o in range(out):
        first = o // (out // groups) * per_group
        for r in range(height):
            for c in range(width):
                for i in range(size):
                    for j in range(size):
                        pixel = padded[
                            first : first + per_group,
                            r * stride + i * dilation,
                            c * stride + j * dilation,
                        ]
                        result[o, r, c] += pixel @ weight[o, :, i, j]
    return result


def pooled(x, reduce, stride):
    """Pooling of 3x3 pixels by its definition: pixels outside the image do not exist."""
    height, width = (-(-side // stride) for side in x.shape[1:])
    result = np.zeros((len(x), height, width))
    for r in range(height):
        for c in range(width):
            top, left = r * stride - 1, c * stride - 1
            window = x[:, max(top, 0) : top + 3, max(left, 0) : left + 3]
            result[:, r, c] = reduce(window, axis=(1, 2))
    return result


def normalised(x):
    """Batch normalisation in evaluation, with the statistics it starts from."""
    return x / np.sqrt(1 + 1e-5)


def relu(x):
    return np.maximum(x, 0)


def separable(x, depthwise, pointwise, **how):
    x = convolved(relu(x), depthwise, groups=len(x), **how)
    return normalised(convolved(x, pointwise))


def expected(space, name, x, weights, stride):
    """What an operation does to (C, H, W), from its description."""
    if name == "none":
        return 0 * x[:, ::stride, ::stride]
    if name == "skip_connect":
        if stride == 1:
            return x
        even, odd = weights
        x = relu(x)
        shifted = np.pad(x, ((0, 0), (0, 1), (0, 1)))[:, 1:, 1:]
        halves = [convolved(x, even, stride=2), convolved(shifted, odd, stride=2)]
        return normalised(np.concatenate(halves))
    if "pool" in name:
        value = pooled(x, np.max if name.startswith("max") else np.mean, stride)
        return normalised(value) if space == "darts" else value
    if name.startswith("sep"):
        first = separable(x, *weights[:2], stride=stride)
        return separable(first, *weights[2:])
    if name.startswith("dil"):
        return separable(x, *weights, stride=stride, dilation=2)
    return normalised(convolved(relu(x), weights[0], stride=stride))


@pytest.mark.parametrize(("factories", "name"), ALL, ids=NAMES)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(6, 6), (5, 7)])
def test_is_the_sum_written_out(factories, name, stride, shape):
    operation = factories[name](CHANNELS, stride).eval()
    x = torch.randn(2, CHANNELS, *shape)
    found = operation(x).detach().numpy()
    weights = [
        layer.weight.detach().double().numpy()
        for layer in operation.modules()
        if isinstance(layer, nn.Conv2d)
    ]
    space = "darts" if factories is DARTS_OPERATIONS else "nas-bench-201"
    for image, value in zip(x.double().numpy(), found, strict=True):
        np.testing.assert_allclose(
            value, expected(space, name, image, weights, stride), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize(("factories", "name"), ALL, ids=NAMES)
@pytest.mark.parametrize("stride", [1, 2])
def test_leaves_its_input_alone(factories, name, stride):
    x = torch.randn(2, CHANNELS, 5, 5)
    before = x.clone()
    factories[name](CHANNELS, stride)(x)
    assert torch.equal(x, before)


def test_every_operation_of_the_spaces_can_be_built():
    assert set(darts.OPERATIONS) == set(DARTS_OPERATIONS) - {"none"}
    assert set(nas_bench_201.OPERATIONS) == set(NAS_BENCH_201_OPERATIONS)


@pytest.mark.parametrize("channels", [4, 5])
def test_reduction_gives_the_channels_asked_for(channels):
    assert _FactorizedReduction(3, channels)(torch.randn(2, 3, 8, 8)).shape == (2, channels, 4, 4)


def masks_of(seed, keep=0.8, paths=50, samples=400):
    generator = torch.Generator().manual_seed(seed)
    return _path_masks(paths, samples, torch.tensor(keep), generator)


def test_masks_keep_the_mean_and_the_share():
    masks = masks_of(0)
    assert masks.shape == (50, 400, 1, 1, 1)
    # 20,000 draws: the standard error of the share is 0.0028.
    assert (masks > 0).double().mean().item() == pytest.approx(0.8, abs=0.012)
    assert masks.double().mean().item() == pytest.approx(1, abs=0.015)
    assert set(masks.unique().tolist()) == {0.0, 1.25}


def test_masks_differ_between_paths_and_images():
    masks = masks_of(0)[..., 0, 0, 0]
    assert len({tuple(path.tolist()) for path in masks}) == 50
    assert len({tuple(image.tolist()) for image in masks.T}) == 400


def test_masks_follow_the_generator_and_nothing_else():
    first = masks_of(1)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    assert torch.equal(first, masks_of(1))
    assert not torch.equal(first, masks_of(2))
    assert torch.equal(state, torch.get_rng_state())


def test_all_paths_are_kept_at_probability_one():
    assert torch.equal(masks_of(0, keep=1.0), torch.ones(50, 400, 1, 1, 1))


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16, torch.float16])
def test_dropping_keeps_the_precision_and_drops_whole_images(precision):
    x = torch.ones(3, 2, 4, 4, dtype=precision)
    mask = torch.tensor([1.25, 0.0, 1.25])[:, None, None, None]
    dropped = _drop_path(x, mask)
    assert dropped.dtype == precision
    assert dropped[:, 0, 0, 0].tolist() == [1.25, 0.0, 1.25]
    assert (dropped == dropped[:, :1, :1, :1]).all()


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(16, 16), (7, 8), (5, 5), (2, 3), (1, 1)])
def test_a_dilated_convolution_by_parts_is_one(size, stride, shape):
    """On a CPU it is done as ordinary ones; forward and backward agree with torch's own."""
    generator = torch.Generator().manual_seed(0)
    operation = DARTS_OPERATIONS[f"dil_conv_{size}x{size}"](4, stride)
    (ours,) = [m for m in operation.modules() if isinstance(m, nn.Conv2d) and m.groups == 4]
    images = torch.randn(2, 4, *shape, generator=generator, dtype=torch.float64)
    weight = torch.randn(ours.weight.shape, generator=generator, dtype=torch.float64)
    results = []
    for by_parts in (True, False):
        x, w = images.clone().requires_grad_(), weight.clone().requires_grad_()
        if by_parts:
            ours.weight = nn.Parameter(w)
            y, w = ours(x), ours.weight
        else:
            y = nn.functional.conv2d(
                x, w, stride=stride, padding=2 * (size // 2), dilation=2, groups=4
            )
        weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=y.dtype)
        (y * weights).sum().backward()
        results.append((y, x.grad, w.grad))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)
