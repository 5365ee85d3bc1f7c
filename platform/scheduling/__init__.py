"""Maintenance on a timetable: our own rows, mirrored into django-q2, and a row for every run."""
