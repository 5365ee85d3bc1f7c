"""Dependencies: the health checks of the installation, PostgreSQL's settings, vectors, and a call of each model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import aclosing
from typing import Final

from django.db import connection

from agents.domain.usage import costs_nothing
from agents.llm.errors import EmptyAnswer, ModelError
from agents.llm.gateway import Gateway
from agents.llm.interface import ChatMessage, ModelRequest
from console.formatting import format_seconds
from foundation.clock import now
from health_checks.check import Level, Reader
from health_checks.registry import registry
from health_checks.run import FAULT_LABELS, CheckResult, run_checks
from monitoring.readiness_validator.check_lines import Area, CheckLine, LineMaker
from monitoring.readiness_validator.scope import RunScope

# Of the first routes of the candidates; each call costs a little.
MAX_CALLS: Final = 8
CALL_SECONDS: Final = 30.0
# Some models think before they write, and answer with nothing where there is no room for both.
CALL_TOKENS: Final = 64
_HEALTH_SECONDS: Final = 6.0
_MORE_CHECKS: Final = ("embeddings", "maintenance", "start_files")
_DURABILITY: Final = ("fsync", "full_page_writes", "synchronous_commit")
_LINES: Final = LineMaker(Area.DEPENDENCIES)


def check(scope: RunScope) -> Iterator[CheckLine]:
    """The lines of the database first: without it there are no others."""
    yield from _check_health()
    yield from _check_database()
    yield from asyncio.run(call_models(scope))


def _check_health() -> Iterator[CheckLine]:
    """What `/ready` looks at, and what else must work on a machine that people depend on."""
    checks = [*registry.for_reader(Reader.READY), *(registry[name] for name in _MORE_CHECKS)]
    for result in run_checks(checks, now=now(), seconds=_HEALTH_SECONDS):
        yield _health_line(result)


def _health_line(result: CheckResult) -> CheckLine:
    name = result.check.title.lower()
    if result.fault is not None:
        return _LINES.failed(name, f"It {FAULT_LABELS[result.fault]}.", result.check.remedy)
    troubles = [finding for finding in result.findings if finding.level is not Level.GOOD]
    if not troubles:
        return _LINES.passed(name, "It works.")
    worst = next((finding for finding in troubles if finding.level is Level.BAD), troubles[0])
    message = _sentence(f"{worst.value} {worst.message}".strip())
    make = _LINES.failed if worst.level is Level.BAD else _LINES.warning
    return make(name, message, worst.remedy)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '!', '?')) else '.'}"


def _check_database() -> Iterator[CheckLine]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM pg_settings WHERE name = ANY(%s) AND setting = 'off'", [list(_DURABILITY)])
        lax = [row[0] for row in cursor.fetchall()]
        cursor.execute("SELECT '[1,0,0]'::vector <=> '[1,0,0]'::vector, '[1,0,0]'::vector <=> '[0,1,0]'::vector")
        near, far = cursor.fetchone()
    yield _LINES.judge(
        "durability",
        not lax,
        "PostgreSQL keeps what it has committed.",
        f"PostgreSQL runs with {', '.join(f'{name}=off' for name in lax)}: a crash loses acknowledged messages.",
        "Set them on in postgresql.conf.",
    )
    yield _LINES.judge(
        "vector store",
        near < far,
        "The database compares vectors.",
        "The database compares vectors wrongly.",
        "Install pgvector anew: ALTER EXTENSION vector UPDATE.",
    )


async def call_models(scope: RunScope) -> list[CheckLine]:
    """One short call of each route, side by side; of the offline model none."""
    routes = [route for route in scope.routes if ":" in route and not costs_nothing(route)]
    if not routes:
        return [_LINES.passed("model call", "No agent names a model with an address: there is nothing to call.")]
    gateway = Gateway(scope.models)
    try:
        lines = list(await asyncio.gather(*(_call_model(gateway, route) for route in routes[:MAX_CALLS])))
    finally:
        await gateway.aclose()
    if len(routes) > MAX_CALLS:
        lines.append(
            _LINES.warning(
                "model call",
                f"{len(routes) - MAX_CALLS} further routes were not called.",
                "Check their agents one by one: manage.py validate_readiness --agent …",
            )
        )
    return lines


async def _call_model(gateway: Gateway, route: str) -> CheckLine:
    name, lines = f"call of {route}", LineMaker(Area.DEPENDENCIES, route=route)
    began = time.monotonic()
    try:
        async with asyncio.timeout(CALL_SECONDS):
            await _ask(gateway, route)
    except EmptyAnswer:
        pass  # it was reached, and thought for longer than it may write
    except ModelError as error:
        detail = f" {error.provider_detail}" if error.provider_detail else ""
        return lines.failed(
            name, f"The model did not answer: {error.error_class}.{detail}", error.error_class.failure.remedy
        )
    except TimeoutError:
        return lines.failed(
            name,
            f"The model has not answered within {format_seconds(CALL_SECONDS)}.",
            "See that its server runs and is not overloaded; name another model first.",
        )
    return lines.passed(name, f"The model answered in {format_seconds(time.monotonic() - began)}.")


async def _ask(gateway: Gateway, route: str) -> None:
    llm, model = gateway.resolve(route)
    message = ChatMessage("user", "Answer with the word Ready.")
    request = ModelRequest(model, (message,), max_output_tokens=CALL_TOKENS, deadlines=gateway.deadlines(route))
    async with aclosing(llm.stream(request)) as events:
        async for _ in events:
            pass
