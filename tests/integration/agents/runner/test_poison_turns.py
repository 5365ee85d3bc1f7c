"""A turn that breaks whoever touches it ends by itself, and holds up nobody else."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agents.domain.states import MAX_ATTEMPTS_WITHOUT_PROGRESS
from agents.journal.locked_writes import append_locked
from agents.llm.gateway import GatewayConfig
from agents.models import AgentSession, Release, Turn
from agents.runner.process import Runner, RunnerSettings
from agents.runner.reaper import reap, release_claim
from agents.runner.services import open_services
from foundation.db_threads import in_db_thread
from tests.chaos.waiting import until
from tests.support.conversations import Conversation, claim, claimed, conversation, lease_is_over
from tests.support.people import OFFLINE

pytestmark = pytest.mark.usefixtures("transactional_db")


def poisoned(name: str) -> Conversation:
    """A session on a release that no runner of this version can read."""
    found = conversation(name)
    release = Release.objects.create(agent=found.row.agent, number=99, configuration=OFFLINE | {"schema": 99})
    AgentSession.objects.filter(pk=found.session_id).update(release=release)
    return found


async def test_a_turn_that_cannot_be_read_fails_and_holds_up_nobody(tmp_path: Path) -> None:
    ada, ben = await in_db_thread(poisoned, "ada"), await in_db_thread(conversation, "ben")
    await in_db_thread(ada.ask)
    await in_db_thread(ben.ask)
    settings = RunnerSettings(
        concurrency=4, running_per_user=3, lease_seconds=15, heartbeat_seconds=5, drain_seconds=20
    )
    async with open_services(GatewayConfig(), data_dir=tmp_path) as services:
        runner = Runner(settings, services)
        serving = asyncio.create_task(runner.serve())
        try:
            # Long before a lease would have run out.
            for who, status in ((ben, "completed"), (ada, "failed")):

                async def over(who: Conversation = who, status: str = status) -> bool:
                    return await in_db_thread(who.statuses) == [status]

                await until(over, seconds=10, what=f"a turn that is {status}")
        finally:
            runner.drain()
            await serving
    turn = await in_db_thread(ada.turn)
    assert (turn.error_class, turn.epoch) == ("worker_crashed", MAX_ATTEMPTS_WITHOUT_PROGRESS + 1)


def test_giving_back_without_progress_ends_a_turn_like_losing_its_lease() -> None:
    ada = conversation()
    ada.ask()
    for attempt in range(MAX_ATTEMPTS_WITHOUT_PROGRESS + 1):
        work = claimed()
        assert ada.turn().attempts_without_progress == attempt
        assert release_claim(session_id=work.session_id, turn_id=work.turn_id, epoch=work.epoch, without_progress=True)
    assert (ada.turn().status, ada.turn().error_class) == ("failed", "worker_crashed")
    assert ada.log()[-1] == "turn.failed"
    assert not claim()


def test_giving_back_for_a_drain_may_happen_any_number_of_times() -> None:
    ada = conversation()
    ada.ask()
    for _ in range(MAX_ATTEMPTS_WITHOUT_PROGRESS + 2):
        work = claimed()
        assert release_claim(session_id=work.session_id, turn_id=work.turn_id, epoch=work.epoch, without_progress=False)
    assert (ada.turn().status, ada.turn().attempts_without_progress) == ("queued", 0)


def test_the_reaper_goes_on_past_a_turn_that_it_cannot_end() -> None:
    ada, ben = conversation("ada"), conversation("ben")
    ada.ask()
    ben.ask()
    for work in claim(2):
        lease_is_over(work.turn_id)
    first, second = sorted((ada, ben), key=lambda who: who.session_id)
    # Its end is in the log already, and the log takes one only.
    append_locked(first.row, [("turn.failed", {})], turn=first.turn())
    Turn.objects.filter(pk=first.turn().pk).update(attempts_without_progress=MAX_ATTEMPTS_WITHOUT_PROGRESS)
    assert reap() == 1
    assert (first.turn().status, second.turn().status) == ("running", "queued")
