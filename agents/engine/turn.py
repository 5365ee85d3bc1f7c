"""The loop of one turn: ask the model, run the tools it calls, ask again, until it answers or hands calls to a client.

Whatever happens inside, the turn leaves this module in one of three ways: it has ended (`finish`), it belongs to
somebody else (`LostTurn`), or its runner gives it back because the database could not be reached or the process is
about to stop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import Enum
from typing import Any, Protocol
from uuid import UUID

from django.db import InterfaceError, OperationalError

from agents.engine.context import TurnContext
from agents.engine.deltas import get_deltas
from agents.engine.pump import DeltaPump
from agents.engine.writes import last_write, write
from agents.journal.fenced import Ended, Ending, Intent, LostTurn, NewEvent, Settled, advance, finish
from agents.llm.errors import ModelError
from agents.llm.port import LLM, Finished, Metered, ModelRequest, TextDelta, ToolCall, Usage
from agents.rules.client_options import smaller
from agents.rules.conversation import ToolSpec, storable_text
from agents.rules.history import build_request
from agents.rules.parts import Part, text_part
from agents.rules.spending import Spent, total
from agents.rules.states import StepKind, StepStatus, TurnStatus
from agents.rules.steps import UNKNOWN_OUTCOME, StepRecord, last_calls, open_model_call, open_tools, parts_of
from agents.rules.wire import error_shape, retry_suggested
from foundation.ids import new_id

logger = logging.getLogger(__name__)


# More than any language needs per token on average, so that only a runaway answer meets it.
MAX_CHARACTERS_PER_TOKEN = 10
# More than any model reads or writes; a hundred of them still fit into a turn's columns, whatever a provider claims.
MAX_TOKENS_PER_CALL = 20_000_000
# What a step's columns hold of a tool's name and of a call's id.
MAX_NAME = 200


class Stop(Enum):
    """Why a running turn was cancelled from outside."""

    ASKED = "asked"  # a person or a program stopped it
    DRAIN = "drain"  # the runner is about to end
    LOST = "lost"  # the lease is gone


class LimitReached(Exception):
    """The release's limits allow no further step."""


class Models(Protocol):
    def resolve(self, route: str) -> tuple[LLM, str]:
        """The model behind a route of a release, and the name that it has there."""
        ...

    def cost(self, route: str, usage: Usage | None, *, response_model: str | None) -> Decimal | None:
        """US dollars for what a model has used; None when that is unknown."""
        ...


class Outcome(Protocol):
    @property
    def content(self) -> str: ...

    @property
    def is_error(self) -> bool: ...


class Tools(Protocol):
    def specs(self, names: Sequence[str]) -> tuple[ToolSpec, ...]: ...

    def is_idempotent(self, name: str) -> bool: ...

    async def call(
        self, name: str, arguments: str, *, session_id: UUID, turn_id: UUID, step: int, allowed: Sequence[str]
    ) -> Outcome: ...


@dataclass(frozen=True, slots=True)
class Services:
    models: Models
    tools: Tools


@dataclass(frozen=True, slots=True)
class _Reply:
    text: str
    unsent: str
    tool_calls: tuple[ToolCall, ...]
    cut: bool
    spent: Spent


class TurnRun:
    """One claim of one turn. `run` may be called once; `stop` asks it to end from the same event loop."""

    def __init__(self, context: TurnContext, services: Services) -> None:
        self.claim = context.claim
        self._context = context
        self._services = services
        self._limits = context.release.limits
        self._client_tools = context.client.tool_names
        self._steps: list[StepRecord] = list(context.steps)
        # What earlier claims of this turn have used counts too: for its limits, and for who pays.
        self._spent = total(step.spent for step in context.steps)
        self._stop: Stop | None = None
        self._task: asyncio.Task[Any] | None = None
        # The open model call: what it said, and what of that the log does not have yet.
        self._said: list[str] = []
        self._said_characters = 0
        self._pump: DeltaPump | None = None
        # What its provider has counted of it so far; and whether it was asked at all, if only by an earlier claim.
        self._metered: Metered | None = None
        self._asked = context.claim.epoch > 1
        # Tool calls whose intent this claim wrote itself: only those are known not to have run.
        self._fresh: set[int] = set()
        self._settling = asyncio.Lock()
        self._torn = False

    def stop(self, why: Stop) -> None:
        """Cancel the work at its next wait, or before it begins; the first stop counts, and none after the end."""
        if self._stop is None:
            self._stop = why
            if self._task is not None:
                self._task.cancel()

    async def run(self) -> Ended | None:
        """Work until the turn has ended; None when it was given up for `Stop.DRAIN`.

        Raises `LostTurn`, and database errors: both mean that the caller must not write for this claim any more.
        """
        self._task = asyncio.current_task()
        seconds = min(self._limits.turn_seconds, self.claim.remaining_seconds)
        deadline = asyncio.timeout(max(0.0, seconds))
        try:
            async with deadline:
                if self._stop is not None:
                    raise asyncio.CancelledError
                return await self._work()
        except (LostTurn, OperationalError, InterfaceError):
            raise
        except asyncio.CancelledError:
            return await self._stopped()
        except ModelError as error:
            if error.refused and not self._said:
                self._asked = False
            return await self._end_early(TurnStatus.FAILED, error.error_class, error.detail)
        except LimitReached as error:
            return await self._end_early(TurnStatus.FAILED, "limit_reached", str(error))
        except Exception as error:
            if not deadline.expired():
                logger.exception("turn_failed", extra={"turn": str(self.claim.turn_id), "error": type(error).__name__})
                return await self._end_early(TurnStatus.FAILED, "unknown", "Something went wrong on our side.")
            return await self._end_early(TurnStatus.EXPIRED, "deadline", "The turn took longer than it may.")
        finally:
            # What the caller does next with this task, such as giving the turn back, is not ours to stop.
            self._task = None

    async def _work(self) -> Ended:
        while True:
            if tools := open_tools(self._steps):
                await self._run_tools(tools)
                continue
            step = open_model_call(self._steps)
            if step is None:
                if self._client_is_next():
                    return await self._complete()
                step = await self._begin_model_call()
            reply = await self._ask(step)
            # What the client must run goes out with the answer; what stands beside it runs here first.
            ours = [call for call in reply.tool_calls if call.name not in self._client_tools]
            if not ours:
                return await self._answer(step, reply)
            await self._call_tools(step, reply, ours)

    def _client_is_next(self) -> bool:
        """Whether the last answer of the model calls tools of the client, who has the next word then."""
        return any(call["name"] in self._client_tools for call in last_calls(self._steps))

    # --- the model ---

    async def _ask(self, step: StepRecord) -> _Reply:
        release, client = self._context.release, self._context.client
        llm, model = self._services.models.resolve(step.name)
        request = ModelRequest(
            model=model,
            messages=build_request(
                instructions=release.instructions,
                history=self._context.history,
                work=parts_of(self._steps),
                policy=release.context_policy,
                client_instructions=client.instructions,
            ),
            tools=(*self._services.tools.specs(release.tools), *client.tools),
            max_output_tokens=smaller(self._limits.call_output_tokens, client.max_output_tokens),
        )
        finished: Finished | None = None
        self._said, self._said_characters, self._metered, self._asked = [], 0, None, True
        self._pump = pump = DeltaPump(self._flush, self._flush_failed)
        async with aclosing(llm.stream(request)) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    text = storable_text(event.text)
                    self._said.append(text)
                    pump.feed(text)
                    self._check_length(len(text))
                elif isinstance(event, Metered):
                    self._metered = event
                else:
                    finished = event
        assert finished is not None, "the port promises one Finished"
        unsent = await pump.close()
        self._pump = None
        return _Reply(
            text="".join(self._said),
            unsent=unsent,
            tool_calls=tuple(map(_storable, finished.tool_calls)),
            cut=finished.finish_reason == "length",
            spent=self._price(step, finished.usage, finished.response_model),
        )

    def _price(self, step: StepRecord, usage: Usage | None, response_model: str | None) -> Spent:
        if usage is not None:
            counts = (min(count, MAX_TOKENS_PER_CALL) for count in (usage.input_tokens, usage.output_tokens))
            usage = replace(usage, **dict(zip(("input_tokens", "output_tokens"), counts, strict=True)))
        cost = self._services.models.cost(step.name, usage, response_model=response_model)
        return Spent(usage.input_tokens, usage.output_tokens, cost) if usage else Spent(cost_usd=cost)

    def _price_of_no_answer(self, step: StepRecord) -> Spent:
        """What a call has used that came to no end, as far as its provider told."""
        if not self._asked:
            return Spent()
        told = self._metered
        return self._price(step, told.usage, told.response_model) if told else self._price(step, None, None)

    def _check_length(self, characters: int) -> None:
        """A provider that ignores every bound is stopped while it talks, not after."""
        self._said_characters += characters
        if self._said_characters > MAX_CHARACTERS_PER_TOKEN * (self._limits.output_tokens - self._spent.output_tokens):
            raise LimitReached(f"The turn used its {self._limits.output_tokens} output tokens.")

    async def _flush(self, text: str) -> None:
        await get_deltas().write(self.claim, text)

    def _flush_failed(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _settled_call(self, step: StepRecord, reply: _Reply) -> Settled:
        result = {
            "text": reply.text,
            "tool_calls": [
                {"id": call.id, "name": call.name, "arguments": call.arguments} for call in reply.tool_calls
            ],
        } | ({"finish_reason": "length"} if reply.cut else {})
        self._replace(step, StepStatus.DONE, result)
        # The step tells it from here on: were both to tell it, a stop during the commit would keep the text twice.
        self._said = []
        self._spent += reply.spent
        return Settled(step.number, StepStatus.DONE, result, spent=reply.spent)

    async def _answer(self, step: StepRecord, reply: _Reply) -> Ended:
        return await self._complete([self._settled_call(step, reply)], _delta(reply.unsent))

    async def _complete(self, settled: Sequence[Settled] = (), events: Sequence[NewEvent] = ()) -> Ended:
        ending = Ending(
            status=TurnStatus.COMPLETED,
            asked=self._context.asked,
            message_id=new_id(),
            # An empty answer is an answer too: the turn ends with exactly one.
            parts=parts_of(self._steps) or [text_part("")],
            data={"usage": self._spent.shape},
            spent=self._spent,
        )
        return await last_write(finish, self.claim, ending, settled=settled, events=events)

    async def _begin_model_call(self) -> StepRecord:
        step = self._next_model_call()
        self._steps.append(step)
        await write(advance, self.claim, intents=[_intent(step)])
        return step

    def _next_model_call(self) -> StepRecord:
        number = len(self._steps) + 1
        if sum(step.kind is StepKind.MODEL for step in self._steps) >= self._limits.steps:
            raise LimitReached(f"The turn used its {self._limits.steps} model calls.")
        if self._spent.output_tokens >= self._limits.output_tokens:
            raise LimitReached(f"The turn used its {self._limits.output_tokens} output tokens.")
        return StepRecord(number, StepKind.MODEL, StepStatus.INTENT, self._context.release.model_chain[0])

    # --- the tools ---

    async def _call_tools(self, step: StepRecord, reply: _Reply, ours: Sequence[ToolCall]) -> None:
        """Commit what the model said and the intents of our calls, before any of them runs."""
        settled = self._settled_call(step, reply)
        used = sum(step.kind is StepKind.TOOL for step in self._steps)
        if used + len(ours) > self._limits.tool_calls:
            await write(advance, self.claim, settled=[settled], events=_delta(reply.unsent))
            raise LimitReached(f"The turn used its {self._limits.tool_calls} tool calls.")
        calls = [
            StepRecord(
                len(self._steps) + offset,
                StepKind.TOOL,
                StepStatus.INTENT,
                name=call.name,
                call_id=call.id,
                idempotent=self._services.tools.is_idempotent(call.name),
                request=call.arguments,
            )
            for offset, call in enumerate(ours, start=1)
        ]
        # Known before they are written: a stop during the commit settles them like all others.
        self._steps.extend(calls)
        await write(
            advance,
            self.claim,
            settled=[settled],
            intents=[_intent(call) for call in calls],
            events=[
                *_delta(reply.unsent),
                *(_tool_event("tool.started", call, arguments=call.request) for call in calls),
            ],
        )
        self._fresh = {call.number for call in calls}

    async def _run_tools(self, calls: list[StepRecord]) -> None:
        """Run the open calls side by side. A tool that fails leaves the others alone; a write that fails ends them
        all."""
        try:
            async with asyncio.TaskGroup() as group:
                for call in calls:
                    group.create_task(self._run_tool(call), name=f"tool {call.name}")
        except BaseExceptionGroup as failures:
            # They all tell of the same lost turn or lost database; whoever called wants that error itself.
            raise failures.exceptions[0] from None

    async def _run_tool(self, call: StepRecord) -> None:
        if call.number not in self._fresh and not call.idempotent:
            # The intent is of an earlier epoch: it may have run. Say so rather than run it again.
            await self._settle_tool(call, StepStatus.UNKNOWN, UNKNOWN_OUTCOME, is_error=True)
            return
        outcome = await self._services.tools.call(
            call.name,
            call.request,
            session_id=self.claim.session_id,
            turn_id=self.claim.turn_id,
            step=call.number,
            allowed=self._context.release.tools,
        )
        status = StepStatus.FAILED if outcome.is_error else StepStatus.DONE
        await self._settle_tool(call, status, storable_text(outcome.content), is_error=outcome.is_error)

    async def _settle_tool(self, call: StepRecord, status: StepStatus, content: str, *, is_error: bool) -> None:
        result = {"content": content, "is_error": is_error}
        settled = [Settled(call.number, status, result, error_class="tool_error" if is_error else "")]
        extra = {"outcome": "unknown"} if status is StepStatus.UNKNOWN else {}
        events = [_tool_event("tool.failed" if is_error else "tool.finished", call, content=content, **extra)]
        # One after the other: the commit of the last result brings the next intent, and no result may come behind it.
        async with self._settling:
            if self._torn:
                return
            self._replace(call, status, result)
            following = self._following_model_call()
            if following is not None:
                self._steps.append(following)
            intents = [_intent(following)] if following is not None else []
            try:
                await write(advance, self.claim, settled=settled, intents=intents, events=events)
            except Exception:
                # Its outcome is unknown. Those who wait for the lock are not cancelled yet, and may not write after it.
                self._torn = True
                raise

    def _following_model_call(self) -> StepRecord | None:
        """The next model call, when the last tool has ended. (A journal that was torn may have one already.)"""
        if open_tools(self._steps) or open_model_call(self._steps) or self._client_is_next():
            return None
        try:
            return self._next_model_call()
        except LimitReached:
            return None  # said again, and louder, when the loop asks for it

    # --- ends that are no answer ---

    async def _stopped(self) -> Ended | None:
        why = self._stop
        if self._task is not None:
            self._task.uncancel()
        if why is Stop.ASKED:
            return await self._end_early(TurnStatus.CANCELLED, "", "")
        self._task = None
        # No flush may come behind what the caller does next; what one has raised is raised here.
        await self._close_pump()
        if why is Stop.DRAIN:
            return None
        if why is Stop.LOST:
            raise LostTurn
        raise asyncio.CancelledError

    async def _end_early(self, status: TurnStatus, error_class: str, detail: str) -> Ended:
        """End without an answer. What was shown stays, marked as partial."""
        # A stop that comes now is too late: cancelled here, the turn would be left without anybody to end it.
        self._task = None
        unsent = await self._close_pump()
        parts = self._shown()
        error_id = new_id() if error_class else None
        if error_id is not None:
            logger.warning(
                "turn_ended_early",
                extra={"turn": str(self.claim.turn_id), "error_class": error_class, "error_id": str(error_id)},
            )
        error = error_shape(
            error_class=error_class, detail=detail, error_id=error_id, retry_suggested=retry_suggested(error_class)
        )
        settled = [self._abandoned(step, error_class or "cancelled") for step in self._steps if step.open]
        ending = Ending(
            status=status,
            asked=self._context.asked,
            message_id=new_id(),
            parts=parts,
            partial=True,
            data={"usage": self._spent.shape} | ({"error": error} if error_class else {}),
            error_class=error_class,
            error_detail=detail,
            error_id=error_id,
            spent=self._spent,
        )
        return await last_write(finish, self.claim, ending, settled=settled, events=_delta(unsent))

    def _abandoned(self, step: StepRecord, error_class: str) -> Settled:
        """A call that nobody waits for any more. Whether a tool took effect is unknown, unless it may run twice
        anyway."""
        if step.kind is StepKind.TOOL:
            status = StepStatus.FAILED if step.idempotent else StepStatus.UNKNOWN
            return Settled(step.number, status, error_class=error_class)
        spent = self._price_of_no_answer(step)
        self._spent += spent
        return Settled(step.number, StepStatus.FAILED, error_class=error_class, spent=spent)

    async def _close_pump(self) -> str:
        pump, self._pump = self._pump, None
        return await pump.close() if pump is not None else ""

    def _shown(self) -> list[Part]:
        said = "".join(self._said)
        return [*parts_of(self._steps), *([text_part(said)] if said else [])]

    def _replace(self, step: StepRecord, status: StepStatus, result: Any) -> None:
        self._steps[step.number - 1] = replace(step, status=status, result=result)


def _storable(call: ToolCall) -> ToolCall:
    """`call` as its row can hold it, from the beginning: a result is found by the same id on every way back."""
    call_id, name = (storable_text(text)[:MAX_NAME] for text in (call.id, call.name))
    return ToolCall(call_id, name, storable_text(call.arguments))


def _intent(step: StepRecord) -> Intent:
    return Intent(step.number, step.kind, step.name, step.call_id, step.idempotent, step.request)


def _delta(text: str) -> list[NewEvent]:
    return [NewEvent("message.delta", {"text": text})] if text else []


def _tool_event(event_type: str, call: StepRecord, **data: Any) -> NewEvent:
    return NewEvent(event_type, {"step": call.number, "call_id": call.call_id, "name": call.name, **data})
