"""Scheduled jobs: schedules, mirrored into django-q2, and a row for every job run."""
