"""The evaluations of a search, in order; saved as a line of JSON."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BpeBenchError, SourceFileError, duration, number
from ..estimators.base import Outcome, State
from ..files import Shown, reason_of, to_json_object, write_whole
from ..spaces import Architecture, get_space

if TYPE_CHECKING:
    import pandas as pd

_FORMAT = "bpe-bench-search-trace"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Step:
    """One evaluation."""

    architecture: Architecture
    accuracy: float
    """The signal, a fraction in [0, 1]; NaN if the training diverged or failed."""
    clock: float
    """Simulated seconds from the beginning to the end of the evaluation."""
    state: State = "done"
    low: float | None = None
    high: float | None = None
    """Bounds of the signal's interval, if it was predicted with one."""


@dataclass(frozen=True, repr=False)
class SearchTrace(Shown):
    """One search: its evaluations, their times, and its result."""

    searcher: str
    parameters: Mapping[str, Any]
    space: str
    steps: tuple[Step, ...]
    found: Architecture | None
    """The architecture found; None if no evaluation ended well."""
    seconds: float
    """Simulated seconds in all, including those of the searcher itself."""
    stopped_by: str
    """``evaluations``, ``seconds`` or ``searcher`` (it had nothing left to propose, or nothing that
    costs anything)."""
    outcome: Outcome | None = None
    """Final figures of the architecture found; added when the search has ended."""

    @property
    def evaluations(self) -> int:
        """How many architectures were evaluated."""
        return len(self.steps)

    def _line(self) -> str:
        best = max((s.accuracy for s in self.incumbents()), default=math.nan)
        return (
            f"{self.searcher} in {self.space}: {self.evaluations} evaluations in "
            f"{duration(self.seconds)}, the best {number(best, '{:.4f}')}"
        )

    def to_frame(self) -> pd.DataFrame:
        """Return a line per evaluation."""
        import pandas as pd

        space = get_space(self.space)
        columns = ("architecture", "accuracy", "clock", "state", "low", "high")
        rows = [
            (space.format(s.architecture), s.accuracy, s.clock, s.state, s.low, s.high)
            for s in self.steps
        ]
        return pd.DataFrame(rows, columns=columns)

    def incumbents(self) -> list[Step]:
        """Return the evaluations that were the best so far, among equals the first."""
        best, found = -math.inf, []
        for step in self.steps:
            if step.accuracy > best:
                best = step.accuracy
                found.append(step)
        return found

    def to_json(self) -> dict[str, Any]:
        """Return the trace as JSON values; unknown numbers are null."""
        space = get_space(self.space)
        texts: dict[Architecture, int] = {}
        steps: list[list[Any]] = [
            [texts.setdefault(s.architecture, len(texts)), s.accuracy, s.clock]
            + ([s.state] if s.state != "done" or s.low is not None else [])
            + ([s.low, s.high] if s.low is not None else [])
            for s in self.steps
        ]
        values = {
            "format": _FORMAT,
            "version": _VERSION,
            "searcher": self.searcher,
            "parameters": dict(self.parameters),
            "space": self.space,
            "architectures": [space.format(architecture) for architecture in texts],
            "steps": steps,
            "found": None if self.found is None else space.format(self.found),
            "seconds": self.seconds,
            "stopped_by": self.stopped_by,
            "outcome": None
            if self.outcome is None
            else {
                "validation": self.outcome.validation,
                "test": self.outcome.test,
            },
        }
        return to_json_object(values)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> SearchTrace:
        """Return the trace that `to_json` described."""
        space = get_space(values["space"])
        # By place, so that a negative place finds nothing.
        architectures = {n: space.parse(text) for n, text in enumerate(values["architectures"])}
        outcome = values["outcome"]
        return cls(
            searcher=values["searcher"],
            parameters=values["parameters"],
            space=space.name,
            steps=tuple(
                Step(architectures[place], _number(accuracy), _number(clock), *rest)
                for place, accuracy, clock, *rest in values["steps"]
            ),
            found=None if values["found"] is None else space.parse(values["found"]),
            seconds=_number(values["seconds"]),
            stopped_by=values["stopped_by"],
            outcome=None
            if outcome is None
            else Outcome(_number(outcome["validation"]), _number(outcome["test"])),
        )


def write_traces(path: str | os.PathLike[str], traces: Iterable[SearchTrace]) -> None:
    """Write traces to a file, a line of JSON each; completely or not at all.

    Raises
    ------
    SourceFileError
        If the file cannot be written.
    """
    lines = (json.dumps(trace.to_json(), separators=(",", ":")) + "\n" for trace in traces)
    try:
        write_whole(path, "".join(lines))
    except OSError as error:
        raise SourceFileError(f"cannot write traces to {path}: {reason_of(error)}") from error


def read_traces(path: str | os.PathLike[str]) -> list[SearchTrace]:
    """Read what `write_traces` wrote.

    Raises
    ------
    SourceFileError
        If the file is missing or a line is not a trace; the message has its number.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceFileError(f"cannot read traces from {path}: {error}") from error
    traces = []
    for place, line in enumerate(lines, 1):
        try:
            values = json.loads(line)
            if values["format"] != _FORMAT or values["version"] != _VERSION:
                raise ValueError(f"format {values['format']!r}, version {values['version']!r}")
            traces.append(SearchTrace.from_json(values))
        except (BpeBenchError, ValueError, KeyError, TypeError, AttributeError) as error:
            why = f"it lacks {error}" if isinstance(error, KeyError) else error
            raise SourceFileError(
                f"{path}, line {place}, is not a trace of version {_VERSION}: {why}"
            ) from error
    return traces


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
