"""Regression of tables: does a table still have the figures that the registry promises.

``tables/registry.toml`` lists, for every registered table, figures with a
tolerance and a source. `regress` recomputes them from the file.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import BpeBenchError, unknown_name
from ..files import Shown, to_json_value
from ..inference import correlation
from ..tables.catalog import Promise, entries, verify_registered
from ..tables.curves import MISSING, Split
from ..tables.storage import read_table
from ..tables.table import Table
from .correlating import correlate
from .report import CorrelationReport
from .selection import Selection
from .topk import with_top_k

if TYPE_CHECKING:
    import pandas as pd

_CONTENT = "content SHA-256"
_MOST_NAMED = 3
"""So many missed promises are named in the answer."""


@dataclass(frozen=True)
class Check:
    """A promise and what was found."""

    table: str
    figure: str
    expected: float | str
    found: float | str
    tolerance: float
    passed: bool
    source: str

    @property
    def difference(self) -> float:
        """Found minus expected; NaN if there is no number to compare."""
        if isinstance(self.found, str) or isinstance(self.expected, str):
            return math.nan
        return self.found - self.expected

    def to_json(self) -> dict[str, Any]:
        """Return the check as JSON values."""
        return {**to_json_value(vars(self)), "difference": to_json_value(self.difference)}


@dataclass(frozen=True, repr=False)
class RegressionReport(Shown):
    """All checks of some tables."""

    checks: tuple[Check, ...]
    skipped: tuple[str, ...] = ()
    """Registered tables that are not on this machine."""

    @property
    def passed(self) -> bool:
        """Whether every promise is kept."""
        return all(check.passed for check in self.checks)

    @property
    def answer(self) -> str:
        """How many promises are kept, and which are not."""
        if not self.checks:
            return "no registered table is on this machine, so nothing was compared"
        tables = ", ".join(dict.fromkeys(check.table for check in self.checks))
        missed = [f"{c.table}: {c.figure}" for c in self.checks if not c.passed]
        whole = len(self.checks)
        kept = f"{whole - len(missed)} of {whole} promised figures of {tables} are kept"
        first = "; ".join(missed[:_MOST_NAMED]) + ("; ..." if missed[_MOST_NAMED:] else "")
        return f"{kept}; missed: {first}" if missed else kept

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "answer": self.answer,
            "passed": self.passed,
            "skipped": list(self.skipped),
            "rows": [check.to_json() for check in self.checks],
        }

    def to_frame(self) -> pd.DataFrame:
        """Return one line per check."""
        import pandas as pd

        return pd.DataFrame([check.to_json() for check in self.checks]).set_index("table")

    def to_junit(self) -> str:
        """Return the report as JUnit XML, which CI services show: a suite per table."""
        suites = ElementTree.Element("testsuites", name="bpe-bench regress")
        for table in dict.fromkeys(check.table for check in self.checks):
            checks = [check for check in self.checks if check.table == table]
            failures = sum(not check.passed for check in checks)
            suite = ElementTree.SubElement(
                suites, "testsuite", name=table, tests=str(len(checks)), failures=str(failures)
            )
            for check in checks:
                case = ElementTree.SubElement(suite, "testcase", classname=table, name=check.figure)
                if not check.passed:
                    message = f"promised {check.expected} ± {check.tolerance}, found {check.found}"
                    failure = ElementTree.SubElement(case, "failure", message=message)
                    failure.text = f"source: {check.source}"
        ElementTree.indent(suites)
        return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def regress(
    names: Sequence[str] = (), *, progress: Callable[[float], None] | None = None
) -> RegressionReport:
    """Recompute what the registry promises of tables.

    Parameters
    ----------
    names
        Registered tables; all that are on this machine by default.
    progress
        Called with the share of the work that is done.

    Raises
    ------
    UnknownNameError
        For a name that is not registered.
    TableFileError
        For a table that was asked for and is not on this machine.
    """
    for name in names:
        if name not in entries():
            raise unknown_name("table", name, entries())
    here = [name for name, entry in entries().items() if entry.path is not None]
    chosen = list(names) or here
    total = sum(1 + len(entries()[name].promises) for name in chosen)
    checks: list[Check] = []
    for name in chosen:
        entries()[name].require_path()
        for check in _checks(name):
            checks.append(check)
            if progress is not None:
                progress(len(checks) / total)
    skipped = [] if names else [name for name in entries() if name not in here]
    return RegressionReport(tuple(checks), tuple(skipped))


def _checks(name: str) -> list[Check]:
    """Return a table's checks; a file that cannot be read fails all of them."""
    entry = entries()[name]
    content = _content(name)
    try:
        figures = _Figures(read_table(entry.require_path()))
    except BpeBenchError as error:
        return [content, *(_judge(name, promise, str(error)) for promise in entry.promises)]
    return [content, *(_check(name, promise, figures) for promise in entry.promises)]


def _content(name: str) -> Check:
    """Return whether the content has the registered hash, which a single changed count changes."""
    entry = entries()[name]
    try:
        found, passed = verify_registered(name), True
    except BpeBenchError as error:
        found, passed = str(error), False
    return Check(name, _CONTENT, entry.content_sha256, found, 0.0, passed, "tables/registry.toml")


def _check(name: str, promise: Promise, figures: _Figures) -> Check:
    try:
        return _judge(name, promise, figures.find(promise))
    except BpeBenchError as error:
        return _judge(name, promise, str(error))


def _judge(name: str, promise: Promise, found: float | str) -> Check:
    kept = isinstance(found, float) and abs(found - promise.expected) <= promise.tolerance
    return Check(
        name, promise.title, promise.expected, found, promise.tolerance, kept, promise.source
    )


@dataclass(frozen=True)
class _Figures:
    """Finds figures of one table; each correlation report is made once."""

    table: Table
    _reports: dict[tuple[Any, ...], CorrelationReport] = field(default_factory=dict)

    def find(self, promise: Promise) -> float:
        """Return what the table says of a promised figure."""
        if promise.figure not in FIGURES:
            raise unknown_name("figure", promise.figure, FIGURES)
        return float(FIGURES[promise.figure](self, promise.arguments))

    def report(self, arguments: Mapping[str, Any]) -> CorrelationReport:
        """Return the correlation report that a promise's arguments ask for."""
        names = ("dataset", "reference_dataset")
        selected = {name: arguments[name] for name in names if name in arguments}
        splits = ("split", "reference_split")
        selected |= {name: Split(arguments[name]) for name in splits if name in arguments}
        statistic, k = arguments.get("statistic", "spearman"), arguments.get("top_k")
        key = (statistic, k, *sorted(selected.items()))
        if key not in self._reports:
            found = correlate(self.table, Selection(**selected), statistic=statistic)
            self._reports[key] = with_top_k(self.table, found, k)
        return self._reports[key]


def _row_value(name: str) -> Callable[[_Figures, Mapping[str, Any]], float]:
    def find(figures: _Figures, arguments: Mapping[str, Any]) -> float:
        return float(figures.report(arguments).row(arguments["budget"]).to_json()[name])

    return find


def _noise_ceiling(figures: _Figures, arguments: Mapping[str, Any]) -> float:
    """Return the correlation of two seeds of a setting, given by their places."""
    curves = figures.table.curves_of(arguments["budget"], Split(arguments["split"]))
    first, second = curves.accuracy()[list(arguments["seeds"])]
    both = np.isfinite(first) & np.isfinite(second)
    return correlation(first[both], second[both], arguments["statistic"]).value


def _maximum(figures: _Figures, arguments: Mapping[str, Any]) -> float:
    """Return the highest seed-mean accuracy of a setting."""
    split = Split(arguments["split"])
    return float(np.nanmax(figures.table.accuracy(arguments["budget"], split)))


def _networks_with_seeds(figures: _Figures, arguments: Mapping[str, Any]) -> float:
    """Return how many networks have a given number of seeds at the last epoch of a setting."""
    curves = figures.table.curves_of(arguments["budget"], Split(arguments["split"]))
    last = curves.epochs.size - 1
    recorded = sum(curves.column(seed, last) != MISSING for seed in curves.own_seeds)
    return float(np.sum(recorded == arguments["seeds"]))


FIGURES: Mapping[str, Callable[[_Figures, Mapping[str, Any]], float]] = MappingProxyType(
    {
        "correlation": _row_value("correlation"),
        "low": _row_value("low"),
        "high": _row_value("high"),
        "precision-at-k": _row_value("precision_at_k"),
        "cost-seconds": _row_value("cost_seconds"),
        "noise-ceiling": _noise_ceiling,
        "maximum": _maximum,
        "networks-with-seeds": _networks_with_seeds,
        "architectures": lambda figures, _: len(figures.table.architectures),
    }
)
"""What can be promised of a table."""
