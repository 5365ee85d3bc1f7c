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

from agents.domain.retry_policies import POLICIES, OperationKind
from agents.releases.validation import unavailable_agents
from agents.runner.exit_status import EXIT_RESTART
from agents.runner.model_settings import read_gateway_config, read_guard_settings, read_route_figures
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
    models = read_gateway_config(config, offline_pace_seconds=OFFLINE_PACE_SECONDS)
    for agent, fault in await in_db_thread(unavailable_agents):
        log.error("agent.blocked", agent=agent, fault=fault)
    llm_calls = POLICIES[OperationKind.LLM_CALL]
    policy = replace(llm_calls, backoff=replace(llm_calls.backoff, base_seconds=config.retry_base_seconds))
    pepper = config.key_pepper.get_secret_value()
    async with open_services(
        models,
        policy=policy,
        adapts=config.retry_adaptation,
        data_dir=config.data_dir,
        compute_memory_mb=config.compute_memory_mb,
        guard=read_guard_settings(config),
        figures=read_route_figures(config),
        pepper=pepper,
    ) as (services, _, listeners):
        runner = RunnerProcess(limits, services, listeners=listeners)
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
