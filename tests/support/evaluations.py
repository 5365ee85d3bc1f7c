"""Test sets of turns that were really answered, and runs that a runner in the test's own process works on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from accounts.actor import Actor
from accounts.models import User
from agents.domain.evaluations import RunState
from agents.engine.delta_writer import BatchingDeltaWriter
from agents.engine.ports import Services
from agents.evaluations.evaluation_runs import begin_run
from agents.evaluations.turn_recordings import record_turn
from agents.llm.gateway import Gateway, GatewayConfig
from agents.llm.model_catalog import Rates
from agents.models import Agent, EvaluationResult, EvaluationRun, Release, TestCase, TestSet, Turn
from agents.releases import publish
from agents.sessions import accept_message, create_session
from agents.tools.toolbox import Toolbox
from foundation.db_threads import in_db_thread
from tests.chaos.waiting import until
from tests.provider import Provider
from tests.support.people import agent, write_draft
from tests.support.runners import serving

SYSTEM = Actor.system("tests")
PRICES = {"openai:dear": Rates(*[Decimal(10_000)] * 4)}


def make_agent(slug: str = "helper", **configuration: Any) -> Agent:
    """An agent whose live release has this configuration."""
    made = agent(slug)
    write_draft(made, **configuration, version=2)
    publish(SYSTEM, agent_id=made.pk, expected_version=2)
    return Agent.objects.select_related("live_release").get(pk=made.pk)


def ask(user: User, slug: str, *texts: str) -> list[UUID]:
    """A new session with these questions, one after the other; the ids of its turns."""
    actor = Actor.user(user_id=user.pk, name=user.username)
    session = create_session(actor, agent_slug=slug, title="A test")
    accepted = [accept_message(actor, session_id=session.pk, text=text).turn_id for text in texts]
    return [turn_id for turn_id in accepted if turn_id is not None]


def make_test_set(demo: Agent, turns: Sequence[UUID], **values: Any) -> TestSet:
    """A set with these turns as its entries."""
    tests = TestSet.objects.create(agent=demo, name="smoke", **values)
    for position, turn_id in enumerate(turns, 1):
        recorded = record_turn(turn_id)
        TestCase.objects.create(
            test_set=tests,
            position=position,
            source_turn_id=turn_id,
            history=list(recorded.history),
            question=list(recorded.question),
            answer=list(recorded.answer),
            recording=recorded.recording.dump(),
        )
    return tests


def begin(
    tests: TestSet, user: User, candidate: Release, baseline: Release | None = None, **values: Any
) -> EvaluationRun:
    """A run of both releases; without `baseline` of one against itself."""
    return begin_run(
        SYSTEM,
        test_set_id=tests.pk,
        candidate=candidate,
        baseline=baseline or candidate,
        paid_by=user.pk,
        **values,
    )


@asynccontextmanager
async def working(provider: Provider, data_dir: Path | None = None, **settings: Any) -> AsyncIterator[Services]:
    """A runner with the product's tools before a provider, whose model `dear` costs a cent a token."""
    config = GatewayConfig(openai_api_key="sk-test", openai_base_url=provider.base_url, prices=PRICES)
    gateway = Gateway(config)
    toolbox = Toolbox(data_dir=data_dir)
    services = Services(gateway, toolbox, BatchingDeltaWriter())
    try:
        async with serving(services, release_work_seconds=0.05, **settings):
            yield services
    finally:
        await toolbox.aclose()
        await gateway.aclose()


async def ended(*turns: UUID) -> None:
    """Wait until these turns have ended."""
    await until_true(lambda: not Turn.objects.filter(pk__in=turns, finished_at=None).exists(), "ended turns")


async def run_ended(run: EvaluationRun) -> EvaluationRun:
    """Wait until a run has ended; the run as it is then."""
    await until_true(
        lambda: not EvaluationRun.objects.filter(pk=run.pk, state=RunState.RUNNING).exists(), "an ended run"
    )
    return await in_db_thread(lambda: EvaluationRun.objects.get(pk=run.pk))


async def results(run: EvaluationRun) -> dict[tuple[int, str], EvaluationResult]:
    """The results of a run by the position of their entry and their lane."""
    rows = await in_db_thread(lambda: list(EvaluationResult.objects.select_related("case").filter(run=run)))
    return {(row.case.position, row.lane): row for row in rows}


async def until_true(condition: Callable[[], bool], what: str) -> None:
    async def look() -> bool:
        return await in_db_thread(condition)

    await until(look, seconds=60, what=what)
