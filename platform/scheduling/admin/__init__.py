"""The console's pages of schedules and job runs."""

from scheduling.admin import job_runs, schedules

__all__ = ["job_runs", "schedules"]
