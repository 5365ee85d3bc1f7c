"""A circuit breaker opens while its provider fails, another process learns of it, turns go on with the next model, and
it closes when the provider answers again."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any, Final

from agents.engine.ports import Admission
from agents.journal.listen_connection import open_listen_connection
from agents.llm.errors import ModelError
from agents.llm.interface import ChatMessage, ModelRequest
from agents.models import RouteHealth
from agents.routing.guard import ProcessRouteGuard
from agents.routing.route_rows import ROUTES_CHANNEL
from foundation.db_threads import in_db_thread
from foundation.pg_listener import ListeningThread
from monitoring.readiness_validator.scratch.trial_bench import (
    OFFLINE,
    ROUTE,
    TrialBench,
    answering_routes,
    ask,
    create_scratch_agent,
    wait_for_turns,
)

_AGENT: Final = "readiness-breaker"
# Until another process has been notified.
_NOTICE_SECONDS: Final = 5.0
_TURN_SECONDS: Final = 20.0
_LOOK_SECONDS: Final = 0.05


async def try_breaker(bench: TrialBench) -> dict[str, Any]:
    """How many calls it took to open, who knew of it, who answered meanwhile, and after how many seconds it was closed;
    None for what did not happen."""
    await in_db_thread(create_scratch_agent, _AGENT, ROUTE, OFFLINE)
    # Another process's guard, which hears of the route by the database alone.
    other = ProcessRouteGuard(bench.credentials, bench.guard)
    listener = ListeningThread(
        name="scratch guard", channels=[ROUTES_CHANNEL], connect=open_listen_connection, work=other.hear
    )
    other.blocked_until(ROUTE)
    listener.start()
    try:
        return await _open_and_close(bench, other)
    finally:
        bench.provider.fails = False
        await asyncio.to_thread(listener.stop)
        await other.aclose()


async def _open_and_close(bench: TrialBench, other: ProcessRouteGuard) -> dict[str, Any]:
    provider, routes = bench.provider, bench.routes
    provider.fails = True
    calls, is_open = await _fail_until_open(bench)
    result: dict[str, Any] = {"calls": calls, "opened": is_open}
    if not is_open:
        return result
    result["stored"] = await in_db_thread(_read_state)
    result["others_know"] = await _wait_until(lambda: other.blocked_until(ROUTE) is not None, _NOTICE_SECONDS)
    asked = provider.requests
    result["answered_meanwhile"] = await _answer(bench)
    result["asked_while_open"] = provider.requests - asked
    provider.fails = not bench.settings.recovers
    loop = asyncio.get_running_loop()
    began = loop.time()
    while routes.blocked_until(ROUTE) is not None or await in_db_thread(_read_state) != "closed":
        if loop.time() - began > bench.settings.recovery_seconds:
            return result
        if (admission := await routes.enter(ROUTE)) is None:
            await asyncio.sleep(_LOOK_SECONDS)
        else:
            await _ask_model(bench, admission)
    result["closed_seconds"] = round(loop.time() - began, 2)
    result["answered_after"] = await _answer(bench)
    return result


async def _fail_until_open(bench: TrialBench) -> tuple[int, bool]:
    for calls in range(bench.settings.failing_calls):
        if (admission := await bench.routes.enter(ROUTE)) is None:
            return calls, True
        await _ask_model(bench, admission)
    return bench.settings.failing_calls, bench.routes.blocked_until(ROUTE) is not None


async def _ask_model(bench: TrialBench, admission: Admission) -> None:
    """One call by the real adapter, reported to the guard as the engine does."""
    llm, model = bench.services.models.resolve(ROUTE)
    request = ModelRequest(model, (ChatMessage("user", "Are you there?"),), max_output_tokens=8)
    try:
        async with aclosing(llm.stream(request)) as events:
            async for _ in events:
                pass
    except ModelError as error:
        await admission.record_failure(error)
    else:
        await admission.record_success(0.0)


async def _answer(bench: TrialBench) -> str | None:
    """The route that answers a turn now; None when none does."""
    turn_id = await in_db_thread(ask, bench.asker, _AGENT, "Are you there?")
    [turn] = await wait_for_turns([turn_id], seconds=_TURN_SECONDS)
    routes = await in_db_thread(answering_routes, turn_id)
    return routes[-1] if turn["status"] == "completed" and routes else None


async def _wait_until(condition: Any, seconds: float) -> bool:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not (is_true := condition()) and loop.time() < deadline:  # noqa: ASYNC110 - another thread sets it
        await asyncio.sleep(_LOOK_SECONDS)
    return bool(is_true)


def _read_state() -> str | None:
    provider, _, model = ROUTE.partition(":")
    return RouteHealth.objects.filter(provider=provider, model=model).values_list("state", flat=True).first()
