"""How well the budgets of a table rank, and what follows from that."""

from .report import CorrelationReport, correlate

__all__ = ["CorrelationReport", "correlate"]
