"""What the trials work with: a runner on the scratch schema, its services, and somebody who asks."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from django.conf import settings

from accounts.actor import Actor
from accounts.models import User
from agents.domain.retry_policies import POLICIES, OperationKind
from agents.domain.states import StepKind, StepStatus
from agents.engine.ports import Services
from agents.models import Step, Turn
from agents.releases import create_agent, publish
from agents.routing.fingerprints import credential_fingerprints
from agents.routing.guard import ProcessRouteGuard
from agents.routing.guard_settings import GuardSettings
from agents.runner.model_settings import read_gateway_config, read_guard_settings, read_route_figures
from agents.runner.process import RunnerProcess, RunnerSettings
from agents.runner.wiring import open_services
from agents.sessions import accept_message, create_session
from foundation.db_threads import in_db_thread
from monitoring.readiness_validator.scratch.scratch_provider import MODEL, ScratchProvider
from monitoring.readiness_validator.scratch.trial_settings import TrialSettings

# An open route of the installation is open for longer; waiting for that would show nothing more.
OPEN_SECONDS: Final = 1.0
ROUTE: Final = f"openai:{MODEL}"
OFFLINE: Final = "offline:"
_LEASE_SECONDS: Final = 15.0
_LOOK_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True)
class TrialBench:
    """`guard` and `credentials` are those of the runner's own guard of routes, `asker` is who sends messages."""

    settings: TrialSettings
    provider: ScratchProvider
    services: Services
    routes: ProcessRouteGuard
    guard: GuardSettings
    credentials: Mapping[str, str]
    asker: Actor


@asynccontextmanager
async def open_bench(settings_: TrialSettings, provider: ScratchProvider) -> AsyncIterator[TrialBench]:
    """A runner that works until the block ends. The breaker is the installation's own, but for how long it is open."""
    config = settings.BANDSTAND
    models = replace(read_gateway_config(config), openai_api_key="scratch", openai_base_url=provider.base_url)
    guard = read_guard_settings(config)
    breaker = replace(guard.breaker, open_seconds=OPEN_SECONDS, max_open_seconds=OPEN_SECONDS)
    guard = replace(guard, breaker=breaker)
    pepper = config.key_pepper.get_secret_value()
    asker = await in_db_thread(_create_asker)
    limits = RunnerSettings(
        concurrency=settings_.sessions,
        running_per_user=settings_.sessions,
        lease_seconds=_LEASE_SECONDS,
        heartbeat_seconds=_LEASE_SECONDS / 3,
        drain_seconds=4,
    )
    with tempfile.TemporaryDirectory() as folder:
        async with open_services(
            models,
            policy=POLICIES[OperationKind.LLM_CALL],
            adapts=False,
            data_dir=Path(folder),
            compute_memory_mb=config.compute_memory_mb,
            guard=guard,
            figures=read_route_figures(config),
            pepper=pepper,
        ) as (services, routes, listeners):
            runner = RunnerProcess(limits, services, listeners=listeners)
            serving = asyncio.create_task(runner.serve(), name="scratch runner")
            try:
                credentials = credential_fingerprints(models.identities(), pepper=pepper)
                yield TrialBench(settings_, provider, services, routes, guard, credentials, asker)
            finally:
                runner.drain()
                await serving


def _create_asker() -> Actor:
    user = User.objects.create(username="readiness")
    return Actor.user(user_id=user.pk, name=user.username)


def create_scratch_agent(slug: str, *model_chain: str) -> None:
    """A published agent on these routes."""
    actor = Actor.system("readiness")
    agent = create_agent(actor, details={"slug": slug, "name": slug}, model_chain=model_chain)
    publish(actor, agent_id=agent.pk, expected_version=agent.draft.version)


def ask(asker: Actor, slug: str, text: str) -> UUID:
    """The id of a new turn, in a new session."""
    session = create_session(asker, agent_slug=slug)
    turn_id = accept_message(asker, session_id=session.pk, text=text).turn_id
    assert turn_id is not None, "an agent controls the session"
    return turn_id


async def wait_for_turns(turn_ids: Sequence[UUID], *, seconds: float) -> list[dict[str, Any]]:
    """Status, error class and seconds of each turn once all have ended, or `seconds` have passed. In the order of their
    ids."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while await in_db_thread(_count_open, turn_ids) and loop.time() < deadline:  # noqa: ASYNC110 - rows have no event
        await asyncio.sleep(_LOOK_SECONDS)
    return await in_db_thread(_read_turns, turn_ids)


def answering_routes(turn_id: UUID) -> list[str]:
    """The routes whose calls for this turn have succeeded, in their order."""
    done = Step.objects.filter(turn=turn_id, kind=StepKind.MODEL.value, status=StepStatus.DONE.value)
    return list(done.order_by("number").values_list("name", flat=True))


def _count_open(turn_ids: Sequence[UUID]) -> int:
    return Turn.objects.filter(pk__in=turn_ids, finished_at__isnull=True).count()


def _read_turns(turn_ids: Sequence[UUID]) -> list[dict[str, Any]]:
    return [
        {
            "status": turn.status,
            "error_class": turn.error_class,
            "seconds": None if turn.finished_at is None else (turn.finished_at - turn.queued_at).total_seconds(),
        }
        for turn in Turn.objects.filter(pk__in=turn_ids).order_by("pk")
    ]
