"""The errors of bpe-bench, one class per kind of failure, and figures as text.

Messages are one line and say what was wanted, what was found, what exists and
what to do. The command line prints them as they are and exits with status 2.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence


class BpeBenchError(Exception):
    """Base of all errors that bpe-bench raises on purpose."""


class UnknownNameError(BpeBenchError, LookupError):
    """A name (of a table, a budget, a hyper-parameter, ...) that does not exist."""


class InvalidBudgetError(BpeBenchError, ValueError):
    """A budget with values that no training can have."""


class GenotypeError(BpeBenchError, ValueError):
    """Text that is not an architecture of the space, with the position of the fault."""


class InvalidTableError(BpeBenchError, ValueError):
    """Figures that do not form a table."""


class TableFileError(BpeBenchError, ValueError):
    """A file that is not a table, or not one that this version can read."""


class MissingReferenceError(BpeBenchError, ValueError):
    """A table that does not say which budget is full training."""


class SelectionError(BpeBenchError, ValueError):
    """A selection that leaves too little to compute with."""


class ContradictionError(BpeBenchError, ValueError):
    """Tables that hold different figures for the same training."""

    def __init__(self, message: str, contradictions: Sequence[object] = (), count: int = 0) -> None:
        super().__init__(message)
        self.contradictions = tuple(contradictions)
        """The listed contradictions (`Contradiction` of merging)."""
        self.count = count
        """The number of all contradictions."""


class RankingError(BpeBenchError, ValueError):
    """Numbers that cannot be ranked."""


class LeakError(BpeBenchError, ValueError):
    """Test accuracy was asked for, but only validation accuracy may steer."""


class SourceFileError(BpeBenchError, ValueError):
    """A published file that is missing or is not the one expected."""


class SurrogateFileError(BpeBenchError, ValueError):
    """A file that is not a surrogate, or not one that this version can read."""


class OptionalDependencyError(BpeBenchError, ImportError):
    """A library that an optional feature needs and that is not installed."""


class JournalError(BpeBenchError, RuntimeError):
    """A journal that cannot be opened, read or written, or that refuses a report."""


class LostTrialError(JournalError):
    """A report on a trial that the worker does not own any more."""


class TrainingError(BpeBenchError, RuntimeError):
    """A training that cannot be set up, or that does not fit the device."""


class ExecutionError(BpeBenchError, RuntimeError):
    """Workers that cannot work."""


class BpeBenchWarning(UserWarning):
    """Base of the warnings that bpe-bench gives."""


class ConstantInputWarning(BpeBenchWarning):
    """A rank statistic of constant input, which is not defined (NaN)."""


def unknown_name(
    kind: str, found: str, known: Iterable[str], *, of: str = "", hint: str = ""
) -> UnknownNameError:
    """Return the error for a name that does not exist, with the names that do.

    Parameters
    ----------
    kind
        What the name should be a name of, for instance ``"table"``.
    found
        The name as given.
    known
        The names that exist.
    of
        What has these names, for instance ``"setting 'test1'"``; follows the name.
    hint
        What else to do, appended to the message.

    Examples
    --------
    >>> print(unknown_name("table", "darts-bqe", ["darts-bpe"]))
    unknown table 'darts-bqe' (did you mean 'darts-bpe'?); there are: darts-bpe
    >>> print(unknown_name("split", "train", ["test"], of="setting 'full'"))
    unknown split 'train' of setting 'full'; there are: test
    """
    names = list(known)
    close = difflib.get_close_matches(found, names, n=1)
    guess = f" (did you mean {close[0]!r}?)" if close else ""
    exist = ", ".join(names) if names else "none"
    owner = f" of {of}" if of else ""
    end = f"; {hint}" if hint else ""
    return UnknownNameError(f"unknown {kind} {found!r}{owner}{guess}; there are: {exist}{end}")


def number(value: float | None, pattern: str = "{:.3f}") -> str:
    """Return a number as text, or a dash where it is unknown."""
    return "–" if value is None or math.isnan(value) else pattern.format(value)


def listed(words: Sequence[str]) -> str:
    """Return words as a sentence lists them: a, b and c."""
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def interval(low: float, high: float, pattern: str = "{:.2f}") -> str:
    """Return the bounds of an interval as text."""
    return f"[{number(low, pattern)}, {number(high, pattern)}]"


def duration(seconds: float) -> str:
    """Return device time in the unit that suits it.

    Examples
    --------
    >>> duration(90.0), duration(5400.0)
    ('1.5 min', '1.5 h')
    """
    if math.isnan(seconds):
        return "–"
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"
