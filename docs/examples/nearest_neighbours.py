"""An estimator of one's own: settings of nearest neighbours, judged by scikit-learn at once."""

import math

from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from bpe_bench.estimators import Evaluation, Outcome
from bpe_bench.search import RegularizedEvolution, repeat_search, summarise
from bpe_bench.spaces import DeclaredSpace

SPACE = """{"name": "nearest-neighbours", "parameters": {
    "neighbours": {"kind": "integer", "low": 1, "high": 25, "step": 2},
    "metric": {"kind": "categorical", "values": ["manhattan", "euclidean", "chebyshev"]},
    "images": {"kind": "ordered", "values": [100, 200, 400]}}}"""
images, labels = load_digits(return_X_y=True)


class NearestNeighbours:
    """Fulfils `bpe_bench.estimators.Estimator`: what a search asks, and what is reported of it."""

    space = DeclaredSpace.known(SPACE).name
    source = "training"
    dataset = report_dataset = "digits"
    budget = None  # there is none
    full_seconds = math.nan  # nor is there full training to compare with

    def expected_seconds(self, architecture):
        """Return what an evaluation will cost on the simulated clock."""
        return architecture.choices["images"] / 100

    def evaluate(self, architecture, rng):
        """Return the validation accuracy that steers, and its cost."""
        accuracy = self.outcome(architecture).validation
        return Evaluation(accuracy, self.expected_seconds(architecture), self.source)

    def outcome(self, architecture):
        """Return the final figures: validation, and test, which a search is not shown."""
        chosen = architecture.choices
        model = KNeighborsClassifier(chosen["neighbours"], metric=chosen["metric"])
        model.fit(images[: chosen["images"]], labels[: chosen["images"]])
        validation = model.score(images[800:1300], labels[800:1300])
        return Outcome(validation, model.score(images[1300:], labels[1300:]))

    def optimum(self):
        """Return the best figures of the space; None as nobody knows them."""
        return


estimator = NearestNeighbours()
traces = repeat_search(RegularizedEvolution(population=5), estimator, repeats=3, evaluations=20)
print(summarise(traces, estimator).answer)
