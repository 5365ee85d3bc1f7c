"""What agents are asked at a time for the caller: list, create, change, pause, resume, delete."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.urls import reverse
from rest_framework.request import Request

from accounts.actor import Actor, Scope
from agents.domain.serialization import moment
from agents.models import TurnSchedule
from agents.sessions.turn_schedules import (
    access_schedule,
    create_schedule,
    delete_schedule,
    describe_schedule_timing,
    pause_schedule,
    resume_schedule,
    schedule_state,
    timing_of,
    update_schedule,
    user_schedules,
)
from foundation.errors import InvalidInput
from rest.etags import etag, expected_version
from rest.idempotency import IdempotentOperation, run_once
from rest.pagination import Order, limit_parameter, paginate
from rest.query_params import read_id, read_query
from rest.request_body import read_body
from rest.responses import json_response, no_content
from rest.serializers import IdField, Input, MomentField, TextField, read_input
from rest.views import ApiView

SCHEDULES = Order("schedules", ("id",), descending=True)
# So many times are in `upcoming`.
UPCOMING = 3


class NewSchedule(Input):
    """The body that creates a schedule."""

    text = TextField()
    agent = TextField(required=False)
    session = IdField(required=False)
    cron = TextField(required=False)
    at = MomentField(required=False)
    time_zone = TextField(required=False)


class ScheduleChange(Input):
    """The body that changes a schedule; absent fields stay as they are."""

    text = TextField(required=False)
    cron = TextField(required=False)
    at = MomentField(required=False)
    time_zone = TextField(required=False)


def schedule_shape(schedule: TurnSchedule) -> dict[str, Any]:
    """The JSON of a schedule with its agent."""
    timing, upcoming = timing_of(schedule), []
    if schedule.next_at is not None:
        upcoming = [schedule.next_at, *timing.upcoming(after=schedule.next_at, count=UPCOMING - 1)]
    return {
        "id": str(schedule.pk),
        "agent": schedule.agent.slug,
        "session": str(schedule.agent_session_id) if schedule.agent_session_id else None,
        "text": schedule.text,
        "cron": schedule.cron or None,
        "at": moment(schedule.once_at) if schedule.once_at else None,
        "time_zone": schedule.time_zone,
        "description": describe_schedule_timing(timing),
        "state": schedule_state(schedule).value,
        "upcoming": [moment(at) for at in upcoming],
        "missed": schedule.missed,
        "last": _last_shape(schedule),
        "version": schedule.version,
        "created_at": moment(schedule.created_at),
    }


def _last_shape(schedule: TurnSchedule) -> dict[str, Any] | None:
    if schedule.last_due_at is None or schedule.last_fired_at is None:
        return None
    return {
        "due_at": moment(schedule.last_due_at),
        "fired_at": moment(schedule.last_fired_at),
        "outcome": str(schedule.last_outcome),
        "session": str(schedule.last_session_id) if schedule.last_session_id else None,
        "turn": str(schedule.last_turn_id) if schedule.last_turn_id else None,
        "error": schedule.last_error or None,
    }


def schedule_response(schedule: TurnSchedule, *, status: int = 200) -> HttpResponse:
    """The response with the JSON of a schedule and its ETag, and its Location with 201."""
    headers = {"ETag": etag(schedule.version)}
    if status == 201:
        headers["Location"] = reverse("api:schedule", args=[schedule.pk])
    return json_response(schedule_shape(schedule), status=status, headers=headers)


def _verb_fields(data: dict[str, Any]) -> dict[str, Any]:
    """The fields of a body as the verbs name them."""
    names = {"at": "once_at", "agent": "agent_slug", "session": "session_id"}
    return {names.get(name, name): value for name, value in data.items()}


class SchedulesView(ApiView):
    """`/api/v1/schedules`: list and create."""

    def get(self, _request: Request) -> HttpResponse:
        query = read_query(self.http, limit=limit_parameter, cursor=SCHEDULES.cursor_parameter())
        rows = user_schedules(self.who())
        return json_response(paginate(self.http, rows, order=SCHEDULES, shape=schedule_shape, **query))

    def post(self, _request: Request) -> HttpResponse:
        read_query(self.http)
        actor, body = self.who(), read_body(self.http)
        fields = _verb_fields(read_input(NewSchedule, body))

        def run() -> HttpResponse:
            return schedule_response(create_schedule(actor, **fields), status=201)

        return run_once(self.http, IdempotentOperation(actor, "create_schedule", "", body), run)


class ScheduleView(ApiView):
    """`/api/v1/schedules/{id}`: read, change and delete."""

    def get(self, _request: Request, schedule_id: str) -> HttpResponse:
        read_query(self.http)
        return schedule_response(access_schedule(self.who(), schedule_id=read_id("schedule_id", schedule_id)))

    def patch(self, _request: Request, schedule_id: str) -> HttpResponse:
        read_query(self.http)
        schedule_uuid = read_id("schedule_id", schedule_id)
        change = read_input(ScheduleChange, read_body(self.http))
        if not change:
            raise InvalidInput("Nothing to change was given.", pointer="")
        return schedule_response(
            update_schedule(
                self.who(),
                schedule_id=schedule_uuid,
                expected_version=self._expected_version(schedule_uuid),
                **_verb_fields(change),
            )
        )

    def delete(self, _request: Request, schedule_id: str) -> HttpResponse:
        read_query(self.http)
        schedule_uuid = read_id("schedule_id", schedule_id)
        delete_schedule(self.who(), schedule_id=schedule_uuid, expected_version=self._expected_version(schedule_uuid))
        return no_content()

    def _expected_version(self, schedule_id: UUID) -> int | None:
        self.who().require_scope(Scope.CHAT)
        return expected_version(self.http, lambda: access_schedule(self.who(), schedule_id=schedule_id).version)


class PauseView(ApiView):
    """`/api/v1/schedules/{id}/pause`."""

    def post(self, _request: Request, schedule_id: str) -> HttpResponse:
        return _switch(self, schedule_id, "pause_schedule", pause_schedule)


class ResumeView(ApiView):
    """`/api/v1/schedules/{id}/resume`."""

    def post(self, _request: Request, schedule_id: str) -> HttpResponse:
        return _switch(self, schedule_id, "resume_schedule", resume_schedule)


def _switch(view: ApiView, schedule_id: str, name: str, verb: Callable[..., TurnSchedule]) -> HttpResponse:
    read_query(view.http)
    actor: Actor = view.who()
    schedule_uuid = read_id("schedule_id", schedule_id)
    body = read_body(view.http, may_be_empty=True)
    read_input(Input, body)

    def run() -> HttpResponse:
        return schedule_response(verb(actor, schedule_id=schedule_uuid))

    return run_once(view.http, IdempotentOperation(actor, name, str(schedule_uuid), body), run)
