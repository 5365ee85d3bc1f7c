"""The page "Readiness": the results of the checks, and the button that runs them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from accounts.permissions import user_actor
from agents.models import Agent
from console.admin import ReadOnlyAdmin
from console.confirmation import confirmation_page, confirmed_data
from console.formatting import NOTHING, badge, format_duration, format_moment
from console.views import row_url
from console.widgets import Select, action
from foundation.errors import BandstandError
from monitoring.models import ReadinessRun
from monitoring.readiness_validator.check_lines import Area, CheckLine, CheckOutcome
from monitoring.readiness_validator.runs import read_lines, start_run
from monitoring.role_permissions import RUN_READINESS

# Of the list to choose from.
_MAX_AGENTS: Final = 200
_REFRESH_SECONDS: Final = 2
_LEVELS: Final = {CheckOutcome.PASSED: "good", CheckOutcome.WARNING: "warn", CheckOutcome.FAILED: "bad"}
_STATUS_LEVELS: Final = {"passed": "good", "failed": "bad", "interrupted": "warn"}
_MESSAGE: Final = (
    "It takes about 15 seconds. Each model that is named is called once, with a few tokens. A breaker, memories and a "
    "short load are tried on tables of their own: nobody is notified, and nothing is counted."
)


class RunForm(forms.Form):
    """What is to be checked: an agent's draft, or the live releases of all."""

    agent = forms.ChoiceField(label="What", required=False, widget=Select)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        agents = Agent.objects.filter(archived_at=None, draft__isnull=False).order_by("name", "slug")
        choices = [(slug, f"The draft of {name}") for slug, name in agents.values_list("slug", "name")[:_MAX_AGENTS]]
        self.fields["agent"].choices = [("", "This installation and all live releases"), *choices]  # type: ignore[attr-defined]


@admin.register(ReadinessRun)
class ReadinessRunAdmin(ReadOnlyAdmin):
    """Results, read-only, the newest first."""

    query_budget = 8

    list_display = ("started", "subject", "display_status", "display_counts", "display_by", "duration")
    list_filter = ("status",)
    ordering = ("-id",)
    search_words = ("subject", "requested_as")
    search_help_text = "The id of a check, the name of an agent, or of whoever asked for it."
    fields = ("started", "subject", "display_status", "display_by", "duration", "display_lines")
    actions_list = ("run",)

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> Any:
        """The result; while there is none the browser asks again."""
        response = super().change_view(request, object_id, *args, **kwargs)
        row = self.get_object(request, object_id)
        if row is not None and row.present_status == ReadinessRun.Status.RUNNING:
            response["Refresh"] = str(_REFRESH_SECONDS)
        return response

    @admin.display(description="begun (UTC)", ordering="id")
    def started(self, row: ReadinessRun) -> SafeString | str:
        return format_moment(row.started_at)

    @admin.display(description="result")
    def display_status(self, row: ReadinessRun) -> SafeString:
        status = row.present_status
        return badge(str(status), _STATUS_LEVELS.get(status, ""))

    @admin.display(description="checks")
    def display_counts(self, row: ReadinessRun) -> str:
        outcomes = [line.outcome for line in read_lines(row)]
        if not outcomes:
            return NOTHING
        failed, warnings = outcomes.count(CheckOutcome.FAILED), outcomes.count(CheckOutcome.WARNING)
        return f"{len(outcomes)}: {failed} failed, {warnings} to look at"

    @admin.display(description="by")
    def display_by(self, row: ReadinessRun) -> str:
        return row.requested_as

    @admin.display(description="took")
    def duration(self, row: ReadinessRun) -> str:
        return format_duration(row.started_at, row.finished_at)

    @admin.display(description="checks")
    def display_lines(self, row: ReadinessRun) -> SafeString | str:
        """A heading for each area: each check has passed, or says what to do."""
        if row.present_status == ReadinessRun.Status.RUNNING:
            return "The checks are under way. This page shows their result when it is there."
        if not row.lines:
            return "The process that ran them has ended before they were done. Run them again."
        areas = [(area.value.capitalize(), _paragraphs(lines)) for area, lines in _by_area(row)]
        return format_html_join("", '<h3 class="bs-heading">{}</h3>{}', areas)

    def has_run_permission(self, request: HttpRequest, object_id: Any = None) -> bool:  # noqa: ARG002
        return request.user.has_perm(RUN_READINESS)

    @action(description="Run now", permissions=["run"], url_path="run", icon="play_arrow")
    def run(self, request: HttpRequest) -> HttpResponse:
        """Ask what to check, then begin; `?agent=` chooses a draft."""
        form = RunForm(confirmed_data(request), initial={"agent": request.GET.get("agent", "")})
        back = reverse("admin:monitoring_readinessrun_changelist")
        confirmation = confirmation_page(
            request, self, title="Run the readiness checks", message=_MESSAGE, yes="Run now", back=back, form=form
        )
        if confirmation is not None:
            return confirmation
        try:
            row = start_run(user_actor(request.user), agent_slug=form.cleaned_data["agent"] or None)
        except BandstandError as error:
            messages.error(request, error.detail)
            return HttpResponseRedirect(back)
        return HttpResponseRedirect(row_url(row))


def _by_area(row: ReadinessRun) -> Iterator[tuple[Area, Iterator[CheckLine]]]:
    return groupby(read_lines(row), key=lambda line: line.area)


def _paragraphs(lines: Iterable[CheckLine]) -> SafeString:
    return format_html_join("", '<p class="bs-check">{} <strong>{}:</strong> {}{}</p>', map(_parts, lines))


def _parts(line: CheckLine) -> tuple[SafeString, str, str, SafeString | str]:
    name = f"{line.agent}: {line.name}" if line.agent else line.name
    remedy = format_html("<br><strong>What to do:</strong> {}", line.remedy) if line.remedy else ""
    return badge(line.outcome.value, _LEVELS[line.outcome]), name, line.message, remedy
