"""How well every budget of a table ranks, and what to make of it."""

from .report import CorrelationReport, correlate

__all__ = ["CorrelationReport", "correlate"]
