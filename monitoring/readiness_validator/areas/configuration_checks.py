"""Configuration: of each agent, and of what the environment sets for all of them. No network, no process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

from agents.domain.configuration import AgentConfiguration
from agents.domain.context_window import UNKNOWN_WINDOW
from agents.domain.token_estimates import estimate_tokens
from agents.domain.usage import costs_nothing
from agents.engine.prompt import reserve_for_answer
from agents.llm.gateway import Gateway
from agents.llm.model_catalog import Prices
from agents.llm.stored_prices import StoredPrices
from agents.releases.route_prices import has_dollar_budget, price_routes, unknown_routes
from agents.releases.validation import check_runnable, unguarded_tools
from foundation.errors import BandstandError
from monitoring.readiness_validator.candidates import ReleaseCandidate
from monitoring.readiness_validator.check_lines import Area, CheckLine, LineMaker
from monitoring.readiness_validator.scope import RunScope

MIN_WINDOW_TOKENS: Final = 1_000
# A breaker that needs more failures, and is not tripped by a share of them either, is off.
MAX_BREAKER_FAILURES: Final = 50
_INSTALLATION: Final = LineMaker(Area.CONFIGURATION)
_LIMITS: Final = {
    "requests_per_minute": "BANDSTAND_REQUESTS_PER_MINUTE",
    "messages_per_minute": "BANDSTAND_MESSAGES_PER_MINUTE",
    "messages_per_session_per_minute": "BANDSTAND_MESSAGES_PER_SESSION_PER_MINUTE",
    "stored_megabytes_per_day": "BANDSTAND_STORED_MEGABYTES_PER_DAY",
    "failed_logins_per_account": "BANDSTAND_FAILED_LOGINS_PER_ACCOUNT",
    "failed_logins_per_address": "BANDSTAND_FAILED_LOGINS_PER_ADDRESS",
    "bad_keys_per_minute": "BANDSTAND_BAD_KEYS_PER_MINUTE",
    "requests_at_once_per_user": "BANDSTAND_REQUESTS_AT_ONCE_PER_USER",
    "connections_per_user": "BANDSTAND_CONNECTIONS_PER_USER",
}


def check(scope: RunScope) -> Iterator[CheckLine]:
    """The lines of each candidate, then those of the environment."""
    if not scope.candidates:
        yield _INSTALLATION.warning("agents", "No agent has a release.", "Publish one, or nobody can talk to any.")
    stored = StoredPrices()
    stored.load()
    of_models = asyncio.run(_check_models(scope, stored, needs_prices=has_dollar_budget()))
    for candidate in scope.candidates:
        yield from check_candidate(candidate)
    yield from of_models
    yield _check_breaker(scope)
    yield _check_limits(scope)


def check_candidate(candidate: ReleaseCandidate) -> Iterator[CheckLine]:
    """Whether a turn can run on it, and what it may do then."""
    lines = LineMaker(Area.CONFIGURATION, candidate.slug)
    try:
        configuration = AgentConfiguration.parse(candidate.stored)
        check_runnable(configuration)
    except BandstandError as error:
        pointer = f" ({error.pointer})" if error.pointer else ""
        yield lines.failed(
            "runnable",
            f"No turn can run on {candidate.source}: {error.detail}{pointer}",
            "Edit the draft until it can be published, or install what it names.",
        )
        return
    yield lines.passed("runnable", f"A turn can run on {candidate.source}.")
    if configuration.instructions.strip():
        yield lines.passed("instructions", "The agent has instructions.")
    else:
        yield lines.warning(
            "instructions", "The agent has no instructions.", "Say in its draft who it is and what it does."
        )
    if unguarded := unguarded_tools(configuration):
        yield lines.warning(
            "rights of tools",
            f"{', '.join(unguarded)} may change or send something with values that come from strangers, such as a web "
            "page, and nobody is asked.",
            "Set in its draft what happens to untrusted values: ask or refuse (docs/people-in-the-loop.md).",
        )
    else:
        yield lines.passed("rights of tools", "No tool changes or sends what strangers wrote without asking.")
    if all(costs_nothing(route) for route in configuration.model_chain):
        yield lines.warning(
            "model",
            "The agent answers with the built-in offline model, which understands a few sentences.",
            "Connect a real model (docs/models.md), and put it first in the draft.",
        )
    else:
        yield lines.passed("model", f"The agent asks {configuration.model_chain[0]} first.")


async def _check_models(scope: RunScope, stored: StoredPrices, *, needs_prices: bool) -> list[CheckLine]:
    """What is known of the models of each candidate. Only tables are read."""
    gateway = Gateway(scope.models, stored_prices=stored)
    try:
        return [
            line
            for candidate, one in scope.configurations
            for line in [
                await _check_window(gateway, candidate, one),
                _check_prices(gateway.prices, candidate, one, needs_prices=needs_prices),
            ]
        ]
    finally:
        await gateway.aclose()


async def _check_window(gateway: Gateway, candidate: ReleaseCandidate, configuration: AgentConfiguration) -> CheckLine:
    lines = LineMaker(Area.CONFIGURATION, candidate.slug)
    # A route that cannot be used is another line's.
    windows = {route: await gateway.window(route) for route in configuration.routes if ":" in route}
    rooms = {route: _conversation_tokens(size, configuration) for route, size in windows.items() if size is not None}
    route, room = min(rooms.items(), key=lambda item: item[1], default=("", MIN_WINDOW_TOKENS))
    if room < MIN_WINDOW_TOKENS:
        return lines.failed(
            "context window",
            f"The window of {route} has {max(0, room):,} tokens for a conversation, after the instructions and the "
            f"room for the answer; below {MIN_WINDOW_TOKENS:,} hardly a question fits.",
            "Shorten the instructions or the room for the answer, or name a model with a larger window.",
        )
    unknown = [route for route, size in windows.items() if size is None]
    if unknown:
        return lines.warning(
            "context window",
            f"The context window of {unknown[0]} is not known: it counts as {UNKNOWN_WINDOW:,} tokens.",
            f"Set BANDSTAND_DIALECT={unknown[0]}=+window=… with the number that its server is started with.",
        )
    return lines.passed("context window", f"At least {room:,} tokens of each window are left for a conversation.")


def _conversation_tokens(window: int, configuration: AgentConfiguration) -> int:
    """What the window has for a conversation; less than nothing where the instructions alone do not fit."""
    answer = reserve_for_answer(window, configuration.limits.call_output_tokens, configuration.context_policy)
    return window - answer - estimate_tokens(configuration.instructions)


def _check_prices(
    prices: Prices, candidate: ReleaseCandidate, configuration: AgentConfiguration, *, needs_prices: bool
) -> CheckLine:
    """`needs_prices`: there is a budget in dollars, where calls whose price nobody knows are refused."""
    lines = LineMaker(Area.CONFIGURATION, candidate.slug)
    unknown = unknown_routes(price_routes(prices, [(candidate.slug, configuration)]))
    if unknown and needs_prices:
        return lines.failed(
            "prices",
            f"The price of {unknown[0].route} is not known: its calls are refused where a budget in dollars applies.",
            "Enter it under Prices in the console, 0 for a server of your own.",
        )
    if unknown:
        return lines.warning(
            "prices",
            f"The price of {unknown[0].route} is not known: what turns cost is a lower bound.",
            "Enter it under Prices in the console or with BANDSTAND_PRICES, 0 for a server of your own.",
        )
    return lines.passed("prices", "The prices of all its models are known.")


def _check_breaker(scope: RunScope) -> CheckLine:
    config = scope.config
    by_row = config.breaker_failures <= MAX_BREAKER_FAILURES
    by_share = config.breaker_min_calls <= MAX_BREAKER_FAILURES and config.breaker_failed_percent < 100
    return _INSTALLATION.judge(
        "circuit breaker",
        by_row or by_share,
        f"A route is left alone after {config.breaker_failures} failures in a row.",
        f"The circuit breaker is as good as off: it opens after {config.breaker_failures} failures in a row.",
        f"Set BANDSTAND_BREAKER_FAILURES to {MAX_BREAKER_FAILURES} or less; 5 is the default.",
    )


def _check_limits(scope: RunScope) -> CheckLine:
    missing = [variable for name, variable in _LIMITS.items() if not getattr(scope.config, name)]
    return _INSTALLATION.judge(
        "limits",
        not missing,
        "Requests, messages, connections, stored bytes and failed logins are limited.",
        f"Without a limit: {', '.join(missing)}.",
        "Set each to a number above 0, or leave it out for the default.",
    )
