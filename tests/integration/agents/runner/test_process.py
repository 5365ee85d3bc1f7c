"""A runner process from its first claim to its orderly end, with a scripted model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import psycopg
import pytest
from django.db import connection, transaction

from agents.engine.ports import Services
from agents.journal.claims import Claim
from agents.journal.listen_connection import open_listen_connection
from agents.journal.locked_writes import lock_session, lock_turn, requeue_locked
from agents.models import Runner, Turn
from agents.models.runners import RequestedAction, send_heartbeat, start_action
from agents.runner import liveness
from agents.runner.process import RunnerProcess, RunnerSettings
from agents.sessions import cancel_turn
from foundation.db_threads import in_db_thread
from foundation.ids import new_id
from foundation.pg_listener import Wake
from tests.chaos.waiting import until
from tests.support.conversations import OTHER_RUNNER, Conversation, answer, claimed, conversation, lease_is_over
from tests.support.runners import SETTINGS, become, serving, statuses
from tests.support.scripted import Reply, ScriptedModel, says, scripted

pytestmark = pytest.mark.usefixtures("transactional_db")


async def asked(name: str = "ada", questions: int = 1) -> Conversation:
    def make() -> Conversation:
        made = conversation(name)
        made.asks(questions)
        return made

    return await in_db_thread(make)


class Gate:
    """A place in a reply where turns wait until the test lets them through."""

    def __init__(self) -> None:
        self.waiting = 0
        self._opened = asyncio.Event()

    async def __call__(self) -> None:
        self.waiting += 1
        await self._opened.wait()

    def open(self) -> None:
        self._opened.set()

    async def holds(self, turns: int) -> None:
        await until(lambda: self.waiting >= turns, seconds=10, what=f"{turns} turns at work")


def gated() -> tuple[Services, ScriptedModel, Gate]:
    gate = Gate()
    services, model, _ = scripted(says("Hel", gate, "lo"))
    return services, model, gate


# --- work ---


async def test_what_waited_before_the_runner_came_and_what_comes_later_is_answered() -> None:
    ada = await asked()
    async with serving(scripted(says("Hello"))[0]):
        await become(ada, "completed")
        await in_db_thread(ada.ask, "Again")
        # By the note of its acceptance, not by the next poll.
        await become(ada, "completed", "completed", seconds=5)
    assert await in_db_thread(ada.said) == [
        ("user", "Question 1"), ("agent", "Hello"), ("user", "Again"), ("agent", "Hello"),
    ]  # fmt: skip
    await in_db_thread(ada.log)


async def test_a_session_s_turns_follow_each_other_without_waiting_for_a_poll() -> None:
    ada = await asked(questions=10)
    began = time.monotonic()
    async with serving(scripted(says("Hello"))[0]):
        await become(ada, *["completed"] * 10)
    assert time.monotonic() - began < 10, "ten polls would be ten seconds"
    assert [turn.epoch for turn in await in_db_thread(ada.turns)] == [1] * 10


async def test_turns_run_side_by_side_up_to_the_runner_s_concurrency_and_the_user_s_limit() -> None:
    services, _, gate = gated()
    people = [await asked(name) for name in ("ada", "ada", "ada", "ada", "bob", "cyd")]
    async with serving(services, concurrency=4, running_per_user=2):
        await gate.holds(4)

        def running() -> list[str]:
            return sorted(Turn.objects.filter(status="running").values_list("user__username", flat=True))

        assert await in_db_thread(running) == ["ada", "ada", "bob", "cyd"]
        gate.open()
        for one in people:
            await become(one, "completed")


async def test_a_runner_counts_its_turns_and_those_that_failed() -> None:
    ada = await asked(questions=1)
    bob = await asked("bob")
    async with serving(scripted(says("Hello"))[0]) as runner:
        await become(ada, "completed")
        await become(bob, "completed")
        await until(lambda: runner.figures()["running"] == 0, seconds=10, what="no turn")
        found = runner.figures()
    assert (found["status"], found["capacity"], found["claim_limit"]) == ("running", 4, 4)
    assert (found["requests_total"], found["errors_total"], found["context_total"]) == (2, 0, 2)
    assert found["seconds_total"] > 0
    assert 0 < found["context_percent_total"] < 200
    assert runner.figures()["status"] == "draining"


async def set_runner(runner: RunnerProcess, **values: object) -> None:
    row = Runner.objects.filter(pk=runner.id)
    await until(lambda: in_db_thread(row.update, **values), seconds=10, what="the row of the runner")


async def test_a_runner_claims_no_more_than_it_is_limited_to_and_all_again_after() -> None:
    services, _, gate = gated()
    people = [await asked(name) for name in ("ada", "bob", "cyd", "dan")]
    async with serving(scripted(says("Hello"))[0], heartbeat_seconds=0.05) as runner:
        await set_runner(runner, claim_limit=2)
        await until(lambda: runner.figures()["claim_limit"] == 2, seconds=10, what="the limit")
        for one in people:
            await become(one, "completed")
    async with serving(services, heartbeat_seconds=0.05) as runner:
        await set_runner(runner, claim_limit=2)
        await until(lambda: runner.figures()["claim_limit"] == 2, seconds=10, what="the limit")
        for one in people:
            await in_db_thread(one.ask, "Again")
        await gate.holds(2)
        assert runner.figures()["running"] == 2
        await set_runner(runner, claim_limit=None)
        await gate.holds(4)
        gate.open()
        for one in people:
            await become(one, "completed", "completed")


async def test_a_runner_frees_memory_once_and_says_what_that_gave() -> None:
    async with serving(scripted()[0], heartbeat_seconds=0.05) as runner:

        async def outcome() -> str:
            return (await in_db_thread(Runner.objects.get, pk=runner.id)).action_outcome

        await set_runner(runner, action="free_memory", action_id=new_id())
        await until(outcome, seconds=10, what="an outcome")
        first = await in_db_thread(Runner.objects.get, pk=runner.id)
        assert "MiB before" in first.action_outcome
        assert first.action_started_at is not None
        assert first.action_finished_at is not None
        assert first.action_finished_at >= first.action_started_at
        beat = first.heartbeat_at

        async def has_beaten() -> bool:
            return (await in_db_thread(Runner.objects.get, pk=runner.id)).heartbeat_at > beat

        await until(has_beaten, seconds=10, what="a heartbeat")
        assert (await in_db_thread(Runner.objects.get, pk=runner.id)).action_finished_at == first.action_finished_at


async def test_a_runner_that_is_to_restart_finishes_its_turns_and_ends() -> None:
    services, _, gate = gated()
    ada = await asked()
    runner = RunnerProcess(RunnerSettings(**SETTINGS | {"heartbeat_seconds": 0.05, "drain_seconds": 20}), services)
    task = asyncio.ensure_future(runner.serve())
    await gate.holds(1)
    await set_runner(runner, action="restart", action_id=new_id())
    await until(lambda: runner.figures()["status"] == "draining", seconds=10, what="the drain")
    gate.open()
    await asyncio.wait_for(task, 10)
    assert runner.restarts
    assert await statuses(ada) == ["completed"]
    row = await in_db_thread(Runner.objects.get, pk=runner.id)
    assert (row.status, row.action_outcome) == ("stopped", "It has ended; its supervisor starts anew.")


async def test_an_action_that_another_claim_began_or_that_has_changed_is_not_begun() -> None:
    action_id = new_id()
    row = await in_db_thread(
        Runner.objects.create, host="here", pid=1, capacity=1, action="restart", action_id=action_id
    )
    heartbeat = await in_db_thread(send_heartbeat, row.pk, running=0)
    assert heartbeat.action == RequestedAction(action_id, "restart")
    assert not await in_db_thread(start_action, row.pk, new_id())
    assert await in_db_thread(start_action, row.pk, action_id)
    assert not await in_db_thread(start_action, row.pk, action_id)
    assert (await in_db_thread(send_heartbeat, row.pk, running=0)).action is None


async def test_a_runner_tells_that_it_is_there() -> None:
    services, _, gate = gated()
    ada = await asked()
    async with serving(services, heartbeat_seconds=0.05) as runner:
        await gate.holds(1)

        async def row() -> Runner:
            return await in_db_thread(Runner.objects.get, pk=runner.id)

        async def counted() -> bool:
            return (await row()).running == 1

        await until(counted, seconds=10, what="a heartbeat")
        found = await row()
        assert (found.status, found.capacity) == ("running", 4)
        assert found.host
        assert found.heartbeat_at > found.started_at
        gate.open()
        await become(ada, "completed")
    assert (await in_db_thread(Runner.objects.get, pk=runner.id)).status == "stopped"


# --- stops ---


async def test_a_stop_reaches_the_model_within_a_second_and_the_text_stays() -> None:
    services, model, gate = gated()
    took = []
    async with serving(services):
        for number, name in enumerate(("ada", "bob", "cyd"), start=1):
            one = await asked(name)
            await gate.holds(number)
            began = time.monotonic()
            await in_db_thread(cancel_turn, one.actor, turn_id=(await in_db_thread(one.turn)).pk)
            await until(lambda: model.open == 0, seconds=5, what="the stream is closed")
            took.append(time.monotonic() - began)
            await become(one, "cancelled")
            assert (await in_db_thread(one.said))[-1] == ("agent", "Hel")
    assert min(took) < 1


# --- leases ---


def blocks(seconds: float, done: asyncio.Event) -> Callable[[], Awaitable[object]]:
    async def item() -> None:
        time.sleep(seconds)  # noqa: ASYNC251 - the loop is to be busy
        done.set()

    return item


async def test_runners_divide_the_retry_budget_by_how_many_live() -> None:
    (one, *_), (other, *_) = scripted(), scripted()
    async with serving(one, heartbeat_seconds=0.05):
        assert one.retry_budget.capacity == 500
        async with serving(other, heartbeat_seconds=0.05):
            budgets = (one.retry_budget, other.retry_budget)
            await until(lambda: {budget.capacity for budget in budgets} == {250}, seconds=10, what="half for each")
        await until(lambda: one.retry_budget.capacity == 500, seconds=10, what="the whole again")


async def test_a_busy_event_loop_costs_no_lease() -> None:
    done = asyncio.Event()
    services, *_ = scripted(says("Hel", blocks(2.0, done), "lo"))
    ada = await asked()
    async with serving(services, lease_seconds=1.2, heartbeat_seconds=0.3):
        await become(ada, "completed")
    assert done.is_set()
    assert (await in_db_thread(ada.turn)).epoch == 1
    assert "turn.queued" not in (await in_db_thread(ada.log))[3:]


async def test_a_runner_whose_event_loop_is_blocked_claims_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    ada = await asked()
    runner = RunnerProcess(RunnerSettings(**SETTINGS), scripted(says("Hello"))[0])

    def look() -> None:
        with open_listen_connection() as connection:
            runner._claim_turns(connection, Wake((), polled=True))

    monkeypatch.setattr(liveness, "_BLOCKED_SECONDS", -1.0)
    await in_db_thread(look)
    assert await statuses(ada) == ["queued"]
    monkeypatch.undo()
    await in_db_thread(look)
    await asyncio.gather(*runner._tasks)
    assert await statuses(ada) == ["completed"]


async def test_a_turn_that_was_taken_away_is_dropped_and_the_taker_s_answer_counts() -> None:
    services, model, gate = gated()
    ada = await asked()
    taken: list[Claim] = []
    async with serving(services, heartbeat_seconds=0.1):
        await gate.holds(1)

        def take() -> None:
            """Under one lock, so that this runner does not claim it again itself."""
            with transaction.atomic():
                session = lock_session(ada.session_id)
                assert session
                turn = lock_turn(session, ada.turn().pk)
                assert turn
                requeue_locked(session, turn, reason="lease_lost", without_progress=True)
                taken.append(claimed(runner=OTHER_RUNNER))

        await in_db_thread(take)
        await until(lambda: model.open == 0, seconds=10, what="the renewal finds out")
        turn = await in_db_thread(ada.turn)
        assert (turn.status, turn.epoch, turn.runner_id) == ("running", 2, OTHER_RUNNER)

        def finish() -> None:
            answer(taken[0], "The taker's")

        await in_db_thread(finish)
        gate.open()
    assert (await in_db_thread(ada.said))[-1] == ("agent", "The taker's")
    await in_db_thread(ada.log)


async def test_a_turn_whose_runner_is_gone_is_reaped_and_answered_by_another() -> None:
    ada = await asked()

    def vanish() -> None:
        lease_is_over(claimed(runner=OTHER_RUNNER).turn_id)

    await in_db_thread(vanish)
    async with serving(scripted(says("Hello"))[0]):
        await become(ada, "completed")
    assert (await in_db_thread(ada.turn)).epoch == 2


# --- the end ---


async def test_a_drain_finishes_what_is_nearly_done_and_claims_nothing_more() -> None:
    services, _, gate = gated()
    ada = await asked()
    async with serving(services, drain_seconds=20) as runner:
        await gate.holds(1)
        runner.drain()
        bob = await asked("bob")
        gate.open()
        await become(ada, "completed")
    assert await statuses(bob) == ["queued"]
    assert (await in_db_thread(ada.said))[-1] == ("agent", "Hello")


async def test_a_drain_gives_back_what_takes_too_long_without_counting_it() -> None:
    services, model, gate = gated()
    ada = await asked()
    async with serving(services, drain_seconds=3.1):
        await gate.holds(1)
    turn = await in_db_thread(ada.turn)
    assert (turn.status, turn.attempts_without_progress, turn.lease_expires_at) == ("queued", 0, None)
    assert model.open == 0
    async with serving(scripted(says("Hello"))[0]):
        await become(ada, "completed")


async def test_a_second_drain_gives_back_at_once() -> None:
    services, _, gate = gated()
    ada = await asked()
    began = time.monotonic()
    async with serving(services, drain_seconds=60) as runner:
        await gate.holds(1)
        runner.drain()
        runner.drain()
    assert time.monotonic() - began < 30
    assert await statuses(ada) == ["queued"]


async def test_an_idle_runner_ends_at_once() -> None:
    async with serving(scripted(Reply())[0]) as runner:
        await until(lambda: in_db_thread(Runner.objects.filter(pk=runner.id).exists), seconds=10, what="its row")
        began = time.monotonic()
    assert time.monotonic() - began < 5


async def test_a_users_next_turn_begins_when_the_running_limit_has_room_not_at_the_next_look() -> None:
    services, _, gate = gated()
    first, second = await asked("ada"), await asked("ada")
    runner = RunnerProcess(RunnerSettings(**SETTINGS | {"running_per_user": 1}), services)
    runner._claimer._interval_seconds = 3600  # no look but the first, and those that somebody asks for
    task = asyncio.ensure_future(runner.serve())
    try:
        await gate.holds(1)
        gate.open()
        await become(first, "completed")
        await become(second, "completed")
    finally:
        runner.drain()
        await asyncio.wait_for(task, 10)


# --- what others write ---


class Heard:
    """Something that follows rows: when it was called, and with what."""

    channel = "tests"

    def __init__(self) -> None:
        self.payloads: list[str] = []
        self.calls = 0

    def hear(self, connection: psycopg.Connection, wake: Wake) -> None:
        self.calls += 1
        assert connection.execute("SELECT 1").fetchone() == (1,)
        self.payloads += [payload for channel, payload in wake.payloads if channel == self.channel]


async def test_a_listener_hears_its_notes_and_is_called_before_turns_are_claimed() -> None:
    ada, heard = await asked(), Heard()
    services, _, _ = scripted(says("Hello"))
    runner = RunnerProcess(RunnerSettings(**SETTINGS), services, listeners=[heard])
    task = asyncio.ensure_future(runner.serve())
    await become(ada, "completed")
    assert heard.calls > 0

    def note() -> None:
        with connection.cursor() as cursor:
            cursor.execute("NOTIFY tests, 'one'")

    await in_db_thread(note)
    await until(lambda: heard.payloads == ["one"], seconds=5, what="the note")
    runner.drain()
    await asyncio.wait_for(task, 10)
