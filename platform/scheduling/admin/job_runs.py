"""Console pages of job runs: status, duration, error."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from console.admin import ReadOnlyAdmin
from console.date_filters import AgeFilter, SinceFilter, UntilFilter
from console.field_filters import ChoiceFilter
from console.list_head import ListTab
from foundation.durations import duration
from foundation.job_registry import jobs
from scheduling.models import JobRun


class JobFilter(ChoiceFilter):
    """By job, from the registry, so that no query is needed."""

    title, parameter_name, column = "job", "job", "job"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        return [(name, name) for name in jobs.names()]


@admin.register(JobRun)
class JobRunAdmin(ReadOnlyAdmin):
    query_budget = 7

    list_display = ("job", "status", "outcome", "asked_by", "started_at", "duration")
    list_filter = (JobFilter, "status", AgeFilter, SinceFilter, UntilFilter)
    list_filter_submit = True
    list_tabs = (
        ListTab("All", {}),
        ListTab("Failed", {"status__exact": JobRun.Status.FAILED}),
        ListTab("Running", {"status__exact": JobRun.Status.RUNNING}),
    )
    search_help_text = "The id of a run."
    fields = ("job", "status", "outcome", "error", "asked_by", "started_at", "finished_at", "duration", "id")

    @admin.display(description="duration")
    def duration(self, run: JobRun) -> str:
        if run.finished_at is None:
            return "-"
        seconds = (run.finished_at - run.started_at).total_seconds()
        return f"{max(0, seconds):.1f} s" if seconds < 120 else duration(seconds)
