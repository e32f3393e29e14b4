"""Minimum importance pruning (MIP): which hyper-parameters of a budget to stop varying.

Zheng et al., CVPR 2020, section 3, as restated in ``docs/mip.md``. In every round a model of
the correlation shows which hyper-parameter matters least; it is pinned at its cheapest value,
and the next round judges the rest. The paper does not say how many settings to start with, how
many to add, when to stop and what to recommend; these are parameters.
"""

from __future__ import annotations

from .objective import Objective, ObjectiveKind, Replay
from .plan import ObjectivePlan, check_search, make_objective, plan_search
from .procedure import prune
from .report import Importance, PruningReport, Recommendation, Round
from .rounds import Rules

__all__ = [
    "Importance",
    "Objective",
    "ObjectiveKind",
    "ObjectivePlan",
    "PruningReport",
    "Recommendation",
    "Replay",
    "Round",
    "Rules",
    "check_search",
    "make_objective",
    "plan_search",
    "prune",
]
