"""A whole conversation to keep, as JSON or as a text. Streamed: only a few messages are in memory at once."""

from __future__ import annotations

from collections.abc import AsyncIterator

from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header
from rest_framework.request import Request

from agents.domain.serialization import Shape, message_shape, moment, session_shape, turn_shape
from agents.domain.transcripts import transcript_heading, transcript_message, transcript_name
from agents.models import Turn
from agents.sessions import Export, begin_export
from agents.sessions.export import PAGE_SIZE, read_messages, read_page
from foundation import strict_json
from foundation.clock import now
from foundation.db_threads import in_db_thread
from rest.media_types import JSON
from rest.query_params import read_id, read_query
from rest.views import AsyncApiView

MARKDOWN = "text/markdown"
FORMATS = {"json": (JSON, "json"), "markdown": (f"{MARKDOWN}; charset=utf-8", "md")}


def _format(text: str) -> str:
    if text not in FORMATS:
        raise ValueError(f"One of {', '.join(FORMATS)} is expected.")
    return text


class ExportView(AsyncApiView):
    media_types = (JSON, MARKDOWN)

    async def get(self, _request: Request, session_id: str) -> HttpResponseBase:
        wanted = read_query(self.http, format=_format).get("format", "json")
        found = await in_db_thread(begin_export, actor=self.who(), session_id=read_id("session_id", session_id))
        media_type, ending = FORMATS[wanted]
        headers = {
            "Cache-Control": "no-store",
            "Content-Disposition": content_disposition_header(True, f"{transcript_name(found.session)}.{ending}"),
        }
        pieces = _markdown(found) if wanted == "markdown" else _json(found)
        if self.http.method == "HEAD":
            pieces = _nothing()
        return StreamingHttpResponse(pieces, content_type=media_type, headers=headers)


async def _nothing() -> AsyncIterator[bytes]:
    """The length of an export is not known: a whole answer of nothing would say that it is 0."""
    return
    yield b""


async def _json(found: Export) -> AsyncIterator[bytes]:
    """`{session, exported_at, events, turns, messages}`: all branches, by ordinal."""
    head = {
        "session": session_shape(found.session),
        "exported_at": moment(now()),
        "events": {"first": 1, "last": found.session.next_seq - 1},
        "turns": [_turn(turn, found) for turn in found.turns],
    }
    yield strict_json.dumps(head)[:-1] + b',"messages":['
    between, after = b"", 0
    while messages := await in_db_thread(read_page, found.session, after=after):
        yield between + b",".join(strict_json.dumps(message_shape(message)) for message in messages)
        between, after = b",", messages[-1].ordinal
    yield b"]}"


async def _markdown(found: Export) -> AsyncIterator[bytes]:
    """The branch that people see."""
    yield transcript_heading(found.session).encode()
    for start in range(0, len(found.visible_ids), PAGE_SIZE):
        for message in await in_db_thread(read_messages, found.session, found.visible_ids[start : start + PAGE_SIZE]):
            yield transcript_message(message, agent_name=found.session.agent.name).encode()


def _turn(turn: Turn, found: Export) -> Shape:
    """Without its answer, which is among the messages."""
    shape = {name: value for name, value in turn_shape(turn).items() if name not in {"answer", "position"}}
    first, last = found.events.get(turn.pk, (None, None))
    return {**shape, "events": {"first": first, "last": last}}
