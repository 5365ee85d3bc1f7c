"""Guards of routes as processes have them: each with a listening connection of its own, asking a real provider."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from agents.domain.circuit_breaker import BreakerPolicy
from agents.journal.listen_connection import open_listen_connection
from agents.llm.errors import ModelError
from agents.llm.interface import ChatMessage, Deadlines, FirstToken, ModelRequest
from agents.llm.openai import OpenAIConfig, OpenAIModel
from agents.routing.admissions import CallAdmission, ProbeAdmission, UncountedAdmission
from agents.routing.guard import ProcessRouteGuard
from agents.routing.guard_settings import GuardSettings, RouteFigures
from foundation.http import GuardedClient, allowed_origin
from foundation.pg_listener import ListeningThread
from tests.provider import Provider

ROUTE = "openai:fake"
CREDENTIALS = {"openai": "0123456789abcdef"}
# As the default, but open for moments only.
SOON = BreakerPolicy(open_seconds=0.05, max_open_seconds=0.05, jitter=0)
LATER = BreakerPolicy(open_seconds=600, max_open_seconds=600, jitter=0)

Admitted = CallAdmission | ProbeAdmission | UncountedAdmission


@dataclass
class Process:
    """One guard, and the adapter behind it."""

    guard: ProcessRouteGuard
    model: OpenAIModel

    async def ask(self, route: str = ROUTE, *, admission: Admitted | None = None, **deadlines: float) -> str:
        """One call, as the engine makes it: "refused", "answered" or the class of its error."""
        admission = admission or await self.guard.enter(route)
        return "refused" if admission is None else await self.call(admission, route, **deadlines)

    async def call(self, admission: Admitted, route: str = ROUTE, **deadlines: float) -> str:
        limits = Deadlines(**deadlines)
        if admission.first_token_seconds is not None:
            limits = replace(limits, first_token_seconds=admission.first_token_seconds)
        request = ModelRequest(route.partition(":")[2], (ChatMessage("user", "Hello"),), deadlines=limits)
        began = asyncio.get_running_loop().time()
        try:
            async with aclosing(self.model.stream(request)) as events:
                async for event in events:
                    if isinstance(event, FirstToken):
                        if event.rate_limits is not None:
                            admission.record_rate(event.rate_limits)
                        await admission.record_first_token(asyncio.get_running_loop().time() - began)
        except ModelError as error:
            await admission.record_failure(error)
            return str(error.error_class)
        except asyncio.CancelledError:
            await admission.release()
            raise
        await admission.record_success()
        return "answered"


@asynccontextmanager
async def processes(
    provider: Provider,
    number: int = 1,
    *,
    breaker: BreakerPolicy = LATER,
    figures: Callable[[str], RouteFigures] = lambda _route: RouteFigures(),
    **settings: Any,
) -> AsyncIterator[list[Process]]:
    """So many guards, which listen."""
    async with AsyncExitStack() as stack:
        origin = frozenset({allowed_origin(provider.base_url)})
        client = await stack.enter_async_context(GuardedClient(allow_origins=origin))
        model = OpenAIModel(OpenAIConfig("sk-test", provider.base_url), client)
        guards = []
        for _ in range(number):
            guard = ProcessRouteGuard(
                CREDENTIALS, GuardSettings(breaker=breaker, **settings), figures=figures, draw=lambda: 0.0
            )
            heard = asyncio.Event()
            thread = _listener(guard, heard)
            thread.start()
            stack.push_async_callback(guard.aclose)
            stack.push_async_callback(asyncio.to_thread, thread.stop)
            await asyncio.wait_for(heard.wait(), 10)
            guards.append(Process(guard, model))
        yield guards


def _listener(guard: ProcessRouteGuard, heard: asyncio.Event) -> ListeningThread:
    loop = asyncio.get_running_loop()

    def work(connection: Any, wake: Any) -> None:
        guard.hear(connection, wake)
        loop.call_soon_threadsafe(heard.set)

    return ListeningThread(name="routes", channels=[guard.channel], connect=open_listen_connection, work=work)
