"""The user's side of a handoff: ask for a person, leave a message for one, go on with the agent."""

from __future__ import annotations

from enum import StrEnum
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from rest_framework.request import Request

from agents.api.turns import serialize_stored
from agents.domain.handoffs import HandoffState
from agents.domain.serialization import moment
from agents.journal.handoff_writes import handoff_settings
from agents.models import AgentSession
from agents.permissions.duty import is_somebody_on_duty
from agents.sessions.access import access_session
from agents.sessions.handoffs import HandoffStatus, leave_message, read_handoff, request_handoff, withdraw_handoff
from rest.idempotency import REPLAYED, IdempotentOperation, read_key, run_once
from rest.query_params import read_id, read_query
from rest.request_body import read_body
from rest.responses import json_response, no_content
from rest.serializers import Input, TextField, read_input
from rest.views import ApiView

NOBODY_WANTED = "none"


class HandoffChoice(StrEnum):
    """What the user of a session may do about a person."""

    ASK = "ask"
    WAIT = "wait"
    LEAVE_MESSAGE = "leave_message"
    WITHDRAW = "withdraw"


class NewHandoff(Input):
    """The body of a request for a person."""

    reason = TextField(required=False)


class NewHandoffMessage(Input):
    """The body of a message for the person who comes next."""

    text = TextField()


def serialize_handoff(
    session_id: UUID, status: HandoffStatus | None, *, offered: bool, on_duty: bool
) -> dict[str, Any]:
    """The JSON of a session's handoff; None: nobody is wanted. `offered`: its release lets users ask for a person."""
    if status is None:
        state, choices = NOBODY_WANTED, [HandoffChoice.ASK, HandoffChoice.LEAVE_MESSAGE]
    elif status.is_human:
        state, choices = HandoffState.OPEN.value, [HandoffChoice.WITHDRAW]
    else:
        state = HandoffState.PENDING.value
        choices = [HandoffChoice.WAIT, HandoffChoice.LEAVE_MESSAGE, HandoffChoice.WITHDRAW]
    return {
        "session": str(session_id),
        "state": state,
        "on_duty": on_duty,
        "choices": [one for one in choices if offered or one not in {HandoffChoice.ASK, HandoffChoice.LEAVE_MESSAGE}],
        "reason": status.reason if status else None,
        "by": status.requested_by.value if status else None,
        "requested_at": moment(status.requested_at) if status else None,
        "assignee": status.assignee if status else None,
    }


def _read(session: AgentSession, status: HandoffStatus | None) -> dict[str, Any]:
    on_duty = status.on_duty if status else is_somebody_on_duty(session.agent_id)
    return serialize_handoff(session.pk, status, offered=handoff_settings(session).offered, on_duty=on_duty)


class HandoffView(ApiView):
    """`/api/v1/sessions/{id}/handoff`: ask for a person, read what has become of it, go on with the agent."""

    def get(self, _request: Request, session_id: str) -> HttpResponse:
        read_query(self.http)
        actor, session_uuid = self.who(), read_id("session_id", session_id)
        session = access_session(actor=actor, session_id=session_uuid)
        return json_response(_read(session, read_handoff(actor, session_id=session_uuid)))

    def post(self, _request: Request, session_id: str) -> HttpResponse:
        read_query(self.http)
        actor, session_uuid = self.who(), read_id("session_id", session_id)
        body = read_body(self.http, may_be_empty=True)
        reason = read_input(NewHandoff, body).get("reason", "")

        def run() -> HttpResponse:
            status = request_handoff(actor, session_id=session_uuid, reason=reason)
            shape = serialize_handoff(session_uuid, status, offered=True, on_duty=status.on_duty)
            return json_response(shape, status=202)

        return run_once(self.http, IdempotentOperation(actor, "request_handoff", str(session_uuid), body), run)

    def delete(self, _request: Request, session_id: str) -> HttpResponse:
        read_query(self.http)
        withdraw_handoff(self.who(), session_id=read_id("session_id", session_id))
        return no_content()


class HandoffMessageView(ApiView):
    """`/api/v1/sessions/{id}/handoff/message`: leave a message for the person who comes next."""

    def post(self, _request: Request, session_id: str) -> HttpResponse:
        read_query(self.http)
        actor, session_uuid = self.who(), read_id("session_id", session_id)
        key, data = read_key(self.http), read_input(NewHandoffMessage, read_body(self.http))
        accepted = leave_message(actor, session_id=session_uuid, text=data["text"], key=key)
        headers = dict(REPLAYED) if accepted.replayed else {}
        return json_response(serialize_stored(session_uuid, accepted), status=202, headers=headers)
