"""How well the budgets of a table rank, and what follows from that."""

from .correlating import correlate
from .report import CorrelationReport
from .selection import Selection
from .topk import with_top_k

__all__ = ["CorrelationReport", "Selection", "correlate", "with_top_k"]
