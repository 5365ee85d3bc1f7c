"""Fork a session."""

from __future__ import annotations

from django.http import HttpResponse
from rest_framework.request import Request

from agents.api.sessions import session_response
from agents.sessions import fork_session
from rest.idempotency import IdempotentOperation, run_once
from rest.query_params import read_id, read_query
from rest.request_body import read_body
from rest.serializers import IdField, Input, read_input
from rest.views import ApiView


class NewFork(Input):
    """The body of a fork; without `after_turn` all finished turns are copied."""

    after_turn = IdField(required=False, allow_null=True)


class ForkView(ApiView):
    """`/api/v1/sessions/{id}/fork`."""

    def post(self, _request: Request, session_id: str) -> HttpResponse:
        read_query(self.http)
        actor, session_uuid = self.who(), read_id("session_id", session_id)
        body = read_body(self.http, may_be_empty=True)
        after_turn = read_input(NewFork, body).get("after_turn")

        def run() -> HttpResponse:
            return session_response(fork_session(actor, session_id=session_uuid, after_turn=after_turn), status=201)

        return run_once(self.http, IdempotentOperation(actor, "fork_session", str(session_uuid), body), run)
