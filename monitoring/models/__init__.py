"""The models of the monitoring app."""

from monitoring.models.turn_spans import TraceSettings, TurnSpan

__all__ = ["TraceSettings", "TurnSpan"]
