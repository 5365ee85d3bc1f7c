"""`manage.py runagents`: one runner process."""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import signal
from dataclasses import replace
from typing import Any

import structlog
import uvloop
from django.conf import settings
from django.core.management.base import BaseCommand

from agents.domain.circuit_breaker import BreakerPolicy
from agents.domain.retry_policies import POLICIES, OperationKind
from agents.llm.gateway import GatewayConfig
from agents.llm.interface import Deadlines
from agents.llm.pydantic_ai import VendorConfig
from agents.releases.validation import unavailable_agents
from agents.routing.guard_settings import GuardSettings, RouteFigures
from agents.runner.exit_status import EXIT_RESTART
from agents.runner.process import RunnerProcess, RunnerSettings
from agents.runner.wiring import open_services
from foundation.db_threads import close_db_threads, in_db_thread
from foundation.process_work import Process, ProcessKind, process_work

log = structlog.get_logger(__name__)

# The offline model has its words at once; people should see on a first run how an answer is written.
OFFLINE_PACE_SECONDS = 0.015


class Command(BaseCommand):
    help = "Run turns until SIGTERM; what runs then is finished or given back. A second SIGTERM gives back at once."
    requires_system_checks: list[str] = []

    def handle(self, *_args: Any, **_options: Any) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
                loop.run(_serve())
        finally:
            close_db_threads()


async def _serve() -> None:
    config = settings.BANDSTAND
    limits = RunnerSettings(
        concurrency=config.runner_concurrency,
        running_per_user=config.running_turns_per_user,
        lease_seconds=config.lease_seconds,
        heartbeat_seconds=config.heartbeat_seconds,
        drain_seconds=config.drain_seconds,
        liveness_file=config.runner_liveness_file,
    )
    key = config.openai_api_key
    anthropic, google = config.anthropic_api_key, config.google_api_key
    models = GatewayConfig(
        openai_api_key=key.get_secret_value() if key else None,
        openai_base_url=config.openai_base_url,
        offline_pace_seconds=OFFLINE_PACE_SECONDS,
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
    for agent, fault in await in_db_thread(unavailable_agents):
        log.error("agent.blocked", agent=agent, fault=fault)
    llm_calls = POLICIES[OperationKind.LLM_CALL]
    policy = replace(llm_calls, backoff=replace(llm_calls.backoff, base_seconds=config.retry_base_seconds))
    guard = GuardSettings(
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
    figures = RouteFigures(config.breaker_slow_seconds, config.breaker_probe_seconds)
    pepper = config.key_pepper.get_secret_value()
    async with open_services(
        models,
        policy=policy,
        adapts=config.retry_adaptation,
        data_dir=config.data_dir,
        compute_memory_mb=config.compute_memory_mb,
        guard=guard,
        figures=figures,
        pepper=pepper,
    ) as (services, routes):
        runner = RunnerProcess(limits, services, listeners=[routes])
        for name in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(name, runner.drain)
        # Whoever ends a runner that is stuck asks first where: this works while the interpreter's lock is held.
        faulthandler.register(signal.SIGUSR1, all_threads=True)
        # What was loaded until now stays for good; each full round of the collector would walk it for 40 ms.
        gc.freeze()
        with process_work.running(Process(ProcessKind.RUNNER, runner.id, runner.figures, services.spans)):
            await runner.serve()
    if runner.restarts:
        raise SystemExit(EXIT_RESTART)
