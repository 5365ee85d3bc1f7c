"""The events of a session, as a page or as a stream."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from accounts.actor import Actor
from agents.http.long_responses import LongResponse
from agents.http.streams import stream_response
from agents.models import AgentSession
from agents.relay import event_json
from agents.sessions import EventPage, access_session, read_events, read_snapshot
from foundation import strict_json
from foundation.db_threads import in_db_thread
from rest.content_negotiation import EVENT_STREAM, JSON, asks_for_stream
from rest.query_params import bounded_integer, last_event_id, read_id, read_query, seq_parameter
from rest.responses import text_response
from rest.views import AsyncApiView

DEFAULT_LIMIT, LARGEST_LIMIT = 100, 500

_limit = bounded_integer(minimum=1, maximum=LARGEST_LIMIT)


class EventsView(AsyncApiView):
    """`/api/v1/sessions/{id}/events`: a page, or a stream with `Accept: text/event-stream`."""

    media_types = (JSON, EVENT_STREAM)

    async def get(self, _request: Request, session_id: str) -> HttpResponseBase:
        actor, session_uuid = self.who(), read_id("session_id", session_id)
        query = read_query(self.http, after=seq_parameter, limit=_limit)
        after = query.get("after", 0)
        # A reconnecting EventSource repeats the URL and adds the last id that it has received.
        last_seen = last_event_id(self.http)
        if not asks_for_stream(self.http):
            limit = query.get("limit", DEFAULT_LIMIT)
            return await in_db_thread(_page_response, self.http, actor, session_uuid, after, limit)
        with ExitStack() as until_handed_over:
            long = until_handed_over.enter_context(LongResponse(self.http, actor))
            session = await in_db_thread(_open_session, actor, session_uuid, long)
            after = after if last_seen is None else last_seen
            is_ahead = after >= session.next_seq
            response = stream_response(
                long, actor, session_id=session_uuid, after=after, resync=is_ahead, agent_id=session.agent_id
            )
            until_handed_over.pop_all()
        return response


def _open_session(actor: Actor, session_id: UUID, long: LongResponse) -> AgentSession:
    session = access_session(actor=actor, session_id=session_id)
    long.acquire_slot()
    return session


def _page_response(request: HttpRequest, actor: Actor, session_id: UUID, after: int, limit: int) -> HttpResponse:
    """`{results, next, previous, last_seq, resync}`; `resync` is a snapshot when the events after `after` are gone."""
    page = read_events(actor=actor, session_id=session_id, after=after, limit=limit)
    if page.resync:
        snapshot = read_snapshot(actor=actor, session_id=session_id)
        return text_response(_page_json(request, EventPage([], snapshot["seq"], True), snapshot=snapshot))
    return text_response(_page_json(request, page))


def _page_json(request: HttpRequest, page: EventPage, *, snapshot: dict[str, Any] | None = None) -> bytes:
    """The page as JSON, assembled as text: the payloads are JSON already."""
    next_url = None
    if page.events and page.events[-1].seq < page.last_seq:
        query = request.GET.copy()
        query["after"] = str(page.events[-1].seq)
        next_url = request.build_absolute_uri(f"{request.path}?{query.urlencode()}")
    results = ",".join(map(event_json, page.events)).encode()
    rest = strict_json.dumps({"next": next_url, "previous": None, "last_seq": page.last_seq, "resync": snapshot})
    return b'{"results":[%s],%s' % (results, rest[1:])
