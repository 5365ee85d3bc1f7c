"""The console's pages of this app."""

from monitoring.admin import trace_settings

__all__ = ["trace_settings"]
