"""One call of a model: its request, writing its words to the log, and its cost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from math import inf
from typing import Any

import orjson

from agents.domain.events import EventType
from agents.domain.message_parts import CUT_REASONS, REASONING_CUT, Part, reasoning_part, text_part
from agents.domain.steps import StepRecord
from agents.domain.token_estimates import count_tokens, estimate_tokens
from agents.domain.usage import BilledUsage
from agents.engine.call_budget import reserve_call
from agents.engine.context import TurnContext
from agents.engine.delta_buffer import DeltaBuffer
from agents.engine.ports import Admission, ModelGateway, Services
from agents.engine.progress import MAX_CHARACTERS_PER_TOKEN, LimitReached, TurnProgress
from agents.engine.prompt import AssembledRequest, assemble, count_tools
from agents.journal.fenced_writes import NewEvent
from agents.llm.errors import EmptyAnswer, ModelError
from agents.llm.interface import (
    Finished,
    FinishReason,
    FirstToken,
    ModelEvent,
    ReasoningDelta,
    TextDelta,
    ToolCall,
    Usage,
    UsageUpdate,
)
from foundation.spans import CONTEXT
from foundation.storable_text import storable_text

# More than any model reads or writes; a hundred such calls still fit into a turn's columns, whatever a provider claims.
MAX_TOKENS_PER_CALL = 20_000_000
# The length of a step's columns for a tool's name and a call's id.
MAX_NAME = 200
# Of what a provider wants back with an answer.
MAX_EXTRA_FIELDS_BYTES = 64 * 1024
MAX_NOTES_BYTES = 4 * 1024


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer. `unsent` are the deltas that the log does not have yet; `extra_fields` as in `Finished`."""

    text: str
    reasoning: str
    unsent: Sequence[NewEvent]
    tool_calls: Sequence[ToolCall]
    extra_fields: Mapping[str, Any]
    finish_reason: FinishReason
    usage: BilledUsage

    @property
    def result(self) -> dict[str, Any]:
        """The `result` of its step."""
        calls = [{"id": call.id, "name": call.name, "arguments": call.arguments} for call in self.tool_calls]
        result: dict[str, Any] = {"text": self.text, "tool_calls": calls}
        if self.reasoning:
            result["reasoning"] = self.reasoning
        if self.extra_fields:
            result["extra_fields"] = self.extra_fields
        if self.finish_reason in CUT_REASONS:
            result["finish_reason"] = self.finish_reason
        return result


class ModelCall:
    """The call of `route` that the open step `step` stands for; `ask` may be called once.

    `may_have_been_sent`: an earlier claim may have made the call already. `on_lost` is called when its words cannot be
    written. `max_tokens` bounds the messages of its request, where the route has refused more. `may_wait`: the turn may
    wait until others have settled what they reserved of a budget.
    """

    def __init__(
        self,
        step: StepRecord,
        route: str,
        context: TurnContext,
        progress: TurnProgress,
        services: Services,
        *,
        may_have_been_sent: bool,
        on_lost: Callable[[], object],
        admission: Admission,
        max_tokens: int | None = None,
        may_wait: bool = True,
    ) -> None:
        self.step = step
        self.route = route
        self._context = context
        self._progress = progress
        self._services = services
        self._may_have_been_sent = may_have_been_sent
        self._on_lost = on_lost
        self._admission = admission
        self._max_tokens = max_tokens
        self._may_wait = may_wait
        # Of what it may cost at most, where a budget applies.
        self._reservation_id: int | None = None
        self._most_characters: float = inf
        self._chunks: list[str] = []
        self._reasoning: list[str] = []
        # Bytes of reasoning that its message still takes; None until some comes.
        self._reasoning_room: int | None = None
        # Of reasoning that its message did not take, an estimate.
        self._unstored_tokens = 0
        self._characters = 0
        self._tool_calls: Sequence[ToolCall] = ()
        self._notes: dict[str, Any] = {}
        self._error: ModelError | None = None
        # The last usage that the provider has reported, and whether more of the answer has come since.
        self._usage_update: UsageUpdate | None = None
        self._is_usage_old = False
        self._request_id: str | None = None
        self._started_at: float | None = None
        self._total_seconds: float | None = None
        self._first_token_seconds: float | None = None
        self._buffer: DeltaBuffer | None = None

    @property
    def may_have_been_sent(self) -> bool:
        """Whether the provider may have received the call, and may bill it."""
        return self._may_have_been_sent

    @property
    def text(self) -> str:
        return "".join(self._chunks)

    @property
    def reasoning(self) -> str:
        return "".join(self._reasoning)

    @property
    def parts(self) -> list[Part]:
        """What the call has shown so far."""
        text, reasoning = self.text, self.reasoning
        return [*([reasoning_part(reasoning)] if reasoning else []), *([text_part(text)] if text else [])]

    @property
    def details(self) -> dict[str, Any]:
        """For `Step.details`: seconds to the first token and to the end, the provider's request id and error, cached
        and reasoning tokens, as far as known, what was sent, and what was odd about the answer."""
        usage = self._usage_update.usage if self._usage_update else None
        details = {
            "first_token_seconds": self._first_token_seconds,
            "seconds": self._total_seconds,
            "request_id": self._request_id,
            "cached_tokens": (min(usage.cached_tokens, MAX_TOKENS_PER_CALL) or None) if usage else None,
            "reasoning_tokens": (min(usage.reasoning_tokens, MAX_TOKENS_PER_CALL) or None) if usage else None,
            "error": (self._error.report or None) if self._error else None,
            "reservation": self._reservation_id,
        }
        return {name: value for name, value in details.items() if value is not None} | self._notes

    async def ask(self) -> Reply:
        """The answer. Raises `ModelError`, `Park`, `LimitReached`, and what writing to the log raises."""
        try:
            return await self._run()
        except ModelError as error:
            if error.not_billed and not self._chunks and not self._reasoning and self._usage_update is None:
                self._may_have_been_sent = False
            self._request_id = error.request_id or self._request_id
            self._error = error
            raise
        finally:
            if self._started_at is not None:
                self._total_seconds = round(self._seconds(), 3)

    async def close(self) -> list[NewEvent]:
        """Stop writing deltas: wait for the write that is under way, and return what it has left unwritten.

        Raises what the writes have raised.
        """
        if self._buffer is None:
            return []
        unsent = await self._buffer.close()
        self._buffer = None
        return unsent

    def partial_cost(self) -> BilledUsage:
        """The usage of a call that has no answer, as far as its provider has reported it. Of an answer that went on
        after the last report, as those do whose provider reports the input before it writes, nobody knows the
        output."""
        if not self._may_have_been_sent:
            return BilledUsage()
        update = self._usage_update
        if update is None:
            return self._price(None, None)
        usage = self._price(update.usage, update.response_model)
        if self._is_usage_old:
            return replace(usage, output_tokens=None, cost_usd=self._price(None, None).cost_usd)
        return usage

    def estimate_output(self, usage: BilledUsage) -> int:
        """The output tokens of the call so far, estimated, where `usage` does not know them, else 0: the limits of a
        turn hold also for a provider that reports nothing."""
        if usage.output_tokens is not None:
            return 0
        calls = [call.name + call.arguments for call in self._tool_calls]
        return estimate_tokens("".join([*self._reasoning, *self._chunks, *calls])) + self._unstored_tokens

    async def _run(self) -> Reply:
        llm, _ = self._services.models.resolve(self.route)
        assembled, self._reservation_id = await reserve_call(
            self._services,
            self._context,
            self._progress,
            step=self.step.number,
            route=self.route,
            assembled=await self._assemble(),
            may_wait=self._may_wait,
        )
        request = assembled.request
        self._notes["request"] = assembled.record()
        if self._reservation_id is not None and request.max_output_tokens is not None:
            self._notes["request"]["most"] = request.max_output_tokens
            self._most_characters = MAX_CHARACTERS_PER_TOKEN * request.max_output_tokens
        self._may_have_been_sent = True
        self._started_at = asyncio.get_running_loop().time()
        self._buffer = self._services.deltas.open_buffer(self._context.claim, self._on_lost)
        finished: Finished | None = None
        async with aclosing(llm.stream(request)) as events:
            async for event in events:
                finished = self._take(event, self._buffer) or finished
                if isinstance(event, FirstToken):
                    if event.rate_limits is not None:
                        self._admission.record_rate(event.rate_limits)
                    await self._admission.record_first_token(self._seconds())
        assert finished is not None, "a stream ends with one Finished"
        self._report_tokens(assembled, finished.usage)
        # An answer may be empty where a limit or one of the client's texts ended it before its first word.
        is_cut = finished.finish_reason != "stop" or self._context.client.stop
        if not finished.tool_calls and not is_cut and not self.text.strip():
            raise EmptyAnswer
        self._tool_calls = tuple(map(_storable, finished.tool_calls[: 1 if self._context.client.one_call else None]))
        return Reply(
            text=self.text,
            reasoning=self.reasoning,
            unsent=await self.close(),
            tool_calls=self._tool_calls,
            extra_fields=self._take_extra_fields(finished.extra_fields),
            finish_reason=finished.finish_reason,
            usage=self._price(finished.usage, finished.response_model),
        )

    async def _assemble(self) -> AssembledRequest:
        spans = self._progress.spans
        started_at = spans.begin()
        assembled = await assemble(
            self._context, self._progress, self._services, self.route, max_tokens=self._max_tokens
        )
        request = assembled.request
        spans.end(CONTEXT, started_at, bandstand__phase="assemble", bandstand__messages=len(request.messages))
        self._notes["context"] = assembled.report()
        if (seconds := self._progress.take_recall_seconds()) is not None:
            self._notes["recall_seconds"] = seconds
        self._progress.left_out = assembled.prompt.dropped_messages
        self._progress.context_percent = assembled.context_percent
        if self._max_tokens is not None:
            self._notes["context_compressed"] = {"max_tokens": self._max_tokens, "messages": len(request.messages)}
        if (seconds := self._admission.first_token_seconds) is not None:
            first = min(seconds, request.deadlines.first_token_seconds)
            request = replace(request, deadlines=replace(request.deadlines, first_token_seconds=first))
            assembled = replace(assembled, request=request)
        return assembled

    def _report_tokens(self, assembled: AssembledRequest, usage: Usage | None) -> None:
        """Tell the guard of the route what its provider counts, where that is of interest."""
        if usage is not None and self._admission.wants_tokens:
            request = assembled.request
            estimated = count_tokens(request.messages, estimate_tokens) + count_tools(request.tools)
            self._admission.record_tokens(
                estimated=estimated, reported=usage.input_tokens, window=assembled.known_window
            )

    def _seconds(self) -> float:
        """The age of the call."""
        return asyncio.get_running_loop().time() - (self._started_at or 0.0)

    def _take(self, event: ModelEvent, buffer: DeltaBuffer) -> Finished | None:
        if isinstance(event, Finished):
            self._notes |= event.notes if _is_storable(event.notes, MAX_NOTES_BYTES) else {"notes_dropped": True}
            if event.usage is not None:
                self._usage_update = UsageUpdate(event.usage, event.response_model)
                self._is_usage_old = False
            return event
        if isinstance(event, UsageUpdate):
            self._usage_update = event
            self._is_usage_old = False
            return None
        self._is_usage_old = True
        if isinstance(event, FirstToken):
            self._request_id = event.request_id
            self._first_token_seconds = round(self._seconds(), 3)
        else:
            self._append(event, buffer)
        return None

    def _append(self, delta: TextDelta | ReasoningDelta, buffer: DeltaBuffer) -> None:
        text = storable_text(delta.text)
        if isinstance(delta, ReasoningDelta):
            self._reason(text, buffer)
        else:
            self._chunks.append(text)
            buffer.feed(text)
        # A provider that ignores every limit is stopped during its answer, not after it.
        self._characters += len(text)
        self._progress.check_length(self._characters)
        if self._characters > self._most_characters:
            raise LimitReached("The answer is longer than what is reserved of a budget for it.")

    def _reason(self, text: str, buffer: DeltaBuffer) -> None:
        if self._reasoning_room is None:
            self._reasoning_room = self._progress.reasoning_room
        if self._reasoning_room < 0:
            self._unstored_tokens += estimate_tokens(text)
            return
        encoded = text.encode()
        if len(encoded) > self._reasoning_room:
            stored = encoded[: self._reasoning_room].decode(errors="ignore")
            self._unstored_tokens += estimate_tokens(text[len(stored) :])
            text = stored + REASONING_CUT
        self._reasoning_room -= len(encoded)
        self._reasoning.append(text)
        buffer.feed(text, EventType.REASONING_DELTA)

    def _take_extra_fields(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """`fields`, unless a row cannot take them: then none, with a note."""
        if _is_storable(fields, MAX_EXTRA_FIELDS_BYTES):
            return fields
        self._notes["extra_fields_dropped"] = True
        return {}

    def _price(self, usage: Usage | None, response_model: str | None) -> BilledUsage:
        return price_usage(self._services.models, self.route, usage, response_model)


def price_usage(models: ModelGateway, route: str, usage: Usage | None, response_model: str | None) -> BilledUsage:
    """What a call of `route` has used and costs; unknown where the provider reports nothing, but free where all calls
    are."""
    if usage is not None:
        usage = replace(
            usage,
            input_tokens=min(usage.input_tokens, MAX_TOKENS_PER_CALL),
            output_tokens=min(usage.output_tokens, MAX_TOKENS_PER_CALL),
        )
    cost = models.cost(route, usage, response_model=response_model)
    return BilledUsage(usage.input_tokens, usage.output_tokens, cost) if usage else BilledUsage(None, None, cost)


def _is_storable(value: Mapping[str, Any], max_bytes: int) -> bool:
    """Whether a row can take `value` as JSON: not too large, no lone surrogates, no NUL."""
    if not value:
        return True
    try:
        dumped = orjson.dumps(value)
    except orjson.JSONEncodeError:
        return False
    return len(dumped) <= max_bytes and b"\\u0000" not in dumped


def _storable(call: ToolCall) -> ToolCall:
    """`call` as a row can store it, from the beginning: its result is matched by the same id everywhere."""
    call_id, name = (storable_text(text)[:MAX_NAME] for text in (call.id, call.name))
    return ToolCall(call_id, name, storable_text(call.arguments))
