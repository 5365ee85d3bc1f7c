"""The services of its process that the engine uses, as protocols: models, tools, and writing text to the log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol
from uuid import UUID

from agents.domain.fallback import ONE_ATTEMPT, Policy
from agents.domain.model_messages import ToolSpec
from agents.engine.delta_buffer import DeltaBuffer
from agents.journal.claims import Claim
from agents.llm.interface import LLM, Deadlines, Usage


class ModelGateway(Protocol):
    """Finds models by the routes of a release."""

    def resolve(self, route: str) -> tuple[LLM, str]:
        """The client for a route of a release, and the provider's name of the model. Raises `BadModelRequest` for a
        route that cannot be used here."""
        ...

    def deadlines(self, route: str) -> Deadlines:
        """How long a call of a route may take."""
        ...

    async def window(self, route: str) -> int | None:
        """Tokens that the model behind a route can take, its answer among them; None if unknown."""
        ...

    def cost(self, route: str, usage: Usage | None, *, response_model: str | None) -> Decimal | None:
        """US dollars for what a model has used; None when that is unknown."""
        ...


class ToolResult(Protocol):
    """What a model reads of a tool call."""

    @property
    def content(self) -> str: ...

    @property
    def is_error(self) -> bool: ...


class ToolRunner(Protocol):
    """Describes tools and runs them."""

    def specs(self, names: Sequence[str]) -> tuple[ToolSpec, ...]: ...

    def is_idempotent(self, name: str) -> bool: ...

    async def call(
        self, name: str, arguments: str, *, session_id: UUID, turn_id: UUID, step: int, allowed: Sequence[str]
    ) -> ToolResult:
        """The result of the call. Raises `Park` when it must wait before it can run."""
        ...


class DeltaWriter(Protocol):
    """Writes the text of model calls to the log."""

    def open_buffer(self, claim: Claim, on_failed: Callable[[], object]) -> DeltaBuffer:
        """A buffer for the words of one model call; `on_failed` is called when a write to the log of the turn fails."""
        ...


@dataclass(frozen=True, slots=True)
class Services:
    """The services of one event loop, made and closed by the process that runs turns. `policy` says how often a model
    is asked for one answer.

    `suspects` is held by a turn that has lost a runner while a tool ran, as long as tools of it run: if this process
    stops, too, then it was that one.
    """

    models: ModelGateway
    tools: ToolRunner
    deltas: DeltaWriter
    policy: Policy = ONE_ATTEMPT
    suspects: asyncio.Lock = field(default_factory=asyncio.Lock)
