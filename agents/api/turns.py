"""Turns: create, read, cancel."""

from __future__ import annotations

import re
from contextlib import ExitStack
from time import monotonic
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from rest_framework.request import Request

from accounts.actor import Actor, Scope
from agents.domain.serialization import turn_shape
from agents.domain.states import TERMINAL, Priority, TurnStatus, WhenBusy
from agents.http.long_responses import LongResponse
from agents.http.request_spans import REST, record_admission
from agents.http.streams import stream_response, wait_until_terminal
from agents.models import Message, Turn
from agents.sessions import UNSET, Accepted, accept_message, access_turn, cancel_turn, resume_position, session_messages
from agents.sessions.approvals import pending_approvals
from foundation.clock import now
from foundation.db_threads import in_db_thread
from rest.content_negotiation import EVENT_STREAM, JSON, asks_for_stream
from rest.idempotency import REPLAYED, IdempotentOperation, read_key, run_once
from rest.query_params import last_event_id, read_id, read_query
from rest.request_body import read_body
from rest.responses import json_response
from rest.serializers import ChoiceField, IdField, Input, TextField, read_input
from rest.views import ApiView, AsyncApiView

# Seconds. A client that wants to wait longer streams the events.
MAX_WAIT_SECONDS = 60

_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?([0-9]{1,9})\"?(?:$|[,;\s])", re.IGNORECASE)
_PRIORITIES = {priority.wire_name: priority for priority in Priority}


class NewTurnInput(Input):
    """The body that creates a turn."""

    input = TextField()
    parent = IdField(required=False, allow_null=True)  # type: ignore[assignment]  # the framework takes fields off the class
    when_busy = ChoiceField(choices=[mode.value for mode in WhenBusy], required=False)
    priority = ChoiceField(choices=sorted(_PRIORITIES), required=False)


def wait_seconds(request: HttpRequest) -> int:
    """The seconds of `Prefer: wait=…`, at most 60; 0 without. An invalid value is ignored, as RFC 7240 says."""
    match = _WAIT.search(request.headers.get("Prefer", ""))
    return min(int(match[1]), MAX_WAIT_SECONDS) if match else 0


class TurnsView(AsyncApiView):
    """`/api/v1/sessions/{id}/turns`: create; the response waits or streams on request."""

    media_types = (JSON, EVENT_STREAM)

    async def post(self, _request: Request, session_id: str) -> HttpResponseBase:
        started_at = now()
        read_query(self.http)
        actor, session_uuid = self.who(), read_id("session_id", session_id)
        key, data = read_key(self.http), read_input(NewTurnInput, read_body(self.http))
        last_seen = last_event_id(self.http)
        # Every response shows the turn. Checked before the commit: a client refused after it would send again.
        actor.require_scope(Scope.READ)
        with ExitStack() as until_handed_over:
            long: LongResponse | None = None
            if asks_for_stream(self.http) or wait_seconds(self.http):
                long = until_handed_over.enter_context(LongResponse(self.http, actor))
            accepted = await in_db_thread(_accept, actor, session_uuid, data, key, long)
            record_admission(accepted.agent_id, session_uuid, accepted.turn_id, started_at, transport=REST)
            headers = dict(REPLAYED) if accepted.replayed else {}
            if accepted.turn_id is None:
                return json_response(serialize_stored(session_uuid, accepted), status=202, headers=headers)
            headers["Location"] = reverse("api:turn", args=[accepted.turn_id])
            if long is None or not asks_for_stream(self.http):
                return await self._finished_or_accepted(actor, accepted, headers, long)
            # The message came right before the event that `accepted.seq` names.
            after = accepted.seq - 2
            if accepted.replayed and last_seen is not None:
                after = await in_db_thread(resume_position, turn_id=accepted.turn_id, start=after, cursor=last_seen)
            response = stream_response(
                long,
                actor,
                session_id=session_uuid,
                after=after,
                turn_id=accepted.turn_id,
                agent_id=accepted.agent_id,
                headers=headers,
            )
            until_handed_over.pop_all()
        return response

    async def _finished_or_accepted(
        self, actor: Actor, accepted: Accepted, headers: dict[str, str], long: LongResponse | None
    ) -> HttpResponse:
        assert accepted.turn_id is not None
        shape = await in_db_thread(_read_turn, actor, accepted.turn_id)
        if long is None:
            return json_response(shape, status=202, headers=headers)
        seconds = wait_seconds(self.http)
        after: int | None = accepted.seq
        ends_at = monotonic() + seconds
        while after is not None and shape["status"] not in TERMINAL:
            after = await wait_until_terminal(
                long,
                session_id=UUID(shape["session"]),
                turn_id=accepted.turn_id,
                after=after,
                seconds=ends_at - monotonic(),
                # Who sends it again knows what the turn waits for, and waits for the decision.
                or_approval=not accepted.replayed,
            )
            shape = await in_db_thread(_read_turn, actor, accepted.turn_id)
            if shape["status"] == TurnStatus.WAITING:
                break
        headers["Preference-Applied"] = f"wait={seconds}"
        return json_response(shape, status=200 if shape["status"] in TERMINAL else 202, headers=headers)


class TurnView(ApiView):
    """`/api/v1/turns/{id}`."""

    def get(self, _request: Request, turn_id: str) -> HttpResponse:
        read_query(self.http)
        return json_response(_read_turn(self.who(), read_id("turn_id", turn_id)))


class CancelView(ApiView):
    """`/api/v1/turns/{id}/cancel`."""

    def post(self, _request: Request, turn_id: str) -> HttpResponse:
        read_query(self.http)
        actor, turn_uuid = self.who(), read_id("turn_id", turn_id)
        body = read_body(self.http, may_be_empty=True)
        read_input(Input, body)

        def run() -> HttpResponse:
            return json_response(_serialize_turn(cancel_turn(actor, turn_id=turn_uuid)))

        return run_once(self.http, IdempotentOperation(actor, "cancel_turn", str(turn_uuid), body), run)


def _accept(
    actor: Actor, session_id: UUID, data: dict[str, Any], key: str | None, long: LongResponse | None
) -> Accepted:
    if long is not None:
        long.acquire_slot()
    when_busy = data.get("when_busy")
    return accept_message(
        actor,
        session_id=session_id,
        text=data["input"],
        key=key,
        parent=data.get("parent", UNSET),
        when_busy=WhenBusy(when_busy) if when_busy else None,
        priority=_PRIORITIES[data.get("priority", "interactive")],
    )


def _read_turn(actor: Actor, turn_id: UUID) -> dict[str, Any]:
    return _serialize_turn(access_turn(actor=actor, turn_id=turn_id))


def _serialize_turn(turn: Turn) -> dict[str, Any]:
    answer = None
    if turn.status in TERMINAL:
        answer = session_messages(turn.agent_session).filter(turn=turn, author=Message.Author.AGENT).first()
    position = getattr(turn, "position", 0) if turn.status == TurnStatus.QUEUED else None
    approvals = pending_approvals(turn) if getattr(turn, "needs_approval", False) else ()
    return turn_shape(turn, answer, position=position, approvals=approvals)


def serialize_stored(session_id: UUID, accepted: Accepted) -> dict[str, Any]:
    """The JSON for a message without a turn: a human answers in this session."""
    return {
        "id": None,
        "session": str(session_id),
        "status": accepted.status,
        "ordinal": accepted.ordinal,
        "message": str(accepted.message_id),
    }
