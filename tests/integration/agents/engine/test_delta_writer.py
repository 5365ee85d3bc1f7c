"""Deltas of many turns in one commit: each in its own log, and none for a turn that is lost."""

from __future__ import annotations

import asyncio

import pytest
from django.db import OperationalError, connection, transaction

from agents.engine import delta_writer
from agents.engine.delta_writer import BatchingDeltaWriter
from agents.journal import fenced_writes, sql
from agents.journal.claims import Claim
from agents.journal.fenced_writes import LostTurn, NewEvent
from agents.journal.locked_writes import lock_session, lock_turn, requeue_locked
from agents.models import Agent
from agents.runner.reaper import reap
from foundation.db_threads import in_db_thread
from tests.support.conversations import (
    OTHER_RUNNER,
    Conversation,
    Stalled,
    claim,
    claimed,
    conversation,
    lease_is_over,
    side_by_side,
)

pytestmark = pytest.mark.usefixtures("transactional_db")

A_WHILE = 10.0


def running(count: int) -> list[tuple[Conversation, Claim]]:
    """So many conversations, each with a turn under way."""
    people = [conversation(f"person {number}") for number in range(count)]
    for one in people:
        one.ask()
    claims = {work.session_id: work for work in claim(count)}
    return [(one, claims[one.session_id]) for one in people]


def key(work: Claim) -> tuple[object, int]:
    return work.turn_id, work.epoch


def delta(text: str) -> NewEvent:
    return NewEvent("message.delta", {"text": text})


def texts(ada: Conversation) -> list[str]:
    ada.log()
    return [event.data["text"] for event in ada.events() if event.type == "message.delta"]


def take_away(ada: Conversation, *, again: bool = False) -> None:
    """The lease is lost; with `again` another runner has claimed the turn since."""
    lease_is_over(ada.turn().pk)
    assert reap() == 1
    if again:
        claimed(runner=OTHER_RUNNER)


def commits(*conversations: Conversation) -> set[int]:
    """The transactions that wrote their deltas."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT xmin::text::bigint FROM agents_event WHERE type = 'message.delta' "
            "AND agent_session_id = ANY(%s)",
            [[one.session_id for one in conversations]],
        )
        return {row[0] for row in cursor.fetchall()}


# --- the statement ---


def test_each_log_gets_its_own_delta_and_all_commit_together() -> None:
    (ada, first), (ben, second) = running(2)
    assert fenced_writes.append_each([(first, delta("a")), (second, delta("b"))]) == {key(first), key(second)}
    assert fenced_writes.append_each([(second, delta("c")), (first, delta("d"))]) == {key(first), key(second)}
    assert (texts(ada), texts(ben)) == (["a", "d"], ["b", "c"])
    assert len(commits(ada, ben)) == 2
    assert [(event.epoch, event.turn_id) for event in ada.events()[-2:]] == [(1, first.turn_id)] * 2


@pytest.mark.parametrize("again", [False, True])
def test_a_turn_that_is_lost_gets_nothing_and_harms_nobody(again: bool) -> None:
    (ada, first), (ben, second) = running(2)
    take_away(ada, again=again)
    before = ada.log()
    assert fenced_writes.append_each([(first, delta("late")), (second, delta("b"))]) == {key(second)}
    assert ada.log() == before
    assert texts(ben) == ["b"]


def test_of_two_claims_of_one_turn_only_the_later_one_writes() -> None:
    ((ada, old),) = running(1)
    lease_is_over(ada.turn().pk)
    assert reap() == 1
    new = claimed()
    assert fenced_writes.append_each([(old, delta("late")), (new, delta("new"))]) == {key(new)}
    assert texts(ada) == ["new"]


def test_a_session_that_somebody_else_writes_is_passed_over() -> None:
    (ada, first), (ben, second) = running(2)
    with transaction.atomic():
        assert lock_session(ada.session_id)
        writes = [(first, delta("a")), (second, delta("b"))]
        assert side_by_side(lambda: fenced_writes.append_each(writes)) == [{key(second)}]
    assert (texts(ada), texts(ben)) == ([], ["b"])


def test_a_turn_that_is_lost_between_the_snapshot_and_the_lock_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fence is judged on the row as it is when it is locked."""
    gate = "FROM jsonb_array_elements(%(writes)s::jsonb) AS w(write)"
    assert gate in sql.APPEND_EACH
    slow = sql.APPEND_EACH.replace(gate, f"{gate}, (SELECT id FROM agents_agent FOR UPDATE) AS stalled")
    monkeypatch.setattr(sql, "APPEND_EACH", slow)
    ((ada, work),) = running(1)
    with transaction.atomic():
        assert Agent.objects.select_for_update().get()
        stalled = Stalled(lambda: fenced_writes.append_each([(work, delta("late"))]))
        stalled.until_it_waits()
        session = lock_session(ada.session_id)
        assert session
        turn = lock_turn(session, work.turn_id)
        assert turn
        requeue_locked(session, turn, reason="lease_lost", without_progress=True)
    assert stalled.ended() == set()
    assert texts(ada) == []


# --- the writer of an event loop ---


async def write(writer: BatchingDeltaWriter, *writes: tuple[Claim, str]) -> list[object]:
    """How each of these ended, asked for in the same moment."""
    return await asyncio.wait_for(
        asyncio.gather(*(writer.write(work, delta(text)) for work, text in writes), return_exceptions=True), A_WHILE
    )


async def test_what_is_asked_for_together_is_committed_together() -> None:
    turns = await in_db_thread(running, 5)
    assert await write(BatchingDeltaWriter(), *((work, work.session_id.hex) for _, work in turns)) == [None] * 5
    for ada, work in turns:
        assert await in_db_thread(texts, ada) == [work.session_id.hex]
    assert len(await in_db_thread(commits, *(ada for ada, _ in turns))) == 1


async def test_whoever_lost_its_turn_is_told_and_the_others_go_on() -> None:
    (ada, first), (ben, second) = await in_db_thread(running, 2)
    await in_db_thread(take_away, ada)
    lost, fine = await write(BatchingDeltaWriter(), (first, "late"), (second, "b"))
    assert isinstance(lost, LostTurn)
    assert fine is None
    assert await in_db_thread(texts, ben) == ["b"]


async def test_a_delta_that_cannot_be_stored_fails_alone() -> None:
    (ada, first), (ben, second) = await in_db_thread(running, 2)
    refused, fine = await write(BatchingDeltaWriter(), (first, "nul \x00"), (second, "b"))
    assert isinstance(refused, Exception)
    assert fine is None
    assert await in_db_thread(texts, ada) == []
    assert await in_db_thread(texts, ben) == ["b"]


async def test_a_locked_session_holds_up_its_own_delta_only() -> None:
    (ada, first), (ben, second) = await in_db_thread(running, 2)
    locked, release = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def hold() -> None:
        with transaction.atomic():
            assert lock_session(ada.session_id)
            loop.call_soon_threadsafe(locked.set)
            asyncio.run_coroutine_threadsafe(release.wait(), loop).result(A_WHILE)

    holding = asyncio.ensure_future(in_db_thread(hold))
    await asyncio.wait_for(locked.wait(), A_WHILE)
    writer = BatchingDeltaWriter()
    waiting = asyncio.ensure_future(writer.write(first, delta("a")))
    assert await write(writer, (second, "b")) == [None]
    assert await write(writer, (second, "c")) == [None]
    assert not waiting.done()
    release.set()
    await asyncio.wait_for(waiting, A_WHILE)
    await holding
    assert (await in_db_thread(texts, ada), await in_db_thread(texts, ben)) == (["a"], ["b", "c"])


async def test_a_lost_database_is_told_to_all(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = await in_db_thread(running, 3)

    def down(_: object) -> set[tuple[object, int]]:
        raise OperationalError("the connection is lost")

    monkeypatch.setattr(delta_writer, "append_each", down)
    ended = await write(BatchingDeltaWriter(), *((work, "a") for _, work in turns))
    assert [type(one) for one in ended] == [OperationalError] * 3


async def test_whoever_is_cancelled_waits_until_its_delta_is_written() -> None:
    (ada, first), (_, second) = await in_db_thread(running, 2)
    writer = BatchingDeltaWriter()
    going = [asyncio.ensure_future(writer.write(work, delta("a"))) for work in (first, second)]
    await asyncio.sleep(0)
    going[0].cancel()
    await asyncio.wait(going, timeout=A_WHILE)
    assert going[0].cancelled()
    assert going[1].exception() is None
    assert await in_db_thread(texts, ada) == ["a"]


def test_the_end_of_the_process_leaves_nobody_waiting() -> None:
    turns = running(2)
    going: list[asyncio.Future[None]] = []

    async def scene() -> None:
        writer = BatchingDeltaWriter()
        going.extend(asyncio.ensure_future(writer.write(work, delta("a"))) for _, work in turns)
        await asyncio.sleep(0)

    asyncio.run(scene())
    assert all(one.cancelled() for one in going)
