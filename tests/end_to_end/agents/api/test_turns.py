"""Turns and events over REST, on the real log; the runner's part is played by hand."""

import asyncio
import json
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier
from typing import Any
from uuid import UUID, uuid4

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.db import OperationalError, connection, connections, transaction

from accounts.actor import Actor, Scope
from accounts.api_keys import authenticate_key, revoke_api_key
from accounts.models import User
from accounts.permissions import user_actor
from accounts.roles import Role
from agents.domain.approvals import Decision
from agents.domain.states import Priority, WaitReason
from agents.http import revocation, streams
from agents.journal.fenced_writes import append
from agents.models import Agent, AgentSession, Event, Message, Turn
from agents.relay import close_hub, close_subscriptions, get_hub
from agents.sessions import accept_message, cancel_turn, create_session, delete_session, update_session
from agents.sessions.approvals import decide_approval
from foundation.db_threads import in_db_thread
from rest import idempotency
from rest.models import IdempotencyRecord
from tests.support.approvals import request_approval
from tests.support.conversations import compact_turn, park, retrying, wake
from tests.support.people import agent, key_of, person
from tests.support.rest import V1, AsyncRest, Rest, SentEvents, end_turn, problem, say, take_turn
from tests.support.sockets import login_of

pytestmark = pytest.mark.usefixtures("transactional_db")

STREAM = "text/event-stream"


class World:
    """Ada has a session; Eve is somebody else."""

    def __init__(self) -> None:
        self.ada, self.eve = person("ada", Role.USER), person("eve", Role.USER)
        agent()
        self.actor: Actor = user_actor(self.ada)
        self.session = create_session(self.actor, agent_slug="demo", title="A test")
        self.rest = AsyncRest(key_of(self.ada))
        self.other = AsyncRest(key_of(self.eve))
        self.nobody = AsyncRest()
        self.turns = f"sessions/{self.session.pk}/turns"
        self.events = f"sessions/{self.session.pk}/events"

    async def ask(self, text: str = "Hi", **headers: str) -> Any:
        return await self.rest.post(self.turns, {"input": text}, **headers)


@pytest.fixture
async def world(transactional_db: None) -> AsyncIterator[World]:
    yield await in_db_thread(World)
    close_hub()
    # The thread in which Django runs what is not asynchronous in tests keeps its connection.
    await sync_to_async(connections.close_all)()


def ok(answer: Any, status: int = 200) -> Any:
    assert answer.status_code == status, (answer.status_code, answer.content)
    return json.loads(answer.content)


async def answer_next(*words: str, text: str = "Hello.") -> None:
    """Play the runner for one turn."""
    taken = await in_db_thread(take_turn)
    for word in words:
        await in_db_thread(say, taken, word)
    await in_db_thread(end_turn, taken, text)


# --- asking ---


async def test_a_message_is_accepted_at_once(world: World) -> None:
    answer = await world.ask("What is  the time?\n")
    shape = ok(answer, 202)
    assert answer["Location"] == f"{V1}/turns/{shape['id']}"
    assert (shape["session"], shape["status"], shape["ordinal"]) == (str(world.session.pk), "queued", 1)
    message = await Message.objects.aget(turn=shape["id"])
    assert message.parts == [{"type": "text", "text": "What is  the time?\n"}]
    assert ok(await world.rest.get(f"turns/{shape['id']}")) == shape


async def test_prefer_wait_brings_the_finished_turn(world: World) -> None:
    waiting = asyncio.create_task(world.ask(Prefer="wait=30"))
    await until_queued(world)
    await answer_next("Hel", "lo.")
    answer = await asyncio.wait_for(waiting, 10)
    shape = ok(answer)
    assert answer["Preference-Applied"] == "wait=30"
    assert (shape["status"], shape["usage"]["output_tokens"]) == ("completed", 2)
    assert shape["answer"]["parts"] == [{"type": "text", "text": "Hello."}]


async def test_a_wait_that_ends_first_brings_the_turn_as_it_is(world: World) -> None:
    answer = await world.ask(Prefer="wait=1")
    assert ok(answer, 202)["status"] == "queued"
    assert answer["Preference-Applied"] == "wait=1"


async def test_prefer_wait_ends_when_the_turn_needs_an_approval_and_a_repeat_waits_for_the_decision(
    world: World,
) -> None:
    headers = {"Prefer": "wait=30", "Idempotency_Key": "k"}
    waiting = asyncio.create_task(world.ask(**headers))
    await until_queued(world)
    taken = await in_db_thread(take_turn)
    approval = await in_db_thread(request_approval, taken)
    await in_db_thread(park, taken, WaitReason.APPROVAL)
    shape = ok(await asyncio.wait_for(waiting, 10), 202)
    assert (shape["status"], shape["answer"]) == ("waiting", None)
    waiting = asyncio.create_task(world.ask(**headers))
    decide = partial(decide_approval, approval_id=approval.pk, decision=Decision.APPROVE)
    await in_db_thread(decide, world.actor)
    await answer_next("Hello.")
    assert ok(await asyncio.wait_for(waiting, 10))["answer"]["parts"] == [{"type": "text", "text": "Hello."}]


@pytest.mark.parametrize("reason", [None, WaitReason.BUDGET, WaitReason.CHILDREN])
async def test_prefer_wait_waits_while_the_turn_waits(world: World, reason: WaitReason | None) -> None:
    waiting = asyncio.create_task(world.ask(Prefer="wait=30"))
    await until_queued(world)
    taken = await in_db_thread(take_turn)
    await in_db_thread(park, taken, reason)
    await in_db_thread(lambda: wake(Turn.objects.get()))
    assert not waiting.done()
    await answer_next("Hello.")
    assert ok(await asyncio.wait_for(waiting, 10))["answer"]["parts"] == [{"type": "text", "text": "Hello."}]


async def test_a_turn_that_waits_is_shown_as_it_is(world: World) -> None:
    await world.ask()
    await in_db_thread(lambda: park(take_turn(), WaitReason.APPROVAL))
    assert ok(await world.ask(Prefer="wait=1"), 202)["status"] == "queued"
    turn = await Turn.objects.aget(ordinal=1)
    assert ok(await world.rest.get(f"turns/{turn.pk}"))["status"] == "waiting"


def waits_and_goes_on() -> None:
    """The next turn waits for everything that there is, and its model is asked more than once."""
    taken = take_turn()
    for reason in (None, *WaitReason):
        say(taken, "void")
        park(taken, reason, events=[retrying(None)])
        wake(Turn.objects.get())
        taken = take_turn()
        say(taken, "void")
        append(taken, [retrying()])
    end_turn(taken)


async def test_a_stream_tells_of_waits_and_of_second_attempts_by_their_schema(world: World) -> None:
    sent = SentEvents(await world.ask(Accept=STREAM))
    await in_db_thread(waits_and_goes_on)
    found = await sent.events()
    assert [event["event"] for event in found].count("turn.started") == 5
    assert [event["data"]["data"] for event in found if event["event"] == "turn.waiting"] == [
        {"for": reason, "until": "2100-01-01T00:00:00.000000Z"} for reason in WaitReason
    ]
    assert [event["data"]["data"]["route"] for event in found if event["event"] == "model.retrying"] == [
        None, "openai:next",
    ] * 4  # fmt: skip


async def test_a_client_that_leaves_while_it_waits_changes_nothing(world: World) -> None:
    waiting = asyncio.create_task(world.ask(Prefer="wait=30"))
    await until_queued(world)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await answer_next()
    assert (await Turn.objects.aget()).status == "completed"


async def until_queued(world: World) -> None:
    """Return when the message is in the log."""
    watcher = get_hub().subscribe(world.session.pk, after=0)
    assert await watcher.get(timeout=10)
    watcher.close()


async def test_a_branch_starts_at_its_parent(world: World) -> None:
    ok(await world.ask("One"), 202)
    first = await Message.objects.aget()
    answer = await world.rest.post(
        world.turns, {"input": "Two", "parent": None, "priority": "background", "when_busy": "enqueue"}
    )
    turn = await Turn.objects.aget(pk=ok(answer, 202)["id"])
    assert turn.priority == Priority.BACKGROUND
    assert (await Message.objects.aget(turn=turn)).parent_id is None
    answer = await world.rest.post(world.turns, {"input": "Three", "parent": str(first.pk)})
    assert (await Message.objects.aget(turn=ok(answer, 202)["id"])).parent_id == first.pk
    refused = problem(await world.rest.post(world.turns, {"input": "x", "parent": str(uuid4())}), 422, "invalid")
    assert refused["errors"][0]["pointer"] == "/parent"


async def test_a_busy_session_rejects_or_interrupts_when_asked(world: World) -> None:
    ok(await world.ask("One"), 202)
    reject = {"input": "Two", "when_busy": "reject"}
    problem(await world.rest.post(world.turns, reject), 409, "turn_in_progress")
    assert await Message.objects.acount() == 1
    shape = ok(await world.rest.post(world.turns, {"input": "Three", "when_busy": "interrupt"}), 202)
    assert await sync_statuses() == ["cancelled", "queued"]
    assert shape["status"] == "queued"


async def sync_statuses() -> list[str]:
    return [str(turn.status) async for turn in Turn.objects.order_by("ordinal")]


async def test_a_full_session_says_when_to_come_back(world: World) -> None:
    for number in range(django_settings.BANDSTAND.queue_depth):
        await in_db_thread(accept_message, world.actor, session_id=world.session.pk, text=str(number))
    answer = await world.ask("one more")
    assert problem(answer, 429, "session_queue_full")["retry_after"] > 0
    assert int(answer["Retry-After"]) > 0


async def test_while_a_human_answers_a_message_has_no_turn(world: World) -> None:
    await AgentSession.objects.aupdate(controller="human")
    shape = ok(await world.ask("Anybody?", Accept=STREAM), 202)
    assert (shape["id"], shape["status"], shape["ordinal"]) == (None, "stored", 1)
    assert shape["message"] == str((await Message.objects.aget()).pk)


async def test_a_turn_is_cancelled_over_rest(world: World) -> None:
    turn = ok(await world.ask(), 202)["id"]
    await in_db_thread(take_turn)
    assert ok(await world.rest.post(f"turns/{turn}/cancel"))["status"] == "cancelling"
    assert ok(await world.rest.post(f"turns/{turn}/cancel"))["status"] == "cancelling"


# --- the key of a turn ---


async def test_a_repeat_with_the_same_key_is_the_same_turn(world: World) -> None:
    first = ok(await world.ask("Hi", Idempotency_Key="k"), 202)
    again = await world.ask("Hi", Idempotency_Key="k")
    assert ok(again, 202) == first
    assert again["Idempotent-Replayed"] == "true"
    await answer_next()
    finished = await world.ask("Hi", Idempotency_Key="k", Prefer="wait=30")
    assert ok(finished)["answer"]["parts"][0]["text"] == "Hello."
    assert await Turn.objects.acount() == 1


async def test_the_same_key_with_another_message_is_refused(world: World) -> None:
    ok(await world.ask("Hi", Idempotency_Key="k"), 202)
    problem(await world.ask("Ho", Idempotency_Key="k"), 422, "idempotency_mismatch")
    assert await Turn.objects.acount() == 1


async def test_a_repeat_that_wants_the_stream_attaches_to_the_turn(world: World) -> None:
    ok(await world.ask("Hi", Idempotency_Key="k"), 202)
    await answer_next("Hel", "lo.")
    again = await world.ask("Hi", Idempotency_Key="k", Accept=STREAM)
    assert again["Idempotent-Replayed"] == "true"
    names = [event["event"] for event in await SentEvents(again).events()]
    assert names[0] == "message.created"
    assert names[-2:] == ["message.completed", "turn.completed"]
    assert await Turn.objects.acount() == 1


@pytest.mark.parametrize(("stood", "first"), [(0, 1), (1, 2), (4, 5), (6, 7), (7, 7), (8, 1), (99, 1)], ids=str)
async def test_a_repeat_goes_on_where_the_client_stood(world: World, stood: int, first: int) -> None:
    ok(await world.ask("Hi", Idempotency_Key="k"), 202)
    await answer_next("Hel", "lo.")
    again = await world.ask("Hi", Idempotency_Key="k", Accept=STREAM, Last_Event_ID=str(stood))
    found = await asyncio.wait_for(SentEvents(again).events(), 5)
    assert [event["id"] for event in found] == list(range(first, 8))
    assert found[-1]["event"] == "turn.completed"


async def test_a_repeat_while_the_turn_runs_goes_on_where_the_client_stood(world: World) -> None:
    ok(await world.ask("Hi", Idempotency_Key="k"), 202)
    taken = await in_db_thread(take_turn)
    await in_db_thread(say, taken, "Hel")
    sent = SentEvents(await world.ask("Hi", Idempotency_Key="k", Accept=STREAM, Last_Event_ID="4"))
    ahead = SentEvents(await world.ask("Hi", Idempotency_Key="k", Accept=STREAM, Last_Event_ID="9"))
    await in_db_thread(end_turn, taken, "Hello.")
    assert [event["id"] for event in await asyncio.wait_for(sent.events(), 5)] == [5, 6]
    assert [event["id"] for event in await asyncio.wait_for(ahead.events(), 5)] == [1, 2, 3, 4, 5, 6]


async def test_where_a_client_stood_must_be_a_number_before_anything_is_stored(world: World) -> None:
    problem(await world.ask("Hi", Accept=STREAM, Last_Event_ID="x"), 422, "invalid")
    assert not await Turn.objects.aexists()
    first = SentEvents(await world.ask("Hi", Accept=STREAM, Last_Event_ID="1"))
    assert (await first.take(1))[0]["id"] == 1, "a new turn has no past"
    await first.close()


def test_ten_repeats_at_once_are_one_turn(world: World) -> None:
    barrier = Barrier(10)
    rest = Rest(world.rest.key)

    def ask(_: int) -> tuple[int, str]:
        barrier.wait(10)
        try:
            answer = Rest(rest.key).post(world.turns, {"input": "Hi"}, Idempotency_Key="k")
        finally:
            connection.close()
        return answer.status_code, answer.json()["id"]

    with ThreadPoolExecutor(10) as pool:
        answers = set(pool.map(ask, range(10)))
    assert len(answers) == 1
    assert next(iter(answers))[0] == 202
    assert Turn.objects.count() == 1


# --- the key of another POST, twice at once ---


def test_ten_equal_posts_at_once_make_one_session(world: World) -> None:
    barrier = Barrier(10)

    def create(_: int) -> tuple[int, str]:
        barrier.wait(10)
        try:
            answer = Rest(world.rest.key).post("sessions", {"agent": "demo"}, Idempotency_Key="k")
        finally:
            connection.close()
        return answer.status_code, answer.json().get("id")

    with ThreadPoolExecutor(10) as pool:
        answers = set(pool.map(create, range(10)))
    assert len(answers) == 1
    assert AgentSession.objects.count() == 2


def test_a_repeat_while_the_first_is_answered_is_told_so(world: World) -> None:
    started, release = Barrier(2), Barrier(2)

    def hold() -> None:
        operation = idempotency.IdempotentOperation(world.actor, "create_session", "", {"agent": "demo"})
        try:
            with transaction.atomic():
                idempotency._claim(operation, "k")
                started.wait(10)
                release.wait(10)
                transaction.set_rollback(True)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        holding = pool.submit(hold)
        started.wait(10)
        answer = Rest(world.rest.key).post("sessions", {"agent": "demo"}, Idempotency_Key="k")
        release.wait(10)
        holding.result()
    problem(answer, 409, "idempotency_in_progress")
    assert not IdempotencyRecord.objects.exists()
    assert Rest(world.rest.key).post("sessions", {"agent": "demo"}, Idempotency_Key="k").status_code == 201


# --- who ---


async def test_strangers_and_nobody_get_no_turns_and_no_events(world: World) -> None:
    turn = ok(await world.ask(), 202)["id"]
    body = {"input": "Hi"}
    absent = f"sessions/{uuid4()}"
    for accept in ("application/json", STREAM):
        foreign = [
            problem(await world.other.post(world.turns, body, Accept=accept), 404, "not_found"),
            problem(await world.other.get(world.events, Accept=accept), 404, "not_found"),
            problem(await world.rest.post(f"{absent}/turns", body, Accept=accept), 404, "not_found"),
            problem(await world.rest.get(f"{absent}/events", Accept=accept), 404, "not_found"),
        ]
        assert len({one["detail"] for one in foreign}) == 1
        problem(await world.nobody.post(world.turns, body, Accept=accept), 401, "unauthenticated")
        problem(await world.nobody.get(world.events, Accept=accept), 401, "unauthenticated")
    problem(await world.other.post(f"turns/{turn}/cancel"), 404, "not_found")
    assert await Message.objects.acount() == 1


async def test_a_key_reads_or_asks_as_its_scopes_say(world: World) -> None:
    reader = AsyncRest(await in_db_thread(key_of, world.ada, {Scope.READ}))
    problem(await reader.post(world.turns, {"input": "Hi"}), 403, "forbidden")
    assert ok(await reader.get(world.events))["results"] == []
    writer = AsyncRest(await in_db_thread(key_of, world.ada, {Scope.CHAT}))
    problem(await writer.get(world.events), 403, "forbidden")
    for headers in ({}, {"Accept": STREAM}, {"Prefer": "wait=1"}):
        problem(await writer.post(world.turns, {"input": "Hi"}, **headers), 403, "forbidden")
    assert await Turn.objects.acount() == 0


async def test_another_method_is_a_problem(world: World) -> None:
    for method in ("PUT", "DELETE", "OPTIONS", "FROB"):
        for path in (world.turns, world.events):
            problem(await world.rest.call(method, path), 405, "method_not_allowed")


# --- bad input ---


# More of them in test_sessions.py and tests/unit/rest/test_request_input.py: one of turns takes a database of its own.
BODIES = [
    (b"", 415),
    (b"[]", 400),
    (b'{"input": NaN}', 400),
    (b'{"input": "a", "input": "b"}', 400),
    (b"[" * 20_000, 400),
    (b"\xef\xbb\xbf{}", 400),
    (b'{"input": "\xff"}', 400),
    (b"{}", 422),
    (b'{"input": ""}', 422),
    (b'{"input": " \\n\\t "}', 422),
    (b'{"input": 1}', 422),
    (b'{"input": ["x"]}', 422),
    (b'{"input": "\\u0000"}', 422),
    (b'{"input": "\\ud83d"}', 422),
    (b'{"input": "x", "parent": "x"}', 422),
    (b'{"input": "x", "priority": 0}', 422),
    (b'{"input": "x", "when_busy": "never"}', 422),
    (b'{"input": "x", "author": "agent"}', 422),
    (b'{"input": "' + b"x" * (64 * 1024 + 1) + b'"}', 413),
    (b'{"input": "' + b"x" * (300 * 1024) + b'"}', 413),
]


async def test_a_bad_message_is_refused_and_writes_nothing(world: World) -> None:
    for body, status in BODIES:
        answer = await world.rest.post(world.turns, body)
        assert answer.status_code == status, (body[:50], answer.content)
        assert answer["Content-Type"] == "application/problem+json"
    assert not await Message.objects.aexists()


async def test_a_bad_query_of_events_is_refused(world: World) -> None:
    numbers = ["after=-1", "after=x", "after=9223372036854775808", "limit=0", "limit=501"]
    for query in (*numbers, "after=1&after=2", "type=x"):
        for accept in ("application/json", STREAM):
            problem(await world.rest.get(f"{world.events}?{query}", Accept=accept), 422, "invalid")


async def test_a_bad_last_event_id_is_refused(world: World) -> None:
    for wanted in ("x", "-1", "1.5", "99999999999999999999"):
        for accept in ("application/json", STREAM):
            refused = problem(await world.rest.get(world.events, Accept=accept, Last_Event_ID=wanted), 422, "invalid")
            assert refused["errors"][0]["pointer"] == "Last-Event-ID"


async def test_a_malformed_id_is_refused(world: World) -> None:
    for wanted in ("0", "x", "018900000000700080000000"):
        problem(await world.rest.post(f"sessions/{wanted}/turns", {"input": "x"}), 422, "invalid")
        problem(await world.rest.get(f"sessions/{wanted}/events"), 422, "invalid")


# --- a page of events ---


async def test_events_come_in_pages(world: World) -> None:
    ok(await world.ask(), 202)
    await answer_next("Hel", "lo.")
    first = ok(await world.rest.get(f"{world.events}?limit=4"))
    assert [event["seq"] for event in first["results"]] == [1, 2, 3, 4]
    assert set(first["results"][0]) == {"type", "seq", "turn", "event", "data", "at"}
    assert (first["previous"], first["resync"]) == (None, None)
    rest = ok(await world.rest.get(f"{world.events}?" + first["next"].partition("?")[2]))
    assert [event["seq"] for event in rest["results"]] == list(range(5, rest["last_seq"] + 1))
    assert rest["next"] is None
    assert rest["results"][-1]["event"] == "turn.completed"
    last = ok(await world.rest.get(f"{world.events}?after={rest['last_seq']}"))
    assert (last["results"], last["next"], last["resync"]) == ([], None, None)


async def test_a_page_from_the_future_or_from_gone_events_is_a_snapshot(world: World) -> None:
    ok(await world.ask(), 202)
    ahead = ok(await world.rest.get(f"{world.events}?after=99"))
    assert (ahead["results"], ahead["last_seq"]) == ([], 2)
    assert ahead["resync"]["seq"] == 2
    assert [message["ordinal"] for message in ahead["resync"]["messages"]] == [1]
    await Event.objects.filter(seq=1).adelete()
    assert ok(await world.rest.get(world.events))["resync"]["seq"] == 2


# --- streams ---


async def test_the_stream_of_a_turn_ends_with_it(world: World) -> None:
    answer = await world.ask(Accept=STREAM)
    assert answer.status_code == 200
    turn = answer["Location"].rpartition("/")[2]
    sent = SentEvents(answer)
    begun = await sent.take(2)
    assert [event["event"] for event in begun] == ["message.created", "turn.queued"]
    await world.ask("another")
    await answer_next("Hel", "lo.")
    rest = await sent.events()
    names = [event["event"] for event in rest]
    assert names == ["turn.started", "message.delta", "message.delta", "message.completed", "turn.completed"]
    assert {event["data"]["turn"] for event in begun + rest} == {turn}, "another turn's events stay out"
    ids = [event["id"] for event in begun + rest]
    assert ids == sorted(ids) == [event["data"]["seq"] for event in begun + rest]
    assert "".join(e["data"]["data"]["text"] for e in rest if e["event"] == "message.delta") == "Hello."
    assert answer["Cache-Control"] == "no-store"
    assert answer["X-Accel-Buffering"] == "no"


async def test_the_stream_of_a_session_goes_on_after_a_turn(world: World) -> None:
    sent = SentEvents(await world.rest.get(world.events, Accept=STREAM))
    await world.ask()
    await answer_next()
    first = await sent.take(5)
    assert first[-1]["event"] == "turn.completed"
    await in_db_thread(update_session, world.actor, session_id=world.session.pk, expected_version=1, title="New")
    (event,) = await sent.take(1)
    assert (event["event"], event["data"]["data"]["session"]["title"]) == ("session.updated", "New")
    await sent.close()


async def test_a_stream_goes_on_where_the_client_stood(world: World) -> None:
    await world.ask()
    await answer_next("a", "b", "c")
    last = await Event.objects.acount()
    for headers, query in (({"Last_Event_ID": "3"}, "?after=1"), ({}, "?after=3")):
        sent = SentEvents(await world.rest.get(f"{world.events}{query}", Accept=STREAM, **headers))
        assert [event["id"] for event in await sent.take(last - 3)] == list(range(4, last + 1))
        await sent.close()


async def test_a_stream_goes_on_at_the_ends_of_folded_events_and_begins_anew_inside(world: World) -> None:
    turn = UUID(ok(await world.ask(), 202)["id"])
    await answer_next("a", "b", "c")
    assert await in_db_thread(compact_turn, world.session.pk, turn)
    for stood, comes in (("3", (6, "message.delta")), ("6", (7, "message.completed")), ("4", (8, "resync"))):
        sent = SentEvents(await world.rest.get(world.events, Accept=STREAM, Last_Event_ID=stood))
        (event,) = await sent.take(1)
        assert (event["id"], event["event"]) == comes
        await sent.close()


async def test_a_client_from_the_future_gets_a_snapshot_and_then_what_follows(world: World) -> None:
    sent = SentEvents(await world.rest.get(f"{world.events}?after=99", Accept=STREAM))
    (resync,) = await sent.take(1)
    assert (resync["event"], resync["id"], resync["data"]["type"]) == ("resync", 0, "resync")
    await world.ask()
    assert [event["id"] for event in await sent.take(2)] == [1, 2]
    await sent.close()


async def test_events_that_are_gone_are_replaced_by_a_snapshot(world: World) -> None:
    await world.ask()
    await Event.objects.filter(seq=1).adelete()
    sent = SentEvents(await world.rest.get(world.events, Accept=STREAM))
    (resync,) = await sent.take(1)
    assert (resync["event"], resync["id"]) == ("resync", 2)
    assert resync["data"]["messages"][0]["parts"][0]["text"] == "Hi"
    await in_db_thread(cancel_turn, world.actor, turn_id=UUID(next(iter(resync["data"]["turns"]))))
    assert (await sent.take(1))[0]["event"] == "turn.cancelled"
    await sent.close()


async def test_the_stream_of_a_turn_whose_events_are_gone_still_ends(world: World) -> None:
    ok(await world.ask("Hi", Idempotency_Key="k"), 202)
    await answer_next()
    await Event.objects.filter(seq__lte=2).exclude(type="turn.queued").adelete()
    sent = SentEvents(await world.ask("Hi", Idempotency_Key="k", Accept=STREAM))
    assert [event["event"] for event in await sent.events()] == ["resync"]


async def test_a_quiet_stream_is_kept_alive(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "HEARTBEAT_SECONDS", 0.05)
    monkeypatch.setattr(revocation, "PERIOD_SECONDS", 0.02)
    sent = SentEvents(await world.rest.get(world.events, Accept=STREAM))
    assert [await sent.next() for _ in range(3)] == [{"comment": "open"}] + [{"comment": "heartbeat"}] * 2
    await sent.close()


async def test_a_client_that_leaves_leaves_nothing_behind(world: World) -> None:
    sent = SentEvents(await world.rest.get(world.events, Accept=STREAM))
    await sent.next()
    assert get_hub()._watchers
    await sent.close()
    assert not get_hub()._watchers


async def test_the_end_of_the_process_ends_its_streams(world: World) -> None:
    sent = SentEvents(await world.rest.get(world.events, Accept=STREAM))
    await sent.next()
    ending = asyncio.create_task(sent.events())
    await asyncio.sleep(0)
    close_hub()
    [last] = await asyncio.wait_for(ending, 5)
    assert (last["event"], last["id"], last["data"]["code"]) == ("error", None, "server_stops")
    assert last["data"]["retryable"]
    assert last["data"]["retry_after_ms"] == 1000


async def test_while_the_process_ends_nothing_waits_any_more(world: World) -> None:
    close_subscriptions()
    try:
        sent = SentEvents(await world.rest.get(world.events, Accept=STREAM))
        assert [event["data"]["code"] for event in await sent.events()] == ["server_stops"]
        assert ok(await asyncio.wait_for(world.ask(Prefer="wait=30"), 10), 202)["status"] == "queued"
    finally:
        close_hub()


async def ends_with(sent: SentEvents, code: str) -> None:
    """The stream ends, and says why; coming back would not help."""
    [last] = await asyncio.wait_for(sent.events(), 5)
    assert (last["event"], last["data"]["code"], last["data"]["retryable"]) == ("error", code, False)


@pytest.mark.parametrize(
    ("fault", "code"),
    [(OperationalError("the connection is lost"), "unavailable"), (RuntimeError("hunter2"), "internal")],
)
async def test_a_stream_that_fails_says_so_and_that_one_may_come_back(
    world: World, monkeypatch: pytest.MonkeyPatch, fault: Exception, code: str
) -> None:
    def breaks(**_: Any) -> None:
        raise fault

    answer = await world.rest.get(f"{world.events}?after=99", Accept=STREAM)
    monkeypatch.setattr(streams, "read_snapshot", breaks)
    [last] = await SentEvents(answer).events()
    assert (last["data"]["code"], last["data"]["retryable"]) == (code, True)
    assert "hunter2" not in str(last)


async def test_a_revoked_key_ends_its_streams(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocation, "PERIOD_SECONDS", 0.02)
    sent = SentEvents(await world.rest.get(world.events, Accept=STREAM))
    await sent.next()
    key_id = (await in_db_thread(authenticate_key, str(world.rest.key))).key_id
    assert key_id is not None
    await in_db_thread(revoke_api_key, world.actor, key_id=key_id)
    await ends_with(sent, "unauthenticated")


@pytest.mark.parametrize("loss", ["logout", "role", "closed"])
async def test_a_lost_login_ends_its_streams(world: World, monkeypatch: pytest.MonkeyPatch, loss: str) -> None:
    monkeypatch.setattr(revocation, "PERIOD_SECONDS", 0.02)
    login = await in_db_thread(login_of, world.ada)
    browser = AsyncRest()
    browser.client.cookies[django_settings.SESSION_COOKIE_NAME] = login
    sent = SentEvents(await browser.get(world.events, Accept=STREAM))
    await sent.next()
    if loss == "logout":
        await browser.client.alogout()
    elif loss == "role":
        await world.ada.groups.aclear()
    else:
        await User.objects.filter(pk=world.ada.pk).aupdate(is_active=False)
    await ends_with(sent, "unauthenticated")


async def test_a_deleted_session_ends_its_streams(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocation, "PERIOD_SECONDS", 0.02)
    sent = SentEvents(await world.rest.get(world.events, Accept=STREAM))
    await sent.next()
    await in_db_thread(delete_session, world.actor, session_id=world.session.pk, expected_version=1)
    await ends_with(sent, "not_found")


async def test_a_deleted_session_ends_the_stream_that_asks_for_it_anew(world: World) -> None:
    answer = await world.rest.get(f"{world.events}?after=99", Accept=STREAM)
    await in_db_thread(delete_session, world.actor, session_id=world.session.pk, expected_version=1)
    await ends_with(SentEvents(answer), "not_found")


async def test_an_archived_agents_session_is_still_read(world: World) -> None:
    from django.utils import timezone

    await world.ask()
    await Agent.objects.aupdate(archived_at=timezone.now())
    assert ok(await world.rest.get(world.events))["last_seq"] == 2
