"""A searcher of one's own, compared with random search: `python docs/examples/hill_climbing.py`."""

from dataclasses import dataclass

from bpe_bench.estimators import TableEstimator
from bpe_bench.search import (
    RandomSearch,
    Searcher,
    compare_searchers,
    repeat_search,
    summarise,
)


@dataclass
class HillClimbing(Searcher):
    """Changes one choice of the best so far, and begins anew when that has not helped for long."""

    name = "hill-climbing"
    patience: int = 8

    def start(self, space, rng, evaluations=None):
        """Begin a search and forget the one before; all chance comes from ``rng``."""
        self.space, self.rng = space, rng
        self.best, self.height, self.failures = None, 0.0, 0

    def ask(self):
        """Return the architecture to evaluate next; None would end the search."""
        if self.best is None or self.failures > self.patience:
            self.best, self.height, self.failures = None, 0.0, 0
            return self.space.sample(self.rng)
        return self.space.mutate(self.best, self.rng)

    def tell(self, architecture, evaluation):
        """Learn from an evaluation; its accuracy is NaN if the training failed."""
        if evaluation.accuracy > self.height:
            self.best, self.height, self.failures = architecture, evaluation.accuracy, 0
        else:
            self.failures += 1


estimator = TableEstimator("nas-bench-201-curves", "cifar10-valid-12")
reports = [
    summarise(repeat_search(searcher, estimator, repeats=200, evaluations=20, jobs=2), estimator)
    for searcher in (RandomSearch(), HillClimbing())
]
for report in reports:
    print(report.answer)
print(compare_searchers(reports)[0].verdict)
