"""The console's page of what is deleted, after which time, and by which job."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.template.response import TemplateResponse

from console.views import row_url
from foundation.durations import format_days
from foundation.job_registry import Retention, jobs
from scheduling.models import Schedule
from scheduling.role_permissions import VIEW_SCHEDULE
from scheduling.timing_descriptions import describe_timing


@dataclass(frozen=True, slots=True)
class RetentionRow:
    """A line of the page. `address`: of the job's page; empty for what no job deletes."""

    kind: str
    kept: str
    setting: str
    deleted_by: str
    address: str = ""
    timing: str = ""
    is_off: bool = False


def retention_page(request: HttpRequest, site: AdminSite) -> TemplateResponse:
    """The page. Raises `PermissionDenied` for whoever may not see schedules."""
    if not request.user.has_perm(VIEW_SCHEDULE):
        raise PermissionDenied
    rows = sorted(_rows(), key=lambda row: row.kind)
    context = {**site.each_context(request), "title": "Retention", "content_title": "Retention", "rows": rows}
    return TemplateResponse(request, "console/retention.html", context)


def _rows() -> Iterator[RetentionRow]:
    schedules = {row.job: row for row in Schedule.objects.all()}
    for job in jobs:
        for retention in job.retentions:
            yield _row(retention, job.name, schedules.get(job.name))
    logs = f"{format_days(settings.BANDSTAND.log_days)}, and {settings.BANDSTAND.log_megabytes:,} MB of each process"
    yield RetentionRow("Log files", logs, "BANDSTAND_LOG_DAYS, BANDSTAND_LOG_MEGABYTES", "the supervisor (make run)")


def _row(retention: Retention, job: str, schedule: Schedule | None) -> RetentionRow:
    row = RetentionRow(retention.kind, retention.describe(), retention.setting, job)
    if schedule is None:  # until the scheduler has started for the first time
        return row
    timing = describe_timing(schedule.every_minutes, schedule.cron, schedule.time_zone)
    return RetentionRow(row.kind, row.kept, row.setting, job, row_url(schedule), timing, is_off=not schedule.enabled)
