"""What the engine is given: the models and the tools of a process, behind ports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol
from uuid import UUID

from agents.domain.chat import ToolSpec
from agents.llm.interface import LLM, Usage


class Models(Protocol):
    def resolve(self, route: str) -> tuple[LLM, str]:
        """The model behind a route of a release, and the name that it has there. Raises `BadModelRequest`."""
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
    ) -> Outcome:
        """What came of the call. Raises `Park` for one that could not run yet."""
        ...


@dataclass(frozen=True, slots=True)
class Services:
    models: Models
    tools: Tools
