"""What the chat page reads beside the public interface. Not for others: it may change with the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from accounts.actor import Scope
from agents.sessions import read_window
from markdown_rendering import render
from rest.paging import limit_parameter
from rest.query_params import read_id, read_query, uuid
from rest.request_body import read_body
from rest.responses import json_response
from rest.serializers import Input, Text, read_input
from rest.views import ApiView

EXCHANGES = 30
# Rendering costs about 3 ms for each KB; the page asks for what lies beyond this when it is looked at.
MOST_CHARS = 100_000


class NewText(Input):
    text = Text()


class RenderView(ApiView):
    """`{text}` becomes `{html}`: for words that are still being written. Changes nothing."""

    def post(self, _request: Request) -> HttpResponse:
        read_query(self.http)
        self.who().require_scope(Scope.READ)
        given = read_input(NewText, read_body(self.http))
        return json_response({"html": render(given["text"])})


class ConversationView(ApiView):
    """The newest part of a conversation, or what lies before a message.

    Text that agents and people of the console wrote has its `html` beside it, null where an answer would take too long.
    What a user typed has none: it is shown as it was typed.
    """

    def get(self, _request: Request, session_id: str) -> HttpResponse:
        query = read_query(self.http, before=uuid, limit=limit_parameter)
        query.setdefault("limit", EXCHANGES)
        window = read_window(
            actor=self.who(),
            session_id=read_id("session_id", session_id),
            limit=query["limit"],
            cursor=query.get("before"),
        )
        _add_html(window)
        return json_response(window)


def _add_html(window: dict[str, Any]) -> None:
    """Newest first, as far as the time allows."""
    spoken = [message["parts"] for message in window["messages"] if message["author"] != "user"]
    shown = [turn["shown"] for turn in window["turns"].values()]
    left = MOST_CHARS
    for part in _texts([*reversed(shown), *reversed(spoken)]):
        left -= len(part["text"])
        part["html"] = render(part["text"]) if left >= 0 else None


def _texts(contents: Sequence[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    return [part for parts in contents for part in parts if part["type"] == "text"]
