"""The models of the monitoring app."""

from monitoring.models.alerts import Alert, AlertRule, Comparison, Grouping, NoDataPolicy, Severity, Silence
from monitoring.models.debug_mode import DebugMode
from monitoring.models.notifications import DeliveryAttempt, Notification, NotificationChannel
from monitoring.models.readiness_runs import ReadinessRun
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
    "Alert",
    "AlertRule",
    "ApplyMode",
    "Comparison",
    "DebugMode",
    "DeliveryAttempt",
    "GaugeSample",
    "Grouping",
    "NoDataPolicy",
    "Notification",
    "NotificationChannel",
    "ProcessSample",
    "ReadinessRun",
    "Recommendation",
    "RecommendationKind",
    "RecommendationPolicy",
    "Severity",
    "Silence",
    "TraceExport",
    "TraceSettings",
    "TurnSpan",
]
