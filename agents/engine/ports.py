"""All that the engine uses of its process, behind ports: models, tools, and the way of words into the log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol
from uuid import UUID

from agents.domain.chat import ToolSpec
from agents.domain.fallback import ONE_ATTEMPT, Policy
from agents.engine.delta_buffer import DeltaBuffer
from agents.journal.claims import Claim
from agents.llm.interface import LLM, Usage


class ModelGateway(Protocol):
    def resolve(self, route: str) -> tuple[LLM, str]:
        """The model behind a route of a release, and the name that it has there. Raises `BadModelRequest`."""
        ...

    async def window(self, route: str) -> int | None:
        """Tokens that the model behind a route can take, its answer among them; None where nobody knows."""
        ...

    def cost(self, route: str, usage: Usage | None, *, response_model: str | None) -> Decimal | None:
        """US dollars for what a model has used; None when that is unknown."""
        ...


class ToolResult(Protocol):
    @property
    def content(self) -> str: ...

    @property
    def is_error(self) -> bool: ...


class ToolRunner(Protocol):
    def specs(self, names: Sequence[str]) -> tuple[ToolSpec, ...]: ...

    def is_idempotent(self, name: str) -> bool: ...

    async def call(
        self, name: str, arguments: str, *, session_id: UUID, turn_id: UUID, step: int, allowed: Sequence[str]
    ) -> ToolResult:
        """What came of the call. Raises `Park` for one that could not run yet."""
        ...


class DeltaWriter(Protocol):
    def open_buffer(self, claim: Claim, on_failed: Callable[[], object]) -> DeltaBuffer:
        """For one call of a model; `on_failed` is called when the log of the turn refuses its words."""
        ...


@dataclass(frozen=True, slots=True)
class Services:
    """Of one event loop. Whoever runs turns makes it, and closes what it holds. `policy` says how often a model is
    asked for one answer."""

    models: ModelGateway
    tools: ToolRunner
    deltas: DeltaWriter
    policy: Policy = ONE_ATTEMPT
