"""The console's pages about maintenance: schedules, and the runs of their jobs."""

from scheduling.admin import job_runs, schedules

__all__ = ["job_runs", "schedules"]
