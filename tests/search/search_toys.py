"""Estimators and searchers made up for the tests; in a module that other processes can import."""

import math
from dataclasses import dataclass, field
from typing import ClassVar

from bpe_bench.estimators import Evaluation, Outcome
from bpe_bench.search import Searcher
from bpe_bench.spaces import Architecture


def skips(architecture):
    """The more first genes of 1, the better: an accuracy with many ties."""
    return architecture.genes.count(1) / 10


def value(architecture):
    """All genes count, no two architectures of NAS-Bench-201 are equal."""
    return sum(gene * 5**place for place, gene in enumerate(architecture.genes)) / 5**6


@dataclass
class Toy:
    """Answers by a function of the architecture; a cost may be one, too."""

    accuracy: object = skips
    seconds: object = 60.0
    expected: object = None
    """What it is thought to cost beforehand; by default what it costs."""
    space: str = "nas-bench-201"
    source: str = "table"
    dataset: str = "cifar10"
    report_dataset: str = "cifar10"
    full_seconds: float = math.nan
    final: object = None
    """A function from an architecture to its final validation accuracy; by default the signal."""
    best: Outcome | None = None
    budget: object = None

    def expected_seconds(self, architecture):
        return _of(self.seconds if self.expected is None else self.expected, architecture)

    def evaluate(self, architecture, rng):
        accuracy, seconds = self.accuracy(architecture), _of(self.seconds, architecture)
        state = "diverged" if math.isnan(accuracy) else "done"
        return Evaluation(accuracy, seconds, self.source, state)

    def outcome(self, architecture):
        validation = (self.final or self.accuracy)(architecture)
        return Outcome(validation, validation + 0.03)

    def optimum(self):
        return self.best


def _of(value, architecture):
    return value(architecture) if callable(value) else value


@dataclass
class Scripted(Searcher):
    """Proposes what it was made with, once or for ever."""

    name: ClassVar[str] = "scripted"

    genes: tuple = ()
    for_ever: bool = False
    told: list = field(default_factory=list, init=False)

    def start(self, space, rng, evaluations=None):
        self.left, self.told = list(self.genes), []

    def ask(self):
        if not self.left and self.for_ever:
            self.left = list(self.genes)
        return Architecture("nas-bench-201", self.left.pop(0)) if self.left else None

    def tell(self, architecture, evaluation):
        self.told.append((architecture.genes, evaluation))


@dataclass(frozen=True)
class TinySpace:
    """So few architectures, numbered, that all can be enumerated."""

    size: int = 20
    name: str = "tiny"

    def sample(self, rng):
        return Architecture("tiny", (int(rng.integers(self.size)),))
