"""What chance finds, beside which the result of a search is judged."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..estimators.base import Estimator
from .random_search import expected_regret


@dataclass(frozen=True)
class Chance:
    """Final accuracies that chance finds, on the split that the report is about."""

    architecture: float
    """Mean of one architecture drawn uniformly from those that a search can find."""
    random_search: float
    """Expected value of random search with so many evaluations, in closed form
    (`expected_regret`); NaN if the signal of an architecture varies, or one may fail."""
    evaluations: int
    """As many as the searches made on average."""


def chance_of(estimator: Estimator, evaluations: float) -> Chance | None:
    """Return what chance finds with an estimator; None if it has no figures of a whole table."""
    # Of a surrogate, what is found is looked up in the table that judges it.
    figures = getattr(getattr(estimator, "judge", None) or estimator, "figures", None)
    if figures is None or not evaluations >= 1:
        return None
    signal, _, final = figures
    signal, final = signal[np.isfinite(signal)], final[np.isfinite(signal)]
    known = final[np.isfinite(final)]
    count, found = round(evaluations), math.nan
    if len(known) == len(final) and getattr(estimator, "is_exact", False):
        found = float(final.max()) - expected_regret(signal, final, count)
    mean = float(known.mean()) if len(known) else math.nan
    return Chance(mean, found, count)
