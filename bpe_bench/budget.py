"""Budgets: everything that fixes how cheaply a network is trained.

A `Budget` is one setting of a budgeted performance estimation (BPE); a
`BudgetSpace` is the candidate values of each of its hyper-parameters.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import InvalidBudgetError, SelectionError, unknown_name
from .hyper_parameters import (
    HYPER_PARAMETERS,
    UNKNOWN,
    Precision,
    Schedule,
    Value,
    check_hyper_parameter,
    written,
)
from .randomness import settled


def _fits(cutout: Any, size: Any) -> bool:
    """Return whether a cutout is smaller than the image, as far as both are known."""
    return cutout is None or size is None or cutout < size


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How a network is trained: ten hyper-parameters, validated when it is made.

    In a table any of them but the epochs may be None: unknown. A budget to train by
    has them all (`check_trainable`), which is what the types below say.

    Raises
    ------
    InvalidBudgetError
        If a value is of the wrong type or out of range.

    Examples
    --------
    >>> Budget(epochs=10, batch_size=128, learning_rate=0.03, layers=6,
    ...        channels=8, image_size=16) == BPE_1
    True
    """

    epochs: int
    """Passes over the training images."""
    batch_size: int
    """Images per step."""
    learning_rate: float
    """Learning rate of the first step."""
    layers: int
    """Cells stacked in the network."""
    channels: int
    """Channels of the first cell."""
    image_size: int
    """Height and width of the training images, in pixels."""
    lr_schedule: Schedule = "cosine"
    """How the learning rate falls to zero."""
    precision: Precision = "fp32"
    """Floating-point format of the forward and backward pass."""
    cutout: int = 0
    """Side of the square cut out of each training image, in pixels; 0 for none."""
    data_fraction: float = 1.0
    """Share of the training images used, in (0, 1]."""

    def __post_init__(self) -> None:
        for name, fact in HYPER_PARAMETERS.items():
            object.__setattr__(self, name, fact.check(getattr(self, name)))
        if not _fits(self.cutout, self.image_size):
            raise InvalidBudgetError(
                f"cutout ({self.cutout} pixels) must be smaller than image_size "
                f"({self.image_size} pixels)"
            )

    def replace(self, **values: Value) -> Budget:
        """Return a copy with some hyper-parameters changed."""
        for name in values:
            check_hyper_parameter(name)
        changed: dict[str, Any] = dict(values)
        return dataclasses.replace(self, **changed)

    def to_dict(self) -> dict[str, Value]:
        """Return the hyper-parameters by name, in the order of `HYPER_PARAMETERS`."""
        return {name: getattr(self, name) for name in HYPER_PARAMETERS}

    def check_trainable(self) -> None:
        """Raise `InvalidBudgetError` if no network can be trained under the budget."""
        missing = [name for name, value in self.to_dict().items() if value is None]
        if missing:
            raise InvalidBudgetError(
                f"to train, a budget needs {', '.join(missing)}; found {self}; give a value, for "
                f"instance {missing[0]}={getattr(BPE_1, missing[0])}"
            )
        if self.lr_schedule == "step":
            raise InvalidBudgetError(
                "trainings here lower the learning rate by cosine or linear, found "
                "lr_schedule=step, which is for published tables only; choose one of the two"
            )

    def __str__(self) -> str:
        return ",".join(f"{name}={written(value)}" for name, value in self.to_dict().items())


BPE_1 = Budget(epochs=10, batch_size=128, learning_rate=0.03, layers=6, channels=8, image_size=16)
"""The cheaper of the two budgets of Zheng et al., CVPR 2020."""

BPE_2 = Budget(epochs=30, batch_size=128, learning_rate=0.03, layers=16, channels=16, image_size=16)
"""The more expensive of the two budgets of Zheng et al., CVPR 2020."""

DARTS_FULL = Budget(
    epochs=600,
    batch_size=96,
    learning_rate=0.025,
    layers=20,
    channels=36,
    image_size=32,
    cutout=16,
)
"""Full training of a DARTS cell on CIFAR-10 (Liu et al., ICLR 2019)."""

NAMED_BUDGETS: Mapping[str, Budget] = MappingProxyType({"BPE-1": BPE_1, "BPE-2": BPE_2})
"""Budgets with a name in the literature, by which tables find their settings."""


def parse_values(text: str) -> dict[str, Value]:
    """Read ``name=value,name=value`` as values of hyper-parameters.

    Raises
    ------
    UnknownNameError
        For a name that is no hyper-parameter.
    InvalidBudgetError
        For a value that the hyper-parameter cannot have, or a name that comes twice.

    Examples
    --------
    >>> parse_values("epochs=10,learning_rate=0.03,precision=fp16")
    {'epochs': 10, 'learning_rate': 0.03, 'precision': 'fp16'}
    """
    values: dict[str, Value] = {}
    for part in text.split(","):
        name, sign, value = (piece.strip() for piece in part.partition("="))
        if not sign or not value:
            raise InvalidBudgetError(f"expected name=value, found {part.strip()!r} in {text!r}")
        check_hyper_parameter(name)
        if name in values:
            raise InvalidBudgetError(
                f"{name} is given twice in {text!r}; a budget has one value of each, so leave one "
                "out"
            )
        kind = HYPER_PARAMETERS[name].type
        try:
            values[name] = None if value == UNKNOWN else kind(value)
        except ValueError:
            wanted = "a whole number" if kind is int else "a number"
            raise InvalidBudgetError(f"{name} must be {wanted}, found {value!r}") from None
    BPE_2.replace(**{"image_size": 2**20, **values})  # refuses what no budget can have
    return values


def parse_candidates(texts: Sequence[str]) -> dict[str, tuple[Value, ...]]:
    """Read texts ``name=value,value,...`` as candidates of hyper-parameters.

    Raises
    ------
    UnknownNameError
        For a name that is no hyper-parameter.
    InvalidBudgetError
        For a value that the hyper-parameter cannot have, or a name that comes twice.

    Examples
    --------
    >>> parse_candidates(["epochs=1,2,4", "precision=fp32,fp16"])
    {'epochs': (1, 2, 4), 'precision': ('fp32', 'fp16')}
    """
    found: dict[str, tuple[Value, ...]] = {}
    for text in texts:
        name, _, values = (piece.strip() for piece in text.partition("="))
        if name in found:
            raise InvalidBudgetError(f"candidates of {name} are given twice; list them in one")
        read = [parse_values(f"{name}={value}")[name] for value in values.split(",")]
        found[name] = tuple(dict.fromkeys(read))
    return found


def parse_budget(text: str, *, complete: bool = True) -> Budget:
    """Read a budget: the name of a published one, ``name=value,...``, or a name and changes.

    Parameters
    ----------
    text
        The budget.
    complete
        Whether hyper-parameters without a default must be named. Otherwise all but the epochs
        may be left out, and are None: for one's own trainer, which may have no use for them.

    Raises
    ------
    UnknownNameError
        For a name that is neither a budget nor a hyper-parameter.
    InvalidBudgetError
        For a value that cannot be, or if a hyper-parameter without a default is missing.

    Examples
    --------
    >>> parse_budget("BPE-1,epochs=3").epochs
    3
    """
    first, _, rest = text.partition(",")
    known = {**NAMED_BUDGETS, "full": DARTS_FULL}
    if "=" not in first:
        if first.strip() not in known:
            raise unknown_name("budget", first.strip(), known, hint="or give name=value,...")
        base = known[first.strip()]
        return base.replace(**parse_values(rest)) if rest else base
    values: dict[str, Any] = dict(parse_values(text))
    needed = [f.name for f in dataclasses.fields(Budget) if f.default is dataclasses.MISSING]
    missing = [name for name in needed if name not in values]
    if not complete:
        values |= dict.fromkeys(missing)
        missing = [name for name in missing if name == "epochs"]
    if missing:
        raise InvalidBudgetError(
            f"a budget needs {', '.join(missing)}, too; found {text!r}; or start from a published "
            f"one, for instance BPE-1,{text}"
        )
    return Budget(**values)


@dataclass(frozen=True)
class BudgetSpace:
    """Candidate values for each hyper-parameter of a budget.

    Parameters
    ----------
    values
        For each of `HYPER_PARAMETERS` the candidates, without repeats, in
        ascending order (categories in their own order). If one of them is None
        (unknown), it is the only one: nothing can be said of that hyper-parameter.

    Examples
    --------
    >>> space = BudgetSpace.of([BPE_1, BPE_2])
    >>> space.free
    ('epochs', 'layers', 'channels')
    >>> space.pin("layers", 6).size
    4
    """

    values: Mapping[str, tuple[Value, ...]]

    def __post_init__(self) -> None:
        for name in self.values:
            check_hyper_parameter(name)
        ordered: dict[str, tuple[Value, ...]] = {}
        for name in HYPER_PARAMETERS:
            candidates = self.values.get(name, ())
            if not candidates:
                raise InvalidBudgetError(
                    f"a budget space needs at least one value of {name}, found none"
                )
            if None in candidates:
                ordered[name] = (None,)
                continue
            codes = {HYPER_PARAMETERS[name].encode(value): value for value in candidates}
            ordered[name] = tuple(codes[code] for code in sorted(codes))
        object.__setattr__(self, "values", MappingProxyType(ordered))

    @classmethod
    def of(cls, budgets: Iterable[Budget]) -> BudgetSpace:
        """Return the smallest space that holds all of ``budgets``."""
        found = list(budgets)
        if not found:
            raise SelectionError("a budget space needs at least one budget, found none")
        return cls({n: tuple({getattr(b, n) for b in found}) for n in HYPER_PARAMETERS})

    @classmethod
    def around(cls, budget: Budget, vary: Mapping[str, Sequence[Value]]) -> BudgetSpace:
        """Return a budget's space with candidates for some of its hyper-parameters.

        Examples
        --------
        >>> BudgetSpace.around(BPE_1, {"epochs": (5, 10), "channels": (4, 8)}).size
        4
        """
        own = {name: (value,) for name, value in budget.to_dict().items()}
        return cls(own | {name: tuple(values) for name, values in vary.items()})

    @property
    def free(self) -> tuple[str, ...]:
        """Hyper-parameters with more than one candidate left."""
        return tuple(name for name, values in self.values.items() if len(values) > 1)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Hyper-parameters that are left out, because some budget lacks their value."""
        return tuple(name for name, values in self.values.items() if values == (None,))

    @property
    def size(self) -> int:
        """Number of budgets in the space, without those whose cutout covers the image."""
        rest = (v for name, v in self.values.items() if name not in ("cutout", "image_size"))
        return math.prod(map(len, rest)) * len(self._cutouts())

    def pin(self, name: str, value: Value) -> BudgetSpace:
        """Return the space with one hyper-parameter fixed at one of its candidates.

        Raises
        ------
        UnknownNameError
            If there is no such hyper-parameter.
        InvalidBudgetError
            If the value is not among the candidates.
        """
        check_hyper_parameter(name)
        if value not in self.values[name]:
            exist = ", ".join(map(written, self.values[name]))
            raise InvalidBudgetError(f"cannot pin {name} at {value!r}: its candidates are {exist}")
        return BudgetSpace({**self.values, name: (value,)})

    def __contains__(self, budget: object) -> bool:
        return isinstance(budget, Budget) and all(
            getattr(budget, name) in values or values == (None,)
            for name, values in self.values.items()
        )

    def __iter__(self) -> Iterator[Budget]:
        """Iterate over all budgets of the space that are valid, the last name varying fastest."""
        for combination in itertools.product(*self.values.values()):
            arguments: dict[str, Any] = dict(zip(self.values, combination, strict=True))
            if _fits(arguments["cutout"], arguments["image_size"]):
                yield Budget(**arguments)

    def sample(self, rng: np.random.Generator) -> Budget:
        """Draw one of the valid budgets uniformly.

        Raises
        ------
        InvalidBudgetError
            If the space has none.
        """
        pairs = self._cutouts()
        if not pairs:
            raise InvalidBudgetError(
                "the budget space has no valid budget: every cutout is at least as large as every "
                "image_size"
            )
        arguments: dict[str, Any] = {
            name: values[int(rng.integers(len(values)))] for name, values in self.values.items()
        }
        arguments["cutout"], arguments["image_size"] = pairs[int(rng.integers(len(pairs)))]
        return Budget(**arguments)

    def select(self, most: int, rng: np.random.Generator) -> list[Budget]:
        """Return all valid budgets, or a random sample if there are more than a given number."""
        if self.size <= most:
            return list(self)
        found: dict[Budget, None] = {}
        while len(found) < most:
            found[self.sample(rng)] = None
        return list(found)

    def _cutouts(self) -> list[tuple[Value, Value]]:
        """Return the pairs of cutout and image size that go together."""
        pairs = itertools.product(self.values["cutout"], self.values["image_size"])
        return [(cutout, size) for cutout, size in pairs if _fits(cutout, size)]


def encode(
    budgets: Sequence[Budget], names: Collection[str] = HYPER_PARAMETERS
) -> npt.NDArray[np.float64]:
    """Return budgets as a matrix of numbers.

    Parameters
    ----------
    budgets
        B budgets.
    names
        The d hyper-parameters wanted, as columns.

    Returns
    -------
    array of shape (B, d)
        Numbers as they are; a category as its place in `HyperParameter.categories`.
    """
    facts = [HYPER_PARAMETERS[name] for name in names]
    rows = [[fact.encode(getattr(b, fact.name)) for fact in facts] for b in budgets]
    return np.array(rows, dtype=np.float64).reshape(len(budgets), len(facts))


def encode_scaled(
    budgets: Sequence[Budget], names: Collection[str], log: np.ufunc = np.log
) -> npt.NDArray[np.float64]:
    """Return what `encode` returns with each column in its `HyperParameter.scale`.

    ``log`` is the logarithm that is meant: natural or, for instance, `numpy.log2`.
    """
    columns = encode(budgets, names)
    for place, name in enumerate(names):
        scale = HYPER_PARAMETERS[name].scale
        if scale != "linear":
            columns[:, place] = settled(log(columns[:, place] + (scale == "log1p")))
    return columns
