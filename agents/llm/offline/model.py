"""The offline model as an `LLM`: it plays its part in time, within the deadlines that a real one must keep."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator

from agents.llm.errors import BY_CLASS, TransientModelError
from agents.llm.interface import (
    Deadlines,
    Finished,
    FinishReason,
    FirstToken,
    ModelEvent,
    ModelRequest,
    TextDelta,
    Usage,
)
from agents.llm.offline.part import Part, decide

_TOKEN = re.compile(r"\S+\s*|\s+")


class OfflineModel:
    """Deterministic and without state. `pace_seconds` is the pause before each word after the first."""

    def __init__(self, *, pace_seconds: float = 0) -> None:
        self._pace_seconds = pace_seconds

    async def aclose(self) -> None:
        """Nothing is open."""

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """What `decide` makes of the request, word by word at its pace. The contract is that of `LLM.stream`."""
        part = decide(request, pace_seconds=self._pace_seconds)
        words = _TOKEN.findall(part.text)
        clock = _Clock(request.deadlines)
        await clock.pause(part.first_seconds, first=True)
        spoken = words if part.fail is None else words[: part.cut]
        if spoken or part.fail is None:
            yield FirstToken(None)
        if part.pace_seconds:
            for number, word in enumerate(spoken):
                await clock.pause(part.pace_seconds if number else 0, first=False)
                yield TextDelta(word)
        elif spoken:
            yield TextDelta("".join(spoken))
        if part.fail is not None:
            raise BY_CLASS[part.fail](retry_after_seconds=part.retry_after_seconds)
        yield _finished(request, part, len(words))


class _Clock:
    """Pauses that end where a deadline does."""

    def __init__(self, deadlines: Deadlines) -> None:
        self._now = asyncio.get_running_loop().time
        self._deadlines = deadlines
        self._total_at = self._now() + deadlines.total_seconds

    async def pause(self, seconds: float, *, first: bool) -> None:
        """Raises `TransientModelError` at the deadline if the pause is longer."""
        patience = self._deadlines.first_token_seconds if first else self._deadlines.silence_seconds
        patience = min(patience, self._total_at - self._now())
        if seconds > patience:
            await asyncio.sleep(max(patience, 0))
            raise TransientModelError("The model did not answer in time.")
        if seconds:
            await asyncio.sleep(seconds)


def _finished(request: ModelRequest, part: Part, words: int) -> Finished:
    reason: FinishReason = part.finish
    if part.calls and reason == "stop":
        reason = "tool_calls"
    read = sum(len(_TOKEN.findall(message.text)) for message in request.messages)
    written = words + sum(len(_TOKEN.findall(call.arguments)) for call in part.calls)
    usage = Usage(input_tokens=read, output_tokens=written) if part.usage else None
    return Finished(part.calls, usage, reason, "offline")
