"""The console's pages of this app."""

from monitoring.admin import recommendations, trace_settings

__all__ = ["recommendations", "trace_settings"]
