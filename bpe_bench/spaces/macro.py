"""The space of NAS-Bench-Macro: a chain of eight layers, one of three blocks in each.

Su, Huang, Li, You, Wang, Qian, Zhang, Xu, *Prioritized Architecture Sampling with Monto-Carlo
Tree Search*, CVPR 2021, and https://github.com/xiusu/NAS-Bench-Macro. The text is a digit per
layer, for instance ``02012100``: 0 for `Identity`, 1 for `MB3_K3`, 2 for `MB6_K5`, blocks of
MobileNetV2 with that expansion and kernel. The layers are in stages of two, three and three.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from ..budget import Budget
from ..errors import GenotypeError
from .base import Architecture, SearchSpace

BLOCKS: tuple[str, ...] = ("Identity", "MB3_K3", "MB6_K5")
"""The three blocks of a layer, in the order of their digits."""
STAGES: tuple[int, ...] = (2, 3, 3)
"""Layers of each stage; the first of a stage halves the image and doubles the channels."""
LAYERS = sum(STAGES)

_CHOICES = MappingProxyType({f"layer {layer + 1}": BLOCKS for layer in range(LAYERS)})
_COLUMNS = tuple(f"{layer} {block}" for layer in _CHOICES for block in BLOCKS)
_DIGITS = re.compile(f"[0-{len(BLOCKS) - 1}]{{0,{LAYERS}}}")


@dataclass(frozen=True)
class MacroSpace(SearchSpace):
    """The space of NAS-Bench-Macro, 6,561 architectures.

    Examples
    --------
    >>> space = MacroSpace()
    >>> space.format(space.canonical(space.parse("02012100")))
    '02012100'
    >>> space.format(space.canonical(space.parse("00102001")))
    '00120010'
    """

    name = "macro"
    title = "NAS-Bench-Macro"
    abilities = ("network", "supernet")
    descriptors = (*(f"in order: {column}" for column in _COLUMNS), *BLOCKS)
    default_layers = LAYERS
    layers_to_vary = (LAYERS, 2 * LAYERS)
    full_training = Budget(
        epochs=50, batch_size=256, learning_rate=0.1, layers=LAYERS, channels=32, image_size=32
    )

    @property
    def choices(self) -> Mapping[str, Sequence[str]]:
        """The blocks of each of the eight layers."""
        return _CHOICES

    def canonical(self, architecture: Architecture) -> Architecture:
        """Return the spelling that was trained: in each stage identities come last.

        After the first layer of a stage, which changes the size, an identity has no effect. So
        there are 3 · 3 · (3 · 7)² = 3,969 networks.
        """
        genes = iter(self.choices_of(architecture))
        ordered: list[int] = []
        for length in STAGES:
            first, *rest = (next(genes) for _ in range(length))
            ordered += [first, *sorted(rest, key=lambda block: block == 0)]
        return self.build(ordered)

    def parse(self, text: str) -> Architecture:
        """Read eight digits 0 to 2.

        Raises
        ------
        GenotypeError
            With the position (from 0) of the fault.
        """
        digits = _DIGITS.match(text)
        position = 0 if digits is None else digits.end()
        if position == LAYERS == len(text):
            return self.build([int(digit) for digit in text])
        wanted = "the end of the text" if position == LAYERS else "a block (0, 1 or 2)"
        found = repr(text[position]) if position < len(text) else "the end of the text"
        raise GenotypeError(
            f"malformed NAS-Bench-Macro architecture at position {position}: expected {wanted}, "
            f"found {found}"
        )

    def format(self, architecture: Architecture) -> str:
        """Write the architecture as eight digits."""
        return "".join(map(str, self.choices_of(architecture)))

    def describe(self, architecture: Architecture) -> Sequence[float]:
        """Return the blocks of the layers in canonical spelling (24), and how often each is (3)."""
        canonical = self.canonical(architecture)
        counts = [canonical.genes.count(block) for block in range(len(BLOCKS))]
        return (*self.encode([canonical])[0].tolist(), *counts)
