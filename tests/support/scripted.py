"""A model and tools that do what a test says, behind the engine's own ports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import UUID

from agents.domain.budgets import CallPrice
from agents.domain.model_messages import ToolSpec
from agents.engine.delta_writer import BatchingDeltaWriter
from agents.engine.ports import Services
from agents.llm.interface import (
    LLM,
    Deadlines,
    Finished,
    FinishReason,
    FirstToken,
    ModelEvent,
    ModelRequest,
    ReasoningDelta,
    TextDelta,
    ToolCall,
    Usage,
    UsageUpdate,
)
from tests.support.budgets import A_CENT_PER_TOKEN

USAGE = Usage(3, 5)

Item = str | ReasoningDelta | Usage | Exception | Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Reply:
    """What one call of the model gives: texts, reasoning, usage so far, pauses (awaited), or an error; then its end
    with these calls."""

    items: Sequence[Item] = ()
    calls: Sequence[ToolCall] = ()
    usage: Usage | None = USAGE
    finish_reason: FinishReason | None = None
    extra_fields: Mapping[str, Any] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)


def says(*items: Item, usage: Usage | None = USAGE) -> Reply:
    return Reply(items, usage=usage)


def calls(*named: tuple[str, str, str], text: str = "") -> Reply:
    """A reply with tool calls, each as (id, name, arguments)."""
    return Reply([text] if text else [], [ToolCall(*one) for one in named])


@dataclass
class ScriptedModel:
    """Gives its replies one after the other, the last one for ever. `left` counts the streams that were left early."""

    replies: Sequence[Reply]
    requests: list[ModelRequest] = field(default_factory=list)
    open: int = 0
    left: int = 0

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        reply = self.replies[min(len(self.requests), len(self.replies) - 1)]
        self.requests.append(request)
        self.open += 1
        finished = begun = False
        try:
            for item in reply.items:
                if isinstance(item, Exception):
                    raise item
                if isinstance(item, str | ReasoningDelta):
                    if not begun:
                        begun = True
                        yield FirstToken(f"req-{len(self.requests)}")
                    yield TextDelta(item) if isinstance(item, str) else item
                elif isinstance(item, Usage):
                    yield UsageUpdate(item, "scripted")
                else:
                    await item()
            if not begun:
                yield FirstToken(f"req-{len(self.requests)}")
            reason = reply.finish_reason or ("tool_calls" if reply.calls else "stop")
            yield Finished(
                tuple(reply.calls), reply.usage, reason, "scripted", extra_fields=reply.extra_fields, notes=reply.notes
            )
            finished = True
        finally:
            self.open -= 1
            self.left += not finished

    async def aclose(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True, slots=True)
class Outcome:
    content: str
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class Called:
    name: str
    arguments: str
    key: str


@dataclass
class ScriptedTools:
    """Tools by name, each a coroutine function of its arguments. `called` lists every call, in order."""

    tools: Mapping[str, Callable[[str], Awaitable[Outcome]]] = field(default_factory=dict)
    idempotent: frozenset[str] = frozenset()
    trusted_names: frozenset[str] = frozenset()
    schemas: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    called: list[Called] = field(default_factory=list)

    def specs(self, names: Sequence[str]) -> tuple[ToolSpec, ...]:
        return tuple(ToolSpec(name, f"The tool {name}.", self.schemas.get(name, {"type": "object"})) for name in names)

    def is_idempotent(self, name: str) -> bool:
        return name in self.idempotent

    async def call(
        self,
        name: str,
        arguments: str,
        *,
        session_id: UUID,
        turn_id: UUID,
        user_id: int,
        step: int,
        allowed: Sequence[str],
    ) -> Outcome:
        self.called.append(Called(name, arguments, f"{turn_id}:{step}"))
        return await self.tools[name](arguments)


@dataclass(frozen=True, slots=True)
class Models:
    """Every route leads to the same model; `windows` says how much it takes there."""

    model: LLM
    windows: Mapping[str, int] = field(default_factory=dict)
    price: CallPrice | None = A_CENT_PER_TOKEN

    def resolve(self, route: str) -> tuple[LLM, str]:
        return self.model, route.partition(":")[2]

    def deadlines(self, route: str) -> Deadlines:
        return Deadlines()

    async def price_bound(self, route: str, *, input_tokens: int) -> CallPrice | None:
        """A cent per token, unless `price` says otherwise."""
        return self.price

    async def window(self, route: str) -> int | None:
        return self.windows.get(route)

    def cost(self, route: str, usage: Usage | None, *, response_model: str | None) -> Decimal | None:
        """A cent per token."""
        return Decimal(usage.input_tokens + usage.output_tokens) / 100 if usage else None


def scripted(*replies: Reply, **tools: Any) -> tuple[Services, ScriptedModel, ScriptedTools]:
    """Services of a turn, and the two ends of them that a test looks at."""
    model, box = ScriptedModel(replies), ScriptedTools(**tools)
    return services_for(model, box), model, box


def services_for(model: LLM, tools: ScriptedTools | None = None) -> Services:
    """All that the engine uses, with `model` behind every route."""
    return Services(Models(model), tools or ScriptedTools(), BatchingDeltaWriter())


async def for_ever() -> None:
    await asyncio.Event().wait()
