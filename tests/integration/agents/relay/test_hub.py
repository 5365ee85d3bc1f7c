"""The hub: every watcher gets every event once and in order, live or late, whatever is lost on the way."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.db import connection, transaction

from agents.journal.claims import Claim
from agents.journal.log import LoggedEvent
from agents.models import AgentSession, Event
from agents.relay import Hub, Resync, Subscription, close_hub, event_json, get_hub
from agents.relay import hub as hubs
from agents.relay.hub import BUFFER_EVENTS, POLL_SECONDS
from foundation.db_threads import in_db_thread
from tests.chaos.waiting import until
from tests.support.conversations import Conversation, answer, claimed, compact_turn, conversation, say

PATIENCE = 10.0


@pytest.fixture
async def hub(transactional_db: None) -> AsyncIterator[Hub]:
    yield get_hub()
    close_hub()


@pytest.fixture
async def unpolled(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hub]:
    """A hub that looks only when it is told to: what arrives does not owe it to the poll."""
    monkeypatch.setattr(hubs, "POLL_SECONDS", 3600.0)
    yield get_hub()
    close_hub()


def running(name: str = "ada") -> tuple[Conversation, Claim]:
    ada = conversation(name)
    ada.ask()
    return ada, claimed()


async def begun(name: str = "ada") -> tuple[Conversation, Claim]:
    """A session with three events, and a claim of its turn."""
    return await in_db_thread(running, name)


async def said(work: Claim, *texts: str) -> int:
    return await in_db_thread(say, work, *texts)


def texts(count: int) -> list[str]:
    return [str(number) for number in range(count)]


async def batch(watcher: Subscription) -> list[LoggedEvent]:
    item = await watcher.get(PATIENCE)
    assert isinstance(item, list), item
    assert item
    return item


async def follow(watcher: Subscription, *, after: int, until: int) -> list[LoggedEvent]:
    """The events after `after` up to `until`; they come without a gap or a repetition."""
    seen: list[LoggedEvent] = []
    while not seen or seen[-1].seq < until:
        seen += await batch(watcher)
    assert [event.seq for event in seen] == list(range(after + 1, until + 1))
    return seen


async def nothing(watcher: Subscription) -> bool:
    return await watcher.get(0.01) is None


# --- live and late ---


async def test_a_watcher_gets_what_happens_from_now_on(hub: Hub) -> None:
    ada, work = await begun()
    watcher = hub.subscribe(ada.session_id, after=3)
    assert await nothing(watcher)
    await said(work, "Hel", "lo")
    [first, second] = await follow(watcher, after=3, until=5)
    assert (first.type, json.loads(first.data), first.turn) == ("message.delta", {"text": "Hel"}, str(work.turn_id))
    assert json.loads(second.data) == {"text": "lo"}
    assert first.replaces_from is None


async def test_a_watcher_that_comes_late_gets_everything(hub: Hub) -> None:
    ada, work = await begun()
    await said(work, *texts(7))
    assert [event.type for event in await follow(hub.subscribe(ada.session_id, after=0), after=0, until=10)] == [
        "message.created", "turn.queued", "turn.started", *["message.delta"] * 7,
    ]  # fmt: skip
    await follow(hub.subscribe(ada.session_id, after=8), after=8, until=10)


async def test_nothing_is_missed_or_repeated_between_the_past_and_the_present(hub: Hub) -> None:
    ada, work = await begun()

    def write() -> None:
        for number in range(60):
            say(work, f"{number}a", f"{number}b")

    writing = asyncio.ensure_future(in_db_thread(write))
    watchers = []
    while not writing.done():
        watchers.append(asyncio.ensure_future(follow(hub.subscribe(ada.session_id, after=0), after=0, until=123)))
        await asyncio.wait([writing], timeout=0.01)
    await writing
    logs = await asyncio.gather(*watchers)
    assert logs
    assert all(log == logs[0] for log in logs)


async def test_a_session_without_events_can_be_watched(hub: Hub) -> None:
    ada = await in_db_thread(conversation)
    watcher = hub.subscribe(ada.session_id, after=0)
    assert await nothing(watcher)
    await in_db_thread(ada.ask)
    await follow(watcher, after=0, until=2)


async def test_watchers_see_their_own_session_only(hub: Hub) -> None:
    (ada, hers), (bob, his) = await begun(), await begun("bob")
    mine, other = hub.subscribe(ada.session_id, after=3), hub.subscribe(bob.session_id, after=3)
    await said(hers, "for Ada")
    await said(his, "for Bob")
    assert [json.loads(event.data)["text"] for event in await follow(mine, after=3, until=4)] == ["for Ada"]
    assert [json.loads(event.data)["text"] for event in await follow(other, after=3, until=4)] == ["for Bob"]


async def test_two_watchers_of_one_session_see_the_same(hub: Hub) -> None:
    ada, work = await begun()
    early, late = hub.subscribe(ada.session_id, after=0), hub.subscribe(ada.session_id, after=2)
    await said(work, *texts(3))
    assert (await follow(early, after=0, until=6))[2:] == await follow(late, after=2, until=6)
    early.close()
    await said(work, "on")
    await follow(late, after=6, until=7)


# --- slow watchers ---


async def test_a_watcher_that_does_not_read_costs_a_bounded_buffer_and_loses_nothing(hub: Hub) -> None:
    ada, work = await begun()
    count = 3 * BUFFER_EVENTS + 17
    slow, quick = hub.subscribe(ada.session_id, after=3), hub.subscribe(ada.session_id, after=3)
    for number in range(0, count, 100):
        await said(work, *texts(min(100, count - number)))
    await follow(quick, after=3, until=count + 3)
    assert BUFFER_EVENTS <= slow.buffered < 2 * BUFFER_EVENTS
    await follow(slow, after=3, until=count + 3)
    assert slow.buffered == 0


async def test_a_paused_watcher_is_not_read_for_and_catches_up(hub: Hub) -> None:
    ada, work = await begun()
    paused, witness = hub.subscribe(ada.session_id, after=3), hub.subscribe(ada.session_id, after=3)
    await said(work, "a")
    await follow(paused, after=3, until=4)
    await follow(witness, after=3, until=4)
    paused.pause()
    await said(work, *texts(20))
    await follow(witness, after=4, until=24)
    assert await nothing(paused)
    assert paused.buffered == 0
    paused.resume()
    await follow(paused, after=4, until=24)
    await said(work, "live again")
    await follow(paused, after=24, until=25)


async def test_catching_up_and_going_on_need_no_poll(unpolled: Hub) -> None:
    ada, work = await begun()
    count = 2 * BUFFER_EVENTS + 17
    for number in range(0, count, 100):
        await said(work, *texts(min(100, count - number)))
    late, paused = unpolled.subscribe(ada.session_id, after=3), unpolled.subscribe(ada.session_id, after=3)
    await batch(paused)
    paused.pause()
    await follow(late, after=3, until=count + 3)
    await said(work, "on")
    await follow(late, after=count + 3, until=count + 4)
    paused.reset(after=count + 3)
    paused.resume()
    await follow(paused, after=count + 3, until=count + 4)
    paused.pause()
    await said(work, "and on")
    await follow(late, after=count + 4, until=count + 5)
    paused.resume()
    await follow(paused, after=count + 4, until=count + 5)


async def test_a_watcher_of_megabytes_gets_them_all_and_keeps_few(hub: Hub) -> None:
    ada, work = await begun()
    for number in range(9):
        await said(work, str(number) * 2**20)
    watcher = hub.subscribe(ada.session_id, 0)
    first = await batch(watcher)
    assert sum(len(event.data) for event in first) < 5 * 2**20
    assert watcher.buffered < 2 * BUFFER_EVENTS
    rest = await follow(watcher, after=first[-1].seq, until=12)
    assert [json.loads(event.data)["text"][0] for event in [*first, *rest][3:]] == texts(9)


async def test_what_is_buffered_stays_readable_in_a_pause(hub: Hub) -> None:
    ada, work = await begun()
    watcher, witness = hub.subscribe(ada.session_id, after=0), hub.subscribe(ada.session_id, after=0)
    await follow(witness, after=0, until=3)
    assert watcher.buffered == 3
    watcher.pause()
    await follow(watcher, after=0, until=3)
    await said(work, "a")
    watcher.resume()
    await follow(watcher, after=3, until=4)


# --- folded rows, and new beginnings ---


async def folded() -> tuple[Conversation, int]:
    """A session whose events 4 to 8 are one row; its last seq."""

    def make() -> tuple[Conversation, int]:
        ada, work = running()
        say(work, *"Hello")
        answer(work)
        compact_turn(ada.session_id, work.turn_id)
        return ada, ada.row.next_seq - 1

    return await in_db_thread(make)


async def test_a_watcher_inside_a_folded_run_is_told_once_and_goes_on_behind_its_snapshot(hub: Hub) -> None:
    ada, last = await folded()
    watcher, witness = hub.subscribe(ada.session_id, after=6), hub.subscribe(ada.session_id, after=last)
    assert await watcher.get(PATIENCE) == Resync(6)
    await in_db_thread(ada.ask)
    await follow(witness, after=last, until=last + 2)
    assert await nothing(watcher), "it is not read for before it has its snapshot"
    snapshot = await in_db_thread(ada.snapshot)
    watcher.reset(after=snapshot["seq"])
    await in_db_thread(ada.ask)
    await follow(watcher, after=last + 2, until=last + 4)


async def test_a_watcher_before_a_folded_run_gets_the_row_that_stands_for_it(hub: Hub) -> None:
    ada, last = await folded()
    seen: list[LoggedEvent] = []
    watcher = hub.subscribe(ada.session_id, after=3)
    while not seen or seen[-1].seq < last:
        seen += await batch(watcher)
    assert [(event.first_seq, event.seq) for event in seen] == [(4, 8), (9, 9), (10, 10)]
    assert json.loads(seen[0].data) == {"text": "Hello"}
    assert json.loads(event_json(seen[0])) == {
        "type": "event", "seq": 8, "turn": seen[0].turn, "event": "message.delta", "data": {"text": "Hello"},
        "at": seen[0].at, "replaces_from": 4,
    }  # fmt: skip


async def test_a_reset_forgets_what_is_buffered_and_reads_again(hub: Hub) -> None:
    ada, work = await begun()
    await said(work, *texts(5))
    watcher = hub.subscribe(ada.session_id, after=0)
    await batch(watcher)
    for after in (2, 0, 7):
        watcher.reset(after=after)
        await follow(watcher, after=after, until=8)
    assert watcher.buffered == 0


def lock_events(locked: threading.Event, release: threading.Event) -> None:
    """Let nobody read events until `release`, or for as long as others have patience."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("LOCK TABLE agents_event IN ACCESS EXCLUSIVE MODE")
        locked.set()
        release.wait(1.5)


def somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT EXISTS (SELECT FROM pg_stat_activity
               WHERE datname = current_database() AND wait_event = 'relation')"""
        )
        waits: bool = cursor.fetchone()[0]
        return waits


async def test_a_reset_during_a_read_makes_what_was_read_old_news(unpolled: Hub) -> None:
    ada, work = await begun()
    await said(work, *texts(20))
    locked, release = threading.Event(), threading.Event()
    locking = asyncio.ensure_future(in_db_thread(lock_events, locked, release))
    await asyncio.to_thread(locked.wait, PATIENCE)
    watcher = unpolled.subscribe(ada.session_id, after=0)
    await until(lambda: in_db_thread(somebody_waits), seconds=1.4, what="a read that waits")
    watcher.reset(after=10)
    release.set()
    await locking
    await follow(watcher, after=10, until=23)


async def test_a_reset_before_the_delivery_of_what_was_read_makes_it_old_news(unpolled: Hub) -> None:
    ada, work = await begun()
    await said(work, *texts(20))
    watcher = unpolled.subscribe(ada.session_id, after=0)
    while not watcher.buffered:
        time.sleep(0.001)  # noqa: ASYNC251 - the loop may not deliver yet
    watcher.reset(after=10)
    await follow(watcher, after=10, until=23)


# --- what gets lost ---


async def test_a_lost_notification_costs_no_more_than_the_poll(hub: Hub) -> None:
    ada, work = await begun()
    watcher = hub.subscribe(ada.session_id, after=3)
    assert await nothing(watcher)

    def write_silently(seq: int) -> None:
        """As `append` does, without its NOTIFY."""
        Event.objects.create(agent_session_id=ada.session_id, seq=seq, turn_id=work.turn_id, type="message.delta")
        AgentSession.objects.filter(pk=ada.session_id).update(next_seq=seq + 1)

    loop = asyncio.get_running_loop()
    waits = []
    for seq in (4, 5):
        await in_db_thread(write_silently, seq)
        began = loop.time()
        await follow(watcher, after=seq - 1, until=seq)
        waits.append(loop.time() - began)
    assert min(waits) < 2 * POLL_SECONDS


def kill_the_hubs_connection() -> int:
    """Only that one: the others are the test's own."""
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity
               WHERE datname = current_database() AND application_name LIKE '%-listen'"""
        )
        killed: int = cursor.fetchone()[0]
        return killed


async def test_a_killed_connection_is_replaced_and_nothing_is_missed(hub: Hub) -> None:
    ada, work = await begun()
    watcher = hub.subscribe(ada.session_id, after=0)
    await follow(watcher, after=0, until=3)
    for number in range(3):
        assert await in_db_thread(kill_the_hubs_connection) == 1
        last = await said(work, "meanwhile")
        await follow(watcher, after=3 + number, until=last)
    late = hub.subscribe(ada.session_id, after=0)
    await follow(late, after=0, until=6)


async def test_a_note_that_nobody_of_ours_wrote_harms_nothing(hub: Hub) -> None:
    ada, work = await begun()
    watcher = hub.subscribe(ada.session_id, after=3)
    assert await nothing(watcher)

    def shout() -> None:
        with connection.cursor() as cursor:
            for payload in ("", "x", "no-uuid 7", f"{ada.session_id} many", f"{ada.session_id}"):
                cursor.execute("SELECT pg_notify('bandstand_events', %s)", [payload])

    await in_db_thread(shout)
    await said(work, "a")
    await follow(watcher, after=3, until=4)


# --- ends ---


async def test_a_watcher_that_waits_is_woken_by_the_end(hub: Hub) -> None:
    ada, _ = await begun()
    closed, stopped = hub.subscribe(ada.session_id, after=3), hub.subscribe(ada.session_id, after=3)
    waiting = [asyncio.ensure_future(one.get()) for one in (closed, stopped)]
    await asyncio.sleep(0)
    closed.close()
    assert await waiting[0] is None
    assert closed.closed
    assert not stopped.closed
    close_hub()
    assert await waiting[1] is None
    assert stopped.closed
    assert await stopped.get() is None
    closed.close()


async def test_a_watcher_can_be_followed_to_its_end(hub: Hub) -> None:
    ada, _ = await begun()
    watcher = hub.subscribe(ada.session_id, after=0)
    seen: list[Any] = []
    async for item in watcher:
        seen.append(item)
        watcher.close()
    assert [event.seq for event in seen[0]] == [1, 2, 3]


async def test_a_get_that_is_cancelled_or_times_out_loses_nothing(hub: Hub) -> None:
    ada, work = await begun()
    watcher = hub.subscribe(ada.session_id, after=3)
    assert await watcher.get(0.001) is None
    waiting = asyncio.ensure_future(watcher.get())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    await said(work, "a")
    await follow(watcher, after=3, until=4)


async def test_a_process_has_one_hub_until_it_is_closed(hub: Hub) -> None:
    assert get_hub() is hub
    close_hub()
    assert get_hub() is not hub


async def test_watchers_that_left_are_forgotten(hub: Hub) -> None:
    ada, _ = await begun()
    for _ in range(10):
        hub.subscribe(ada.session_id, after=0).close()
    assert not hub._watchers


async def test_events_arrive_long_before_the_next_poll(hub: Hub) -> None:
    ada, work = await begun()
    watcher = hub.subscribe(ada.session_id, after=3)
    loop = asyncio.get_running_loop()
    waits = []
    for seq in range(4, 8):
        # The last event came with a note or with a poll; had it been a poll, the next one is a whole interval away.
        began = loop.time()
        await said(work, "a")
        await follow(watcher, after=seq - 1, until=seq)
        waits.append(loop.time() - began)
    assert min(waits[1:]) < POLL_SECONDS / 2
