"""Console pages of schedules: when each job runs, and its last run."""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery
from django.db.models.lookups import In
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django_q.models import Schedule as Q2Schedule

from accounts.admin.audited_forms import AuditedFormMixin
from accounts.permissions import user_actor
from console.admin import ConsoleAdmin
from console.confirmation import confirmation_page
from console.field_filters import FieldFilter, require_choice
from console.formatting import format_second
from console.views import row_url
from console.widgets import CheckboxInput, NumberInput, TextInput, action
from foundation.errors import InvalidInput
from foundation.job_registry import jobs
from scheduling.models import JobRun, Schedule
from scheduling.role_permissions import RUN_SCHEDULE
from scheduling.schedule_actions import LONGEST_MINUTES, change_schedule, check_timing, run_now
from scheduling.timing import read_time_zone, time_zone_names
from scheduling.timing_descriptions import describe_timing

_FIELDS: Final = ("enabled", "every_minutes", "cron", "time_zone")


class TimeZoneInput(TextInput):
    """A text field with a datalist of time zone names."""

    def render(self, name: str, value: Any, attrs: dict[str, Any] | None = None, renderer: Any = None) -> SafeString:
        list_id = f"{name}-names"
        field = super().render(name, value, {**(attrs or {}), "list": list_id}, renderer)
        options = format_html_join("", '<option value="{}">', ((zone,) for zone in time_zone_names()))
        return format_html('{}<datalist id="{}">{}</datalist>', field, list_id, options)


class ScheduleForm(AuditedFormMixin, forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = Schedule
        fields = _FIELDS
        labels = {"enabled": "Switched on", "every_minutes": "Every … minutes", "cron": "Or by cron"}
        widgets = {
            "enabled": CheckboxInput,
            "every_minutes": NumberInput,
            "cron": TextInput,
            "time_zone": TimeZoneInput,
        }
        help_texts = {
            "every_minutes": f"1 to {LONGEST_MINUTES:,} (a week). Leave it empty to use a cron expression.",
            "cron": "Minute, hour, day of the month, month, day of the week; “30 3 * * *” is every day at 03:30.",
            "time_zone": "By whose clocks the cron expression goes, such as Europe/Berlin; “UTC” knows no summer time.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.remember(self.instance)

    def stored_row(self) -> Schedule:
        return Schedule.objects.select_for_update(no_key=True).get(pk=self.instance.pk)

    def form_values(self, row: Schedule) -> dict[str, Any]:
        return {name: getattr(row, name) for name in _FIELDS}

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if not self.errors:
            try:
                check_timing(cleaned["every_minutes"], cleaned["cron"], cleaned["time_zone"])
            except InvalidInput as error:
                self.add_error((error.pointer or "").lstrip("/") or None, error.detail)
        self.refuse_stale()
        return cleaned

    def _get_validation_exclusions(self) -> set[str]:
        """Exclude a field of the check constraint: `check_timing` validates it with better messages."""
        return {*super()._get_validation_exclusions(), "every_minutes"}  # type: ignore[misc]


class LastRunFilter(FieldFilter):
    """By what the start page counts: the last run that ended has failed, or there will be none."""

    title = "trouble"
    parameter_name = "trouble"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        return [("failed", "the last run failed"), ("rejected", "its timing cannot be read")]

    def matching(self, value: str) -> Q:
        if require_choice(value, ["failed", "rejected"]) == "rejected":
            scheduled = Q2Schedule.objects.filter(name=OuterRef("job"))
            return Q(enabled=True) & ~Q(Exists(scheduled))
        ended = JobRun.objects.filter(job=OuterRef("job")).exclude(status=JobRun.Status.RUNNING).order_by("-id")
        last = Subquery(ended.values("status")[:1])
        return Q(In(last, [JobRun.Status.FAILED.value, JobRun.Status.LOST.value]))


@admin.register(Schedule)
class ScheduleAdmin(ConsoleAdmin):
    query_budget = 6

    form = ScheduleForm
    change_form_template = "console/versioned_form.html"
    list_display = ("job", "timing", "enabled", "next_run_at", "last_status", "last_outcome", "last_at")
    list_filter = (LastRunFilter,)
    list_filter_submit = True
    ordering = ("job",)
    actions = ()
    actions_detail = ("run_job",)
    readonly_fields = (
        "job",
        "job_description",
        "timing",
        "next_run_at",
        "last_status",
        "last_outcome",
        "last_error",
        "last_at",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        last = JobRun.objects.filter(job=OuterRef("job")).order_by("-id")
        rows: QuerySet[Any] = super().get_queryset(request)
        annotated: QuerySet[Any] = rows.annotate(
            due=Subquery(Q2Schedule.objects.filter(name=OuterRef("job")).values("next_run")[:1]),
            ran_status=Subquery(last.values("status")[:1]),
            ran_outcome=Subquery(last.values("outcome")[:1]),
            ran_error=Subquery(last.values("error")[:1]),
            ran_at=Subquery(last.values("started_at")[:1]),
        )
        return annotated

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:  # noqa: ARG002
        return ("job_description", "timing", *_FIELDS, *self.readonly_fields[3:])

    @admin.display(description="what it does")
    def job_description(self, schedule: Schedule) -> str:
        job = jobs.get(schedule.job)
        return job.description if job else "This version of the platform has no such job."

    @admin.display(description="when")
    def timing(self, schedule: Schedule) -> str:
        return describe_timing(schedule.every_minutes, schedule.cron, schedule.time_zone)

    @admin.display(description="next run")
    def next_run_at(self, schedule: Any) -> Any:
        if schedule.due is None:
            return "-"
        utc = f"{format_second(schedule.due)} UTC"
        try:
            zone = read_time_zone(schedule.time_zone)
        except InvalidInput:  # on the page of an invalid form, the row has the submitted values
            return utc
        if not schedule.cron or zone.key == "UTC":
            return utc
        local = schedule.due.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S %Z")
        return format_html('<span class="bs-moment">{}</span> <small class="bs-ago">{}</small>', local, utc)

    @admin.display(description="last run")
    def last_status(self, schedule: Any) -> Any:
        return schedule.ran_status or "never"

    @admin.display(description="outcome")
    def last_outcome(self, schedule: Any) -> Any:
        return schedule.ran_outcome

    @admin.display(description="error")
    def last_error(self, schedule: Any) -> Any:
        return schedule.ran_error

    @admin.display(description="ran at")
    def last_at(self, schedule: Any) -> Any:
        return format_second(schedule.ran_at) if schedule.ran_at else "-"

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """Always False: every registered job has its row."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """Always False: schedules are switched off instead."""
        return False

    def has_run_permission(self, request: HttpRequest, object_id: Any = None) -> bool:  # noqa: ARG002
        return request.user.has_perm(RUN_SCHEDULE)

    def save_model(self, request: HttpRequest, obj: Schedule, form: Any, change: bool) -> None:  # noqa: ARG002
        values = form.cleaned_data
        change_schedule(
            user_actor(request.user),
            schedule_id=obj.pk,
            expected_version=values["version"],
            enabled=values["enabled"],
            every_minutes=values["every_minutes"],
            cron=values["cron"],
            time_zone=values["time_zone"],
        )

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Do nothing: `save_model` has saved everything."""

    @action(description="Run now", permissions=["run"], url_path="run", icon="play_arrow")
    def run_job(self, request: HttpRequest, object_id: str) -> HttpResponse:
        schedule = self.get_object(request, object_id)
        if schedule is None:
            return self.redirect_missing(request, object_id)
        confirmation = confirmation_page(
            request,
            self,
            title=f"Run now: {schedule}",
            message=f"{self.job_description(schedule)} It runs once, as soon as the scheduler has room; "
            "its timetable stays.",
            yes="Run now",
            back=row_url(schedule),
        )
        if confirmation is not None:
            return confirmation
        run_now(user_actor(request.user), schedule_id=schedule.pk)
        messages.success(request, f"{schedule} will run in a moment; its runs are below.")
        return HttpResponseRedirect(f"{reverse('admin:scheduling_jobrun_changelist')}?job={schedule.job}")
