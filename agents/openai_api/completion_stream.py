"""A chat completion in chunks, as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from time import monotonic

import structlog

from agents.domain.states import TurnStatus
from agents.http.request_spans import TurnDelivery
from agents.openai_api.chunks import DONE, CompletionHead, call_deltas, finish_reason, sse_event
from agents.openai_api.errors import AnswerRestarted, no_answer, openai_error_body
from agents.openai_api.turn_stream import TurnFollower, TurnUpdate
from agents.sessions import CompletionResult
from foundation.db_threads import DATABASE_FAULTS
from foundation.errors import BandstandError, Unavailable

HEARTBEAT_SECONDS = 10.0

log = structlog.get_logger(__name__)

# An SSE comment, which clients ignore: proxies close silent connections. Why one line feed: `agents.http.streams`.
_HEARTBEAT = b": waiting\n"


class CompletionStream:
    """The chunks of one completion. A disconnect changes nothing: the turn goes on.

    The sent text is always a prefix of the stored answer. When a turn restarts, or a model call is repeated, sent text
    cannot be retracted: the stream then ends with an error and without `[DONE]`. Before any text is sent it goes on.
    Reasoning, which is no part of the answer, does not count: that of the next attempt then follows what was sent.
    """

    def __init__(
        self,
        follower: TurnFollower,
        head: CompletionHead,
        *,
        include_usage: bool,
        first: TurnUpdate,
        delivery: TurnDelivery,
    ) -> None:
        """`first` is the update that was received before the response started; `delivery` hears of what is sent."""
        self._follower = follower
        self._head = head
        self._include_usage = include_usage
        self._first: TurnUpdate | None = first
        self._sent = self._sent_reasoning = ""
        self._delivery = delivery
        self._opened = False
        # False after a restart: the log may lack a part of the text, so all of it is sent at the end.
        self._live = True
        self._loop = asyncio.get_running_loop()

    def close(self) -> None:
        """Close the follower; may be called from any thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._follower.close)

    def __del__(self) -> None:
        # A request that is cancelled between its view and its first byte drops the response without closing it.
        self.close()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._chunks():
                yield chunk
        except BandstandError as error:
            yield self._error_event(error)
        except DATABASE_FAULTS as error:
            log.warning("database.lost", completion=self._head.id, error=type(error).__name__)
            yield self._error_event(Unavailable())
        except Exception as error:
            log.exception("completion.failed", exc_info=error)
            yield sse_event(openai_error_body(None))
        finally:
            self._follower.close()

    def _error_event(self, error: BandstandError) -> bytes:
        log.info("completion.aborted", completion=self._head.id, code=error.code)
        return sse_event(openai_error_body(error))

    async def _chunks(self) -> AsyncIterator[bytes]:
        last_sent_at = monotonic()
        if self._first is not None and not self._first.has_words and self._first.result is None:
            yield _HEARTBEAT  # the response's status and headers are sent with the first bytes
        while True:
            silence_ends_at = last_sent_at + HEARTBEAT_SECONDS
            update = self._first or await self._follower.next_update(max(0.01, silence_ends_at - monotonic()))
            self._first = None
            if chunk := self._words(update):
                yield chunk
                last_sent_at = monotonic()
                self._delivery.sent_words()
            if update.result is not None:
                yield self._end(update.result)
                self._delivery.sent_end()
                return
            if monotonic() - last_sent_at >= HEARTBEAT_SECONDS:
                yield _HEARTBEAT
                last_sent_at = monotonic()

    def _words(self, update: TurnUpdate) -> bytes:
        if update.restarted:
            if self._sent:
                raise AnswerRestarted
            self._live = False
        if update.retracted and self._live:
            raise AnswerRestarted
        return self._reasoning(update.reasoning) + self._text(update.text) if self._live else b""

    def _text(self, text: str) -> bytes:
        self._sent += text
        return self._chunk({"content": text}) if text else b""

    def _reasoning(self, text: str) -> bytes:
        self._sent_reasoning += text
        return self._chunk({"reasoning_content": text}) if text else b""

    def _chunk(self, delta: dict[str, object]) -> bytes:
        opening = b""
        if not self._opened:
            self._opened = True
            opening = self._head.chunk({"role": "assistant", "content": ""}, with_usage=self._include_usage)
        return opening + self._head.chunk(delta, with_usage=self._include_usage)

    def _end(self, result: CompletionResult) -> bytes:
        if result.status is not TurnStatus.COMPLETED:
            raise no_answer(result)
        if not result.text.startswith(self._sent):
            raise AnswerRestarted
        chunks = []
        if result.reasoning.startswith(self._sent_reasoning):
            chunks.append(self._reasoning(result.reasoning[len(self._sent_reasoning) :]))
        chunks.append(self._text(result.text[len(self._sent) :]))
        chunks += [self._chunk(delta) for delta in call_deltas(result.calls)]
        if not self._opened:
            chunks.append(self._chunk({"content": ""}))
        chunks.append(
            self._head.chunk(
                {}, finish_reason=finish_reason(result), with_usage=self._include_usage, fallback=result.fallback
            )
        )
        if self._include_usage:
            chunks.append(self._head.usage_chunk(result))
        return b"".join([*chunks, DONE])
