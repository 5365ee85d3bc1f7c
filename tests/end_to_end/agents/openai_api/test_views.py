"""What a client of `/v1` is told when things do not go straight; the runner's part is played by hand."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group
from django.db import connections
from django.test import AsyncClient
from pytest_django import DjangoDbBlocker

from accounts.actor import Scope
from accounts.api_keys import authenticate_key, revoke_api_key
from accounts.permissions import user_actor
from accounts.roles import Role
from agents.domain.approvals import Decider
from agents.domain.message_parts import reasoning_part, text_part
from agents.domain.states import WaitReason
from agents.engine.context import load_context
from agents.http import revocation
from agents.journal.claims import Claim
from agents.journal.fenced_writes import NewEvent, append, finish
from agents.models import Agent, AgentSession, CompletionRequest, Event, Message, Turn
from agents.openai_api import completion_stream, views
from agents.openai_api.urls import urlpatterns
from agents.relay import close_hub, close_subscriptions
from agents.relay.hub import BUFFER_EVENTS
from agents.runner.reaper import release_claim
from agents.sessions import create_session
from agents.sessions.handoff_control import claim_handoff
from foundation.db_threads import in_db_thread
from tests.support import declared
from tests.support.approvals import request_approval
from tests.support.cleaning import real_commits
from tests.support.conversations import compact_turn, done, ending, park, reason, retrying, wake
from tests.support.event_stream import EventStreamParser
from tests.support.people import agent, key_of, person
from tests.support.rest import bearer, encoded, end_turn, say, take_turn

HI: Any = {"role": "user", "content": "Hi"}
JSON = "application/json"
PATIENCE_SECONDS = 10


class World:
    """Ada has a session and a key; Eve is somebody else."""

    def __init__(self) -> None:
        self.ada, self.eve = person("ada", Role.USER), person("eve", Role.USER)
        agent()
        self.session = create_session(user_actor(self.ada), agent_slug="demo")
        self.key, self.other = key_of(self.ada), key_of(self.eve)
        self.client = AsyncClient()

    async def call(self, method: str, path: str, body: Any = b"", **headers: str) -> Any:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        content_type = given.pop("Content-Type", JSON)
        key = given.pop("key", self.key)
        answer = await self.client.generic(
            method, f"/v1/{path}", encoded(body), content_type, headers=bearer(key, **given)
        )
        if answer["Content-Type"] == JSON:
            declared.check_answer(method, f"/v1/{path}", answer)
        return answer

    async def ask(self, *, stream: bool = False, here: bool = False, headers: Any = None, **more: Any) -> Any:
        if here:
            headers = {**(headers or {}), "X-Session-Id": str(self.session.pk)}
        return await self.call(
            "POST", "chat/completions", {"model": "demo", "messages": [HI], "stream": stream, **more}, **(headers or {})
        )


@pytest.fixture
def transactional_db(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """In place of pytest-django's, which truncates."""
    with real_commits(django_db_blocker):
        yield


@pytest.fixture
async def world(transactional_db: None) -> AsyncIterator[World]:
    yield await in_db_thread(World)
    close_hub()
    # The thread in which Django runs what is not asynchronous in tests keeps its connection.
    await sync_to_async(connections.close_all)()


def refusal(answer: Any, status: int, code: str) -> dict[str, Any]:
    """The error in an answer, after a look at its shape."""
    assert answer.status_code == status, (answer.status_code, answer.content)
    assert answer["Content-Type"] == JSON
    body = json.loads(answer.content)
    assert set(body) == {"error"}
    error: dict[str, Any] = body["error"]
    assert set(error) - {"approvals"} == {"message", "type", "code", "param"}
    assert error["message"]
    assert error["code"] == code, error
    return error


class Chunks:
    """The data of a stream, event by event; a comment as `: …`."""

    def __init__(self, answer: Any) -> None:
        assert answer["Content-Type"] == "text/event-stream", answer.content
        self._answer = answer
        self._parts: AsyncIterator[bytes] = aiter(answer.streaming_content)
        self._parser = EventStreamParser()
        self._events: list[str] = []

    async def next(self) -> str | None:
        while not self._events:
            try:
                part = await asyncio.wait_for(anext(self._parts), PATIENCE_SECONDS)
            except StopAsyncIteration:
                return None
            for sent in self._parser.feed(part):
                self._events.append(f": {sent['comment']}" if "comment" in sent else sent["data"])
        return self._events.pop(0)

    async def text(self) -> str:
        """The words of the next chunk that has some."""
        while (event := await self.next()) is not None:
            if event.startswith("{"):
                for choice in json.loads(event).get("choices", ()):
                    if text := choice["delta"].get("content"):
                        return str(text)
        raise AssertionError("there were no more words")

    async def chunk(self) -> Any:
        return json.loads(await self.next() or "")

    async def rest(self) -> list[Any]:
        """Everything until the end, comments left out."""
        found: list[Any] = []
        while (event := await self.next()) is not None:
            if not event.startswith(":"):
                found.append(event if event == "[DONE]" else json.loads(event))
        return found

    async def close(self) -> None:
        await sync_to_async(self._answer.close)()
        await asyncio.sleep(0)


async def begun() -> Claim:
    """The turn, once it can be claimed."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await Turn.objects.filter(status="queued").aexists():  # noqa: ASYNC110 - the database says it
            await asyncio.sleep(0.01)
    return await in_db_thread(take_turn)


async def streaming(world: World, *words: str, **more: Any) -> tuple[Chunks, Claim]:
    """A stream that has brought these words."""
    asking = asyncio.create_task(world.ask(stream=True, **more))
    taken = await begun()
    await in_db_thread(say, taken, *words)
    chunks = Chunks(await asyncio.wait_for(asking, PATIENCE_SECONDS))
    assert await chunks.text() == "".join(words)
    return chunks, taken


async def lost(taken: Claim) -> Claim:
    """Another runner goes on."""
    await in_db_thread(
        lambda: release_claim(
            session_id=taken.session_id, turn_id=taken.turn_id, epoch=taken.epoch, without_progress=True
        )
    )
    return await begun()


async def goes_on(parked: Claim) -> Claim:
    """Whatever the turn waited for is there."""
    assert await in_db_thread(lambda: wake(Turn.objects.get(pk=parked.turn_id)))
    return await begun()


def texts(chunks: list[Any]) -> str:
    return "".join(
        choice["delta"].get("content") or "" for chunk in chunks if chunk != "[DONE]" for choice in chunk["choices"]
    )


def handed_off(taken: Claim) -> None:
    """A person takes over the session while the turn runs."""
    claim_handoff(user_actor(person("dana", Role.OPERATOR)), session_id=taken.session_id)


# --- restarts ---


async def test_a_restart_after_words_ends_the_stream_with_an_error_and_no_end_mark(world: World) -> None:
    chunks, taken = await streaming(world, "Hel")
    again = await lost(taken)
    [last] = await chunks.rest()
    assert last["error"]["code"] == "answer_restarted"
    await in_db_thread(end_turn, again, "Good day.")


async def test_a_restart_before_the_first_words_goes_unnoticed(world: World) -> None:
    asking = asyncio.create_task(world.ask(stream=True))
    taken = await lost(await begun())
    await in_db_thread(say, taken, "Good ")
    chunks = Chunks(await asking)
    assert await chunks.text() == "Good "
    await in_db_thread(say, taken, "day.")
    assert await chunks.text() == "day."
    await in_db_thread(end_turn, taken, "Good day.")
    assert (await chunks.rest())[-1] == "[DONE]"


async def test_who_comes_back_after_a_restart_gets_the_second_answer_alone(world: World) -> None:
    chunks, taken = await streaming(world, "Hel", headers={"Idempotency-Key": "k"})
    taken = await lost(taken)
    await in_db_thread(say, taken, "Good day.")
    asking = asyncio.create_task(world.ask(stream=True, headers={"Idempotency-Key": "k"}))
    await asyncio.sleep(0)
    await in_db_thread(end_turn, taken, "Good day.")
    answer = await asking
    assert answer["Idempotent-Replayed"] == "true"
    found = await Chunks(answer).rest()
    assert (texts(found), found[-1]) == ("Good day.", "[DONE]")
    await chunks.close()


async def test_words_that_are_not_those_of_the_stored_answer_are_never_called_whole(world: World) -> None:
    chunks, taken = await streaming(world, "Hello.")
    await in_db_thread(end_turn, taken, "Good day.")
    [last] = await chunks.rest()
    assert last["error"]["code"] == "answer_restarted"


async def test_the_end_of_an_answer_that_is_only_in_its_message_is_sent_too(world: World) -> None:
    chunks, taken = await streaming(world, "Hel")
    await in_db_thread(end_turn, taken, "Hello.")
    found = await chunks.rest()
    assert (texts(found), found[-1]) == ("lo.", "[DONE]")


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_whose_events_are_folded_is_told_whole(world: World, stream: bool) -> None:
    chunks, taken = await streaming(world, "Hel", headers={"Idempotency-Key": "k"})
    await in_db_thread(say, taken, "lo.")
    await in_db_thread(end_turn, taken, "Hello.")
    assert texts(await chunks.rest()) == "lo."
    await in_db_thread(compact_turn, taken.session_id, taken.turn_id)
    await in_db_thread(lambda: Event.objects.filter(turn=taken.turn_id, type="turn.started").delete())
    headers = {"Idempotency-Key": "k"}
    if stream:  # the body must be equal
        assert texts(await Chunks(await world.ask(stream=True, headers=headers)).rest()) == "Hello."
    else:
        refusal(await world.ask(headers=headers), 400, "idempotency_mismatch")


async def test_what_another_turn_of_the_session_says_stays_out(world: World) -> None:
    first = asyncio.create_task(world.ask(here=True))
    taken = await begun()
    second = asyncio.create_task(world.ask(here=True, stream=True))
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await Turn.objects.acount() < 2:  # noqa: ASYNC110 - the database says it
            await asyncio.sleep(0.01)
    await in_db_thread(say, taken, "Not yours.")
    await in_db_thread(end_turn, taken, "Not yours.")
    assert json.loads((await first).content)["choices"][0]["message"]["content"] == "Not yours."
    await in_db_thread(end_turn, await begun(), "Yours.")
    found = await Chunks(await second).rest()
    assert (texts(found), found[-1]) == ("Yours.", "[DONE]")


# --- people ---


async def test_while_a_person_answers_the_client_is_told_so(world: World) -> None:
    await AgentSession.objects.aupdate(controller="human")
    for stream in (False, True):
        answer = await world.ask(here=True, stream=stream)
        refusal(answer, 409, "handed_off")
        assert (answer["X-Should-Retry"], answer["X-Session-Id"]) == ("false", str(world.session.pk))
    assert await Message.objects.acount() == 2


@pytest.mark.parametrize("headers", [{"Idempotency-Key": "k"}, {}])
async def test_what_is_sent_again_while_a_person_answers_is_stored_once(world: World, headers: dict[str, str]) -> None:
    await AgentSession.objects.aupdate(controller="human")
    for attempt in range(3):
        answer = await world.ask(here=True, headers={**headers, "X-Stainless-Retry-Count": str(attempt)})
        refusal(answer, 409, "handed_off")
        assert answer.has_header("Idempotent-Replayed") == (attempt > 0)
    [message] = [message async for message in Message.objects.all()]
    assert (message.author, message.turn_id) == ("user", None)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_person_who_takes_over_ends_the_request(world: World, stream: bool) -> None:
    headers = {"Idempotency-Key": "k"}
    if stream:
        chunks, taken = await streaming(world, "Half an ", here=True, headers=headers)
        await in_db_thread(handed_off, taken)
        [last] = await chunks.rest()
        assert last["error"]["code"] == "handed_off"
    else:
        asking = asyncio.create_task(world.ask(here=True, headers=headers))
        taken = await begun()
        await in_db_thread(handed_off, taken)
        refusal(await asking, 409, "handed_off")
    again = await world.ask(here=True, stream=stream, headers=headers)
    refusal(again, 409, "handed_off")
    assert again["X-Should-Retry"] == "false"
    await in_db_thread(compact_turn, taken.session_id, taken.turn_id)
    refusal(await world.ask(here=True, stream=stream, headers=headers), 409, "handed_off")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_tool_that_needs_an_approval_is_an_error_of_its_own(world: World, stream: bool) -> None:
    asking = asyncio.create_task(world.ask(stream=stream))
    taken = await begun()
    mine = await in_db_thread(request_approval, taken)
    theirs = await in_db_thread(lambda: request_approval(taken, step=3, decider=Decider.OPERATOR))
    await in_db_thread(park, taken, WaitReason.APPROVAL)
    answer = await asking
    error = refusal(answer, 409, "approval_required")
    assert answer["X-Should-Retry"] == "false"
    assert answer["X-Turn-Id"] == str(taken.turn_id)
    path = f"/api/v1/turns/{taken.turn_id}/approvals/{mine.pk}"
    assert error["approvals"][0] == {
        "approval": str(mine.pk), "turn": str(taken.turn_id), "path": path, "step": 2, "call_id": "call_2",
        "tool": "transfer", "arguments": '{"amount": 5}', "reasons": ["The release asks for every call."],
        "who": "user", "until": "2100-01-01T00:00:00.000000Z",
    }  # fmt: skip
    assert [one["approval"] for one in error["approvals"]] == [str(mine.pk), str(theirs.pk)]
    assert error["message"].splitlines()[1:] == [
        f'transfer: POST {{"decision": "approve"}} or {{"decision": "deny"}} to {path}',
        "transfer: an operator decides.",
    ]


@pytest.mark.parametrize("is_first", [False, True])
async def test_a_request_behind_a_turn_that_needs_an_approval_does_not_wait_for_it(
    world: World, is_first: bool
) -> None:
    first = asyncio.create_task(world.ask(here=True))
    taken = await begun()

    async def wait_for_approval() -> None:
        await in_db_thread(request_approval, taken)
        await in_db_thread(park, taken, WaitReason.APPROVAL)

    if is_first:
        await wait_for_approval()
    second = asyncio.create_task(world.ask(here=True, messages=[{"role": "user", "content": "And?"}]))
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await Turn.objects.acount() < 2:  # noqa: ASYNC110 - the database says it
            await asyncio.sleep(0.01)
    if not is_first:
        await wait_for_approval()
    error, behind = refusal(await first, 409, "approval_required"), refusal(await second, 409, "approval_required")
    assert error["approvals"] == behind["approvals"]
    assert (await second)["X-Turn-Id"] != str(taken.turn_id)


async def test_in_mid_stream_an_approval_ends_it(world: World) -> None:
    chunks, taken = await streaming(world, "Wait.")
    await in_db_thread(park, taken, WaitReason.APPROVAL)
    [last] = await chunks.rest()
    assert last["error"]["code"] == "approval_required"


@pytest.mark.parametrize("stream", [False, True])
async def test_who_comes_back_when_somebody_has_approved_gets_the_answer(world: World, stream: bool) -> None:
    headers = {"Idempotency-Key": "k"}
    if stream:  # which has begun before the turn waits; else it is refused, as an answer in one piece is
        chunks, taken = await streaming(world, "Wait. ", headers=headers)
        await in_db_thread(park, taken, WaitReason.APPROVAL)
        [last] = await chunks.rest()
        assert last["error"]["code"] == "approval_required"
    else:
        asking = asyncio.create_task(world.ask(headers=headers))
        taken = await begun()
        await in_db_thread(say, taken, "Wait. ")
        await in_db_thread(park, taken, WaitReason.APPROVAL)
        refusal(await asking, 409, "approval_required")
    refusal(await world.ask(stream=stream, headers=headers), 409, "approval_required")
    taken = await goes_on(taken)
    asking = asyncio.create_task(world.ask(stream=stream, headers=headers))
    await in_db_thread(say, taken, "Done.")
    await in_db_thread(end_turn, taken, "Wait. Done.")
    answer = await asking
    assert answer["Idempotent-Replayed"] == "true"
    if stream:
        found = await Chunks(answer).rest()
        assert (texts(found), found[-1]) == ("Wait. Done.", "[DONE]")
    else:
        assert json.loads(answer.content)["choices"][0]["message"]["content"] == "Wait. Done."


# --- other waits ---


@pytest.mark.parametrize("reason", [None, WaitReason.CHILDREN, WaitReason.BUDGET])
async def test_a_stream_stays_open_while_the_turn_waits_and_goes_on_with_it(
    world: World, reason: WaitReason | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revocation, "PERIOD_SECONDS", 0.05)
    monkeypatch.setattr(completion_stream, "HEARTBEAT_SECONDS", 0.0)
    chunks, taken = await streaming(world, "Hel")
    await in_db_thread(park, taken, reason)
    while (await chunks.next()) != ": waiting":
        """Two, so that one is of the wait."""
    assert await chunks.next() == ": waiting"
    taken = await goes_on(taken)
    await in_db_thread(say, taken, "lo")
    assert await chunks.text() == "lo"
    await in_db_thread(end_turn, taken, "Hello.")
    found = await chunks.rest()
    assert (texts(found), found[-1]) == (".", "[DONE]")


@pytest.mark.parametrize("reason", [None, WaitReason.CHILDREN, WaitReason.BUDGET])
async def test_a_whole_answer_is_waited_for_while_the_turn_waits(world: World, reason: WaitReason | None) -> None:
    asking = asyncio.create_task(world.ask())
    taken = await begun()
    await in_db_thread(park, taken, reason)
    taken = await goes_on(taken)
    assert not asking.done()
    await in_db_thread(end_turn, taken, "Hello.")
    assert json.loads((await asking).content)["choices"][0]["message"]["content"] == "Hello."


# --- a model that is asked once more ---


async def test_words_that_are_void_end_the_stream_and_who_comes_back_gets_the_answer_alone(world: World) -> None:
    chunks, taken = await streaming(world, "Hel", headers={"Idempotency-Key": "k"})
    await in_db_thread(append, taken, [retrying()])
    [last] = await chunks.rest()
    assert last["error"]["code"] == "answer_restarted"
    await in_db_thread(say, taken, "Good day.")
    asking = asyncio.create_task(world.ask(stream=True, headers={"Idempotency-Key": "k"}))
    await in_db_thread(end_turn, taken, "Good day.")
    found = await Chunks(await asking).rest()
    assert (texts(found), found[-1]) == ("Good day.", "[DONE]")


async def test_void_words_that_were_not_sent_go_unnoticed(world: World) -> None:
    asking = asyncio.create_task(world.ask(stream=True))
    taken = await begun()
    words = [NewEvent("message.delta", {"text": text}) for text in ("Hel", "Good ")]
    await in_db_thread(append, taken, [words[0], retrying(), words[1]])
    chunks = Chunks(await asking)
    assert await chunks.text() == "Good "
    await in_db_thread(end_turn, taken, "Good day.")
    found = await chunks.rest()
    assert (texts(found), found[-1]) == ("day.", "[DONE]")


@pytest.mark.parametrize("parks", [False, True])
async def test_words_before_a_tool_are_not_void_with_those_after_it(world: World, parks: bool) -> None:
    chunks, taken = await streaming(world, "Wait. ")
    tool = {"step": 2, "call_id": "c1", "name": "clock"}
    await in_db_thread(
        append,
        taken,
        [NewEvent("tool.started", tool | {"arguments": "{}"}), NewEvent("tool.finished", tool | {"content": "noon"})],
    )
    if parks:
        await in_db_thread(lambda: park(taken, events=[retrying(None)]))
        taken = await goes_on(taken)
    else:
        await in_db_thread(append, taken, [retrying()])
    await in_db_thread(say, taken, "Noon.")
    assert await chunks.text() == "Noon."
    await in_db_thread(end_turn, taken, "Wait. Noon.")
    assert (await chunks.rest())[-1] == "[DONE]"


async def test_who_comes_back_is_not_sent_void_words_however_many_there_are(world: World) -> None:
    chunks, taken = await streaming(world, "Hel", headers={"Idempotency-Key": "k"})
    await in_db_thread(say, taken, *["x"] * (BUFFER_EVENTS + 10))
    await in_db_thread(append, taken, [retrying()])
    await in_db_thread(say, taken, "Good day.")
    await chunks.close()
    asking = asyncio.create_task(world.ask(stream=True, headers={"Idempotency-Key": "k"}))
    again = Chunks(await asking)
    assert await again.text() == "Good day."
    await in_db_thread(end_turn, taken, "Good day.")
    assert (await again.rest())[-1] == "[DONE]"


async def test_a_whole_answer_knows_nothing_of_void_words(world: World) -> None:
    asking = asyncio.create_task(world.ask())
    taken = await begun()
    await in_db_thread(say, taken, "Hel")
    await in_db_thread(append, taken, [retrying()])
    await in_db_thread(end_turn, taken, "Good day.")
    assert json.loads((await asking).content)["choices"][0]["message"]["content"] == "Good day."


# --- a model that reasons ---


def thoughts(chunks: list[Any]) -> str:
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if isinstance(chunk, dict) and chunk["choices"]]
    return "".join(delta.get("reasoning_content", "") for delta in deltas)


async def end_with_reasoning(taken: Claim, reasoning: str, text: str) -> None:
    def end() -> None:
        finish(
            taken,
            ending(taken, parts=[reasoning_part(reasoning), text_part(text)]),
            outcomes=[done(1, text)],
        )

    await in_db_thread(end)


async def test_reasoning_is_streamed_before_the_words_and_is_no_content(world: World) -> None:
    asking = asyncio.create_task(world.ask(stream=True))
    taken = await begun()
    await in_db_thread(reason, taken, "Hm")
    chunks = Chunks(await asking)
    first = await chunks.chunk()
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert (await chunks.chunk())["choices"][0]["delta"] == {"reasoning_content": "Hm"}
    await in_db_thread(reason, taken, ", so.")
    await in_db_thread(say, taken, "Hello")
    await end_with_reasoning(taken, "Hm, so. Really.", "Hello.")
    found = await chunks.rest()
    assert (thoughts(found), texts(found), found[-1]) == (", so. Really.", "Hello.", "[DONE]")


@pytest.mark.parametrize("stream", [True, False])
async def test_what_stands_in_for_an_answer_is_marked(world: World, stream: bool) -> None:
    def end(taken: Claim) -> None:
        parts = [text_part("An earlier one.", fallback="cached_response")]
        finish(taken, ending(taken, parts=parts, fallback="cached_response"), outcomes=[done(1)])

    asking = asyncio.create_task(world.ask(stream=stream))
    await in_db_thread(end, await begun())
    if stream:
        *others, last, ended = await Chunks(await asking).rest()
        assert (texts([*others, last]), last["fallback"], ended) == ("An earlier one.", "cached_response", "[DONE]")
        assert not any("fallback" in chunk for chunk in others)
        return
    whole = json.loads((await asking).content)
    assert (whole["choices"][0]["message"]["content"], whole["fallback"]) == ("An earlier one.", "cached_response")


async def test_a_whole_answer_has_its_reasoning_beside_it(world: World) -> None:
    asking = asyncio.create_task(world.ask())
    taken = await begun()
    await end_with_reasoning(taken, "Hm", "Hello.")
    message = json.loads((await asking).content)["choices"][0]["message"]
    assert message == {"role": "assistant", "content": "Hello.", "refusal": None, "reasoning_content": "Hm"}


@pytest.mark.parametrize("anew", [False, True])
async def test_void_reasoning_that_was_sent_does_not_end_the_stream(world: World, anew: bool) -> None:
    asking = asyncio.create_task(world.ask(stream=True))
    taken = await begun()
    await in_db_thread(reason, taken, "Hm")
    chunks = Chunks(await asking)
    found = [await chunks.chunk() for _ in range(2)]
    if anew:
        taken = await lost(taken)
    else:
        await in_db_thread(append, taken, [retrying()])
    await in_db_thread(reason, taken, "So")
    await in_db_thread(say, taken, "Hello.")
    await end_with_reasoning(taken, "So", "Hello.")
    found += await chunks.rest()
    assert (thoughts(found), texts(found), found[-1]) == ("HmSo", "Hello.", "[DONE]")


async def test_void_reasoning_that_was_not_sent_goes_unnoticed(world: World) -> None:
    asking = asyncio.create_task(world.ask(stream=True))
    taken = await begun()
    thought = [NewEvent("reasoning.delta", {"text": text}) for text in ("Hm", "So")]
    await in_db_thread(append, taken, [thought[0], retrying(), thought[1]])
    chunks = Chunks(await asking)
    await end_with_reasoning(taken, "So", "Hello.")
    found = await chunks.rest()
    assert (thoughts(found), texts(found), found[-1]) == ("So", "Hello.", "[DONE]")


async def test_who_comes_back_after_the_end_gets_reasoning_and_words(world: World) -> None:
    asking = asyncio.create_task(world.ask(stream=True, headers={"Idempotency-Key": "k"}))
    await end_with_reasoning(await begun(), "Hm", "Hello.")
    await Chunks(await asking).rest()
    found = await Chunks(await world.ask(stream=True, headers={"Idempotency-Key": "k"})).rest()
    assert (thoughts(found), texts(found), found[-1]) == ("Hm", "Hello.", "[DONE]")


# --- sizes ---


async def test_a_conversation_of_megabytes_is_taken_and_answered(world: World) -> None:
    """An answer comes back, a tool has found much, and a client of programmers sends a file."""
    calls = [{"id": "c", "type": "function", "function": {"name": "light", "arguments": "{}"}}]
    messages = [
        HI,
        {"role": "assistant", "content": "a" * 68_000},
        {"role": "user", "content": "u" * 524_288},
        {"role": "assistant", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c", "content": "r" * 1_048_576},
        {"role": "user", "content": "f" * 524_288},
    ]
    asking = asyncio.create_task(world.ask(messages=messages))
    taken = await begun()
    context = await in_db_thread(load_context, taken)
    assert [part["type"] for part in context.history[-1].parts] == ["tool_result", "text"]
    assert len(context.history[-1].parts[1]["text"]) == 524_288
    await in_db_thread(end_turn, taken, "Hello.")
    assert json.loads((await asking).content)["choices"][0]["message"]["content"] == "Hello."
    # The pages that show it stay small.
    session = await AgentSession.objects.alatest("created_at")
    page = await AsyncClient().get(f"/chat/sessions/{session.pk}/messages", headers=bearer(world.key))
    assert page.status_code == 200
    assert len(page.content) < 1_000_000
    assert b"more characters" in page.content


@pytest.mark.parametrize(
    "messages",
    [
        [HI] * 2001,
        [{"role": "user", "content": "x" * 5 * 2**20}],
        [{"role": "user", "content": [{"type": "text", "text": ""}] * 70_000}],
    ],
    ids=["messages", "bytes", "values"],
)
async def test_too_long_a_conversation_has_the_code_that_clients_act_on(world: World, messages: list[Any]) -> None:
    error = refusal(await world.ask(messages=messages), 400, "context_length_exceeded")
    assert error["type"] == "invalid_request_error"
    assert error["message"].startswith("This model's maximum context length is exceeded")


# --- time ---


async def test_a_stream_begins_before_its_first_words_when_they_take_long(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "FIRST_WORDS_SECONDS", 0.05)
    monkeypatch.setattr(revocation, "PERIOD_SECONDS", 0.05)
    monkeypatch.setattr(completion_stream, "HEARTBEAT_SECONDS", 0.0)
    chunks = Chunks(await world.ask(stream=True))
    assert [await chunks.next() for _ in range(2)] == [": waiting"] * 2
    taken = await begun()
    await in_db_thread(end_turn, taken, "Hello.")
    found = await chunks.rest()
    assert (texts(found), found[-1]) == ("Hello.", "[DONE]")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_revoked_key_ends_what_waits(world: World, stream: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "FIRST_WORDS_SECONDS", 0.05)
    monkeypatch.setattr(revocation, "PERIOD_SECONDS", 0.05)
    asking = asyncio.create_task(world.ask(stream=stream))
    await begun()
    chunks = Chunks(await asking) if stream else None
    key_id = (await in_db_thread(authenticate_key, world.key)).key_id
    await in_db_thread(lambda: revoke_api_key(user_actor(world.ada), key_id=key_id))  # type: ignore[arg-type]
    if chunks is not None:
        [last] = await chunks.rest()
        assert last["error"]["code"] == "invalid_api_key"
    else:
        refusal(await asking, 401, "invalid_api_key")


async def test_the_server_that_stops_says_so(world: World) -> None:
    chunks, _ = await streaming(world, "Hel")
    close_hub()
    [last] = await chunks.rest()
    assert last["error"]["code"] == "server_stops"


async def test_a_client_that_waits_for_a_server_that_stops_is_told_to_ask_again(world: World) -> None:
    asking = asyncio.create_task(world.ask())
    await begun()
    close_subscriptions()
    answer = await asking
    refusal(answer, 503, "server_stops")
    assert (answer["X-Should-Retry"], answer["Retry-After"]) == ("true", "1")


async def test_a_client_that_leaves_is_not_watched_for_any_more(world: World) -> None:
    from agents.relay import get_hub

    chunks, taken = await streaming(world, "Hel")
    assert get_hub()._watchers
    await chunks.close()
    assert not get_hub()._watchers
    await in_db_thread(end_turn, taken, "Hello.")
    assert (await Turn.objects.aget()).status == "completed"


# --- who may ---

CALLS = [
    ("GET", "models", b""),
    ("GET", "models/demo", b""),
    ("POST", "chat/completions", {"model": "demo", "messages": [HI], "n": 2}),
]


def test_the_matrix_below_has_every_address() -> None:
    named = {str(pattern.pattern).replace("<path:model>", "demo") for pattern in urlpatterns if pattern.name}
    assert named == {path for _, path, _ in CALLS}


async def test_nobody_gets_nothing(world: World) -> None:
    for method, path, body in CALLS:
        other = "y" if world.key.endswith("x") else "x"
        for key in ("", "sk-nothing", f"{world.key[:-1]}{other}"):
            answer = await world.call(method, path, body, key=key)
            assert refusal(answer, 401, "invalid_api_key")["type"] == "authentication_error"
            assert answer["WWW-Authenticate"] == "Bearer"
    assert not await CompletionRequest.objects.aexists()


async def test_scopes_and_roles_are_those_of_rest(world: World) -> None:
    for scopes in ({Scope.CHAT}, {Scope.READ}):
        key = await in_db_thread(key_of, world.ada, scopes)
        for method, path, body in CALLS:
            answer = await world.call(method, path, {**body, "n": 1} if isinstance(body, dict) else body, key=key)
            if method == "GET" and Scope.READ in scopes:
                assert answer.status_code == 200
            else:
                assert refusal(answer, 403, "forbidden")["type"] == "permission_error"
    viewer = await in_db_thread(lambda: key_of(person("vic", Role.VIEWER)))
    refusal(await world.call("POST", "chat/completions", {**CALLS[2][2], "n": 1}, key=viewer), 403, "forbidden")  # type: ignore[dict-item]
    assert not await Turn.objects.aexists()


async def test_an_agent_of_others_is_absent(world: World) -> None:
    def close() -> None:
        Agent.objects.get().groups.add(Group.objects.create(name="others"))

    await in_db_thread(close)
    assert json.loads((await world.call("GET", "models")).content)["data"] == []
    absent = json.loads((await world.call("GET", "models/absent")).content)
    assert json.loads((await world.call("GET", "models/demo")).content) == absent
    refusal(await world.ask(), 404, "model_not_found")
    refusal(await world.ask(here=True), 404, "session_not_found")


async def test_the_sessions_of_others_are_absent(world: World) -> None:
    answers = []
    for session in (world.session.pk, uuid4()):
        answer = await world.ask(headers={"key": world.other, "X-Session-Id": str(session)})
        answers.append(refusal(answer, 404, "session_not_found"))
    assert answers[0] == answers[1]
    assert not await Message.objects.aexists()


async def test_a_key_of_anothers_request_brings_nothing_of_it(world: World) -> None:
    chunks, taken = await streaming(world, "Secret", headers={"Idempotency-Key": "k"})
    await in_db_thread(end_turn, taken, "Secret.")
    await chunks.rest()
    asking = asyncio.create_task(world.ask(headers={"key": world.other, "Idempotency-Key": "k"}))
    await in_db_thread(end_turn, await begun(), "Hello.")
    assert json.loads((await asking).content)["choices"][0]["message"]["content"] == "Hello."


# --- bad input ---

GOOD = {"model": "demo", "messages": [HI]}


def with_text(text: bytes) -> bytes:
    return b'{"model":"demo","messages":[{"role":"user","content":"' + text + b'"}]}'


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"[]", 400, "malformed"),
        (b"null", 400, "malformed"),
        (b'"x"', 400, "malformed"),
        (b"{", 400, "malformed"),
        (b'{"model": "demo",}', 400, "malformed"),
        (b'{"model": "demo", "model": "demo"}', 400, "malformed"),
        (b'{"temperature": NaN}', 400, "malformed"),
        (b'{"temperature": Infinity}', 400, "malformed"),
        (b'{"temperature": 1e400}', 400, "malformed"),
        (b'{"messages": ' + b"[" * 20_000, 400, "malformed"),
        (b"\xef\xbb\xbf" + encoded(GOOD), 400, "malformed"),
        (json.dumps(GOOD).encode("utf-16"), 400, "malformed"),
        (with_text(b"\xff"), 400, "malformed"),
        (with_text(b"\\u0000"), 400, "invalid"),
        (with_text(b"\\ud800"), 400, "invalid"),
        (with_text(b"  "), 400, "invalid"),
        (with_text(b"x" * 5_000_000), 400, "context_length_exceeded"),
        ({**GOOD, "model": ""}, 400, "invalid"),
        ({**GOOD, "model": "../demo"}, 404, "model_not_found"),
        ({**GOOD, "model": "openai/demo"}, 404, "model_not_found"),
        ({**GOOD, "model": None}, 400, "invalid"),
        ({**GOOD, "model": 1}, 400, "invalid"),
        ({**GOOD, "model": "absent"}, 404, "model_not_found"),
        ({"messages": [HI]}, 400, "invalid"),
        ({"model": "demo"}, 400, "invalid"),
        ({**GOOD, "stream": "yes"}, 400, "invalid"),
        ({**GOOD, "stream": 1}, 400, "invalid"),
        ({**GOOD, "stream_options": {"include_usage": True}}, 400, "invalid"),
        ({**GOOD, "stream": True, "stream_options": []}, 400, "invalid"),
        ({**GOOD, "stream": True, "stream_options": {"x": 1}}, 400, "invalid"),
        ({**GOOD, "stream": True, "stream_options": {"include_usage": 1}}, 400, "invalid"),
        ({**GOOD, "max_tokens": 0}, 400, "invalid"),
        ({**GOOD, "max_tokens": -1}, 400, "invalid"),
        ({**GOOD, "max_tokens": 1.0}, 400, "invalid"),
        ({**GOOD, "max_tokens": True}, 400, "invalid"),
        ({**GOOD, "max_completion_tokens": 2**62}, 400, "invalid"),
        ({**GOOD, "max_completion_tokens": "7"}, 400, "invalid"),
        ({**GOOD, "seed": 2**70}, 400, "malformed"),
        ({**GOOD, "metadata": []}, 400, "invalid"),
        ({**GOOD, "metadata": {"a": 1}}, 400, "invalid"),
        ({**GOOD, "metadata": {"a": "x" * 20_000}}, 413, "too_large"),
        ({**GOOD, "tools": {}}, 400, "invalid"),
        ({**GOOD, "tools": ["light"]}, 400, "invalid"),
        ({**GOOD, "tools": [{"type": "custom", "custom": {"name": "x"}}]}, 400, "invalid"),
        ({**GOOD, "tools": [{"type": "function", "function": {"name": "a b"}}]}, 400, "invalid"),
        ({**GOOD, "tools": [{"type": "function", "function": {"name": "a", "parameters": []}}]}, 400, "invalid"),
        ({**GOOD, "tools": [{"type": "function", "function": {"name": "a"}}] * 2}, 400, "invalid"),
        ({**GOOD, "tools": [{"type": "function", "function": {"name": f"t{n}"}} for n in range(129)]}, 400, "invalid"),
        ({**GOOD, "tool_choice": "required"}, 400, "invalid"),
        ({**GOOD, "tool_choice": {"type": "function", "function": {"name": "a"}}}, 400, "invalid"),
        ({**GOOD, "response_format": {"type": "grammar"}}, 400, "invalid"),
        ({**GOOD, "stop": ["a", "b", "c", "d", "e"]}, 400, "invalid"),
        ({**GOOD, "parallel_tool_calls": "no"}, 400, "invalid"),
        ({**GOOD, "messages": [HI, {"role": "tool", "tool_call_id": "x", "content": "y"}]}, 400, "invalid"),
        ({**GOOD, "n": 2}, 400, "unsupported_parameter"),
        ({**GOOD, "__class__": 1}, 400, "unknown_parameter"),
        ({**GOOD, "a/b~c": 1}, 400, "unknown_parameter"),
    ],
)
async def test_a_bad_body_is_refused_and_leaves_nothing(world: World, body: Any, status: int, code: str) -> None:
    if isinstance(body, dict) and body.get("seed") == 2**70:
        body = json.dumps(body).encode()
        code = "invalid"
    refusal(await world.call("POST", "chat/completions", body), status, code)
    assert await AgentSession.objects.acount() == 1
    assert not await Message.objects.aexists()


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Content_Type": "text/plain"}, 415, "unsupported_media_type"),
        ({"Content_Type": "application/json; charset=latin1"}, 415, "unsupported_media_type"),
        ({"Content_Encoding": "gzip"}, 415, "unsupported_media_type"),
        ({"X_Session_Id": ""}, 400, "invalid"),
        ({"X_Session_Id": "1"}, 400, "invalid"),
        ({"X_Session_Id": "../demo"}, 400, "invalid"),
        ({"X_Session_Id": "0" * 5000}, 400, "invalid"),
        ({"Idempotency_Key": ""}, 400, "invalid"),
        ({"Idempotency_Key": "a b"}, 400, "invalid"),
        ({"Idempotency_Key": "x" * 256}, 400, "invalid"),
    ],
)
async def test_a_bad_header_is_refused_and_leaves_nothing(
    world: World, headers: dict[str, str], status: int, code: str
) -> None:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    body = gzip.compress(encoded(GOOD)) if "Content-Encoding" in given else encoded(GOOD)
    refusal(await world.call("POST", "chat/completions", body, **given), status, code)
    assert not await Message.objects.aexists()


@pytest.mark.parametrize("count", ["", "-1", "x", "1.5", "99999", "²"])
async def test_a_retry_count_that_is_none_is_a_first_attempt(world: World, count: str) -> None:
    for _ in range(2):
        asking = asyncio.create_task(world.ask(headers={"X-Stainless-Retry-Count": count}))
        await in_db_thread(end_turn, await begun())
        assert (await asking).status_code == 200
    assert await Turn.objects.acount() == 2


async def test_addresses_and_methods_that_are_none_are_refused_in_the_same_shape(world: World) -> None:
    for method, path in (("GET", ""), ("GET", "completions"), ("POST", "embeddings"), ("POST", "chat/completions/")):
        refusal(await world.call(method, path), 404, "not_found")
    for method, path in (("GET", "chat/completions"), ("POST", "models"), ("DELETE", "models/demo"), ("PUT", "models")):
        refusal(await world.call(method, path), 405, "method_not_allowed")
    for path in ("models/..", "models/openai/demo", "models/%00", "models/%F0%9F%91%8B", "models/" + "x" * 500):
        refusal(await world.call("GET", path), 404, "model_not_found")


async def test_a_query_changes_nothing(world: World) -> None:
    """Clients of Azure always send the version of the interface that they speak."""
    answer = await world.call("GET", "models?api-version=2024-10-21&limit=1")
    assert [model["id"] for model in json.loads(answer.content)["data"]] == ["demo"]
    assert (await world.call("GET", "models/demo?api-version=2024-10-21")).status_code == 200
    asking = asyncio.create_task(world.call("POST", "chat/completions?api-version=2024-10-21", GOOD))
    await in_db_thread(end_turn, await begun())
    assert (await asking).status_code == 200


# As clients write it whose languages have structures instead of maps: every field that there is.
WHOLE_STRUCTURES: dict[str, Any] = {
    "model": "demo",
    "messages": [
        {"role": "system", "content": "Be kind.", "name": None, "tool_calls": None, "tool_call_id": None},
        {"role": "user", "content": [{"type": "text", "text": "Hi", "image_url": None}], "name": None, "refusal": None},
        {
            "role": "assistant", "content": None, "audio": None, "function_call": None, "tool_call_id": None,
            "tool_calls": [
                {"id": "c", "type": "function", "index": None, "custom": None,
                 "function": {"name": "light", "arguments": "{}", "description": None}},
            ],
        },
        {"role": "tool", "tool_call_id": "c", "content": "on", "tool_calls": None, "refusal": None},
    ],
    "tools": [
        {"type": "function", "custom": None, "function": {
            "name": "light", "description": None, "strict": None,
            "parameters": {"type": "object", "properties": {"on": {"enum": [True, None], "default": None}}},
        }},
    ],
    "tool_choice": {"type": "function", "function": {"name": "light", "parameters": None}, "allowed_tools": None},
    "response_format": {"type": "text", "json_schema": None},
    "stream_options": {"include_usage": None, "include_obfuscation": None, "more": None},
    "metadata": {"a": "b", "c": None},
    "stop": None, "n": None, "logit_bias": None, "functions": None, "audio": None, "some_new_parameter": None,
}  # fmt: skip


async def test_null_is_left_out_at_every_depth(world: World) -> None:
    asking = asyncio.create_task(world.call("POST", "chat/completions", WHOLE_STRUCTURES))
    taken = await begun()
    stored = (await Turn.objects.aget(pk=taken.turn_id)).client_options
    # A null in a JSON schema means something.
    assert stored is not None
    assert stored["tools"][0]["parameters"] == WHOLE_STRUCTURES["tools"][0]["function"]["parameters"]
    await in_db_thread(end_turn, taken)
    assert (await asking).status_code == 200


@pytest.mark.parametrize("place", ["accept_completion", "read_request"])
async def test_a_fault_of_ours_tells_nothing_and_may_be_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def breaks(*_: Any) -> None:
        raise RuntimeError("password=hunter2")

    monkeypatch.setattr(views, place, breaks)
    answer = await world.ask()
    error = refusal(answer, 500, "internal")
    assert "hunter2" not in str(error)
    assert (error["type"], answer["X-Should-Retry"]) == ("server_error", "true")
