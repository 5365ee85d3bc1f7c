"""The models of the monitoring app."""

from monitoring.models.recommendations import (
    UNFINISHED,
    ApplyMode,
    Recommendation,
    RecommendationKind,
    RecommendationPolicy,
)
from monitoring.models.samples import GaugeSample, ProcessSample
from monitoring.models.turn_spans import TraceSettings, TurnSpan

__all__ = [
    "UNFINISHED",
    "ApplyMode",
    "GaugeSample",
    "ProcessSample",
    "Recommendation",
    "RecommendationKind",
    "RecommendationPolicy",
    "TraceSettings",
    "TurnSpan",
]
