"""The websocket, frame by frame, on the real log; no runner is needed."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from channels.routing import URLRouter
from django.db import transaction
from django.urls import path
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.actor import Scope
from accounts.roles import Role
from agents.journal.locked_writes import lock_session
from agents.models import Event, Message, Turn
from agents.relay import close_hub, close_subscriptions
from agents.sessions import accept_message, create_session, delete_session, update_session
from agents.ws.auth import AuthenticationMiddleware
from agents.ws.close_codes import CloseCode
from agents.ws.consumer import SessionSocket
from agents.ws.socket_limits import SocketLimits
from foundation.db_threads import in_db_thread
from tests.support.people import key_of, person
from tests.support.sockets import Owner, Socket, deltas, key_headers, write_events

pytestmark = pytest.mark.usefixtures("transactional_db")

FAR = 2**53 - 1


@pytest.fixture
def owner(transactional_db: None) -> Iterator[Owner]:
    yield Owner()
    close_hub()


def socket(owner: Owner, limits: SocketLimits | None = None, **options: Any) -> Socket:
    app = None
    if limits is not None:
        consumer = AuthenticationMiddleware(SessionSocket.as_asgi(limits=limits))
        app = URLRouter([path("ws/sessions/<uuid:session_id>/", consumer)])  # type: ignore[arg-type]
    return Socket(owner.session.pk, key_headers(owner.key), app=app, **options)


def create(key: str, text: str = "Hello") -> dict[str, Any]:
    return {"type": "message.create", "client_msg_id": key, "text": text}


# --- opening ---


async def test_a_socket_begins_with_ready_and_the_last_seq(owner: Owner) -> None:
    await deltas(owner.session.pk, 3)
    async with socket(owner) as ws:
        assert ws.protocol == "bandstand.v1"
        assert await ws.receive() == {"type": "ready", "session": str(owner.session.pk), "seq": 3}


async def test_a_client_that_names_no_subprotocol_is_served(owner: Owner) -> None:
    async with socket(owner, protocols=()) as ws:
        assert ws.protocol is None
        assert (await ws.receive())["type"] == "ready"


async def test_a_client_that_speaks_only_other_subprotocols_is_closed(owner: Owner) -> None:
    async with socket(owner, protocols=["bandstand.v99"]) as ws:
        assert await ws.closed() == CloseCode.PROTOCOL


async def test_an_unknown_session_and_one_of_somebody_else_look_the_same(owner: Owner) -> None:
    stranger = await in_db_thread(lambda: key_of(person("eve", Role.USER)))
    for session, key in ((uuid4(), owner.key), (owner.session.pk, stranger)):
        async with Socket(session, key_headers(key)) as ws:
            assert await ws.output() == {"type": "websocket.close", "code": 4404}


async def test_an_address_that_is_no_session_is_unknown(owner: Owner) -> None:
    for session in ("0", "-1", "%00", "..", f"{{{uuid4()}}}", uuid4().hex, str(uuid4()).upper()):
        async with Socket(session, key_headers(owner.key)) as ws:
            assert await ws.closed() == CloseCode.UNKNOWN_SESSION, session


async def test_a_key_without_a_scope_to_read_is_refused(owner: Owner) -> None:
    key = await in_db_thread(key_of, owner.user, [Scope.MANAGE])
    async with Socket(owner.session.pk, key_headers(key)) as ws:
        assert (await ws.receive())["code"] == "forbidden"
        assert await ws.closed() == CloseCode.FORBIDDEN


async def test_a_key_that_may_only_read_listens_and_neither_writes_nor_stops(owner: Owner) -> None:
    key = await in_db_thread(key_of, owner.user, [Scope.READ])
    accepted = await in_db_thread(accept_message, owner.actor, session_id=owner.session.pk, text="Hi")
    async with Socket(owner.session.pk, key_headers(key)) as ws:
        await ws.send({"type": "resume", "after": 0})
        await ws.until("ready")
        await ws.events(2)
        await ws.send(create("one"))
        await ws.send({"type": "turn.cancel", "turn": str(accepted.turn_id)})
        assert [(await ws.receive())["code"] for _ in range(2)] == ["forbidden", "forbidden"]
        assert await ws.silent()
    assert (await in_db_thread(Turn.objects.get)).status == "queued"


# --- messages ---


async def test_a_message_is_acknowledged_once_it_is_stored(owner: Owner) -> None:
    async with socket(owner) as ws:
        await ws.send(create("one", "  Hello, \u202e wörld 😀\n"))
        ack = await ws.until("ack")
    message = await in_db_thread(Message.objects.get)
    assert ack == {"type": "ack", "client_msg_id": "one", "turn": str(message.turn_id), "seq": 2}
    assert message.parts == [{"type": "text", "text": "  Hello, \u202e wörld 😀\n"}]


async def test_a_message_that_is_sent_again_gets_the_same_acknowledgement_and_no_second_turn(owner: Owner) -> None:
    async with socket(owner) as ws:
        await ws.send(create("one"))
        first = await ws.until("ack")
    async with socket(owner) as ws:
        await ws.send(create("one"))
        assert await ws.until("ack") == first
    assert await in_db_thread(Turn.objects.count) == 1


async def test_an_id_that_was_used_for_another_text_is_refused(owner: Owner) -> None:
    async with socket(owner) as ws:
        await ws.send(create("one"))
        await ws.until("ack")
        await ws.send(create("one", "Something else"))
        error = await ws.until("error")
    assert (error["code"], error["ref"], error["retryable"]) == ("idempotency_mismatch", "one", False)


async def test_messages_of_one_socket_keep_their_order(owner: Owner) -> None:
    names = [f"m{n}" for n in range(10)]
    async with socket(owner) as ws:
        for name in names:
            await ws.send(create(name, name))
        acks = [(await ws.until("ack"))["client_msg_id"] for _ in names]
    stored = await in_db_thread(lambda: [m.parts[0]["text"] for m in Message.objects.order_by("ordinal")])
    assert acks == stored == names


async def test_a_full_session_says_when_to_try_again(owner: Owner) -> None:
    async with socket(owner) as ws:
        for n in range(21):
            await ws.send(create(f"m{n}"))
        error = await ws.until("error")
    assert (error["code"], error["ref"], error["retryable"]) == ("session_queue_full", "m20", True)
    assert error["retry_after_ms"] > 0


@pytest.mark.parametrize("text", ["", " \n "])
async def test_a_message_without_words_is_refused_and_the_socket_stays(owner: Owner, text: str) -> None:
    async with socket(owner) as ws:
        await ws.send(create("one", text))
        error = await ws.until("error")
        assert (error["code"], error["ref"]) == ("invalid", "one")
        assert await ws.silent()
    assert await in_db_thread(Message.objects.count) == 0


# --- stop ---


async def test_a_stop_cancels_the_turn_and_a_second_one_changes_nothing(owner: Owner) -> None:
    accepted = await in_db_thread(accept_message, owner.actor, session_id=owner.session.pk, text="Hi")
    stop = {"type": "turn.cancel", "turn": str(accepted.turn_id)}
    async with socket(owner) as ws:
        for _ in range(2):
            await ws.send(stop)
            assert await ws.until("ack") == {"type": "ack", "turn": str(accepted.turn_id), "status": "cancelled"}
    assert await in_db_thread(Event.objects.filter(type="turn.cancelled").count) == 1


async def test_a_turn_is_only_stopped_through_its_own_session(owner: Owner) -> None:
    other = await in_db_thread(create_session, owner.actor, agent_slug="demo")
    accepted = await in_db_thread(accept_message, owner.actor, session_id=other.pk, text="Hi")
    for turn in (str(accepted.turn_id), str(uuid4())):
        async with socket(owner) as ws:
            await ws.send({"type": "turn.cancel", "turn": turn})
            error = await ws.until("error")
            assert (error["code"], error["ref"]) == ("not_found", turn)
            assert await ws.silent()
    assert (await in_db_thread(Turn.objects.get)).status == "queued"


# --- the log ---


async def test_resume_sends_what_was_missed_and_then_what_happens(owner: Owner) -> None:
    await deltas(owner.session.pk, 5)
    async with socket(owner) as ws:
        await ws.send({"type": "resume", "after": 2})
        await ws.until("ready")
        missed = await ws.events(3)
        await deltas(owner.session.pk, 2, "y")
        live = await ws.events(2)
    assert [frame["seq"] for frame in missed + live] == [3, 4, 5, 6, 7]
    assert [frame["data"]["text"] for frame in live] == ["y0", "y1"]
    stored = await in_db_thread(Event.objects.get, seq=3)
    assert missed[0] == {
        "type": "event",
        "seq": 3,
        "turn": None,
        "event": "message.delta",
        "data": {"text": "x2"},
        "at": stored.at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    }


async def test_a_client_that_only_listens_hears_what_happens_after_ready(owner: Owner) -> None:
    await deltas(owner.session.pk, 5)
    async with socket(owner, SocketLimits(hold_seconds=0.05)) as ws:
        await ws.until("ready")
        await deltas(owner.session.pk, 2)
        assert [frame["seq"] for frame in await ws.events(2)] == [6, 7]


async def test_what_happens_before_the_resume_comes_once_and_in_order(owner: Owner) -> None:
    async with socket(owner, SocketLimits(hold_seconds=60)) as late, socket(owner) as early:
        await late.until("ready")
        await early.until("ready")
        await early.send({"type": "resume", "after": 0})
        await deltas(owner.session.pk, 3)
        await early.events(3)
        await late.send({"type": "resume", "after": 0})
        await deltas(owner.session.pk, 1)
        assert [frame["seq"] for frame in await late.events(4)] == [1, 2, 3, 4]


async def test_resume_on_a_live_socket_moves_it_and_sends_nothing_twice(owner: Owner) -> None:
    async with socket(owner) as ws:
        await ws.send({"type": "resume", "after": 0})
        await ws.until("ready")
        await deltas(owner.session.pk, 4)
        assert [frame["seq"] for frame in await ws.events(4)] == [1, 2, 3, 4]
        await ws.send({"type": "resume", "after": 2})
        await deltas(owner.session.pk, 2)
        assert [frame["seq"] for frame in await ws.events(4)] == [3, 4, 5, 6]
        await deltas(owner.session.pk, 1)
        assert [frame["seq"] for frame in await ws.events(1)] == [7]


async def test_waits_and_second_attempts_come_as_they_are_in_the_log(owner: Owner) -> None:
    written: list[tuple[str, dict[str, Any]]] = [
        ("message.delta", {"text": "Hel"}),
        ("model.retrying", {"step": 1, "route": None, "reason": "transient"}),
        ("turn.retry_wait", {"until": "2100-01-01T00:00:00.000000Z"}),
        ("turn.started", {"epoch": 2, "resumed": True, "started_at": "2026-11-22T08:15:30.000001Z"}),
    ]
    async with socket(owner) as ws:
        await ws.send({"type": "resume", "after": 0})
        await ws.until("ready")
        await in_db_thread(write_events, owner.session.pk, written)
        assert [(frame["event"], frame["data"]) for frame in await ws.events(4)] == written


async def test_two_devices_see_the_same_log(owner: Owner) -> None:
    async with socket(owner) as one, socket(owner) as two:
        for ws in (one, two):
            await ws.send({"type": "resume", "after": 0})
            await ws.until("ready")
        await one.send(create("one"))
        ack, seen = None, []
        while ack is None or len(seen) < 2:
            frame = await one.receive()
            if frame["type"] == "ack":
                ack = frame
            else:
                seen.append(frame)
        assert seen == await two.events(2)
        assert [frame["event"] for frame in seen] == ["message.created", "turn.queued"]


async def test_a_message_with_a_parent_begins_a_branch_there(owner: Owner) -> None:
    first = await in_db_thread(accept_message, owner.actor, session_id=owner.session.pk, text="Hi")
    async with socket(owner) as ws:
        await ws.send({"type": "resume", "after": 2})
        await ws.send({**create("below"), "parent": str(first.message_id)})
        await ws.send({**create("beside"), "parent": None})
        acks = [await ws.until("ack") for _ in range(2)]
    assert [ack["client_msg_id"] for ack in acks] == ["below", "beside"]
    messages = Message.objects.filter(agent_session=owner.session).order_by("ordinal")
    assert await in_db_thread(lambda: [m.parent_id for m in messages]) == [None, first.message_id, None]


async def test_a_parent_in_another_session_is_refused_like_one_that_is_not_there(owner: Owner) -> None:
    stranger = await in_db_thread(Owner, "bob", "other")
    theirs = await in_db_thread(accept_message, stranger.actor, session_id=stranger.session.pk, text="Hi")
    async with socket(owner) as ws:
        for parent in (theirs.message_id, theirs.turn_id):
            await ws.send({**create("m"), "parent": str(parent)})
            fault = await ws.until("error")
            assert (fault["code"], fault["ref"], fault["retryable"]) == ("invalid", "m", False)


async def test_an_after_in_the_future_gets_a_snapshot_and_then_live_events(owner: Owner) -> None:
    await in_db_thread(accept_message, owner.actor, session_id=owner.session.pk, text="Hi")
    async with socket(owner) as ws:
        await ws.send({"type": "resume", "after": FAR})
        await ws.until("ready")
        snapshot = await ws.receive()
        assert (snapshot["type"], snapshot["seq"]) == ("resync", 2)
        assert snapshot["session"]["id"] == str(owner.session.pk)
        assert [m["parts"][0]["text"] for m in snapshot["messages"]] == ["Hi"]
        assert [turn["status"] for turn in snapshot["turns"].values()] == ["queued"]
        await deltas(owner.session.pk, 1)
        assert [frame["seq"] for frame in await ws.events(1)] == [3]


async def test_an_after_that_was_folded_away_gets_a_snapshot(owner: Owner) -> None:
    def fold() -> None:
        Event.objects.filter(seq__in=[1, 2, 3]).delete()
        Event.objects.filter(seq=4).update(replaces_from=1)

    await deltas(owner.session.pk, 6)
    await in_db_thread(fold)
    async with socket(owner) as ws:
        await ws.send({"type": "resume", "after": 2})
        await ws.until("ready")
        assert (await ws.receive())["seq"] == 6
        await ws.send({"type": "resume", "after": 0})
        folded = await ws.events(3)
    assert [(frame["seq"], frame.get("replaces_from")) for frame in folded] == [(4, 1), (5, None), (6, None)]


async def test_frames_before_ready_are_answered_in_their_order(owner: Owner) -> None:
    ws = socket(owner)
    await ws.communicator.send_input({"type": "websocket.connect"})
    await ws.send({"type": "resume", "after": 0})
    await ws.send(create("early"))
    await ws.send({"type": "ping"})
    assert (await ws.output())["type"] == "websocket.accept"
    kinds = []
    while "pong" not in kinds:
        kinds.append((await ws.receive())["type"])
    assert [kind for kind in kinds if kind != "event"] == ["ready", "ack", "pong"]
    await ws.communicator.disconnect()


async def test_a_change_of_the_session_is_told(owner: Owner) -> None:
    async with socket(owner) as ws:
        await ws.send({"type": "resume", "after": 0})
        await ws.until("ready")
        await in_db_thread(update_session, owner.actor, session_id=owner.session.pk, expected_version=1, title="Named")
        frame = (await ws.events(1))[0]
    assert (frame["event"], frame["data"]["session"]["title"]) == ("session.updated", "Named")


async def test_a_socket_is_closed_with_restart_when_its_process_ends(owner: Owner) -> None:
    async with socket(owner, SocketLimits(hold_seconds=0)) as ws, socket(owner) as waiting:
        await ws.until("ready")
        await ws.send({"type": "resume", "after": 0})
        assert await ws.silent()
        close_subscriptions()
        assert await ws.closed() == CloseCode.RESTART
        await waiting.send({"type": "resume", "after": 0})
        assert await waiting.closed() == CloseCode.RESTART


async def test_a_session_that_is_deleted_closes_when_its_snapshot_is_asked_for(owner: Owner) -> None:
    async with socket(owner) as ws:
        await ws.until("ready")
        await in_db_thread(delete_session, owner.actor, session_id=owner.session.pk, expected_version=1)
        await ws.send({"type": "resume", "after": FAR})
        assert await ws.closed() == CloseCode.UNKNOWN_SESSION


# --- flow control ---


async def test_past_500_unseen_events_the_server_waits_and_then_catches_up(owner: Owner) -> None:
    await deltas(owner.session.pk, 1200)
    async with socket(owner) as ws:
        await ws.send({"type": "resume", "after": 0})
        await ws.until("ready")
        first = await ws.events(500)
        assert await ws.silent()
        await ws.send({"type": "seen", "seq": 1})
        assert [frame["seq"] for frame in await ws.events(1)] == [501]
        assert await ws.silent()
        await ws.send({"type": "seen", "seq": 501})
        second = await ws.events(500)
        await ws.send({"type": "seen", "seq": 1001})
        third = await ws.events(199)
        await deltas(owner.session.pk, 1)
        assert [frame["seq"] for frame in await ws.events(1)] == [1201]
    assert [frame["seq"] for frame in first + second + third] == [*range(1, 501), *range(502, 1201)]


async def test_a_client_that_never_says_what_it_has_seen_is_closed(owner: Owner) -> None:
    await deltas(owner.session.pk, 20)
    async with socket(owner, SocketLimits(unseen_events=10, seen_timeout_seconds=0.1)) as ws:
        await ws.send({"type": "resume", "after": 0})
        await ws.until("ready")
        await ws.events(10)
        assert await ws.output() == {"type": "websocket.close", "code": 4408}


async def test_the_default_limits_are_the_published_ones() -> None:
    limits = SocketLimits()
    assert (limits.unseen_events, limits.seen_timeout_seconds) == (500, 30)
    assert (limits.bad_frames, limits.bad_frames_seconds, limits.frames_per_second) == (5, 60, 200)


# --- bad input ---


async def test_a_binary_frame_gets_an_error_and_the_socket_stays(owner: Owner) -> None:
    async with socket(owner) as ws:
        await ws.until("ready")
        await ws.send_bytes(b'{"type":"ping"}')
        assert (await ws.receive())["code"] == "malformed"
        assert await ws.silent()


async def test_the_fifth_bad_frame_closes(owner: Owner) -> None:
    async with socket(owner) as ws:
        await ws.until("ready")
        for _ in range(4):
            await ws.send_text("{")
            assert (await ws.receive())["type"] == "error"
        assert await ws.silent()
        await ws.send_text("{")
        assert await ws.closed() == CloseCode.PROTOCOL


async def test_a_frame_above_256_kib_closes(owner: Owner) -> None:
    for text in ("x" * 256 * 1024, "é" * 128 * 1024):
        async with socket(owner) as ws:
            await ws.until("ready")
            await ws.send(json.dumps(create("one", text), ensure_ascii=False))
            assert await ws.closed() == CloseCode.TOO_LARGE
    assert await in_db_thread(Message.objects.count) == 0


async def test_a_flood_of_frames_closes(owner: Owner) -> None:
    async with socket(owner) as ws:
        await ws.until("ready")
        for _ in range(200):
            await ws.send({"type": "ping"})
        assert await ws.closed() == CloseCode.RATE


async def test_what_waits_for_a_slow_database_is_bounded(owner: Owner) -> None:
    limits = SocketLimits(pending_frames=3)
    async with socket(owner, limits) as ws:
        await ws.until("ready")
        async with locked(owner):
            for n in range(6):
                await ws.send(create(f"m{n}"))
            assert await ws.closed() == CloseCode.RATE


@asynccontextmanager
async def locked(owner: Owner) -> AsyncIterator[None]:
    """Meanwhile somebody else holds the session's row, longer than anybody waits for it."""
    loop = asyncio.get_running_loop()
    held, released = asyncio.Event(), asyncio.Event()

    def hold() -> None:
        with transaction.atomic():
            lock_session(owner.session.pk)
            loop.call_soon_threadsafe(held.set)
            asyncio.run_coroutine_threadsafe(released.wait(), loop).result()

    holder = asyncio.create_task(in_db_thread(hold))
    await held.wait()
    try:
        yield
    finally:
        released.set()
        await holder


# --- a database that does not answer ---


async def test_a_frame_that_the_database_cannot_serve_is_retryable_and_the_socket_stays(owner: Owner) -> None:
    accepted = await in_db_thread(accept_message, owner.actor, session_id=owner.session.pk, text="Hi")
    stop = {"type": "turn.cancel", "turn": str(accepted.turn_id)}
    async with socket(owner) as ws:
        await ws.until("ready")
        async with locked(owner):
            await ws.send(stop)
            error = await ws.until("error")
        assert (error["code"], error["retryable"], error["ref"]) == ("unavailable", True, stop["turn"])
        await ws.send(stop)
        assert (await ws.until("ack"))["status"] == "cancelled"


# --- leaving ---


async def test_a_client_that_leaves_changes_nothing(owner: Owner) -> None:
    async with socket(owner) as ws:
        await ws.send(create("one"))
        await ws.until("ack")
    turn = await in_db_thread(Turn.objects.get)
    assert turn.status == "queued"


async def test_no_task_of_a_socket_outlives_it(owner: Owner) -> None:
    async with socket(owner) as ws:
        await ws.send({"type": "resume", "after": 0})
        await ws.until("ready")
        assert {task.get_name()[:3] for task in asyncio.all_tasks()} >= {"ws-"}
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("ws-")]


async def test_the_server_that_cancels_a_socket_leaves_no_task_either(owner: Owner) -> None:
    ws = socket(owner)
    async with ws:
        await ws.until("ready")
        ws.communicator.future.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ws.communicator.future
        assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("ws-")]
        ws.communicator._future = asyncio.create_task(asyncio.sleep(0))


# --- anything at all ---

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(["after", "seq", "turn", "client_msg_id", "text", "x"])
KINDS = st.sampled_from(["resume", "message.create", "turn.cancel", "seen", "ping", "other"])
ODD_FRAMES = st.builds(lambda kind, fields: {"type": kind, **fields}, KINDS, st.dictionaries(NAMES, JSON, max_size=3))
GOOD_FRAMES = st.one_of(
    st.builds(lambda after: {"type": "resume", "after": after}, st.integers(0, 2**63 - 1) | st.integers(0, 5)),
    st.builds(lambda seq: {"type": "seen", "seq": seq}, st.integers(0, 2**63 - 1)),
    st.builds(create, st.text("abc", min_size=1, max_size=3), st.text(max_size=20)),
    st.builds(lambda turn: {"type": "turn.cancel", "turn": str(turn)}, st.uuids()),
)
INPUT = st.lists(
    st.one_of(st.text(max_size=50), st.binary(max_size=50), ODD_FRAMES.map(json.dumps), GOOD_FRAMES.map(json.dumps)),
    max_size=12,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(INPUT)
async def test_nothing_that_a_client_sends_is_our_fault(owner: Owner, sent: list[str | bytes]) -> None:
    async with socket(owner) as ws:
        for frame in sent:
            await (ws.send_bytes(frame) if isinstance(frame, bytes) else ws.send_text(frame))
        await ws.send({"type": "ping"})
        while True:
            output = await ws.output()
            if output["type"] == "websocket.close":
                assert output["code"] == CloseCode.PROTOCOL
                break
            answer = json.loads(output["text"])
            assert answer.get("code") != "internal"
            if answer["type"] == "pong":
                break
