"""What the environment says about providers, and about the guard of their routes, as a process uses it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from agents.domain.circuit_breaker import BreakerPolicy
from agents.llm.gateway import GatewayConfig
from agents.llm.interface import Deadlines
from agents.llm.pydantic_ai import VendorConfig
from agents.routing.guard_settings import GuardSettings, RouteFigures


def read_gateway_config(config: Any, *, offline_pace_seconds: float = 0) -> GatewayConfig:
    """The gateway's configuration from `settings.BANDSTAND`."""
    key = config.openai_api_key
    anthropic, google = config.anthropic_api_key, config.google_api_key
    return GatewayConfig(
        openai_api_key=key.get_secret_value() if key else None,
        openai_base_url=config.openai_base_url,
        offline_pace_seconds=offline_pace_seconds,
        prices=config.prices,
        dialects=replace(
            config.dialects,
            deadlines=Deadlines(
                config.model_connect_seconds,
                config.model_first_token_seconds,
                config.model_silence_seconds,
                config.model_total_seconds,
            ),
        ),
        vendors=(
            VendorConfig("anthropic", anthropic.get_secret_value() if anthropic else None, config.anthropic_base_url),
            VendorConfig("google", google.get_secret_value() if google else None, config.google_base_url),
            VendorConfig("bedrock", region=config.aws_region),
        ),
    )


def read_guard_settings(config: Any) -> GuardSettings:
    """The guard's settings from `settings.BANDSTAND`."""
    return GuardSettings(
        breaker=BreakerPolicy(
            failures=config.breaker_failures,
            window_seconds=config.breaker_window_seconds,
            min_calls=config.breaker_min_calls,
            failed_share=config.breaker_failed_percent / 100,
            slow_share=config.breaker_slow_percent / 100,
            open_seconds=config.breaker_open_seconds,
            max_open_seconds=config.breaker_max_open_seconds,
            successes=config.breaker_successes,
        ),
        credential_seconds=config.credential_pause_seconds,
        reserve_share=config.rate_reserve_percent / 100,
        max_pace_seconds=config.rate_wait_seconds,
    )


def read_route_figures(config: Any) -> RouteFigures:
    """How long calls may be silent, from `settings.BANDSTAND`."""
    return RouteFigures(config.breaker_slow_seconds, config.breaker_probe_seconds)
