"""Sessions and their messages."""

from __future__ import annotations

from contextlib import nullcontext
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from rest_framework.request import Request

from agents.domain.serialization import listed_shape, message_shape, session_shape
from agents.domain.session_purposes import SessionPurpose
from agents.models import AgentSession
from agents.sessions import (
    access_session,
    create_session,
    delete_session,
    search_filter,
    search_time_limit,
    session_messages,
    update_session,
    user_sessions,
)
from foundation.errors import InvalidInput
from rest.etags import etag, expected_version
from rest.idempotency import IdempotentOperation, run_once
from rest.pagination import Order, limit_parameter, paginate
from rest.query_params import read_id, read_query, search_text, slug
from rest.request_body import read_body
from rest.responses import json_response, no_content
from rest.serializers import ChoiceField, IdField, Input, ObjectField, TextField, read_input
from rest.views import ApiView

# By the time of the last message; served by the index `session_of_user`.
SESSIONS = Order("sessions", ("updated_at", "id"), descending=True)
MESSAGES = Order("messages", ("ordinal",))


class NewSession(Input):
    """The body that creates a session."""

    agent = TextField()
    title = TextField(required=False)
    metadata = ObjectField(required=False)
    purpose = ChoiceField(choices=[SessionPurpose.STAGING.value], required=False)


class SessionChange(Input):
    """The body that updates a session; absent fields stay as they are."""

    title = TextField(required=False)
    metadata = ObjectField(required=False)
    head = IdField(required=False)


def session_response(session: AgentSession, *, status: int = 200) -> HttpResponse:
    """The response with the JSON of `session` and its ETag, and its Location with 201."""
    headers = {"ETag": etag(session.version)}
    if status == 201:
        headers["Location"] = reverse("api:session", args=[session.pk])
    return json_response(session_shape(session), status=status, headers=headers)


class SessionsView(ApiView):
    """`/api/v1/sessions`: list and create."""

    @classmethod
    def is_search(cls, request: HttpRequest) -> bool:
        return request.method == "GET" and "search" in request.GET

    def get(self, _request: Request) -> HttpResponse:
        query = read_query(
            self.http, agent=slug, search=search_text, limit=limit_parameter, cursor=SESSIONS.cursor_parameter()
        )
        rows = user_sessions(self.who()).filter(listed=True)
        if (search := query.pop("search", None)) is not None:
            rows = search_filter(rows, search)
        if (agent := query.pop("agent", None)) is not None:
            rows = rows.filter(agent__slug=agent)
        with search_time_limit() if search is not None else nullcontext():
            return json_response(paginate(self.http, rows, order=SESSIONS, shape=listed_shape, **query))

    def post(self, _request: Request) -> HttpResponse:
        read_query(self.http)
        actor, body = self.who(), read_body(self.http)
        data = read_input(NewSession, body)

        def run() -> HttpResponse:
            session = create_session(
                actor,
                agent_slug=data["agent"],
                title=data.get("title", ""),
                metadata=data.get("metadata"),
                purpose=SessionPurpose(data.get("purpose", "")),
            )
            return session_response(session, status=201)

        return run_once(self.http, IdempotentOperation(actor, "create_session", "", body), run)


class SessionView(ApiView):
    """`/api/v1/sessions/{id}`: read, update and delete."""

    def get(self, _request: Request, session_id: str) -> HttpResponse:
        read_query(self.http)
        return session_response(access_session(actor=self.who(), session_id=read_id("session_id", session_id)))

    def patch(self, _request: Request, session_id: str) -> HttpResponse:
        read_query(self.http)
        session_uuid = read_id("session_id", session_id)
        change = read_input(SessionChange, read_body(self.http))
        if not change:
            raise InvalidInput("Nothing to change was given.", pointer="")
        return session_response(
            update_session(
                self.who(), session_id=session_uuid, expected_version=self._expected_version(session_uuid), **change
            )
        )

    def delete(self, _request: Request, session_id: str) -> HttpResponse:
        read_query(self.http)
        session_uuid = read_id("session_id", session_id)
        delete_session(self.who(), session_id=session_uuid, expected_version=self._expected_version(session_uuid))
        return no_content()

    def _expected_version(self, session_id: UUID) -> int | None:
        return expected_version(self.http, lambda: access_session(actor=self.who(), session_id=session_id).version)


class MessagesView(ApiView):
    """`/api/v1/sessions/{id}/messages`: the list."""

    def get(self, _request: Request, session_id: str) -> HttpResponse:
        query = read_query(self.http, limit=limit_parameter, cursor=MESSAGES.cursor_parameter())
        session = access_session(actor=self.who(), session_id=read_id("session_id", session_id))
        rows = session_messages(session)
        page = paginate(self.http, rows, order=MESSAGES, shape=message_shape, size_field="size_bytes", **query)
        return json_response(page)
