"""The console's pages of this app."""

from monitoring.admin import recommendations

__all__ = ["recommendations"]
