"""The models of the monitoring app."""

from monitoring.models.debug_mode import DebugMode
from monitoring.models.recommendations import (
    UNFINISHED,
    ApplyMode,
    Recommendation,
    RecommendationKind,
    RecommendationPolicy,
)
from monitoring.models.samples import GaugeSample, ProcessSample
from monitoring.models.trace_exports import TraceExport
from monitoring.models.turn_spans import TraceSettings, TurnSpan

__all__ = [
    "UNFINISHED",
    "ApplyMode",
    "DebugMode",
    "GaugeSample",
    "ProcessSample",
    "Recommendation",
    "RecommendationKind",
    "RecommendationPolicy",
    "TraceExport",
    "TraceSettings",
    "TurnSpan",
]
