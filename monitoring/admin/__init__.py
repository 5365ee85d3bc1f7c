"""The console's pages of this app."""

from monitoring.admin import debug_modes, readiness_pages, recommendations, trace_settings

__all__ = ["debug_modes", "readiness_pages", "recommendations", "trace_settings"]
