"""The console's pages of this app."""

from monitoring.admin import debug_modes, recommendations, trace_settings

__all__ = ["debug_modes", "recommendations", "trace_settings"]
