"""Spaces of named parameters, declared in a small file, for tables of anything.

::

    name = "my-space"

    [parameters.width]
    kind = "ordered"        # values in an order: neighbours are near
    values = [16, 24, 32]

    [parameters.activation]
    kind = "categorical"    # values without an order
    values = ["relu", "gelu"]

    [parameters.depth]
    kind = "integer"        # low, high and, if it is not 1, step
    low = 1
    high = 8

    [parameters.dropout]
    kind = "real"           # low, high and, for a logarithmic scale, log = true
    low = 0.0
    high = 0.5

An architecture is written ``width=16,activation=relu,depth=3,dropout=0.1``. With
``values = "observed"`` a categorical parameter takes whatever text a table has.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import struct
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..errors import GenotypeError, SelectionError, SourceFileError, unknown_name
from .base import Architecture, FloatArray, SearchSpace

_OBSERVED = "observed"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_FIELDS: Mapping[str, tuple[str, ...]] = {
    "categorical": ("values",),
    "ordered": ("values",),
    "integer": ("low", "high"),
    "real": ("low", "high"),
}
_OPTIONAL: Mapping[str, tuple[str, ...]] = {"integer": ("step",), "real": ("log",)}
_MOST_OPTIONS = 100_000


@dataclass(frozen=True)
class Parameter:
    """A named choice of a declared space."""

    name: str
    kind: Literal["categorical", "ordered", "integer", "real"]
    options: tuple[str, ...] = ()
    """Its values as text; empty if they are not listed: real numbers, or observed ones."""
    values: tuple[Any, ...] = ()
    """The same as they were declared: numbers, truth values or texts."""
    low: float = -math.inf
    high: float = math.inf
    log: bool = False

    def gene(self, text: str) -> int:
        """Return the gene of a value: its place, or a number that encodes it.

        Raises
        ------
        ValueError
            If the parameter cannot have it; the message says what was expected.
        """
        if self.kind == "real":
            value = _number(text)
            if not self.low <= value <= self.high:
                raise ValueError(f"a number from {self.low:g} to {self.high:g}")
            return int.from_bytes(struct.pack(">d", value + 0.0), "big")
        if not self.options:
            return int.from_bytes(text.encode(), "big")
        known = text if text in self.options else _plain(text)
        if known not in self.options:
            most = 10
            rest = f", ... {self.options[-1]}" if len(self.options) > most else ""
            raise ValueError(f"one of {', '.join(self.options[:most])}{rest}")
        return self.options.index(known)

    def text(self, gene: int) -> str:
        """Return the value of a gene; `gene` reads it back."""
        if self.kind == "real":
            return repr(self._number(gene))
        if not self.options:
            return gene.to_bytes((gene.bit_length() + 7) // 8, "big").decode()
        return self.options[gene]

    def value(self, gene: int) -> Any:
        """Return the value of a gene as it was declared; one that was observed as text."""
        if self.kind == "real":
            return self._number(gene)
        return self.values[gene] if self.values else self.text(gene)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of its feature columns."""
        if self.kind == "categorical" and self.options:
            return tuple(f"{self.name} {option}" for option in self.options)
        return (self.name,)

    def encode(self, gene: int) -> list[float]:
        """Return a value as numbers: 0/1 for categories, the value or its place otherwise.

        An observed value becomes a number that distinguishes it from others and has no other
        meaning.
        """
        if self.kind == "real":
            value = self._number(gene)
            return [math.log(value) if self.log else value]
        if not self.options:
            digest = hashlib.sha256(self.text(gene).encode()).digest()
            return [int.from_bytes(digest[:6], "big") / 2**48]
        if self.kind == "categorical":
            return [float(gene == place) for place in range(len(self.options))]
        return [float(self.options[gene]) if self.kind == "integer" else float(gene)]

    def _number(self, gene: int) -> float:
        value: float = struct.unpack(">d", gene.to_bytes(8, "big"))[0]
        return value


@dataclass(frozen=True)
class DeclaredSpace(SearchSpace):
    """A space of named parameters, declared in a TOML file or inside a table.

    Examples
    --------
    >>> space = DeclaredSpace.of({
    ...     "name": "nets",
    ...     "parameters": {
    ...         "width": {"kind": "ordered", "values": [16, 32]},
    ...         "depth": {"kind": "integer", "low": 1, "high": 4},
    ...     },
    ... })
    >>> space.size, space.format(space.parse("depth=3, width=32"))
    (8, 'width=32,depth=3')
    """

    name: str
    declaration: str = field(repr=False)
    """The declaration as JSON, in one spelling."""
    parameters: tuple[Parameter, ...] = field(compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "title", self.name)

    def __reduce__(self) -> tuple[object, ...]:
        # Another process is to know the space as soon as something of it arrives.
        return DeclaredSpace.known, (self.declaration,)

    @classmethod
    def read(cls, path: str | Path) -> DeclaredSpace:
        """Read a declaration in TOML.

        Raises
        ------
        SourceFileError
            If the file cannot be read, or declares no space; the message says where.
        """
        try:
            return cls.of(tomllib.loads(Path(path).read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise SourceFileError(f"cannot read the space {path}: {reason}") from error
        except (SelectionError, LookupError) as error:
            raise SourceFileError(f"{path} declares no space: {error}") from error

    @classmethod
    def of(cls, declaration: Mapping[str, Any]) -> DeclaredSpace:
        """Return the space of a declaration.

        Raises
        ------
        SelectionError
            If something is missing, unknown or of the wrong type.
        """
        _check_keys("the declaration", declaration, ("name", "parameters"))
        name, parameters = declaration["name"], declaration["parameters"]
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise SelectionError(
                f"name must be letters, digits, '.', '_' or '-', found {name!r}; for instance "
                '"my-space"'
            )
        if not isinstance(parameters, Mapping) or not parameters:
            raise SelectionError(
                "it needs parameters, found none; add for instance [parameters.width] with kind "
                "and values"
            )
        made = tuple(_parameter(own, facts) for own, facts in parameters.items())
        text = json.dumps({"name": name, "parameters": parameters}, ensure_ascii=False)
        return cls(name, text, made)

    @classmethod
    def known(cls, declaration: str) -> DeclaredSpace:
        """Return the space of a declaration in JSON after making it known by its name.

        Raises
        ------
        SelectionError
            If another space has the name already.
        ValueError
            If it is not JSON.
        """
        from . import register_space

        space = cls.of(json.loads(declaration))
        register_space(space)
        return space

    @property
    def open(self) -> tuple[str, ...]:
        """Names of the parameters whose values are not listed."""
        return tuple(p.name for p in self.parameters if not p.options)

    @property
    def choices(self) -> Mapping[str, Sequence[str]]:
        """By parameter its values.

        Raises
        ------
        SelectionError
            If a parameter's are not listed.
        """
        if self.open:
            raise SelectionError(
                f"the space {self.name} does not list the values of {', '.join(self.open)}, so "
                "nothing can be drawn from it; search over a table, whose values are known"
            )
        return {p.name: p.options for p in self.parameters}

    @property
    def size(self) -> int:
        """Number of architectures; a parameter without listed values counts as 2⁵³."""
        return math.prod(len(p.options) or 2**53 for p in self.parameters)

    def parse(self, text: str) -> Architecture:
        """Read ``name=value,...``, the names in any order.

        Raises
        ------
        GenotypeError
            With the position (from 0) of the fault.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        genes: dict[str, int] = {}
        position = 0
        for part in text.split(","):
            name, sign, value = (piece.strip() for piece in part.partition("="))
            found = f"found {part.strip()!r}"
            if not sign or name not in known:
                raise self._malformed(position, f"NAME=VALUE with one of {', '.join(known)}", found)
            if name in genes:
                raise self._malformed(position, f"{name} once", "found it again")
            try:
                genes[name] = known[name].gene(value)
            except ValueError as error:
                raise self._malformed(position, f"{name} to be {error}", found) from None
            position += len(part) + 1
        if missing := [name for name in known if name not in genes]:
            raise self._malformed(len(text), f"{missing[0]}=VALUE", "found the end")
        return Architecture(self.name, tuple(genes[name] for name in known))

    def _malformed(self, position: int, expected: str, found: str) -> GenotypeError:
        return GenotypeError(
            f"malformed {self.name} architecture at position {position}: expected {expected}, "
            f"{found}"
        )

    def format(self, architecture: Architecture) -> str:
        """Write ``name=value,...`` in the order of the declaration."""
        pairs = zip(self.parameters, architecture.genes, strict=True)
        return ",".join(f"{parameter.name}={parameter.text(gene)}" for parameter, gene in pairs)

    def chosen(self, architecture: Architecture) -> dict[str, Any]:
        """Return by parameter the value that the architecture has, as it was declared."""
        pairs = zip(self.parameters, architecture.genes, strict=True)
        return {parameter.name: parameter.value(gene) for parameter, gene in pairs}

    def choices_of(self, architecture: Architecture) -> Sequence[int]:
        """Return a number for each parameter: the place of its value, or one that spells it."""
        if not self.open:
            return super().choices_of(architecture)
        return architecture.genes

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of `encode`."""
        return tuple(name for parameter in self.parameters for name in parameter.columns)

    def encode(self, architectures: Sequence[Architecture]) -> FloatArray:
        """Return A architectures as numbers, (A, d): 0/1 for categories, else values or places."""
        rows = [
            [
                number
                for p, gene in zip(self.parameters, a.genes, strict=True)
                for number in p.encode(gene)
            ]
            for a in architectures
        ]
        return np.array(rows, dtype=np.float64).reshape(len(rows), len(self.columns))


def _parameter(name: str, facts: Any) -> Parameter:
    what = f"parameter {name!r}"
    if not _NAME.fullmatch(name):
        raise SelectionError(f"{what} must be named by letters, digits, '.', '_' or '-'")
    if not isinstance(facts, Mapping) or "kind" not in facts:
        raise SelectionError(f"{what} needs a kind: {', '.join(_FIELDS)}")
    kind = facts["kind"]
    if kind not in _FIELDS:
        raise unknown_name("kind", str(kind), _FIELDS, of=what)
    _check_keys(what, facts, ("kind", *_FIELDS[kind]), _OPTIONAL.get(kind, ()))
    if "values" in facts:
        options = _options(what, kind, facts["values"])
        return Parameter(name, kind, options, tuple(facts["values"]) if options else ())
    low, high = facts["low"], facts["high"]
    numbers = (int,) if kind == "integer" else (int, float)
    if not all(type(value) in numbers for value in (low, high)) or not low < high:
        wanted = "whole numbers" if kind == "integer" else "numbers"
        raise SelectionError(f"{what} needs {wanted} with low below high, found {low!r}, {high!r}")
    if kind == "real":
        log = facts.get("log", False)
        if type(log) is not bool or (log and low <= 0):
            raise SelectionError(f"{what}: log must be true or false, and with it low above 0")
        return Parameter(name, "real", low=float(low), high=float(high), log=log)
    step = facts.get("step", 1)
    if type(step) is not int or step < 1 or (high - low) // step >= _MOST_OPTIONS:
        raise SelectionError(
            f"{what} needs a step of at least 1 with at most {_MOST_OPTIONS:,} values, found "
            f"{step!r}; declare it as real"
        )
    values = tuple(range(low, high + 1, step))
    return Parameter(name, "integer", tuple(map(str, values)), values)


def _options(what: str, kind: str, values: Any) -> tuple[str, ...]:
    if values == _OBSERVED and kind == "categorical":
        return ()
    plain = isinstance(values, list) and all(type(v) in (str, int, float, bool) for v in values)
    # A text stays as it is: a hash may look like a number.
    texts = tuple(v if isinstance(v, str) else _plain(v) for v in values) if plain else ()
    bad = [text for text in texts if not text or "," in text or text != text.strip()]
    if not texts or bad or len(set(texts)) < len(texts):
        wanted = "a list of different texts without commas, or of numbers"
        wanted += ', or "observed"' if kind == "categorical" else ""
        raise SelectionError(f"{what} needs as values {wanted}, found {values!r}")
    return texts


def _plain(value: Any) -> str:
    """Return a value as text; numbers that are equal have one text."""
    try:
        number = float(value) if not isinstance(value, bool) else math.nan
    except ValueError:
        return str(value)
    return (
        str(int(number))
        if number.is_integer()
        else str(value).lower()
        if isinstance(value, bool)
        else repr(number)
    )


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    return value


def _check_keys(
    what: str, given: Mapping[str, Any], needed: Sequence[str], optional: Sequence[str] = ()
) -> None:
    for key in given:
        if key not in (*needed, *optional):
            raise unknown_name("key", key, (*needed, *optional), of=what)
    if missing := [key for key in needed if key not in given]:
        raise SelectionError(f"{what} needs {' and '.join(missing)}")
