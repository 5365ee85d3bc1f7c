"""The console's pages of this app."""

from monitoring.admin import debug_modes, trace_settings

__all__ = ["debug_modes", "trace_settings"]
