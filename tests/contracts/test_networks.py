"""What the networks and supernets of every space promise; a new space's are tested at once."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from bpe_bench.budget import BPE_1  # noqa: E402
from bpe_bench.errors import SelectionError, TrainingError  # noqa: E402
from bpe_bench.search import make_searcher  # noqa: E402
from bpe_bench.spaces import SPACES, Architecture, get_space  # noqa: E402
from bpe_bench.training.networks.mixed import _derive, _Supernet  # noqa: E402
from bpe_bench.training.networks.network import (  # noqa: E402
    _module_of,
    build_network,
    flops_of,
)
from bpe_bench.training.trial import Trial  # noqa: E402

TRAINED = [space for space in SPACES.values() if "network" in space.abilities]
SEARCHED = [space for space in SPACES.values() if "supernet" in space.abilities]
trained = pytest.mark.parametrize("space", TRAINED, ids=lambda space: space.name)
searched = pytest.mark.parametrize("space", SEARCHED, ids=lambda space: space.name)


def small(space, **changes):
    return BPE_1.replace(layers=space.default_layers, channels=4).replace(**changes)


def draw(space, seed=0):
    return space.sample(np.random.default_rng(seed))


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@trained
def test_it_classifies_images(space):
    network = build_network(draw(space), small(space), 7, input_channels=1)
    images = torch.randn(3, 1, 16, 16)
    assert network(images)[0].shape == (3, 7)
    logits, auxiliary = network.eval()(images)
    assert logits.shape == (3, 7)
    assert auxiliary is None


@trained
def test_gradient_flows_to_every_parameter_of_the_last_options(space):
    architecture = space.build([size - 1 for size in space.sizes])
    network = build_network(architecture, small(space), 10, auxiliary=False)
    network(torch.randn(16, 3, 16, 16))[0].square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


@trained
def test_the_budget_shapes_it(space):
    def size(**changes):
        network = build_network(draw(space), small(space, **changes), 10)
        return sum(parameter.numel() for parameter in network.parameters())

    assert size(channels=8) > size()
    assert len({size(layers=layers) for layers in space.layers_to_vary}) > 1
    assert flops_of(draw(space), small(space, image_size=32)) > flops_of(draw(space), small(space))


@trained
def test_the_layers_that_a_space_names_are_layers_that_it_has(space):
    for layers in (space.default_layers, *space.layers_to_vary):
        build_network(draw(space), small(space, layers=layers), 10)
    if space.full_training is not None:
        build_network(draw(space), space.full_training, 10)


@trained
def test_one_spelling_of_a_network_is_as_large_as_another(space):
    for seed in range(20):
        architecture = draw(space, seed)
        sizes = [flops_of(a, small(space)) for a in (architecture, space.canonical(architecture))]
        assert sizes[0] == sizes[1] or space.name == "nas-bench-201"  # which trained them apart


@trained
def test_images_that_are_too_small_are_refused(space):
    with pytest.raises(TrainingError, match=r"need an image_size of at least \d+ pixels, found 1"):
        build_network(draw(space), small(space, image_size=1), 10)


@searched
def test_a_supernet_classifies_and_learns_its_shares(space):
    network = _Supernet(space.name, small(space), 10)
    with network.searching() as alphas:
        logits, _ = network(torch.randn(4, 3, 16, 16))
        logits.square().sum().backward()
        assert logits.shape == (4, 10)
        assert (alphas.grad != 0).any(dim=-1).all()


@searched
def test_a_mixture_of_one_candidate_stands_for_it(space):
    relaxation = _module_of(space.name, "supernet").SUPERNET
    assert relaxation.shape[-1] == len(relaxation.candidates)
    shares = np.random.default_rng(0).random(relaxation.shape)
    found = _derive(space.name, shares)
    assert space.parse(space.format(found)) == found == _derive(space.name, 2 * shares)


def test_what_a_space_cannot_do_is_said_with_those_that_can(monkeypatch):
    class Bare(type(get_space("nas-bench-201"))):
        name = "bare"
        abilities = ()

    monkeypatch.setitem(SPACES, "bare", Bare())
    able = ", ".join(space.name for space in TRAINED)
    message = (
        "this needs a space with a network, and bare has none; those with a network are "
        f"{able}; take one of them, or train by a function of your own (--trainer)"
    )
    architecture = Architecture("bare", (3,) * 6)
    for use in (build_network, lambda *rest: Trial(architecture, BPE_1, "digits")):
        with pytest.raises(SelectionError) as error:
            use(architecture, BPE_1, 10)
        assert str(error.value) == message
    for use in (lambda: _derive("bare", []), lambda: _Supernet("bare", BPE_1, 10), start_darts):
        with pytest.raises(SelectionError, match="this needs a space with a supernet, and bare"):
            use()


def start_darts():
    make_searcher("darts", budget=BPE_1).start(get_space("bare"), np.random.default_rng(0))
