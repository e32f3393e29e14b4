"""Methods of finding a good budget, judged on architectures that they did not choose by.

At equal device hours: minimum importance pruning with each estimator of importance, random
sampling, cheapest-first, successive halving and TPE. ``docs/mip-judged.md`` has the protocol
and the results.
"""

from .account import Account, Standing
from .judge import judge
from .methods import METHODS, Method, make_methods
from .pool import Deal, Pool
from .report import Interval, JudgingReport, MethodResult

__all__ = [
    "METHODS",
    "Account",
    "Deal",
    "Interval",
    "JudgingReport",
    "Method",
    "MethodResult",
    "Pool",
    "Standing",
    "judge",
    "make_methods",
]
