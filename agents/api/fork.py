"""A session that begins where another one stood."""

from __future__ import annotations

from django.http import HttpResponse
from rest_framework.request import Request

from agents.api.bodies import read_body
from agents.api.fields import Id, Input, read_input
from agents.api.idempotency import Operation, once
from agents.api.parameters import read_id, read_query
from agents.api.sessions import answer_session
from agents.api.views import ApiView
from agents.sessions import fork_session


class NewFork(Input):
    after_turn = Id(required=False, allow_null=True)


class ForkView(ApiView):
    def post(self, _request: Request, session_id: str) -> HttpResponse:
        read_query(self.http)
        actor, wanted = self.who(), read_id("session_id", session_id)
        body = read_body(self.http, may_be_empty=True)
        after_turn = read_input(NewFork, body).get("after_turn")

        def run() -> HttpResponse:
            return answer_session(fork_session(actor, session_id=wanted, after_turn=after_turn), status=201)

        return once(self.http, Operation(actor, "fork_session", str(wanted), body), run)
