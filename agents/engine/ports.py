"""The services of its process that the engine uses, as protocols: models and the state of their routes, tools, and
writing text to the log."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Protocol
from uuid import UUID

from agents.budgets.reservations import BudgetRequest, Reply, Reserved
from agents.domain.budgets import CallPrice
from agents.domain.failures import ErrorClass
from agents.domain.fallback import ONE_ATTEMPT, Policy
from agents.domain.model_messages import ToolSpec
from agents.domain.retry_adaptation import RetryAdaptation
from agents.domain.retry_budget import RetryBudget
from agents.domain.states import Priority
from agents.engine.delta_buffer import DeltaBuffer
from agents.journal.claims import Claim
from agents.llm.errors import ModelError
from agents.llm.interface import LLM, Deadlines, RateLimits, Usage
from foundation.spans import SpanBuffer
from memory.ownership import OwnerKey
from memory.recall import Recall, RecallRequest

# Calls for side work that one process makes at a time.
UTILITY_CALLS = 4


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

    async def price_bound(self, route: str, *, input_tokens: int) -> CallPrice | None:
        """What a call costs at most, whose request has no more tokens than that; None when that is unknown."""
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

    @property
    def trusted_names(self) -> frozenset[str]:
        """The tools whose results strangers have no part in."""
        ...

    def specs(self, names: Sequence[str]) -> tuple[ToolSpec, ...]: ...

    def is_idempotent(self, name: str) -> bool: ...

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
    ) -> ToolResult:
        """The result of the call. Raises `Park` when it must wait before it can run."""
        ...


class DeltaWriter(Protocol):
    """Writes the text of model calls to the log."""

    def open_buffer(self, claim: Claim, on_failed: Callable[[], object]) -> DeltaBuffer:
        """A buffer for the words of one model call; `on_failed` is called when a write to the log of the turn fails."""
        ...


class Admission(Protocol):
    """The right to ask a route once. The one who got it reports the outcome, with one of the last three methods."""

    @property
    def first_token_seconds(self) -> float | None:
        """The deadline of a probe, which is shorter than others; None for an ordinary call."""
        ...

    @property
    def wants_tokens(self) -> bool:
        """Whether the tokens of this call are of interest."""
        ...

    def record_tokens(self, *, estimated: int, reported: int, window: int | None) -> None:
        """The tokens of the request, `estimated` without the model's token factor and `reported` by the provider; and
        the model's context window, None if unknown."""
        ...

    def record_rate(self, limits: RateLimits) -> None:
        """What the answer says of its provider's limits."""
        ...

    async def record_first_token(self, seconds: float) -> None:
        """The first sign of life came after `seconds`: a probe has succeeded."""
        ...

    async def record_success(self, seconds: float | None = None) -> None:
        """The call has its answer."""
        ...

    async def record_failure(self, error: ModelError) -> None:
        """The call has failed. Whether the route is charged follows from the error's class."""
        ...

    async def release(self) -> None:
        """The call was cancelled, or cut short by a deadline of ours: it does not count."""
        ...


class RouteGuard(Protocol):
    """What all processes know of the routes."""

    async def enter(self, route: str, priority: int = Priority.INTERACTIVE) -> Admission | None:
        """The right to ask `route` once; None when it must not be asked now. Costs nothing for a healthy route. Where
        calls are spaced those of `Priority.BACKGROUND` leave the places of the next moments to others."""
        ...

    def blocked_until(self, route: str) -> datetime | None:
        """When a route that must not be asked may be asked again; None when it may be asked now."""
        ...

    def blocked_by(self, route: str) -> ErrorClass | None:
        """The class of the errors for which a route must not be asked; None when it may be, or nobody knows."""
        ...

    def token_factor(self, route: str) -> float:
        """How many tokens of the model behind `route` an estimated one is."""
        ...


class FreeAdmission:
    """An admission that nobody counts."""

    first_token_seconds: float | None = None
    wants_tokens: bool = False

    def record_tokens(self, *, estimated: int, reported: int, window: int | None) -> None:
        """See `Admission`."""

    def record_rate(self, limits: RateLimits) -> None:
        """See `Admission`."""

    async def record_first_token(self, seconds: float) -> None:
        """See `Admission`."""

    async def record_success(self, seconds: float | None = None) -> None:
        """See `Admission`."""

    async def record_failure(self, error: ModelError) -> None:
        """See `Admission`."""

    async def release(self) -> None:
        """See `Admission`."""


class UnguardedRoutes:
    """A guard that refuses nothing and knows nothing."""

    async def enter(self, route: str, priority: int = Priority.INTERACTIVE) -> Admission | None:  # noqa: ARG002
        """See `RouteGuard`."""
        return FreeAdmission()

    def blocked_until(self, route: str) -> datetime | None:  # noqa: ARG002
        """See `RouteGuard`."""
        return None

    def blocked_by(self, route: str) -> ErrorClass | None:  # noqa: ARG002
        """See `RouteGuard`."""
        return None

    def token_factor(self, route: str) -> float:  # noqa: ARG002
        """See `RouteGuard`."""
        return 1.0


class BudgetGuard(Protocol):
    """Reserves money and tokens for calls of models."""

    def applies(self, *, user_id: int, agent_id: UUID | None) -> bool:
        """Whether a call must be reserved for; costs nothing."""
        ...

    async def reserve(self, request: BudgetRequest) -> Reply:
        """What becomes of `request`. Raises database errors."""
        ...

    def release(self, reservation_id: int) -> None:
        """Give back a reservation whose call was certainly not made, soon."""
        ...

    def note_outcome(self) -> None:
        """An outcome that names a reservation is committed: others may go on."""
        ...


class NoBudgets:
    """A guard for a process without budgets."""

    def applies(self, *, user_id: int, agent_id: UUID | None) -> bool:  # noqa: ARG002
        """See `BudgetGuard`."""
        return False

    async def reserve(self, request: BudgetRequest) -> Reply:
        """See `BudgetGuard`."""
        return Reserved(None, request.output_tokens)

    def release(self, reservation_id: int) -> None:
        """See `BudgetGuard`."""

    def note_outcome(self) -> None:
        """See `BudgetGuard`."""


class MemoryRetriever(Protocol):
    """Finds memories."""

    async def __call__(
        self, owners: Sequence[OwnerKey], request: RecallRequest, /, *, pools_for: tuple[UUID, int] | None
    ) -> Recall:
        """The memories of `owners` that have to do with a question, best first, and of the pools of an agent that a
        user may draw on."""
        ...


@dataclass(frozen=True, slots=True)
class Services:
    """The services of one event loop, made and closed by the process that runs turns.

    `policy` says how often models are asked for one answer, within the process's `retry_budget`. `draw` returns a
    random number from 0 to 1, for the pauses between, which `retry_adaptation` may stretch.

    `memories` is what the turns of agents that recall are searched for; None: of nobody.

    `utility_slots` bounds the calls for side work.

    `spans` is where parts of a turn are recorded that are no steps.

    `suspects` is held by a turn that has lost a runner while a tool ran, as long as tools of it run: if this process
    stops, too, then it was that one.
    """

    models: ModelGateway
    tools: ToolRunner
    deltas: DeltaWriter
    routes: RouteGuard = field(default_factory=UnguardedRoutes)
    budgets: BudgetGuard = field(default_factory=NoBudgets)
    policy: Policy = ONE_ATTEMPT
    retry_budget: RetryBudget = field(default_factory=RetryBudget)
    retry_adaptation: RetryAdaptation = field(default_factory=RetryAdaptation)
    draw: Callable[[], float] = random.random
    suspects: asyncio.Lock = field(default_factory=asyncio.Lock)
    memories: MemoryRetriever | None = None
    spans: SpanBuffer = field(default_factory=SpanBuffer)
    utility_slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(UTILITY_CALLS))
