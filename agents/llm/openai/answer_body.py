"""Read the events of a response within its deadlines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from agents.llm.deadlines import DeadlineClock
from agents.llm.errors import ModelError, TransientModelError
from agents.llm.openai.error_mapping import clean_detail
from agents.llm.openai.event_decoder import EventDecoder, EventTooLong
from agents.llm.openai.stream_parser import UNREADABLE

MAX_STREAM_BYTES = 32 * 1024 * 1024
READ_FAULTS = (TimeoutError, aiohttp.ClientError, HttpProcessingError, OSError)
# After a finish reason only usage and the end mark are missing. A server may send neither, and close nothing.
_GRACE_SECONDS = 1.0
_SHORT_GRACE_SECONDS = 0.1
_MAX_BEGINNING = 1_000


class AnswerBody:
    """The body of one response. `has_ended`: nothing more comes; `is_empty`: no event has come."""

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        clock: DeadlineClock,
        *,
        map_error: Callable[[Exception, str], ModelError],
        secret: str | None,
    ) -> None:
        """`map_error` is called with a network error and the message for a deadline that was passed."""
        self.has_ended = False
        self.is_empty = True
        self._response = response
        self._clock = clock
        self._map_error = map_error
        self._secret = secret
        self._decoder = EventDecoder()
        self._received = 0
        self._beginning = b""

    async def read(self, *, has_started: bool, has_reason: bool, has_usage: bool) -> list[bytes]:
        """The events that the next read of the network completes. Raises `ModelError`.

        With `has_reason` the answer is complete: then it ends with whatever the network says, and after a short time
        without a word.
        """
        due_at = self._clock.begin_wait(has_started=has_started)
        if has_reason:
            grace_seconds = _SHORT_GRACE_SECONDS if has_usage else _GRACE_SECONDS
            due_at = min(due_at, self._clock.cap_deadline(grace_seconds))
        try:
            async with asyncio.timeout_at(due_at):
                data = await self._response.content.readany()
        except Exception as error:
            if not (has_reason and isinstance(error, READ_FAULTS)):
                late = self._clock.timeout_message(due_at, has_started=has_started)
                raise self._map_error(error, late) from None
            data = b""
        self.has_ended = not data
        events = self._decode(data)
        self._clock.end_wait(got_event=bool(events))
        return events

    def not_an_answer(self) -> ModelError:
        """The error for a body without any event."""
        detail = clean_detail(self._beginning.decode("utf-8", "replace"), self._secret)
        if self._decoder.is_markup:
            return TransientModelError("The model's provider answered with a web page.", provider_detail=detail)
        return TransientModelError(UNREADABLE, provider_detail=detail or "an empty body")

    async def drain(self) -> None:
        """Read what follows the end mark, for a short time, so that the connection can be reused."""
        if self._response.content.is_eof():
            return
        try:
            async with asyncio.timeout(_SHORT_GRACE_SECONDS):
                while await self._response.content.readany():
                    pass
        except READ_FAULTS:
            pass

    def _decode(self, data: bytes) -> list[bytes]:
        self._received += len(data)
        if self._received > MAX_STREAM_BYTES:
            raise TransientModelError("The model's answer does not end.", provider_detail=f"{self._received} bytes")
        if self.is_empty:
            self._beginning = (self._beginning + data)[:_MAX_BEGINNING]
        try:
            events = self._decoder.feed(data) if data else self._decoder.finish()
        except EventTooLong as error:
            raise TransientModelError(UNREADABLE, provider_detail=str(error)) from None
        self.is_empty = self.is_empty and not events
        return events
