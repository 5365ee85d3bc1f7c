"""People's schedules: the list, the page of one, and the buttons that hold and release them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.actor import Actor
from accounts.permissions import user_actor
from agents.admin.list_filters import AgentFilter, UserFilter
from agents.admin.transcript.content import MAX_TEXT_CHARACTERS
from agents.admin.transcript.steps import shorten
from agents.models import IS_OVER, TurnSchedule
from agents.permissions.role_permissions import HOLD_SCHEDULE
from agents.permissions.transcripts import readable_agents
from agents.sessions.turn_schedules import (
    ScheduleState,
    describe_schedule_timing,
    hold_schedule,
    release_schedule,
    schedule_state,
    timing_of,
)
from console.confirmation import confirmation_page
from console.field_filters import ChoiceFilter, require_choice
from console.formatting import NOTHING, badge, format_moment, format_second
from console.keyset_changelist import KeysetAdmin
from console.list_head import ListTab
from console.views import row_url
from console.widgets import action
from foundation.errors import BandstandError

HIDDEN = "(only for those who may read the transcripts of this agent)"
_LIST_CHARACTERS = 80
_LEVELS = {ScheduleState.ACTIVE: "good", ScheduleState.HELD: "warn"}
_STATES: dict[str, Q] = {
    ScheduleState.ACTIVE: Q(next_at__isnull=False),
    ScheduleState.PAUSED: Q(enabled=False, hold_reason="") & (Q(once_at=None) | Q(once_at__gt=Now())),
    ScheduleState.HELD: ~Q(hold_reason=""),
    ScheduleState.OVER: IS_OVER,
}


@dataclass(frozen=True, slots=True)
class ScheduleSwitch:
    """What operators do with schedules. `run` raises `BandstandError`."""

    label: str
    message: str
    run: Callable[[Actor, UUID], object]


HOLD = ScheduleSwitch(
    "Hold",
    "They are not fired until somebody releases them; their users see that an operator holds them.",
    lambda actor, key: hold_schedule(actor, schedule_id=key),
)
RELEASE = ScheduleSwitch(
    "Release",
    "They go on with their next times, unless their users have paused them. What passed is not made up for.",
    lambda actor, key: release_schedule(actor, schedule_id=key),
)


class ScheduleStateFilter(ChoiceFilter):
    """By whether it is fired at the present."""

    title, parameter_name = "state", "state"
    values = tuple(state.value for state in ScheduleState)

    def matching(self, value: str) -> Q:
        return _STATES[require_choice(value, self.values)]


class LastOutcomeFilter(ChoiceFilter):
    """By what became of it the last time."""

    title, parameter_name, column = "last time", "last", "last_outcome"
    values = tuple(TurnSchedule.Outcome.values)


@admin.register(TurnSchedule)
class TurnScheduleAdmin(KeysetAdmin):
    """What people have agents asked at a time, with what operators do: hold and release."""

    query_budget = 12

    list_display = ("display_text", "display_state", "user", "agent", "when", "next_time", "last_time")
    list_select_related = ("user", "agent")
    list_filter = (UserFilter, AgentFilter, ScheduleStateFilter, LastOutcomeFilter)
    list_tabs = (ListTab("All", {}), ListTab("Held", {"state": "held"}), ListTab("Refused", {"last": "refused"}))
    list_empty_words = "Nobody has an agent asked at a time."
    search_ids = ("id", "agent_session", "last_session_id", "last_turn_id")
    search_words = ("user__username",)
    search_help_text = "The id of a schedule, a session or a turn, or the name of a user."
    fields = (
        "full_text", "user", "agent", "where", "when", "display_state", "next_time", "following_times", "last_time",
        "last_turn", "last_error", "missed", "attempts", "created", "id",
    )  # fmt: skip
    actions = ("hold", "release")
    actions_detail = ("hold_one", "release_one")

    def complete(self, request: HttpRequest, rows: Sequence[TurnSchedule]) -> None:
        readable = set(readable_agents(request.user).values_list("pk", flat=True))
        for row in rows:
            schedule: Any = row
            schedule.readable = row.agent_id in readable

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        schedule = super().get_object(request, object_id, from_field)
        if schedule is not None:
            self.complete(request, [schedule])
        return schedule

    @admin.display(description="created (UTC)")
    def created(self, schedule: TurnSchedule) -> SafeString | str:
        return format_moment(schedule.created_at)

    @admin.display(description="what is asked")
    def display_text(self, schedule: Any) -> str:
        return shorten(schedule.text, _LIST_CHARACTERS) if schedule.readable else HIDDEN

    @admin.display(description="what is asked")
    def full_text(self, schedule: Any) -> str:
        return shorten(schedule.text, MAX_TEXT_CHARACTERS) if schedule.readable else HIDDEN

    @admin.display(description="when")
    def when(self, schedule: TurnSchedule) -> str:
        return describe_schedule_timing(timing_of(schedule))

    @admin.display(description="where")
    def where(self, schedule: TurnSchedule) -> SafeString | str:
        if schedule.agent_session_id is None:
            return "in a new session each time"
        return _link("agentsession", schedule.agent_session_id, f"session {schedule.agent_session_id}")

    @admin.display(description="state")
    def display_state(self, schedule: TurnSchedule) -> SafeString:
        state = schedule_state(schedule)
        words = f"held: {schedule.get_hold_reason_display().lower()}" if schedule.hold_reason else state.value
        return badge(words, _LEVELS.get(state, ""))

    @admin.display(description="next (UTC)")
    def next_time(self, schedule: TurnSchedule) -> str:
        return format_second(schedule.next_at) if schedule.next_at else NOTHING

    @admin.display(description="then (UTC)")
    def following_times(self, schedule: TurnSchedule) -> str:
        if schedule.next_at is None:
            return NOTHING
        times = timing_of(schedule).upcoming(after=schedule.next_at, count=2)
        return ", ".join(format_second(at) for at in times) or NOTHING

    @admin.display(description="last time (UTC)")
    def last_time(self, schedule: TurnSchedule) -> SafeString | str:
        if schedule.last_due_at is None:
            return NOTHING
        level = "bad" if schedule.last_outcome == TurnSchedule.Outcome.REFUSED else ""
        return format_html("{} {}", format_second(schedule.last_due_at), badge(schedule.last_outcome, level))

    @admin.display(description="last turn")
    def last_turn(self, schedule: TurnSchedule) -> SafeString | str:
        """Which may be gone, with its session."""
        return (
            _link("turn", schedule.last_turn_id, f"turn {schedule.last_turn_id}") if schedule.last_turn_id else NOTHING
        )

    def has_hold_permission(self, request: HttpRequest, object_id: Any = None) -> bool:  # noqa: ARG002
        return request.user.has_perm(HOLD_SCHEDULE)

    @admin.action(description="Hold selected schedules", permissions=["hold"])
    def hold(self, request: HttpRequest, queryset: QuerySet[TurnSchedule]) -> HttpResponse:
        return self._switch(request, queryset, HOLD)

    @admin.action(description="Release selected schedules", permissions=["hold"])
    def release(self, request: HttpRequest, queryset: QuerySet[TurnSchedule]) -> HttpResponse:
        return self._switch(request, queryset, RELEASE)

    @action(description="Hold", permissions=["hold"], url_path="hold", icon="pause_circle")
    def hold_one(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._switch_one(request, object_id, HOLD)

    @action(description="Release", permissions=["hold"], url_path="release", icon="play_arrow")
    def release_one(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._switch_one(request, object_id, RELEASE)

    def _switch_one(self, request: HttpRequest, object_id: str, switch: ScheduleSwitch) -> HttpResponse:
        schedule = self.get_object(request, object_id)
        if schedule is None:
            return self.redirect_missing(request, object_id)
        rows = TurnSchedule.objects.filter(pk=schedule.pk)
        return self._switch(request, rows, switch, back=row_url(schedule))

    def _switch(
        self,
        request: HttpRequest,
        queryset: QuerySet[TurnSchedule],
        switch: ScheduleSwitch,
        *,
        back: str | None = None,
    ) -> HttpResponse:
        """Ask, and then switch the selected rows; no more than a page of them."""
        rows = list(queryset.select_related(*self.list_select_related).order_by("-pk")[: self.list_per_page])
        back = back or reverse("admin:agents_turnschedule_changelist")
        confirmation = confirmation_page(
            request,
            self,
            title=f"{switch.label} schedules?",
            message=switch.message,
            rows=[f"{row.user.get_username()}: {self.when(row)}, asks {row.agent.name}" for row in rows],
            yes=switch.label,
            back=back,
        )
        if confirmation is not None:
            return confirmation
        done = 0
        for row in rows:
            try:
                switch.run(user_actor(request.user), row.pk)
                done += 1
            except BandstandError as error:
                messages.error(request, f"{row.pk}: {error.detail}")
        messages.success(request, f"{switch.label}: {done}.")
        return HttpResponseRedirect(back)


def _link(model: str, key: UUID, words: str) -> SafeString:
    return format_html('<a href="{}">{}</a>', reverse(f"admin:agents_{model}_change", args=[key]), words)
