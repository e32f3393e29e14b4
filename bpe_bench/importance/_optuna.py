"""Optuna, an optional extra: the only importer."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import OptionalDependencyError

_OLDEST = 5
"""Before it, arguments that are used here had other names."""


def import_optuna(what: str, instead: str) -> Any:
    """Return Optuna.

    Parameters
    ----------
    what
        What needs it.
    instead
        What can be used without it, for the message.

    Raises
    ------
    OptionalDependencyError
        If it is not installed, or too old.
    """
    try:
        import optuna
    except ImportError:
        raise OptionalDependencyError(
            f"{what} needs Optuna, which is not installed; pip install 'bpe-bench[optuna]', or use "
            f"{instead}"
        ) from None
    if int(optuna.__version__.split(".")[0]) < _OLDEST:
        raise OptionalDependencyError(
            f"{what} needs Optuna {_OLDEST} or newer, found {optuna.__version__}; pip install "
            f"'bpe-bench[optuna]', or use {instead}"
        )
    return optuna


@contextmanager
def silent(optuna: Any) -> Iterator[None]:
    """Keep Optuna from announcing studies and trials, and from warning of what is handled here."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)
