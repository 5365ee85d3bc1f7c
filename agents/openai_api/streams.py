"""An answer in chunks, as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from time import monotonic

import structlog

from agents.domain.states import TurnStatus
from agents.openai_api.chunks import DONE, Head, call_deltas, finish_reason, framed
from agents.openai_api.errors import AnswerRestarted, TurnEnded, openai_error_body
from agents.openai_api.turn_stream import TurnFollower, TurnUpdate
from agents.sessions import CompletionResult
from foundation.db_threads import DATABASE_FAULTS
from foundation.errors import BandstandError, Unavailable

HEARTBEAT_SECONDS = 10.0

log = structlog.get_logger(__name__)

# A comment, which clients leave out: proxies close what is silent.
_HEARTBEAT = b": waiting\n\n"


class Chunks:
    """The chunks of one answer. Leaving it changes nothing: the turn goes on.

    What is sent is always the beginning of the answer that is stored. When an answer had to be begun anew, or the model
    had to be asked once more, what was sent cannot be taken back: the stream ends with an error and without its end
    mark. Nothing sent, nothing lost.
    """

    def __init__(self, follower: TurnFollower, head: Head, *, include_usage: bool, first: TurnUpdate) -> None:
        """`first` is what was heard before the answer began."""
        self._follower = follower
        self._head = head
        self._include_usage = include_usage
        self._first: TurnUpdate | None = first
        self._sent = ""
        self._opened = False
        # After a restart the log no longer has all the words of the answer; its end has.
        self._live = True
        self._loop = asyncio.get_running_loop()

    def close(self) -> None:
        """From whatever thread the server closes answers in."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._follower.close)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._chunks():
                yield chunk
        except BandstandError as error:
            yield self._broken(error)
        except DATABASE_FAULTS as error:
            log.warning("database.lost", completion=self._head.id, error=type(error).__name__)
            yield self._broken(Unavailable())
        except Exception as error:
            log.exception("completion.failed", exc_info=error)
            yield framed(openai_error_body(None))
        finally:
            self._follower.close()

    def _broken(self, error: BandstandError) -> bytes:
        log.info("completion.aborted", completion=self._head.id, code=error.code)
        return framed(openai_error_body(error))

    async def _chunks(self) -> AsyncIterator[bytes]:
        spoke = monotonic()
        if self._first is not None and not self._first.text and self._first.outcome is None:
            yield _HEARTBEAT  # the answer's head goes out with the first bytes
        while True:
            heard = self._first or await self._follower.hear()
            self._first = None
            if out := self._said(heard):
                yield out
                spoke = monotonic()
            if heard.outcome is not None:
                yield self._end(heard.outcome)
                return
            if monotonic() - spoke >= HEARTBEAT_SECONDS:
                yield _HEARTBEAT
                spoke = monotonic()

    def _said(self, heard: TurnUpdate) -> bytes:
        if heard.restarted:
            if self._sent:
                raise AnswerRestarted
            self._live = False
        if heard.retracted and self._live:
            raise AnswerRestarted
        return self._text(heard.text) if self._live and heard.text else b""

    def _text(self, text: str) -> bytes:
        self._sent += text
        return self._chunk({"content": text})

    def _chunk(self, delta: dict[str, object]) -> bytes:
        opening = b""
        if not self._opened:
            self._opened = True
            opening = self._head.chunk({"role": "assistant", "content": ""}, with_usage=self._include_usage)
        return opening + self._head.chunk(delta, with_usage=self._include_usage)

    def _end(self, outcome: CompletionResult) -> bytes:
        if outcome.status is not TurnStatus.COMPLETED:
            raise TurnEnded(outcome)
        if not outcome.text.startswith(self._sent):
            raise AnswerRestarted
        rest = outcome.text[len(self._sent) :]
        chunks = [self._text(rest)] if rest else []
        chunks += [self._chunk(delta) for delta in call_deltas(outcome.calls)]
        if not self._opened:
            chunks.append(self._chunk({"content": ""}))
        chunks.append(self._head.chunk({}, finished=finish_reason(outcome), with_usage=self._include_usage))
        if self._include_usage:
            chunks.append(self._head.usage_chunk(outcome))
        return b"".join([*chunks, DONE])
