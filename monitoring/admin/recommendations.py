"""The page "Performance": each process, what is recommended, and who applies it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from accounts.permissions import user_actor
from agents.models import Runner
from console.admin import ReadOnlyAdmin
from console.confirmation import confirmation_page
from console.formatting import NOTHING, badge, format_moment
from console.views import console_page, row_url
from console.widgets import Select, action
from foundation.clock import now
from foundation.errors import BandstandError
from foundation.process_work import ProcessKind
from monitoring.models import ApplyMode, Recommendation, RecommendationKind
from monitoring.performance import descriptions
from monitoring.performance.process_status import ProcessStatus, read_processes
from monitoring.performance.recommendation_actions import (
    apply_recommendation,
    dismiss_recommendation,
    set_apply_mode,
)
from monitoring.performance.situation import read_modes
from monitoring.performance.sparklines import Sparkline, make_sparkline
from monitoring.role_permissions import APPLY_RECOMMENDATION, CHANGE_RECOMMENDATION_POLICY

_MEBIBYTE = 1024 * 1024
_LEVELS = {"open": "warn", "applied": "good", "failed": "bad"}
_STATUS_LEVELS = {"running": "good", "blocked": "bad", "silent": "bad", "draining": "warn"}
_MEMORY_WARN, _MEMORY_BAD = 70.0, 85.0


@dataclass(frozen=True, slots=True)
class ProcessCard:
    """A process on the page: its figures in words, and its small charts."""

    process: ProcessStatus
    address: str
    status: SafeString
    figures: list[tuple[str, str, str]]
    charts: list[tuple[str, Sparkline]]


class ApplyModesForm(forms.Form):
    """Who applies the recommendations of each kind."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        modes = read_modes()
        for kind in RecommendationKind:
            self.fields[kind.value] = forms.ChoiceField(
                label=descriptions.TITLES[kind],
                choices=[
                    choice
                    for choice in ApplyMode.choices
                    if kind is not RecommendationKind.CONTEXT_OPTIMIZATION or choice[0] != ApplyMode.AUTOMATIC
                ],
                initial=modes[kind],
                help_text=descriptions.EFFECTS[kind],
                widget=Select,
            )


@admin.register(Recommendation)
class RecommendationAdmin(ReadOnlyAdmin):
    """Recommendations, read-only, below the processes that they are about; with buttons that apply and dismiss one."""

    query_budget = 8

    list_display = ("created", "display_kind", "subject", "display_status", "display_reason", "display_by")
    list_filter = ("status", "kind")
    list_select_related = ("decided_by",)
    ordering = ("-id",)
    search_words = ("subject",)
    search_help_text = "The id of a recommendation, or host and pid of a runner, such as web-1:17."
    fields = (
        "display_kind", "display_subject", "display_status", "display_reason", "display_evidence", "display_action",
        "created", "decided", "display_by", "finished", "display_outcome", "display_effect", "reverted",
    )  # fmt: skip
    list_before_template = "console/performance.html"
    actions_list = ("apply_modes",)
    actions_detail = ("apply", "dismiss")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """With a card of each process above the list."""
        moment = now()
        context = {
            "as_of": moment,
            "process_cards": [_card(process) for process in read_processes(moment)],
        }
        return super().changelist_view(request, context | (extra_context or {}))

    @admin.display(description="found (UTC)", ordering="id")
    def created(self, row: Recommendation) -> SafeString | str:
        return format_moment(row.created_at)

    @admin.display(description="recommendation")
    def display_kind(self, row: Recommendation) -> str:
        return descriptions.TITLES[RecommendationKind(row.kind)]

    @admin.display(description="runner or agent")
    def display_subject(self, row: Recommendation) -> SafeString:
        """With a link to its page."""
        name = "admin:agents_runner_change" if row.runner_id else "admin:agents_agent_edit_draft"
        return format_html('<a class="bs-link" href="{}">{}</a>', reverse(name, args=[row.subject_id]), row.subject)

    @admin.display(description="status")
    def display_status(self, row: Recommendation) -> SafeString:
        return badge(str(row.get_status_display()).lower(), _LEVELS.get(row.status, ""))

    @admin.display(description="why")
    def display_reason(self, row: Recommendation) -> str:
        return descriptions.describe_reason(row)

    @admin.display(description="evidence")
    def display_evidence(self, row: Recommendation) -> SafeString:
        return format_html_join("", "<p>{}</p>", ((text,) for text in descriptions.describe_evidence(row)))

    @admin.display(description="what applying does")
    def display_action(self, row: Recommendation) -> str:
        limit = row.action.get("claim_limit")
        more = f" At most {limit} at a time." if limit else ""
        return descriptions.EFFECTS[RecommendationKind(row.kind)] + more

    @admin.display(description="by")
    def display_by(self, row: Recommendation) -> str:
        if row.automatic:
            return "the monitor"
        if row.decided_by_id:
            return str(row.decided_by)
        return "a command" if row.decided_at is not None and row.agent_id is None else NOTHING

    @admin.display(description="decided (UTC)")
    def decided(self, row: Recommendation) -> SafeString | str:
        return format_moment(row.decided_at)

    @admin.display(description="finished (UTC)")
    def finished(self, row: Recommendation) -> SafeString | str:
        return format_moment(row.finished_at)

    @admin.display(description="outcome")
    def display_outcome(self, row: Recommendation) -> str:
        return row.outcome or NOTHING

    @admin.display(description="effect")
    def display_effect(self, row: Recommendation) -> SafeString | str:
        """The figures of the minutes before it was applied, and of those after."""
        rows = descriptions.describe_effect(row.figures_before, row.figures_after)
        if not rows:
            return NOTHING
        body = format_html_join("", '<tr><th scope="row">{}</th><td>{}</td><td>{}</td></tr>', rows)
        return format_html(
            '<table class="bs-rows"><thead><tr><th scope="col">figure</th><th scope="col">before</th>'
            '<th scope="col">after</th></tr></thead><tbody>{}</tbody></table>',
            body,
        )

    @admin.display(description="taken back (UTC)")
    def reverted(self, row: Recommendation) -> SafeString | str:
        return format_moment(row.reverted_at)

    def has_dismiss_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        """Whether the user may decide about this recommendation, and it is open."""
        if not request.user.has_perm(APPLY_RECOMMENDATION):
            return False
        row = self.get_object(request, str(object_id)) if object_id is not None else None
        return row is None or row.status == row.Status.OPEN

    def has_apply_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        """Whether the user may apply it: it is open, and about a runner. Of an agent's there is nothing to apply."""
        if not self.has_dismiss_permission(request, object_id):
            return False
        row = self.get_object(request, str(object_id)) if object_id is not None else None
        return row is None or row.runner_id is not None

    def has_policy_permission(self, request: HttpRequest, object_id: Any = None) -> bool:  # noqa: ARG002
        return request.user.has_perm(CHANGE_RECOMMENDATION_POLICY)

    @action(description="Apply", permissions=["apply"], url_path="apply", icon="play_arrow")
    def apply(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self.get_object(request, object_id)
        if row is None:
            return self.redirect_missing(request, object_id)
        confirmation = confirmation_page(
            request,
            self,
            title=f"{self.display_kind(row)}: {row.subject}",
            message=" ".join(_words(row, self.display_action(row))),
            yes=f"Apply: {self.display_kind(row).lower()}",
            back=row_url(row),
            danger=row.kind == RecommendationKind.AGENT_RESTART,
        )
        done = "It is done after the runner's next heartbeat; the outcome is shown here then."
        return confirmation or _decide(request, row, apply_recommendation, done)

    @action(description="Dismiss", permissions=["dismiss"], url_path="dismiss", icon="close")
    def dismiss(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self.get_object(request, object_id)
        if row is None:
            return self.redirect_missing(request, object_id)
        confirmation = confirmation_page(
            request,
            self,
            title=f"Dismiss {self.display_kind(row).lower()}: {row.subject}",
            message="Nothing is done, and nothing of this kind is recommended here for six hours.",
            yes="Dismiss",
            back=row_url(row),
        )
        return confirmation or _decide(request, row, dismiss_recommendation, "The recommendation is dismissed.")

    @action(description="Who applies what", permissions=["policy"], url_path="apply-modes", icon="tune")
    def apply_modes(self, request: HttpRequest) -> HttpResponse:
        """The settings of each kind."""
        form = ApplyModesForm(request.POST if request.method == "POST" else None)
        if form.is_bound and form.is_valid():
            actor = user_actor(request.user)
            try:
                for kind in RecommendationKind:
                    set_apply_mode(actor, kind=kind, mode=ApplyMode(form.cleaned_data[kind.value]))
            except BandstandError as error:
                messages.error(request, error.detail)
            else:
                messages.success(request, "Saved. It holds from the next look on, in half a minute at most.")
            return HttpResponseRedirect(reverse("admin:monitoring_recommendation_changelist"))
        return console_page(
            request,
            self,
            "console/apply_modes.html",
            title="Who applies recommendations",
            form=form,
            back=reverse("admin:monitoring_recommendation_changelist"),
        )


def _words(row: Recommendation, effect: str) -> Iterator[str]:
    yield descriptions.describe_reason(row)
    yield "; ".join(descriptions.describe_evidence(row)) + "."
    yield effect
    if row.kind == RecommendationKind.AGENT_RESTART:
        peers = Runner.objects.alive().exclude(pk=row.subject_id).count()
        if not peers:
            yield "It is the only runner that takes turns: until it is back, which takes some seconds, all turns wait."


def _card(process: ProcessStatus) -> ProcessCard:
    is_runner = process.kind == ProcessKind.RUNNER
    histories = (
        ("memory", process.memory_history, "%", 10),
        ("CPU", process.cpu_history, "% of a core", 10),
        ("time", process.seconds_history, "s", 0),
    )
    lines = [(title, make_sparkline(values, title=title, unit=unit, top=top)) for title, values, unit, top in histories]
    return ProcessCard(
        process,
        reverse("admin:agents_runner_change", args=[process.id]) if is_runner else "",
        badge(process.status, _STATUS_LEVELS.get(process.status, "")),
        list(_figures(process, is_runner=is_runner)),
        [(title, line) for title, line in lines if line is not None],
    )


def _figures(process: ProcessStatus, *, is_runner: bool) -> Iterator[tuple[str, str, str]]:
    """Name, value and level of each figure."""
    yield "turns ended" if is_runner else "requests answered", f"{process.requests_total:,}", ""
    yield "mean response time", _seconds(process.mean_seconds), ""
    errors = process.error_percent
    yield "error rate", _percent(errors), "" if errors is None or errors <= 5 else "bad"
    memory = process.memory_percent
    level = "" if memory is None or memory < _MEMORY_WARN else "warn" if memory < _MEMORY_BAD else "bad"
    mebibytes = NOTHING if process.memory_bytes is None else f"{process.memory_bytes / _MEBIBYTE:,.0f} MiB"
    yield "memory", mebibytes if memory is None else f"{mebibytes} ({memory:.1f} %)", level
    yield "CPU", _percent(process.cpu_percent), ""
    yield "turns in the queue of all" if is_runner else "requests in progress", f"{process.queue_length:,}", ""
    if is_runner:
        limit = process.claim_limit if process.claim_limit is not None else process.capacity
        of = "" if limit is None else f" of {limit:,}"
        is_lowered = None not in {limit, process.capacity} and limit != process.capacity
        yield "active sessions", f"{process.active_sessions:,}{of}", "warn" if is_lowered else ""
        yield "context use", _percent(process.context_percent), ""
    else:
        yield "sessions that are watched", f"{process.active_sessions:,}", ""


def _seconds(value: float | None) -> str:
    if value is None:
        return NOTHING
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"


def _percent(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.1f} %"


def _decide(request: HttpRequest, row: Recommendation, decide: Callable[..., object], done: str) -> HttpResponse:
    """Apply or dismiss a recommendation, and say on its page how that went."""
    try:
        decide(user_actor(request.user), recommendation_id=row.pk)
    except BandstandError as error:
        messages.error(request, error.detail)
    else:
        messages.success(request, done)
    return HttpResponseRedirect(row_url(row))
