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
        tokens = _TOKEN.findall(part.text)
        clock = _Clock(request.deadlines)
        await clock.pause(part.first_seconds, first=True)
        output = tokens if part.fail is None else tokens[: part.cut]
        if output or part.fail is None:
            yield FirstToken(None)
        if part.pace_seconds:
            for number, word in enumerate(output):
                await clock.pause(part.pace_seconds if number else 0, first=False)
                yield TextDelta(word)
        elif output:
            yield TextDelta("".join(output))
        if part.fail is not None:
            raise BY_CLASS[part.fail](retry_after_seconds=part.retry_after_seconds)
        yield _build_finished(request, part, len(tokens))


class _Clock:
    """Pauses that end where a deadline does."""

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


def _build_finished(request: ModelRequest, part: Part, token_count: int) -> Finished:
    reason: FinishReason = part.finish
    if part.calls and reason == "stop":
        reason = "tool_calls"
    input_tokens = sum(len(_TOKEN.findall(message.text)) for message in request.messages)
    output_tokens = token_count + sum(len(_TOKEN.findall(call.arguments)) for call in part.calls)
    usage = Usage(input_tokens=input_tokens, output_tokens=output_tokens) if part.usage else None
    return Finished(part.calls, usage, reason, "offline")
