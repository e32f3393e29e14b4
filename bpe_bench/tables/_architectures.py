"""The architectures of a table, and the place of each."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import overload

import numpy as np

from ..errors import SelectionError
from ..spaces import Architecture, get_space


class _ArchitectureTexts(Sequence[Architecture]):
    """Architectures of a large table, kept as text and parsed when needed."""

    def __init__(self, space: str, texts: Sequence[str]) -> None:
        self.space, self.texts = space, texts

    def __len__(self) -> int:
        return len(self.texts)

    @overload
    def __getitem__(self, place: int) -> Architecture: ...

    @overload
    def __getitem__(self, place: slice) -> _ArchitectureTexts: ...

    def __getitem__(self, place: int | slice) -> Architecture | _ArchitectureTexts:
        if isinstance(place, slice):
            return _ArchitectureTexts(self.space, self.texts[place])
        return get_space(self.space).parse(self.texts[place])


class _Places:
    """Where each of A architectures is; `Table.index` says how it may be spelled."""

    def __init__(self, space: str, architectures: Sequence[Architecture]) -> None:
        self._space, self._architectures = space, architectures

    def find(self, architecture: Architecture | str | int) -> int:
        space = get_space(self._space)
        if isinstance(architecture, int | np.integer):
            return self._checked(int(architecture))
        if isinstance(architecture, str):
            architecture = space.parse(architecture)
        place = self._as_spelled(architecture)
        if place is None:
            place = self._canonical.get(space.canonical(architecture))
            # Another spelling of the same choices will do. An isomorphic cell of other choices
            # was trained on its own, and its figures are not this one's.
            if place is not None and not np.array_equal(
                *space.encode([architecture, self._architectures[place]])
            ):
                place = None
        if place is None:
            text = space.format(architecture)
            raise SelectionError(
                f"the table does not hold the architecture {text}; it holds "
                f"{len(self._architectures)} architectures of {self._space}"
            )
        return place

    def _checked(self, place: int) -> int:
        if not 0 <= place < len(self._architectures):
            raise SelectionError(
                f"the table does not hold an architecture {place}; it counts its "
                f"{len(self._architectures)} architectures of {self._space} from 0"
            )
        return place

    def _as_spelled(self, architecture: Architecture) -> int | None:
        if not isinstance(self._architectures, _ArchitectureTexts):
            return self._by_value.get(architecture)
        if architecture.space != self._space:
            return None
        return self._by_text.get(get_space(self._space).format(architecture))

    @cached_property
    def _by_text(self) -> dict[str, int]:
        """Places by text, so that a single query need not parse all architectures."""
        assert isinstance(self._architectures, _ArchitectureTexts)
        return {text: place for place, text in enumerate(self._architectures.texts)}

    @cached_property
    def _by_value(self) -> dict[Architecture, int]:
        return {architecture: place for place, architecture in enumerate(self._architectures)}

    @cached_property
    def _canonical(self) -> dict[Architecture, int]:
        canonical = get_space(self._space).canonical
        places: dict[Architecture, int] = {}
        for place, architecture in enumerate(self._architectures):
            places.setdefault(canonical(architecture), place)
        return places
