"""What a search cost, in terms of other ways to spend device time."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..estimators.base import Estimator
from .trace import SearchTrace

_DAY = 86_400.0
_REFERENCE_SEARCHES = {"nasnet": 2_000.0, "amoebanet": 3_150.0}
"""GPU days of the reference searches (Zoph et al., CVPR 2018; Real et al., AAAI 2019), as quoted
by Zheng et al., CVPR 2020."""
_REFERENCE_DATASETS = ("cifar10", "cifar10-jpeg")
"""Data set of the reference searches, by its names here."""


@dataclass(frozen=True)
class Speedup:
    """How many times less device time the simulated search took than other ways.

    Only costs are compared, not what was found for them.
    """

    full_training: float
    """Than training as many architectures in full; NaN if that cost is unknown."""
    nasnet: float
    """Than the 2,000 GPU days of NASNet's search, whatever their devices were."""
    amoebanet: float
    """Than the 3,150 GPU days of AmoebaNet's search, likewise."""
    assumptions: str


def speedup_of(
    trace: SearchTrace, evaluations: float, seconds: float, estimator: Estimator
) -> Speedup:
    """Return how much less a search cost.

    Parameters
    ----------
    trace
        One of the searches.
    evaluations, seconds
        Means over the searches.
    estimator
        Their estimator.
    """
    if trace.searcher == "darts" and estimator.source != "training":
        reason = (
            "a supernet's seconds on this machine and a table's are of different devices, and may "
            "be of different images, so costs are not compared"
        )
        return Speedup(math.nan, math.nan, math.nan, reason)
    full = evaluations * estimator.full_seconds / seconds if seconds > 0 else math.nan
    # Another data set's search is not the same task done more cheaply.
    same = estimator.dataset in _REFERENCE_DATASETS
    days = {
        name: days * _DAY / seconds if same and seconds > 0 else math.nan
        for name, days in _REFERENCE_SEARCHES.items()
    }
    cost = (
        f"full training taken as {estimator.full_seconds:,.0f} s per architecture, the mean over "
        "the table, on the same device as the clock's"
        if math.isfinite(estimator.full_seconds)
        else "the cost of full training is not known here"
    )
    return Speedup(
        full,
        days["nasnet"],
        days["amoebanet"],
        f"{cost}; only costs are compared, not what was found for them; the reference searches are "
        "2,000 and 3,150 GPU days on CIFAR-10 as published, in another space and on other GPUs, "
        "with no correction for either"
        + ("" if same else "; they are not compared with a search on other images"),
    )
