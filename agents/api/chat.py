"""What the chat page reads beside the public interface. Not for others: it may change with the page."""

from __future__ import annotations

from django.http import HttpResponse
from rest_framework.request import Request

from agents.api.answers import answer_json
from agents.api.paging import limit_parameter
from agents.api.parameters import read_id, read_query, uuid
from agents.api.views import ApiView
from agents.sessions import read_window

EXCHANGES = 30


class ConversationView(ApiView):
    def get(self, _request: Request, session_id: str) -> HttpResponse:
        query = read_query(self.http, before=uuid, limit=limit_parameter)
        query.setdefault("limit", EXCHANGES)
        return answer_json(read_window(actor=self.who(), session_id=read_id("session_id", session_id), **query))
