"""The console's pages of this app."""

from monitoring.admin import (
    alert_rules,
    alerts,
    channels,
    debug_modes,
    notifications,
    readiness_pages,
    recommendations,
    silences,
    trace_settings,
)

__all__ = [
    "alert_rules",
    "alerts",
    "channels",
    "debug_modes",
    "notifications",
    "readiness_pages",
    "recommendations",
    "silences",
    "trace_settings",
]
