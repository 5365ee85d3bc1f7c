"""Endpoints of the chat page beside the public API. They are private: they may change with the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from accounts.actor import Scope
from agents.api.turn_schedules import UPCOMING
from agents.domain.serialization import moment
from agents.sessions import read_window
from agents.sessions.turn_schedules import check_timing, describe_schedule_timing
from foundation.clock import now
from markdown_rendering import render
from rest.pagination import limit_parameter
from rest.query_params import parse_moment, read_id, read_query, search_text, uuid
from rest.request_body import read_body
from rest.responses import json_response
from rest.serializers import Input, TextField, read_input
from rest.views import ApiView

EXCHANGES = 30
# Rendering takes about 3 ms per KB; the page requests the rest when it is scrolled into view.
MAX_RENDERED_CHARS = 100_000
# Of one text. Clients of the other interfaces may write some megabytes.
MAX_SHOWN_CHARS = 100_000


class NewText(Input):
    """The body of `RenderView`."""

    text = TextField()


class RenderView(ApiView):
    """Renders `{text}` to `{html}`, for answers that are still streamed. Changes nothing."""

    def post(self, _request: Request) -> HttpResponse:
        read_query(self.http)
        self.who().require_scope(Scope.READ)
        data = read_input(NewText, read_body(self.http))
        return json_response({"html": render(data["text"])})


class ConversationView(ApiView):
    """The newest part of a conversation, or the part before a message.

    Text by agents and operators has its `html`, null where rendering all would take too long. Text by users has none:
    it is shown as typed.
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
        _clip(window)
        _add_html(window)
        return json_response(window)


class TimingView(ApiView):
    """What a timing of a schedule comes to, before it is saved: `{description, upcoming}`. Changes nothing."""

    def get(self, _request: Request) -> HttpResponse:
        query = read_query(self.http, cron=search_text, time_zone=search_text, at=parse_moment)
        self.who().require_scope(Scope.READ)
        timing = check_timing(
            cron=query.get("cron", ""), time_zone=query.get("time_zone", "UTC"), once_at=query.get("at")
        )
        upcoming = [moment(at) for at in timing.upcoming(after=now(), count=UPCOMING)]
        return json_response({"description": describe_schedule_timing(timing), "upcoming": upcoming})


def _clip(window: dict[str, Any]) -> None:
    """Cut texts, arguments and results that are too long for a page, and say so in them."""
    contents = [message["parts"] for message in window["messages"]]
    contents += [turn["shown"] for turn in window["turns"].values()]
    for part in (part for parts in contents for part in parts):
        for name in ("text", "arguments", "content"):
            if len(part.get(name, "")) > MAX_SHOWN_CHARS:
                rest = len(part[name]) - MAX_SHOWN_CHARS
                part[name] = f"{part[name][:MAX_SHOWN_CHARS]}\n\n… ({rest:,} more characters; the export has all)"


def _add_html(window: dict[str, Any]) -> None:
    """Add `html` to text parts, newest first, up to `MAX_RENDERED_CHARS`; null for the others."""
    written = [message["parts"] for message in window["messages"] if message["author"] != "user"]
    drafts = [turn["shown"] for turn in window["turns"].values()]
    remaining = MAX_RENDERED_CHARS
    for part in _texts([*reversed(drafts), *reversed(written)]):
        remaining -= len(part["text"])
        part["html"] = render(part["text"]) if remaining >= 0 else None


def _texts(contents: Sequence[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    return [part for parts in contents for part in parts if part["type"] == "text"]
