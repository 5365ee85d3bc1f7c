"""The console's pages about what is monitored."""

from monitoring.admin import debug_modes

__all__ = ["debug_modes"]
