"""Monitoring's pages of the console."""

from monitoring.admin import runs, schedules

__all__ = ["runs", "schedules"]
