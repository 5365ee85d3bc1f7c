"""The models of the monitoring app."""

from monitoring.models.debug_mode import DebugMode
from monitoring.models.trace_exports import TraceExport
from monitoring.models.turn_spans import TraceSettings, TurnSpan

__all__ = ["DebugMode", "TraceExport", "TraceSettings", "TurnSpan"]
