"""The search loop with its simulated clock, and repeats of it."""

from __future__ import annotations

import copy
import math
import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from ..errors import SelectionError
from ..estimators.base import Estimator
from ..processes import share_work
from ..spaces import SPACES, Architecture, SearchSpace, get_space
from .base import Searcher
from .trace import SearchTrace, Step

_MOST_FREE = 1_000
"""A search that only seconds limit ends after so many evaluations in a row without cost."""


def run_search(
    searcher: Searcher,
    estimator: Estimator,
    *,
    evaluations: int | None = None,
    seconds: float | None = None,
    rng: np.random.Generator,
    charge_repeats: bool = True,
    on_progress: Callable[[float], None] | None = None,
) -> SearchTrace:
    """Search until an allowance is used up.

    The simulated clock adds up the cost of evaluations, as if one device made one after the
    other, and the seconds of the searcher itself. An evaluation that would carry the clock past
    ``seconds`` is not made, and the search ends there. If the cost is known only afterwards
    (real training), the expected cost decides; without an expectation the evaluation is made,
    so such a search may overrun by its last evaluation. A search that only seconds limit also
    ends when the clock has stood still for 1,000 evaluations, because all were made before and
    are free, or every training fails at once.

    Parameters
    ----------
    searcher
        Started anew.
    estimator
        The estimator, which has the space to search.
    evaluations
        Maximum number of evaluations.
    seconds
        Maximum of simulated seconds.
    rng
        The only source of randomness.
    charge_repeats
        Whether a repeated evaluation of an architecture costs again, as in published
        simulations on tables; else it is free.
    on_progress
        Called from time to time with the share of the allowance, or of the searcher's own work,
        that is used up.

    Returns
    -------
    SearchTrace
        Without final figures, which `_attach_outcome` adds.

    Raises
    ------
    SelectionError
        If no allowance is given or one is not above 0, or if only the clock limits a search
        with unknown costs.

    Examples
    --------
    >>> from bpe_bench.search import RandomSearch
    >>> from bpe_bench.estimators import Prediction, SurrogateEstimator
    >>> class Skips:  # the more skips the better
    ...     space = "nas-bench-201"
    ...     def predict(self, architectures):
    ...         share = np.array([a.genes.count(1) / 6 for a in architectures])
    ...         return Prediction(share, np.full(len(architectures), 60.0))
    >>> estimator = SurrogateEstimator(Skips())
    >>> trace = run_search(RandomSearch(), estimator, seconds=630, rng=np.random.default_rng(0))
    >>> trace.evaluations, trace.seconds, trace.stopped_by
    (10, 600.0, 'seconds')
    """
    _check_allowance(evaluations, seconds)
    searching, answering = rng.spawn(2)
    space = getattr(estimator, "search_space", None) or get_space(estimator.space)
    searcher.start(space, searching, evaluations)
    searcher.on_progress = on_progress
    loop = _Loop(searcher, estimator, answering, charge_repeats)
    stopped_by = "evaluations"
    while evaluations is None or len(loop.steps) < evaluations:
        architecture = searcher.ask()
        if architecture is None:
            stopped_by = "searcher"
            break
        if not loop.can_afford(architecture, seconds):
            stopped_by = "seconds"
            break
        loop.evaluate(architecture)
        if on_progress:
            share = max(len(loop.steps) / (evaluations or math.inf), loop.share_of(seconds))
            on_progress(min(share, 1.0))
        if evaluations is None and loop.stands_still:
            stopped_by = "searcher"
            break
    searcher.on_progress = None  # it may be sent to another process next
    return loop.trace(stopped_by)


class _Loop:
    """A running search and its evaluations so far."""

    def __init__(
        self,
        searcher: Searcher,
        estimator: Estimator,
        rng: np.random.Generator,
        charge_repeats: bool,
    ) -> None:
        self.searcher, self.estimator, self._rng = searcher, estimator, rng
        self._charge_repeats = charge_repeats
        self.steps: list[Step] = []
        self._paid = 0.0
        self._seen: set[Architecture] = set()
        self._best = -math.inf
        self._found: Architecture | None = None

    @property
    def clock(self) -> float:
        return self._paid + self.searcher.own_seconds

    @property
    def stands_still(self) -> bool:
        return len(self.steps) > _MOST_FREE and self.steps[-1 - _MOST_FREE].clock == self.clock

    def share_of(self, seconds: float | None) -> float:
        return 0.0 if seconds is None else self.clock / seconds

    def can_afford(self, architecture: Architecture, seconds: float | None) -> bool:
        if seconds is None:
            return True
        cost = 0.0
        if not self._is_free(architecture):
            cost = self.estimator.expected_seconds(architecture)
            if math.isnan(cost):
                if self.estimator.source != "training":
                    raise SelectionError(
                        "a search of limited seconds needs to know what evaluations cost, and the "
                        f"{self.estimator.source} does not know it; limit the evaluations instead"
                    )
                cost = 0.0  # nothing was trained yet that would tell
        return self.clock + cost <= seconds

    def evaluate(self, architecture: Architecture) -> None:
        answer = self.estimator.evaluate(architecture, self._rng)
        if not self._is_free(architecture):
            self._paid += answer.cost_seconds
        self._seen.add(architecture)
        self.steps.append(
            Step(
                architecture,
                answer.accuracy,
                self.clock,
                answer.state,
                answer.low,
                answer.high,
            )
        )
        if answer.accuracy > self._best:
            self._best, self._found = answer.accuracy, architecture
        self.searcher.tell(architecture, answer)

    def trace(self, stopped_by: str) -> SearchTrace:
        found = self._found
        if found is not None:
            found = self.searcher.conclude(found)
        return SearchTrace(
            searcher=self.searcher.name,
            parameters=self.searcher.parameters(),
            space=self.estimator.space,
            steps=tuple(self.steps),
            found=found,
            seconds=self.clock,
            stopped_by=stopped_by,
        )

    def _is_free(self, architecture: Architecture) -> bool:
        return not self._charge_repeats and architecture in self._seen


def _attach_outcome(trace: SearchTrace, estimator: Estimator) -> SearchTrace:
    """Return a finished search with the final figures of its best architecture."""
    if trace.found is None:
        return trace
    return replace(trace, outcome=estimator.outcome(trace.found))


def repeat_search(
    searcher: Searcher,
    estimator: Estimator,
    *,
    repeats: int,
    seed: int = 0,
    evaluations: int | None = None,
    seconds: float | None = None,
    charge_repeats: bool = True,
    jobs: int = 1,
    on_progress: Callable[[float], None] | None = None,
) -> list[SearchTrace]:
    """Repeat a search, each time with a generator of its own, and add the final figures.

    Parameters
    ----------
    searcher, estimator, evaluations, seconds, charge_repeats
        As for `run_search`; both objects are sent to the processes.
    repeats
        Number of searches.
    seed
        The n-th search is the same whatever ``repeats`` and ``jobs`` are.
    jobs
        Number of processes that share the repeats; 1 is this process.
    on_progress
        Called from time to time with the share of all work that is done.

    Returns
    -------
    list of SearchTrace
        In order.

    Raises
    ------
    SelectionError
        As `run_search`, or for fewer than one repeat or process.
    ExecutionError
        If a process is killed, or searcher or estimator cannot be sent to it.
    """
    _check_allowance(evaluations, seconds)
    for name, value in (("repeats", repeats), ("jobs", jobs)):
        if value < 1:
            raise SelectionError(f"{name} must be at least 1, found {value}")
    # Searchers draw from streams of their own, so that they can be compared as independent.
    stream = zlib.crc32(searcher.name.encode())
    seeds = np.random.SeedSequence((seed, stream)).spawn(repeats)
    space = SPACES.get(estimator.space)
    search = partial(_search, space, searcher, estimator, evaluations, seconds, charge_repeats)
    if jobs == 1 and on_progress:
        traces = []
        for place, own in enumerate(seeds):
            traces.append(search(own, _part(on_progress, place, repeats)))
    else:
        traces = share_work(search, seeds, jobs=jobs, on_progress=on_progress)
    return [_attach_outcome(trace, estimator) for trace in traces]


def _search(
    space: SearchSpace | None,
    searcher: Searcher,
    estimator: Estimator,
    evaluations: int | None,
    seconds: float | None,
    charge_repeats: bool,
    seed: np.random.SeedSequence,
    on_progress: Callable[[float], None] | None = None,
) -> SearchTrace:
    """Search once, with a searcher and a generator of its own."""
    if space is not None:
        # Another process does not know the spaces that were registered or declared here.
        SPACES.setdefault(space.name, space)
    return run_search(
        copy.copy(searcher),
        estimator,
        evaluations=evaluations,
        seconds=seconds,
        rng=np.random.default_rng(seed),
        charge_repeats=charge_repeats,
        on_progress=on_progress,
    )


def _part(on_progress: Callable[[float], None], place: int, parts: int) -> Callable[[float], None]:
    """Return a function that reports the progress of one of several equal parts."""
    return lambda share: on_progress((place + share) / parts)


def _check_allowance(evaluations: int | None, seconds: float | None) -> None:
    """Refuse a search without a valid allowance.

    Raises
    ------
    SelectionError
        If neither allowance is given, or one is not above 0.
    """
    if evaluations is None and seconds is None:
        raise SelectionError(
            "a search needs an allowance: a number of evaluations, of seconds, or both"
        )
    if evaluations is not None and evaluations < 1:
        raise SelectionError(f"evaluations must be at least 1, found {evaluations}")
    if seconds is not None and not 0 < seconds < math.inf:
        raise SelectionError(f"seconds must be above 0 and finite, found {seconds:g}")
