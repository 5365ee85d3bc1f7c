"""The models of monitoring."""

from monitoring.models.recommendations import (
    UNFINISHED,
    ApplyMode,
    Recommendation,
    RecommendationKind,
    RecommendationPolicy,
)
from monitoring.models.samples import GaugeSample, ProcessSample

__all__ = [
    "UNFINISHED",
    "ApplyMode",
    "GaugeSample",
    "ProcessSample",
    "Recommendation",
    "RecommendationKind",
    "RecommendationPolicy",
]
