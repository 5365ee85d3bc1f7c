"""The offline model as an `LLM`, which keeps the deadlines of a request as a real one does."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Iterator
from itertools import chain, islice

from agents.llm.errors import BY_CLASS, TransientModelError
from agents.llm.interface import (
    Deadlines,
    Finished,
    FinishReason,
    FirstToken,
    ModelEvent,
    ModelRequest,
    ReasoningDelta,
    TextDelta,
    Usage,
)
from agents.llm.offline.script import ScriptedAnswer, plan_answer

_MAX_COUNTED = 64 * 1024
_TOKEN = re.compile(r"\S+\s*|\s+")


class OfflineModel:
    """Deterministic and without state. `pace_seconds` is the pause before each word after the first."""

    def __init__(self, *, pace_seconds: float = 0) -> None:
        self._pace_seconds = pace_seconds

    async def aclose(self) -> None:
        """Nothing is open."""

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """See `LLM.stream`."""
        answer = plan_answer(request, pace_seconds=self._pace_seconds)
        clock = _Clock(request.deadlines)
        await clock.pause(answer.first_seconds, first=True)
        text = answer.text if answer.fail is None else "".join(islice(_words(answer.text), answer.cut))
        if answer.reasoning or text or answer.fail is None:
            yield FirstToken(None)
        if answer.pace_seconds:
            deltas: Iterator[ReasoningDelta | TextDelta] = chain(
                map(ReasoningDelta, _words(answer.reasoning)), map(TextDelta, _words(text))
            )
            for number, delta in enumerate(deltas):
                await clock.pause(answer.pace_seconds if number else 0, first=False)
                yield delta
        else:
            if answer.reasoning:
                yield ReasoningDelta(answer.reasoning)
            if text:
                yield TextDelta(text)
        if answer.fail is not None:
            raise BY_CLASS[answer.fail](retry_after_seconds=answer.retry_after_seconds)
        yield _build_finished(request, answer)


def _words(text: str) -> Iterator[str]:
    """The words of `text`, each with the white space after it."""
    return (match[0] for match in _TOKEN.finditer(text))


class _Clock:
    """Pauses that end at the deadlines."""

    def __init__(self, deadlines: Deadlines) -> None:
        self._now = asyncio.get_running_loop().time
        self._deadlines = deadlines
        self._total_at = self._now() + deadlines.total_seconds

    async def pause(self, seconds: float, *, first: bool) -> None:
        """Raises `TransientModelError` at the deadline if the pause is longer."""
        limit = self._deadlines.first_token_seconds if first else self._deadlines.silence_seconds
        limit = min(limit, self._total_at - self._now())
        if seconds > limit:
            await asyncio.sleep(max(limit, 0))
            raise TransientModelError("The model did not answer in time.")
        if seconds:
            await asyncio.sleep(seconds)


def _count_tokens(text: str) -> int:
    """The words of `text`; where it is long, as many as its beginning lets expect: the event loop waits for this."""
    counted = text[:_MAX_COUNTED]
    return len(counted.split()) * len(text) // max(1, len(counted))


def _build_finished(request: ModelRequest, answer: ScriptedAnswer) -> Finished:
    reason: FinishReason = answer.finish
    if answer.calls and reason == "stop":
        reason = "tool_calls"
    input_tokens = sum(_count_tokens(message.text) for message in request.messages)
    reasoning_tokens = _count_tokens(answer.reasoning)
    output_tokens = (
        reasoning_tokens + _count_tokens(answer.text) + sum(_count_tokens(call.arguments) for call in answer.calls)
    )
    usage = Usage(input_tokens, output_tokens, reasoning_tokens=reasoning_tokens) if answer.usage else None
    return Finished(answer.calls, usage, reason, "offline")
