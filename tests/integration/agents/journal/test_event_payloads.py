"""What each writer of events writes is what the type's declaration says, with the statements in SQL among them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from accounts.actor import Actor
from accounts.permissions import user_actor
from accounts.roles import Role
from agents.api.schema.events import DATA
from agents.domain.approvals import Decision
from agents.domain.events import EventType
from agents.domain.message_parts import text_part
from agents.domain.states import WaitReason
from agents.domain.waits import Park
from agents.journal import fenced_writes
from agents.journal.claims import Claim
from agents.llm.errors import TransientModelError
from agents.llm.interface import ReasoningDelta
from agents.management.demo.loading import load
from agents.models import AgentSession, Approval, Event, Message, Turn
from agents.runner.reaper import reap, release_claim
from agents.sessions import (
    cancel_turn,
    create_session,
    fail_turn,
    fork_session,
    give_feedback,
    update_session,
    withdraw_feedback,
)
from agents.sessions.approvals import decide_approval
from agents.sessions.handoff_control import reply_as_human, resolve_handoff, return_to_agent
from agents.sessions.handoffs import request_handoff
from foundation.db_threads import in_db_thread
from memory.enums import MemoryScope
from memory.ownership import OwnerKey
from memory.recall import arecall
from tests.support.budgets import spend, with_budgets
from tests.support.completions import client, complete
from tests.support.conversations import (
    FAR_AHEAD,
    Conversation,
    claimed,
    compact_turn,
    conversation,
    done,
    ending,
    lease_is_over,
    say,
    wake,
)
from tests.support.declared import check
from tests.support.event_examples import USAGE
from tests.support.memories import EMBEDDER, store
from tests.support.people import agent, person
from tests.support.scripted import Outcome, calls, for_ever, says, scripted
from tests.support.turns import A_WHILE, TWO_CALLS, begin, breaks, claim_run, marked, run, start, stop, turn_of, works

pytestmark = pytest.mark.usefixtures("transactional_db")


def written() -> set[EventType]:
    """The types of all events that there are, after each was held against its declaration."""
    found = set()
    for event in Event.objects.order_by("agent_session", "seq"):
        event_type = EventType(event.type)
        check(event.data, DATA[event_type], f"{event.type} ")
        found.add(event_type)
    return found


# --- the engine, by the fenced statements ---


async def answers_with_tools() -> None:
    await begin()
    tools = {"clock": works("noon"), "notes": breaks("full")}
    await run(scripted(TWO_CALLS, says(ReasoningDelta("Hm"), "So it ", "is."), tools=tools)[0])


async def fails() -> None:
    await begin()
    await run(scripted(says("Hel", TransientModelError()))[0])


async def recalls() -> None:
    ada = await begin("Which tea do I like?", memory={"recall": True})
    session = await in_db_thread(AgentSession.objects.get, pk=ada.session_id)
    owner = OwnerKey(MemoryScope.USER, user_id=session.user_id, agent_id=session.agent_id)
    await in_db_thread(store, owner, "I like green tea.")
    await run(replace(scripted(says("Green."))[0], memories=partial(arecall, embedder=EMBEDDER)))


async def expires() -> None:
    await begin()
    await asyncio.wait_for(run(scripted(says("Hel", for_ever))[0], remaining_seconds=0.3), A_WHILE)


async def is_stopped() -> None:
    ada, reached = await begin(), asyncio.Event()
    running = await start(scripted(says("Hel", marked(reached)))[0])
    await reached.wait()
    await stop(ada, running)
    await running.ended()


async def begins_anew_after_a_tool_that_may_have_run() -> None:
    await begin()
    reached = asyncio.Event()

    async def hangs(_: str) -> Any:
        reached.set()
        await for_ever()

    running = await start(scripted(calls(("c1", "clock", "{}")), tools={"clock": hangs})[0])
    await reached.wait()
    running.task.cancel()
    await asyncio.gather(running.task, return_exceptions=True)
    await in_db_thread(lease_is_over, running.run.claim.turn_id)
    await in_db_thread(reap)
    await (await claim_run(scripted(says("Nobody knows."))[0])).run()


async def waits_for_a_person_and_goes_on() -> None:
    ada, decided = await begin(), asyncio.Event()

    async def pays(_: str) -> Outcome:
        if not decided.is_set():
            raise Park(FAR_AHEAD, WaitReason.APPROVAL)
        return Outcome("paid")

    services = scripted(calls(("c1", "pay", "{}")), says("Done."), tools={"pay": pays})[0]
    await run(services)
    decided.set()
    await in_db_thread(wake, await turn_of(ada))
    await run(services)


async def asks_for_an_approval() -> None:
    ada = await begin("Pay", tools=["http_fetch"], tool_rights={"http_fetch": {"right": "ask"}})
    tools = {"http_fetch": works("paid")}
    services = scripted(calls(("c1", "http_fetch", '{"url": "u"}')), says("Done."), tools=tools)[0]
    await run(services)
    approval = await in_db_thread(Approval.objects.get)
    decide = partial(decide_approval, approval_id=approval.pk, decision=Decision.DENY, note="Too much.")
    await in_db_thread(decide, ada.actor)
    await run(services)


async def waits_for_its_model() -> None:
    ada = await begin()

    async def until_they_are_shown() -> None:
        while not await in_db_thread(Event.objects.filter(type=EventType.MESSAGE_DELTA).exists):
            """The first words go out at once."""

    services = scripted(says("Hel", until_they_are_shown, Park(FAR_AHEAD)), says("Hello"))[0]
    await run(services)
    await in_db_thread(wake, await turn_of(ada))
    await run(services)


async def asks_for_a_person() -> None:
    await begin(model_chain=["openai:gone"], fallbacks={"order": ["human_handoff"]})
    await run(scripted(says("Hel", TransientModelError()))[0])


async def draws_on_a_budget_of_which_much_is_used() -> None:
    await in_db_thread(partial(spend, Decimal(20), of=Decimal(1_000), warn_percent=1))
    await begin()
    await run(await with_budgets(scripted(says("Hello"))[0]))


BY_THE_ENGINE: dict[Any, set[EventType]] = {
    answers_with_tools: {
        EventType.MESSAGE_CREATED, EventType.TURN_QUEUED, EventType.TURN_STARTED, EventType.MESSAGE_DELTA,
        EventType.REASONING_DELTA, EventType.TOOL_STARTED, EventType.TOOL_FINISHED, EventType.TOOL_FAILED,
        EventType.MESSAGE_COMPLETED, EventType.TURN_COMPLETED,
    },
    draws_on_a_budget_of_which_much_is_used: {EventType.QUOTA_WARNING},
    recalls: {EventType.MEMORY_RECALLED},
    fails: {EventType.MESSAGE_COMPLETED, EventType.TURN_FAILED},
    asks_for_a_person: {EventType.HANDOFF_REQUESTED, EventType.MESSAGE_COMPLETED, EventType.TURN_COMPLETED},
    waits_for_a_person_and_goes_on: {EventType.TURN_WAITING, EventType.TURN_QUEUED, EventType.TURN_STARTED},
    asks_for_an_approval: {EventType.APPROVAL_REQUESTED, EventType.APPROVAL_DECIDED, EventType.TURN_WAITING},
    waits_for_its_model: {EventType.MODEL_RETRYING, EventType.TURN_RETRY_WAIT, EventType.TURN_STARTED},
    expires: {EventType.MESSAGE_COMPLETED, EventType.TURN_EXPIRED},
    is_stopped: {EventType.TURN_CANCELLING, EventType.MESSAGE_COMPLETED, EventType.TURN_CANCELLED},
    begins_anew_after_a_tool_that_may_have_run: {
        EventType.TURN_QUEUED, EventType.TURN_RESTARTED, EventType.TOOL_FAILED,
    },
}  # fmt: skip


@pytest.mark.parametrize("scenario", BY_THE_ENGINE)
async def test_what_the_engine_writes_is_what_was_declared(scenario: Any) -> None:
    await scenario()
    assert await in_db_thread(written) >= BY_THE_ENGINE[scenario]


# --- the verbs, under the session's lock and by statements of their own ---


def told(ada: Conversation, text: str = "Hel") -> Any:
    """A turn whose runner has said something."""
    ada.ask()
    work = claimed()
    say(work, text)
    return work


def answered(ada: Conversation, *more: str) -> Claim:
    """A turn that has its answer."""
    work: Claim = told(ada)
    say(work, *more)
    whole = ending(work, parts=[text_part("".join(["Hel", *more]))], data={"usage": USAGE})
    fenced_writes.finish(work, whole, outcomes=[done(1)])
    return work


def names_its_session() -> None:
    """The statement that accepts a message, and the one way beside it: a person answers."""
    agent()
    for controller in ("agent", "human"):
        actor = client(controller)
        ada = Conversation(actor, create_session(actor, agent_slug="demo").pk)
        AgentSession.objects.filter(pk=ada.session_id).update(controller=controller)
        ada.ask("Good morning")


def is_seeded_by_a_client() -> None:
    ada = client()
    said: list[Any] = [("user", [text_part("One")]), ("agent", [text_part("1")])]
    complete(ada, "And now?", history=said, instructions="Be brief.")
    listed = create_session(ada, agent_slug="demo")
    complete(ada, "Hello", session_id=listed.pk, instructions="Be brief.")


def is_given_back() -> None:
    work = told(conversation())
    assert release_claim(session_id=work.session_id, turn_id=work.turn_id, epoch=work.epoch, without_progress=False)
    claimed()


def is_ended_without_a_runner() -> None:
    ada = conversation()
    work = told(ada)
    cancel_turn(ada.actor, turn_id=work.turn_id)
    lease_is_over(work.turn_id)
    reap()
    ada.ask()
    Turn.objects.filter(status="queued").update(deadline_at="2000-01-01T00:00:00Z")
    reap()
    fail_turn(Actor.system("tests"), turn_id=told(ada).turn_id)


def is_changed_and_rated() -> None:
    ada = conversation()
    answered(ada)
    update_session(ada.actor, session_id=ada.session_id, expected_version=1, title="New")
    [reply] = Message.objects.filter(author="agent")
    give_feedback(ada.actor, message_id=reply.pk, value=-1, comment="No.")
    withdraw_feedback(ada.actor, message_id=reply.pk)


def is_forked() -> None:
    ada = conversation()
    answered(ada)
    copy = fork_session(ada.actor, session_id=ada.session_id, after_turn=None)
    assert Event.objects.filter(agent_session=copy).count() == 2


def is_folded() -> None:
    ada = conversation()
    work = answered(ada, "lo", "!")
    assert compact_turn(ada.session_id, work.turn_id)
    assert Event.objects.filter(type=EventType.MESSAGE_DELTA, replaces_from__isnull=False).count() == 1


def is_handed_off() -> None:
    ada, dana = conversation(), user_actor(person("dana", Role.OPERATOR))
    told(ada)
    request_handoff(ada.actor, session_id=ada.session_id, reason="Help.")
    for number, give_back in enumerate((return_to_agent, resolve_handoff)):
        reply_as_human(dana, session_id=ada.session_id, text="Here I am.", key=str(number))
        give_back(dana, session_id=ada.session_id)


def is_made_up() -> None:
    load(turns=400, seed=1, until=datetime(2026, 11, 22, tzinfo=UTC), report=lambda _line: None)


BY_VERBS: dict[Callable[[], None], set[EventType]] = {
    names_its_session: {EventType.SESSION_UPDATED, EventType.MESSAGE_CREATED},
    is_seeded_by_a_client: {EventType.SESSION_UPDATED, EventType.MESSAGE_CREATED},
    is_given_back: {EventType.TURN_QUEUED, EventType.TURN_RESTARTED},
    is_ended_without_a_runner: {
        EventType.TURN_CANCELLING, EventType.MESSAGE_COMPLETED, EventType.TURN_CANCELLED, EventType.TURN_EXPIRED,
        EventType.TURN_FAILED,
    },
    is_changed_and_rated: {EventType.SESSION_UPDATED, EventType.MESSAGE_RATED},
    is_forked: {EventType.MESSAGE_CREATED},
    is_folded: {EventType.MESSAGE_DELTA},
    is_handed_off: {
        EventType.HANDOFF_REQUESTED, EventType.HANDOFF_OPENED, EventType.HANDOFF_RETURNED, EventType.HANDOFF_RESOLVED,
        EventType.SESSION_UPDATED, EventType.MESSAGE_CREATED, EventType.TURN_CANCELLED,
    },
    is_made_up: {EventType.TURN_COMPLETED, EventType.TURN_FAILED, EventType.TOOL_FAILED},
}  # fmt: skip


@pytest.mark.parametrize("scenario", BY_VERBS)
def test_what_a_verb_writes_is_what_was_declared(scenario: Callable[[], None]) -> None:
    scenario()
    assert written() >= BY_VERBS[scenario]


def test_every_type_has_a_writer_that_was_tried() -> None:
    tried = set().union(*BY_THE_ENGINE.values(), *BY_VERBS.values())
    assert tried == set(EventType)
