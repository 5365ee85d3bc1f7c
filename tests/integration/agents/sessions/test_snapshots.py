"""Reading a session: its log in pages, its present state, and the law that ties them together."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, transaction

from accounts.actor import Actor, Scope
from accounts.permissions import user_actor
from accounts.roles import Role
from agents.domain.approvals import Decision
from agents.domain.events import EventType
from agents.domain.message_parts import text_part
from agents.domain.replay import _APPLIERS, _no_change
from agents.domain.serialization import message_shape, session_shape, turn_error
from agents.domain.states import Priority, WaitReason
from agents.journal import fenced_writes
from agents.journal.claims import Claim
from agents.journal.fenced_writes import NewEvent
from agents.journal.locked_writes import append_messages_locked
from agents.journal.log import LoggedEvent, is_contiguous, read_log
from agents.models import AgentSession, Approval, Event, Message, Turn
from agents.runner.reaper import reap, release_claim
from agents.sessions import (
    Accepted,
    access_session,
    access_turn,
    begin_export,
    cancel_turn,
    give_feedback,
    read_events,
    read_snapshot,
    read_window,
    update_session,
    withdraw_feedback,
)
from agents.sessions.approvals import decide_approval
from agents.sessions.export import read_page
from agents.sessions.handoff_control import add_note, claim_handoff, reply_as_human, resolve_handoff, return_to_agent
from agents.sessions.handoffs import request_handoff
from agents.sessions.snapshots import build_snapshot
from foundation.errors import Forbidden, NotFound, Unauthenticated
from foundation.ids import new_id
from tests.support.approvals import request_approval
from tests.support.conversations import (
    Conversation,
    Stalled,
    answer,
    claimed,
    compact_turn,
    conversation,
    done,
    fail,
    lease_is_over,
    park,
    reason,
    replayed,
    retrying,
    say,
    wait_is_over,
    wake,
)
from tests.support.people import person

pytestmark = pytest.mark.usefixtures("transactional_db")


def with_megabytes(count: int) -> Conversation:
    """A session with so many questions of a megabyte each."""
    ada = conversation()
    session = AgentSession.objects.get(pk=ada.session_id)
    parts = [text_part("x" * 2**20)]
    with transaction.atomic():
        append_messages_locked(session, [Message(author=Message.Author.USER, parts=parts) for _ in range(count)])
    return ada


def test_a_page_of_megabytes_ends_early_and_says_so() -> None:
    """One user's large messages cost no process more memory than others'."""
    ada = with_megabytes(6)
    snapshot = ada.snapshot()
    assert ([message["ordinal"] for message in snapshot["messages"]], snapshot["older"]) == ([4, 5, 6], True)
    page = read_events(actor=ada.actor, session_id=ada.session_id, after=0, limit=100)
    assert ([event.seq for event in page.events], page.last_seq, page.resync) == ([1, 2, 3, 4], 6, False)
    page = read_events(actor=ada.actor, session_id=ada.session_id, after=4, limit=100)
    assert [event.seq for event in page.events] == [5, 6]
    window = read_window(actor=ada.actor, session_id=ada.session_id, limit=30)
    assert (len(window["messages"]), window["older"]) == (1, False), "without parents each is a branch of its own"
    export = begin_export(actor=ada.actor, session_id=ada.session_id)
    assert [message.ordinal for message in read_page(export.session, after=1)] == [2, 3, 4]


# --- the doors ---


def test_absent_and_foreign_sessions_and_turns_look_the_same() -> None:
    ada, bob = conversation(), conversation("bob")
    turn_id = ada.ask().turn_id
    assert turn_id
    for session_id in (ada.session_id, new_id()):
        for read in (
            lambda one: access_session(actor=bob.actor, session_id=one),
            lambda one: read_snapshot(actor=bob.actor, session_id=one),
            lambda one: read_events(actor=bob.actor, session_id=one, after=0, limit=10),
        ):
            with pytest.raises(NotFound):
                read(session_id)
    for missing in (turn_id, new_id()):
        with pytest.raises(NotFound):
            access_turn(actor=bob.actor, turn_id=missing)
    assert access_turn(actor=ada.actor, turn_id=turn_id).agent_session.pk == ada.session_id
    assert access_session(actor=ada.actor, session_id=ada.session_id).agent.slug == "demo"


def test_the_system_and_keys_without_the_scope_read_nothing() -> None:
    ada = conversation()
    writer = Actor.user(user_id=ada.row.user_id, name="ada", scopes=frozenset({Scope.CHAT, Scope.MANAGE}))
    for actor, refusal in [(Actor.system("tests"), Unauthenticated), (writer, Forbidden)]:
        with pytest.raises(refusal):
            read_snapshot(actor=actor, session_id=ada.session_id)
        with pytest.raises(refusal):
            access_turn(actor=actor, turn_id=new_id())


# --- the log in pages ---


def page(ada: Conversation, after: int, limit: int = 100) -> tuple[list[int], int, bool]:
    found = read_events(actor=ada.actor, session_id=ada.session_id, after=after, limit=limit)
    return [event.seq for event in found.events], found.last_seq, found.resync


def test_pages_follow_each_other_without_a_gap() -> None:
    ada = conversation()
    ada.ask()
    say(claimed(), "a", "b")
    assert page(ada, 0, 2) == ([1, 2], 5, False)
    assert page(ada, 2, 2) == ([3, 4], 5, False)
    assert page(ada, 4, 2) == ([5], 5, False)
    assert page(ada, 5, 2) == ([], 5, False)


def test_a_session_without_events_has_an_empty_page() -> None:
    assert page(conversation(), 0) == ([], 0, False)


def test_a_reader_from_the_future_is_told_to_read_a_snapshot() -> None:
    ada = conversation()
    ada.ask()
    assert page(ada, 3) == ([], 2, True)
    assert page(ada, 10**12) == ([], 2, True)


def test_an_event_is_read_as_it_is_sent() -> None:
    ada = conversation()
    accepted = ada.ask('é\u2028"')
    [created, queued] = read_log(ada.session_id, after=0, limit=10)
    assert created.type == "message.created"
    assert json.loads(created.data) == {"message": message_shape(ada.messages()[0])}
    assert (created.turn, queued.turn) == (str(accepted.turn_id), str(accepted.turn_id))
    assert created.at.endswith("Z")
    assert len(created.at) == len("2026-11-22T08:15:30.000001Z")
    assert (created.first_seq, created.replaces_from) == (1, None)


@pytest.mark.parametrize(
    ("after", "first", "replaces_from", "last_seq", "goes_on"),
    [
        (4, 5, None, 9, True),
        (4, 6, None, 9, False),
        (4, 9, 5, 9, True),
        (5, 9, 5, 9, False),
        (9, None, None, 9, True),
        (8, None, None, 9, False),
    ],
)
def test_events_follow_a_reader_or_they_do_not(
    after: int, first: int | None, replaces_from: int | None, last_seq: int, goes_on: bool
) -> None:
    events = [LoggedEvent(first, None, "message.delta", "{}", "", replaces_from)] if first else []
    assert is_contiguous(after, events, last_seq) is goes_on


def test_a_reader_in_the_middle_of_a_folded_run_is_told_to_read_a_snapshot() -> None:
    ada = conversation()
    ada.ask()
    work = claimed()
    say(work, "a", "b", "c")
    answer(work)
    compact_turn(ada.session_id, work.turn_id)
    assert page(ada, 3) == ([6, 7, 8], 8, False)
    for after in (4, 5):
        assert page(ada, after)[2] is True
    assert page(ada, 6) == ([7, 8], 8, False)


# --- the snapshot ---


def test_a_snapshot_has_the_shapes_of_the_rows() -> None:
    ada = conversation()
    ada.ask("One")
    answer(claimed(), "Two")
    accepted = ada.ask("Three")
    snapshot = ada.snapshot()
    assert snapshot == {
        "seq": 7,
        "session": session_shape(ada.row),
        "messages": [message_shape(message) for message in ada.messages()],
        "turns": {
            str(accepted.turn_id): {
                "id": str(accepted.turn_id),
                "message": str(accepted.message_id),
                "ordinal": 3,
                "priority": "interactive",
                "status": "queued",
                "waits_for": None,
                "shown": [],
                "approvals": [],
                "error": None,
            }
        },
        "older": False,
        "handoff": None,
    }
    assert json.loads(json.dumps(snapshot)) == snapshot


def test_a_snapshot_shows_what_a_running_turn_has_said() -> None:
    ada = conversation()
    ada.ask()
    work = claimed()
    say(work, "Hel", "lo")
    [turn] = ada.snapshot()["turns"].values()
    assert (turn["status"], turn["shown"]) == ("running", [text_part("Hello")])


def test_a_snapshot_keeps_the_turns_that_ended_badly_and_why() -> None:
    ada = conversation()
    ada.ask()
    fail(claimed(), text="Hel")
    [turn] = ada.snapshot()["turns"].values()
    assert (turn["status"], turn["shown"], turn["error"]) == ("failed", [], turn_error(ada.turn()))


def test_all_of_a_snapshot_is_of_one_moment() -> None:
    ada = conversation()
    ada.ask()
    before = ada.snapshot()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("LOCK TABLE agents_message IN ACCESS EXCLUSIVE MODE")
        reader = Stalled(ada.snapshot)  # it has read the session, and waits for the messages
        reader.until_it_waits()
        ada.ask("While it reads")
    assert reader.ended() == before


# --- the law, for every type of event ---


def tool_event(event_type: str, number: int, **more: Any) -> NewEvent:
    return NewEvent(event_type, {"step": number, "call_id": f"c{number}", "name": "clock", **more})


def tools(work: Claim) -> None:
    started = [tool_event("tool.started", number, arguments="{}") for number in (2, 3)]
    fenced_writes.advance(work, outcomes=[done(1)], events=started)
    fenced_writes.append(work, [tool_event("tool.finished", 2, content="noon")])
    fenced_writes.append(work, [tool_event("tool.failed", 3, content="broken")])


def life(ada: Conversation) -> list[Callable[[], object]]:
    """A conversation in which everything happens, step by step."""
    works: list[Claim] = []

    def work() -> Claim:
        return works[-1]

    def give() -> object:
        return release_claim(
            session_id=ada.session_id, turn_id=work().turn_id, epoch=work().epoch, without_progress=False
        )

    def claim() -> None:
        works.append(claimed())

    def answers() -> list[Message]:
        return [message for message in ada.messages() if message.author == "agent"]

    def expire() -> object:
        Turn.objects.filter(status="queued").update(deadline_at="2000-01-01T00:00:00Z")
        return reap()

    dana = user_actor(person("dana", Role.OPERATOR))

    def asks_for_approval() -> Approval:
        fenced_writes.advance(work(), outcomes=[done(1)], events=[tool_event("tool.started", 2, arguments="{}")])
        return request_approval(work())

    def decides(decision: Decision) -> Approval:
        """About the newest call that waits."""
        approval = Approval.objects.filter(state="pending").latest("id")
        return decide_approval(ada.actor, approval_id=approval.pk, decision=decision)

    def goes_on() -> object:
        wait_is_over(work().turn_id)
        return reap()

    return [
        lambda: ada.ask("One"), claim, lambda: reason(work(), "H", "m"), lambda: say(work(), "Hel", "lo"),
        lambda: tools(work()), lambda: reason(work(), "So"),
        lambda: say(work(), "!"), give, claim, lambda: say(work(), "Again"), lambda: ada.ask("Two"),
        lambda: answer(work(), "Again."),
        lambda: update_session(ada.actor, session_id=ada.session_id, expected_version=1, title="New"),
        claim, lambda: say(work(), "Wait"), lambda: cancel_turn(ada.actor, turn_id=work().turn_id),
        lambda: lease_is_over(work().turn_id), reap,
        lambda: ada.ask("Three"), expire,
        lambda: ada.ask("Four"), claim, lambda: say(work(), "x"),
        lambda: park(work(), events=[retrying(None)]), goes_on,
        claim, lambda: say(work(), "w"), lambda: fail(work()),
        lambda: ada.ask("Five"), claim, lambda: fail(work(), text="Hel"),
        lambda: update_session(ada.actor, session_id=ada.session_id, expected_version=2, head=ada.messages()[0].pk),
        lambda: give_feedback(ada.actor, message_id=answers()[0].pk, value=-1, comment="No."),
        lambda: withdraw_feedback(ada.actor, message_id=answers()[0].pk),
        lambda: give_feedback(ada.actor, message_id=answers()[-1].pk, value=1),
        lambda: ada.ask("Six", priority=Priority.BACKGROUND), claim, lambda: say(work(), "y"),
        lambda: park(work(), WaitReason.APPROVAL), lambda: wake(ada.turns()[-1]), claim, lambda: tools(work()),
        lambda: say(work(), "z"), lambda: fenced_writes.append(work(), [retrying()]), lambda: say(work(), "zz"),
        lambda: park(work(), WaitReason.BUDGET), goes_on, claim, give, claim, lambda: say(work(), "zzz"),
        lambda: answer(work(), "zzz"),
        lambda: ada.ask("Seven"), claim, asks_for_approval, lambda: request_approval(work(), step=3),
        lambda: decides(Decision.DENY), lambda: park(work(), WaitReason.APPROVAL),
        lambda: decides(Decision.APPROVE),
        claim, lambda: request_approval(work(), step=4), lambda: ada.ask("Eight"),
        lambda: request_handoff(ada.actor, session_id=ada.session_id, reason="Help."),
        lambda: claim_handoff(dana, session_id=ada.session_id), lambda: ada.ask("Nine"),
        lambda: reply_as_human(dana, session_id=ada.session_id, text="Here I am.", key="1"),
        lambda: give_feedback(ada.actor, message_id=ada.messages()[-1].pk, value=1),
        lambda: add_note(dana, session_id=ada.session_id, text="Is angry.", key="3"),
        lambda: return_to_agent(dana, session_id=ada.session_id), lambda: ada.ask("Ten"), claim,
        lambda: reply_as_human(dana, session_id=ada.session_id, text="Wait.", key="2"),
        lambda: resolve_handoff(dana, session_id=ada.session_id),
    ]  # fmt: skip


def test_every_snapshot_and_the_events_after_it_give_every_later_snapshot() -> None:
    ada = conversation()
    snapshots = [ada.snapshot()]
    for step in life(ada):
        step()
        snapshots.append(ada.snapshot())
    changing = {event_type for event_type in EventType if _APPLIERS[event_type] is not _no_change}
    assert set(ada.log()) >= changing, "the law is held for every type that has one"
    for earlier, later in pairwise(snapshots):
        assert replayed(ada, earlier, until=later["seq"]) == later
        assert replayed(ada, earlier) == snapshots[-1]


def test_a_snapshot_holds_the_newest_messages_and_the_turns_that_they_belong_to() -> None:
    ada = conversation()
    failed, stopped, *_ = ada.asks(5)
    fail(claimed())
    cancel_turn(ada.actor, turn_id=turn_of(stopped))
    answer(claimed(), "Third.")
    snapshot = build_snapshot(ada.row, limit=4)
    assert [message["ordinal"] for message in snapshot["messages"]] == [3, 4, 5, 6]
    assert (snapshot["older"], build_snapshot(ada.row, limit=6)["older"]) == (True, False)
    assert [turn["status"] for turn in snapshot["turns"].values()] == ["queued", "queued"]
    # An open turn is told of however far back its message stands.
    assert list(build_snapshot(ada.row, limit=1)["turns"]) == list(snapshot["turns"])
    everything = build_snapshot(ada.row, limit=6)["turns"]
    assert [everything[str(turn_of(one))]["status"] for one in (failed, stopped)] == ["failed", "cancelled"]


def turn_of(accepted: Accepted) -> UUID:
    assert accepted.turn_id is not None
    return accepted.turn_id


def test_the_law_holds_around_folded_rows() -> None:
    ada = conversation()
    snapshots = [ada.snapshot()]
    for step in life(ada):
        step()
        snapshots.append(ada.snapshot())
    for turn in ada.turns():
        compact_turn(ada.session_id, turn.pk)
    folded = Event.objects.filter(replaces_from__isnull=False).values_list("replaces_from", "seq")
    inside = {seq for first, last in folded for seq in range(first or 0, last)}
    assert inside
    for earlier in snapshots:
        if earlier["seq"] in inside:
            assert read_events(actor=ada.actor, session_id=ada.session_id, after=earlier["seq"], limit=1).resync
        else:
            assert replayed(ada, earlier) == snapshots[-1]


def test_what_is_said_to_a_human_follows_the_law() -> None:
    ada = conversation()
    AgentSession.objects.update(controller="human")
    before = ada.snapshot()
    ada.ask("Hello?")
    assert replayed(ada, before) == ada.snapshot()
