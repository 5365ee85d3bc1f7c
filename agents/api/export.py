"""Export of a whole conversation, as JSON or Markdown. Streamed: only a few messages are in memory at once."""

from __future__ import annotations

from collections.abc import AsyncIterator

from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header
from rest_framework.request import Request

from agents.domain.markdown_export import transcript_heading, transcript_message, transcript_name
from agents.domain.serialization import Shape, message_shape, moment, session_shape, turn_shape
from agents.models import Turn
from agents.sessions import Export, begin_export
from agents.sessions.export import read_messages, read_page
from foundation import strict_json
from foundation.clock import now
from foundation.db_threads import in_db_thread
from rest.content_negotiation import JSON
from rest.query_params import one_of, read_id, read_query
from rest.views import AsyncApiView

MARKDOWN = "text/markdown"
FORMATS = {"json": (JSON, "json"), "markdown": (f"{MARKDOWN}; charset=utf-8", "md")}


class ExportView(AsyncApiView):
    """`/api/v1/sessions/{id}/export`, as JSON or Markdown."""

    media_types = (JSON, MARKDOWN)

    async def get(self, _request: Request, session_id: str) -> HttpResponseBase:
        format_name = read_query(self.http, format=one_of(*FORMATS)).get("format", "json")
        export = await in_db_thread(begin_export, actor=self.who(), session_id=read_id("session_id", session_id))
        media_type, extension = FORMATS[format_name]
        headers = {
            "Cache-Control": "no-store",
            "Content-Disposition": content_disposition_header(True, f"{transcript_name(export.session)}.{extension}"),
        }
        pieces = _markdown(export) if format_name == "markdown" else _json(export)
        if self.http.method == "HEAD":
            pieces = _empty()
        return StreamingHttpResponse(pieces, content_type=media_type, headers=headers)


async def _empty() -> AsyncIterator[bytes]:
    """An empty stream for HEAD: a plain empty response would announce a Content-Length of 0."""
    return
    yield b""


async def _json(export: Export) -> AsyncIterator[bytes]:
    """Chunks of `{session, exported_at, events, turns, messages}`, with all branches, by ordinal."""
    head = {
        "session": session_shape(export.session),
        "exported_at": moment(now()),
        "events": {"first": 1, "last": export.session.next_seq - 1},
        "turns": [_turn(turn, export) for turn in export.turns],
    }
    yield strict_json.dumps(head)[:-1] + b',"messages":['
    separator, after = b"", 0
    while messages := await in_db_thread(read_page, export.session, after=after):
        yield separator + b",".join(strict_json.dumps(message_shape(message)) for message in messages)
        separator, after = b",", messages[-1].ordinal
    yield b"]}"


async def _markdown(export: Export) -> AsyncIterator[bytes]:
    """Chunks of the Markdown of the branch that the chat shows."""
    yield transcript_heading(export.session).encode()
    for page in export.visible_pages:
        for message in await in_db_thread(read_messages, export.session, page):
            yield transcript_message(message, agent_name=export.session.agent.name).encode()


def _turn(turn: Turn, export: Export) -> Shape:
    """The JSON of a turn with its range of seqs, without its answer, which is among the messages."""
    shape = {name: value for name, value in turn_shape(turn).items() if name not in {"answer", "approvals", "position"}}
    first, last = export.events.get(turn.pk, (None, None))
    return {**shape, "events": {"first": first, "last": last}}
