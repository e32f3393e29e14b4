"""NAS-Bench-Macro: its text, its spellings, and its networks by hand from the publication."""

import itertools

import numpy as np
import pytest

from bpe_bench.errors import GenotypeError, TrainingError
from bpe_bench.spaces import get_space

SPACE = get_space("macro")


def spelled(text):
    return SPACE.format(SPACE.canonical(SPACE.parse(text)))


def test_there_are_as_many_as_published():
    assert SPACE.size == 6561
    texts = [SPACE.format(architecture) for architecture in SPACE]
    assert texts == ["".join(digits) for digits in itertools.product("012", repeat=8)]


@pytest.mark.parametrize(
    ("text", "trained"),
    [("02012100", "02012100"), ("01001001", "01010010"), ("00201002", "00210020"),
     ("00000000", "00000000"), ("20102102", "20120120"), ("12121212", "12121212")],
)  # fmt: skip
def test_identities_go_to_the_end_of_their_stage(text, trained):
    """Worked out by hand; the first layer of a stage stays, for it halves the image."""
    assert spelled(text) == trained


def test_spellings_of_a_network_share_their_structure_and_no_others_do():
    classes = {}
    for architecture in SPACE:
        classes.setdefault(SPACE.canonical(architecture), []).append(architecture)
    # A stage of two: 3 x 3; of three: 3 x (2 x 2 + 2 + 1).
    assert len(classes) == 9 * 21 * 21
    chosen = [classes[c] for c in list(classes)[:: len(classes) // 300] if len(classes[c]) > 1]
    for spellings in chosen:
        assert len(np.unique(SPACE.features(spellings), axis=0)) == 1
    assert len(np.unique(SPACE.features([own[0] for own in chosen]), axis=0)) == len(chosen)


def test_what_is_described():
    row = dict(
        zip(SPACE.feature_names(), SPACE.features([SPACE.parse("01001002")])[0], strict=True)
    )
    assert (row["Identity"], row["MB3_K3"], row["MB6_K5"]) == (5, 2, 1)
    assert row["in order: layer 4 MB3_K3"] == 1  # spelled 01010020
    assert row["in order: layer 7 MB6_K5"] == row["in order: layer 8 Identity"] == 1


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "position 0: expected a block (0, 1 or 2), found the end of the text"),
        ("0123", "position 3: expected a block (0, 1 or 2), found '3'"),
        ("0121", "position 4: expected a block (0, 1 or 2), found the end of the text"),
        ("012012012", "position 8: expected the end of the text, found '2'"),
        ("0120120\u0661", "position 7: expected a block (0, 1 or 2), found '\u0661'"),
        ("01201201\n", "position 8: expected the end of the text, found '\\n'"),
    ],
)
def test_malformed_text_is_refused_at_its_position(text, fault):
    with pytest.raises(GenotypeError) as caught:
        SPACE.parse(text)
    assert str(caught.value) == f"malformed NAS-Bench-Macro architecture at {fault}"


# --- Networks --------------------------------------------------------------------------------


def by_hand(text, channels=32, size=32, classes=10, copies=1):
    """Return parameters and multiply-adds, by the table of the publication alone."""
    parameters = 3 * channels * 9 + 2 * channels
    adds = 3 * channels * 9 * size**2
    layers = iter(text)
    for stage in (2, 3, 3):
        for place, block in enumerate(b for _ in range(stage) for b in [next(layers)] * copies):
            before = size
            wider, size = (2 * channels, (size + 1) // 2) if place == 0 else (channels, size)
            if block == "0":
                if place == 0:
                    parameters += channels * wider + 2 * wider
                    adds += channels * wider * size**2
            else:
                expansion, kernel = {"1": (3, 3), "2": (6, 5)}[block]
                wide = expansion * channels
                parameters += channels * wide + wide * kernel**2 + wide * wider
                parameters += 2 * (wide + wide + wider)  # normalisations
                adds += channels * wide * before**2 + (kernel**2 + wider) * wide * size**2
            channels = wider
    head = 5 * channels
    parameters += channels * head + 2 * head + head * classes + classes
    return parameters, adds + channels * head * size**2 + head * classes + classes


def parameters_of(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("text", ["00000000", "11111111", "22222222", "02012100", "10201202"])
def test_networks_are_those_of_the_publication(text):
    networks = pytest.importorskip("bpe_bench.training.networks.network")
    budget = SPACE.full_training
    network = networks.build_network(SPACE.parse(text), budget, 10)
    assert network.classifier.in_features == 1280
    found = parameters_of(network), networks.count_flops(network, 32)
    assert found == by_hand(text)
    if text == "00000000":  # 928 + 2,176 + 8,448 + 33,280 + 330,240 + 12,810
        assert found[0] == 387_882


@pytest.mark.parametrize(("layers", "channels", "size"), [(8, 4, 8), (16, 6, 12), (24, 4, 9)])
def test_budgets_change_width_depth_and_image(layers, channels, size):
    networks = pytest.importorskip("bpe_bench.training.networks.network")
    budget = SPACE.full_training.replace(layers=layers, channels=channels, image_size=size)
    network = networks.build_network(SPACE.parse("01201200"), budget, 10)
    found = parameters_of(network), networks.count_flops(network, size)
    assert found == by_hand("01201200", channels, size, copies=layers // 8)


def test_depths_that_a_chain_of_eight_does_not_have():
    networks = pytest.importorskip("bpe_bench.training.networks.network")
    with pytest.raises(TrainingError) as caught:
        networks.build_network(SPACE.parse("0" * 8), SPACE.full_training.replace(layers=6), 10)
    assert str(caught.value) == (
        "a NAS-Bench-Macro network has 8 layers, each one block or several copies of it, so layers "
        "must be a multiple of 8 (8 as published), found 6; the nearest is 8"
    )


def test_spellings_of_a_network_compute_the_same():
    torch = pytest.importorskip("torch")
    networks = pytest.importorskip("bpe_bench.training.networks.network")
    budget = SPACE.full_training.replace(channels=4, image_size=8)
    made = []
    for text in ("01001001", spelled("01001001")):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = networks.build_network(SPACE.parse(text), budget, 10).eval()
            made.append(network(torch.ones(2, 3, 8, 8))[0])
    assert torch.equal(*made)
