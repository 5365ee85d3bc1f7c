"""A turn that breaks whoever touches it ends by itself, and holds up nobody else."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from agents.domain.states import MAX_ATTEMPTS_WITHOUT_PROGRESS
from agents.journal.locked_writes import append_locked
from agents.models import AgentSession, Release, Turn
from agents.runner.reaper import reap, release_claim
from foundation.db_threads import in_db_thread
from tests.chaos.waiting import until
from tests.support.conversations import Conversation, claim, claimed, conversation, lease_is_over
from tests.support.people import OFFLINE
from tests.support.runners import become, serving
from tests.support.scripted import says, scripted

pytestmark = pytest.mark.usefixtures("transactional_db")


def poisoned(name: str, **unknown: Any) -> Conversation:
    """A session with a question, on a release that no runner of this version can read."""
    found = conversation(name)
    release = Release.objects.create(agent=found.row.agent, number=99, configuration=OFFLINE | unknown)
    AgentSession.objects.filter(pk=found.session_id).update(release=release)
    found.ask()
    return found


async def test_a_turn_of_an_invalid_release_fails_at_its_first_claim_and_holds_up_nobody() -> None:
    ada, ben = await in_db_thread(poisoned, "ada", new_setting=5), await in_db_thread(conversation, "ben")
    await in_db_thread(ben.ask)
    with capture_logs() as logs:
        async with serving(scripted(says("Hello"))[0]):
            await become(ben, "completed")
            await become(ada, "failed")
    turn = await in_db_thread(ada.turn)
    assert (turn.error_class, turn.epoch) == ("bad_request", 1)
    assert "'new_setting'" in turn.error_detail
    assert [event for event in await in_db_thread(ada.log) if event.startswith("turn.")] == [
        "turn.queued", "turn.started", "turn.failed",
    ]  # fmt: skip
    assert [line["turn"] for line in logs if line["event"] == "turn.not_loaded"] == [str(turn.pk)]
    assert not [line for line in logs if "exc_info" in line or line["event"] == "listener.failed"]


async def test_a_turn_of_a_newer_release_waits_for_a_runner_that_can_read_it() -> None:
    ada, ben = await in_db_thread(poisoned, "ada", schema=99), await in_db_thread(conversation, "ben")
    with capture_logs() as logs:
        async with serving(scripted(says("Hello"))[0]):
            await until(
                lambda: any(line["event"] == "turn.not_loaded" for line in logs), seconds=10, what="the first try"
            )
            for done in range(1, 4):
                await in_db_thread(ben.ask)
                await become(ben, *["completed"] * done)
    turn = await in_db_thread(ada.turn)
    assert (turn.status, turn.attempts_without_progress, turn.error_class) == ("queued", 0, "")
    [line] = [line for line in logs if line["event"] == "turn.not_loaded"]
    assert (line["turn"], line["release"]) == (str(turn.pk), str(turn.release_id))
    assert "schema 99" in line["fault"]
    assert not [line for line in logs if "exc_info" in line or line["event"] == "listener.failed"]


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
