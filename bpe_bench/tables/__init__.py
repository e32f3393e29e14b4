"""Tables of finished trainings: what they hold, their files, where they come from."""

from .curves import Curves, Split
from .table import Setting, Table

__all__ = ["Curves", "Setting", "Split", "Table"]
