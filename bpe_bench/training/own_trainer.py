"""One's own trainer: a function that trains an architecture, in the place of the recipe.

It is called as ``train(architecture, budget, seed, report)`` and calls ``report`` after every
epoch (`Report`). What it is given are an `Architecture`, whose ``choices`` are its values by name,
a `Budget`, of which only the epochs have to be known, and a whole number. The function may have
three attributes:

``dataset``
    What the images are called in tables; by default as the trainer.
``version``
    Goes up when results change: trainings of another version are not taken for the same.
``device``
    Name of the device that it trains on; by default the processor's.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import math
import pickle
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, SupportsFloat, SupportsIndex

from ..budget import Budget
from ..errors import BpeBenchError, SelectionError, TrainingError, unknown_name
from ..processes import pack
from ..spaces import Architecture
from ..tables.curves import Split
from ._machine import peak_memory, processor, versions
from .trial import EpochRecord, SplitResult, State, Trial

_FORM = "FILE.py:FUNCTION or MODULE:FUNCTION"
_CALL = "train(architecture, budget, seed, report)"
_LARGEST = 2**31 - 1
"""The most images that a table can count."""


class _Left(BaseException):
    """Leaves one's own trainer, whatever exceptions it catches."""


class Report:
    """What one's own trainer calls after every epoch, as often as the budget has epochs.

    A trainer that gives no checkpoint is called anew if its training was interrupted; what it
    reports of epochs that are recorded already is ignored.
    """

    checkpoint: bytes | None
    """What the trainer gave with its last epoch before it was interrupted; None at first."""
    done: int
    """The epochs behind that checkpoint; 0 without one."""

    def __init__(
        self, epochs: int, checkpoint: bytes | None, record: Callable[[EpochRecord, bytes], bool]
    ) -> None:
        recorded, _, content = (checkpoint or b"0:").partition(b":")
        self._recorded, self.checkpoint = int(recorded), content or None
        self.done = self._epoch = self._recorded if content else 0
        self._epochs, self._record = epochs, record
        self._left = False
        self._error: BpeBenchError | None = None
        self._since = time.perf_counter()

    def __call__(
        self,
        *,
        validation: SupportsFloat,
        size: SupportsIndex,
        test: SupportsFloat | None = None,
        test_size: SupportsIndex | None = None,
        seconds: SupportsFloat | None = None,
        checkpoint: bytes = b"",
    ) -> None:
        """Record an epoch.

        Parameters
        ----------
        validation
            Accuracy on the validation images after it, a fraction. It ranks and steers.
        size
            Number of validation images.
        test, test_size
            The same for test images, if there are any; they are only reported.
        seconds
            What the epoch took to train; by default the time since the last report.
        checkpoint
            What the trainer needs to continue from here, should it be interrupted.

        Raises
        ------
        TrainingError
            If a value cannot be, or the budget has no such epoch.
        """
        took = time.perf_counter() - self._since if seconds is None else _seconds(seconds)
        results = {Split.VALIDATION: _result("validation", validation, "size", size)}
        if test is not None or test_size is not None:
            results[Split.TEST] = _result("test", test, "test_size", test_size)
        if not isinstance(checkpoint, bytes):
            raise TrainingError(
                f"checkpoint must be bytes, for instance pickle.dumps(model), found "
                f"{type(checkpoint).__name__}"
            )
        if self._epoch == self._epochs:
            raise TrainingError(
                f"report was called more often than the budget has epochs, which are {self._epochs}"
            )
        self._epoch += 1
        if self._epoch > self._recorded:
            record = EpochRecord(self._epoch, results, took, peak_memory())
            self._keep(record, b"%d:%b" % (self._epoch, checkpoint))
        self._since = time.perf_counter()

    def _keep(self, record: EpochRecord, checkpoint: bytes) -> None:
        try:
            self._left = not self._record(record, checkpoint) and record.epoch < self._epochs
        except BpeBenchError as error:
            self._error, self._left = error, True
        if self._left:
            raise _Left

    def _end(self, name: str) -> State:
        """Return how the training ended, now that the trainer has returned or was left."""
        if self._error is not None:
            raise self._error
        if self._left:
            return "planned"
        if self._epoch < self._epochs:
            raise TrainingError(
                f"{name} reported {self._epoch or 'none'} of {self._epochs} epochs; call report "
                "after each, or give a budget of fewer"
            )
        return "done"


Train = Callable[[Architecture, Budget, int, Report], object]


@dataclass(frozen=True)
class OwnTrainer:
    """One's own trainer, ready to be sent to other processes."""

    train: Train
    name: str
    """``FILE:FUNCTION`` or ``MODULE:FUNCTION``, with ``@VERSION`` if it has one."""
    dataset: str
    device: str
    source: str = field(default="", compare=False)
    """The text that it was imported by, if it was; other processes do the same."""

    @classmethod
    def of(cls, given: str | Train | OwnTrainer) -> OwnTrainer:
        """Return the trainer that is given as a function, or as the text to import it by.

        Parameters
        ----------
        given
            A function, or ``FILE.py:FUNCTION`` or ``MODULE:FUNCTION``.

        Raises
        ------
        SelectionError
            If it cannot be called as it has to be, or the text has another form.
        UnknownNameError
            If there is no such function.
        TrainingError
            If it cannot be imported; the message has the line at fault.

        Examples
        --------
        >>> def train(architecture, budget, seed, report):
        ...     for epoch in range(budget.epochs):
        ...         report(validation=0.5 + epoch / 10, size=100)
        >>> train.version = "2"
        >>> OwnTrainer.of(train).name.endswith(":train@2")
        True
        """
        if isinstance(given, OwnTrainer):
            return given
        if isinstance(given, str):
            train, home, source = _imported(given)
            function = given.rpartition(":")[2]
        else:
            train, home, source = given, _home_of(given), ""
            function = getattr(train, "__name__", type(train).__name__)
        name = f"{home}:{function}" if home else function
        _check_call(train, name)
        version = str(getattr(train, "version", ""))
        dataset, device = (str(getattr(train, what, "")) for what in ("dataset", "device"))
        return cls(train, f"{name}@{version}" if version else name, dataset or name, device, source)

    def __reduce__(self) -> tuple[object, ...]:
        if self.source:
            return OwnTrainer.of, (self.source,)
        return _unpacked, (pack(self.train), self.name, self.dataset, self.device)


AnyTrainer = str | Train | OwnTrainer
"""A trainer as it may be given: a function, or a text to import it by."""


def _unpacked(train: bytes, *facts: str) -> OwnTrainer:
    return OwnTrainer(pickle.loads(train), *facts)


def train_trial(
    trial: Trial,
    checkpoint: bytes | None,
    options: Mapping[str, Any],
    report: Callable[[EpochRecord, bytes, dict[str, str]], bool],
) -> State:
    """Have one's own trainer train a trial.

    Parameters
    ----------
    trial, checkpoint
        What to train; what was kept of the last recorded epoch, or None.
    options
        ``trainer``: the `OwnTrainer`.
    report
        Takes an epoch's record, what to keep, and a description of the device.

    Returns
    -------
    State
        ``done``, or ``planned`` if stopped.

    Raises
    ------
    TrainingError
        If the trial is of another trainer, or the trainer did not report every epoch. Its own
        exceptions are raised with a note of the line in its file.
    """
    own: OwnTrainer = options["trainer"]
    if trial.trainer != own.name:
        raise TrainingError(
            f"the trial is for {trial.trainer or 'the trainer of bpe-bench'}, not for {own.name}; "
            "run it by its own trainer"
        )
    made_on = {"device": own.device or processor(), **versions(), "trainer": own.name}
    told = Report(
        trial.budget.epochs, checkpoint, lambda record, kept: report(record, kept, made_on)
    )
    try:
        with redirect_stdout(sys.stderr):  # standard output is for results
            own.train(trial.architecture, trial.budget, trial.seed, told)
    except _Left:
        pass
    except (Exception, SystemExit) as error:
        if place := _place(error, own.name):
            error.add_note(place)
        raise
    return told._end(own.name)


def _seconds(seconds: SupportsFloat) -> float:
    value = float(seconds)
    if not 0 <= value < math.inf:
        raise TrainingError(f"seconds must be at least 0 and finite, found {value:g}")
    return value


def _result(
    split: str, fraction: SupportsFloat | None, name: str, size: SupportsIndex | None
) -> SplitResult:
    """Return the result of a split, from its accuracy and its number of images."""
    try:
        images = 0 if size is None or isinstance(size, bool) else size.__index__()
    except AttributeError:
        images = 0
    if not 0 < images <= _LARGEST:
        raise TrainingError(
            f"{name} must be the number of {split} images, at least 1, found {size!r}"
        )
    try:
        value = math.nan if fraction is None else float(fraction)
    except (TypeError, ValueError):
        value = math.nan
    if not 0 <= value <= 1:
        share = f"; {value:g} % is written {value / 100:g}" if 1 < value <= 100 else ""
        found = fraction if math.isnan(value) else f"{value:g}"
        raise TrainingError(
            f"{split} must be an accuracy as a fraction from 0 to 1, found {found}{share}"
        )
    return SplitResult(round(value * images), images)


def _imported(text: str) -> tuple[Train, str, str]:
    """Return the function that a text names, the name of its module, and the text for others."""
    where, _, name = text.rpartition(":")
    if not where or not name:
        raise SelectionError(
            f"a trainer is given as {_FORM}, found {text!r}; for instance --trainer mine.py:train"
        )
    file = Path(where).absolute()
    try:
        if file.suffix == ".py":
            if not file.is_file():
                raise SelectionError(f"no file {where} for the trainer {text!r}; give {_FORM}")
            module, home, place = _of_file(file), file.stem, str(file)
        else:
            module, home, place = importlib.import_module(where), where, where
    except SelectionError:
        raise
    except (Exception, SystemExit) as error:
        said = " ".join([f"{type(error).__name__}:", *str(error).split()])
        place = "" if isinstance(error, SyntaxError) else _place(error, text)
        at = f" ({place})" if place else f"; give {_FORM}" if where not in sys.modules else ""
        raise TrainingError(f"the trainer {text!r} cannot be imported: {said}{at}") from error
    if not hasattr(module, name):
        own = [
            n
            for n, f in vars(module).items()
            if inspect.isfunction(f) and f.__module__ == module.__name__ and n[0] != "_"
        ]
        raise unknown_name("function", name, own, of=where)
    return getattr(module, name), home, f"{place}:{name}"


def _of_file(file: Path) -> ModuleType:
    """Import a file, which finds other files beside it as a script does."""
    name = f"trainer_{file.stem}"
    specification = importlib.util.spec_from_file_location(name, file)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    sys.modules[name] = module
    specification.loader.exec_module(module)
    return module


def _home_of(train: Train) -> str:
    """Return the name of a function's module; of a script that of its file, of a notebook none."""
    module = getattr(train, "__module__", None) or type(train).__module__
    if module != "__main__":
        return module
    file = Path(getattr(sys.modules["__main__"], "__file__", None) or "")
    return file.stem if file.suffix == ".py" else ""


def _check_call(train: Any, name: str) -> None:
    if not callable(train):
        raise SelectionError(f"a trainer is a function, called as {_CALL}, found {train!r}")
    try:
        signature = inspect.signature(train)
    except ValueError:  # a function of C that does not say
        return
    try:
        signature.bind(*_CALL.split(","))
    except TypeError:
        raise SelectionError(
            f"the trainer {name} is called as {_CALL}, but it is {name.rpartition(':')[2]}"
            f"{signature}; give it these four parameters"
        ) from None


def _place(error: BaseException, name: str) -> str:
    """Return the file and the line of one's own code that an exception comes from.

    Code that was sent from another process does not know its file; then it has a name.
    """
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename not in (__file__, importlib.__file__)
        and not frame.filename.startswith("<frozen")
    ]
    if not frames or not frames[0].lineno:
        return ""
    own = [frame for frame in frames if frame.filename == frames[0].filename]
    file = own[-1].filename
    return f"{name if file.startswith('<') else Path(file).name}, line {own[-1].lineno}"
