"""A person takes over: never two voices, never none, and everybody's rights."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models.functions import Now

from accounts.actor import Actor
from accounts.models import AuditEntry, User
from accounts.permissions import user_actor
from accounts.roles import Role
from agents.domain.handoffs import HandoffPriority, HandoffState
from agents.domain.replay import Snapshot
from agents.domain.states import WaitReason, WhenBusy
from agents.journal.fenced_writes import LostTurn, advance
from agents.models import Agent, Handoff, HandoffNote, OperatorDuty, Release, Step
from agents.runner.reaper import release_claim
from agents.sessions import (
    DoesNotApply,
    cancel_any_turn,
    delete_session,
    fail_turn,
    fork_session,
    requeue_turn,
    retry_turn,
)
from agents.sessions.errors import AnsweredByAnother, HandoffNotOffered, NotHandedOff
from agents.sessions.handoff_control import (
    add_note,
    assign_handoff,
    claim_handoff,
    reply_as_human,
    resolve_handoff,
    return_to_agent,
    set_handoff_priority,
    snooze_handoff,
)
from agents.sessions.handoffs import leave_message, read_handoff, request_handoff, withdraw_handoff
from agents.sessions.operator_duty import go_off_duty, go_on_duty, is_somebody_on_duty
from foundation.clock import now
from foundation.errors import Forbidden, IdempotencyMismatch, InvalidInput, NotFound, RateLimited, TooLarge
from foundation.ids import new_id
from tests.support.conversations import (
    Conversation,
    Stalled,
    answer,
    claim,
    claimed,
    conversation,
    done,
    park,
    replayed,
    say,
    side_by_side,
    tool_intent,
)
from tests.support.people import person

pytestmark = pytest.mark.usefixtures("transactional_db")

VERBS: list[Callable[..., Any]] = [
    claim_handoff,
    lambda actor, session_id: reply_as_human(actor, session_id=session_id, text="Hello", key="k"),
    lambda actor, session_id: add_note(actor, session_id=session_id, text="A note", key="k"),
    return_to_agent,
    resolve_handoff,
    lambda actor, session_id: snooze_handoff(actor, session_id=session_id, until=now() + timedelta(hours=1)),
    lambda actor, session_id: assign_handoff(actor, session_id=session_id, assignee_id=None),
    lambda actor, session_id: set_handoff_priority(actor, session_id=session_id, priority=HandoffPriority.HIGH),
]


def operator(name: str = "olga", first_name: str = "Olga") -> Actor:
    user = person(name, Role.OPERATOR)
    User.objects.filter(pk=user.pk).update(first_name=first_name)
    return user_actor(user)


def handoff() -> Handoff:
    return Handoff.objects.get()


def reply(actor: Actor, ada: Conversation, text: str = "Here I am", key: str = "", **more: Any) -> Any:
    return reply_as_human(actor, session_id=ada.session_id, text=text, key=key or str(new_id()), **more)


def settings(ada: Conversation, **handoff: Any) -> None:
    """What the release of the session says about handoffs; releases are immutable, so another one is made."""
    release = Release.objects.get(pk=ada.row.release_id)
    number = Release.objects.filter(agent=release.agent_id).count() + 1
    changed = Release.objects.create(
        agent_id=release.agent_id, number=number, configuration=release.configuration | {"handoff": handoff}
    )
    type(ada.row).objects.filter(pk=ada.session_id).update(release=changed)


def same(earlier: Snapshot, ada: Conversation) -> Snapshot:
    """The present snapshot, which is also the earlier one with all later events."""
    snapshot = ada.snapshot()
    assert replayed(ada, earlier) == snapshot
    return snapshot


# --- a user asks for a person ---


def test_a_request_is_a_pending_handoff_and_says_at_once_whether_somebody_is_there() -> None:
    ada, olga = conversation(), operator()
    before = ada.snapshot()
    status = request_handoff(ada.actor, session_id=ada.session_id, reason=" My order ")
    assert (status.state, status.is_human, status.on_duty, status.reason) == ("pending", False, False, "My order")
    row = handoff()
    assert (row.requested_by, row.on_duty, row.first_reply_at) == ("user", False, None)
    assert row.reply_due_at
    assert row.due_at
    assert (row.reply_due_at - row.requested_at, row.due_at - row.requested_at) == (
        timedelta(minutes=10),
        timedelta(minutes=60),
    )
    assert ada.events()[-1].data == {"reason": "My order", "by": "user", "on_duty": False}
    go_on_duty(olga)
    again = request_handoff(ada.actor, session_id=ada.session_id, reason="Once more")
    assert (again.id, again.reason, again.on_duty) == (status.id, "My order", True), "the first one, and who is there"
    assert ada.log() == ["handoff.requested"]
    assert same(before, ada)["handoff"]["state"] == "pending"
    assert ada.ask().turn_id, "the agent goes on answering"


def test_a_request_is_for_ones_own_session_and_only_where_the_release_offers_it() -> None:
    ada, bob = conversation(), conversation("bob")
    for verb in (request_handoff, withdraw_handoff, read_handoff):
        with pytest.raises(NotFound):
            verb(bob.actor, session_id=ada.session_id)
    for reason in ("x" * 201, "\ud800", 7):
        with pytest.raises(InvalidInput):
            request_handoff(ada.actor, session_id=ada.session_id, reason=reason)  # type: ignore[arg-type]
    settings(ada, offered=False)
    with pytest.raises(HandoffNotOffered):
        request_handoff(ada.actor, session_id=ada.session_id)
    with pytest.raises(HandoffNotOffered):
        leave_message(ada.actor, session_id=ada.session_id, text="Please call")
    assert (Handoff.objects.count(), ada.log()) == (0, [])


def test_the_button_is_limited() -> None:
    ada = conversation()
    for _ in range(30):
        request_handoff(ada.actor, session_id=ada.session_id)
    with pytest.raises(RateLimited):
        request_handoff(ada.actor, session_id=ada.session_id)
    # A message for people who were asked for calls nobody; one that asks for them does.
    leave_message(ada.actor, session_id=ada.session_id, text="Please call")
    withdraw_handoff(ada.actor, session_id=ada.session_id)
    with pytest.raises(RateLimited):
        leave_message(ada.actor, session_id=ada.session_id, text="Please call again")
    assert Handoff.objects.count() == 1


def test_the_user_goes_on_with_the_agent_whether_a_person_answers_or_not() -> None:
    ada, olga = conversation(), operator()
    before = ada.snapshot()
    assert withdraw_handoff(ada.actor, session_id=ada.session_id) is None
    request_handoff(ada.actor, session_id=ada.session_id)
    status = withdraw_handoff(ada.actor, session_id=ada.session_id)
    assert status
    assert (status.state, status.outcome) == ("resolved", "withdrawn")
    assert ada.log() == ["handoff.requested", "handoff.returned"]
    claim_handoff(olga, session_id=ada.session_id)
    assert ada.ask().turn_id is None
    withdraw_handoff(ada.actor, session_id=ada.session_id)
    assert same(before, ada)["session"]["controller"] == "agent"
    assert ada.ask().turn_id
    assert handoff_outcomes() == ["withdrawn", "withdrawn"]


def handoff_outcomes() -> list[str]:
    return list(Handoff.objects.order_by("requested_at").values_list("outcome", flat=True))


def test_a_message_can_be_left_for_a_person_and_no_agent_answers_it() -> None:
    ada, olga = conversation(), operator()
    before = ada.snapshot()
    left = leave_message(ada.actor, session_id=ada.session_id, text="Please call", key="k")
    assert (left.turn_id, left.status, left.replayed) == (None, "stored", False)
    again = leave_message(ada.actor, session_id=ada.session_id, text="Please call", key="k")
    assert (again.message_id, again.replayed, again.seq) == (left.message_id, True, left.seq)
    with pytest.raises(IdempotencyMismatch):
        ada.ask("Please call", key="k")
    row = handoff()
    assert (row.state, row.due_at) == ("pending", None), "somebody reads it, however late"
    assert row.last_user_message_at is not None
    assert (ada.turns(), claim()) == ([], [])
    assert ada.log() == ["handoff.requested", "message.created"]
    reply(olga, ada)
    assert handoff().last_user_message_at is None
    same(before, ada)


# --- a person takes control ---


def test_taking_control_ends_what_the_agent_does_in_one_commit() -> None:
    ada, olga = conversation(), operator()
    before = ada.snapshot()
    ada.asks(3)
    running = claimed()
    say(running, "I will ")
    advance(running, outcomes=[done(1)], intents=[tool_intent(2)])
    middle = ada.snapshot()
    seq = ada.row.next_seq
    status = claim_handoff(olga, session_id=ada.session_id)
    assert (status.state, status.is_human, status.assignee) == ("open", True, "Olga")
    row = ada.row
    assert (row.controller, row.active_turn_id, row.open_turns) == ("human", None, 0)
    assert ada.statuses() == ["cancelled"] * 3
    assert [event.type for event in ada.events() if event.seq >= seq] == [
        "message.completed", "turn.cancelled", "turn.cancelled", "turn.cancelled", "handoff.opened", "session.updated",
    ]  # fmt: skip
    assert [event.data.get("reason") for event in ada.events() if event.type == "turn.cancelled"] == ["handoff"] * 3
    assert ("agent", "I will ") in ada.said()
    assert [message.partial for message in ada.messages() if message.author == "agent"] == [True]
    assert Step.objects.get(number=2).status == "unknown", "the tool may have taken effect"
    assert handoff().last_user_message_at is not None
    with pytest.raises(LostTurn):
        say(running, "not say this.")
    with pytest.raises(LostTurn):
        advance(running, outcomes=[done(2)])
    with pytest.raises(LostTurn):
        answer(running)
    same(before, ada)
    same(middle, ada)


@pytest.mark.parametrize("reason", [None, WaitReason.APPROVAL])
def test_taking_control_ends_a_turn_that_waits(reason: WaitReason | None) -> None:
    ada, olga = conversation(), operator()
    ada.ask()
    park(claimed(), reason)
    before = ada.snapshot()
    claim_handoff(olga, session_id=ada.session_id)
    assert ada.statuses() == ["cancelled"]
    same(before, ada)


def test_no_request_is_needed_and_the_row_says_who_took_over() -> None:
    ada, olga = conversation(), operator()
    before = ada.snapshot()
    reply(olga, ada, "Can I help?")
    row = handoff()
    assert (row.requested_by, row.state, row.assignee_id) == ("operator", "open", olga.user_id)
    assert row.first_reply_at is not None
    assert row.due_at is None
    assert ada.log() == ["handoff.opened", "session.updated", "message.created"]
    assert same(before, ada)["handoff"] == {
        "state": "open", "reason": "", "by": "operator", "on_duty": None, "assignee": "Olga",
    }  # fmt: skip


def test_a_reply_takes_control_by_itself_and_bears_a_name() -> None:
    ada, olga = conversation(), operator()
    request_handoff(ada.actor, session_id=ada.session_id)
    ada.ask("Where is it?")
    running = claimed()
    before = ada.snapshot()
    stored = reply(olga, ada, "On its way", key="k")
    assert (stored.turn_id, stored.status, stored.replayed) == (None, "stored", False)
    assert ada.row.controller == "human"
    with pytest.raises(LostTurn):
        answer(running)
    message = ada.messages()[-1]
    assert (message.author, message.turn_id) == ("human", None)
    assert message.parts == [{"type": "text", "text": "On its way", "by": "Olga"}]
    assert message.parent_id == ada.messages()[0].pk
    assert ada.row.head_message_id == message.pk
    assert ada.row.updated_at > message.created_at - timedelta(seconds=5)
    assert (handoff().last_user_message_at, handoff().due_at) == (None, None)
    same(before, ada)


def test_a_repeated_reply_stores_once_and_takes_no_control_back() -> None:
    ada, olga = conversation(), operator()
    first = reply(olga, ada, key="k")
    return_to_agent(olga, session_id=ada.session_id)
    again = reply(olga, ada, key="k")
    assert (again.message_id, again.seq, again.replayed) == (first.message_id, first.seq, True)
    assert ada.row.controller == "agent"
    with pytest.raises(IdempotencyMismatch):
        reply(olga, ada, "Other words", key="k")
    ada.ask("Hi", key="k")
    assert [author for author, _ in ada.said()] == ["human", "user"], "keys of operators are no keys of users"


@pytest.mark.parametrize(
    ("text", "key", "refusal"),
    [("", "k", InvalidInput), ("\x00", "k", InvalidInput), ("x" * 2**20, "k", TooLarge), ("x", "ä", InvalidInput),
     ("x", "k" * 201, InvalidInput)],
)  # fmt: skip
def test_what_cannot_be_stored_takes_no_control(text: str, key: str, refusal: type[Exception]) -> None:
    ada, olga = conversation(), operator()
    with pytest.raises(refusal):
        reply(olga, ada, text, key=key)
    assert (ada.row.controller, ada.log(), Handoff.objects.count()) == ("agent", [], 0)


def test_many_clicks_take_control_once() -> None:
    ada, olga = conversation(), operator()
    ada.ask()
    claimed()
    outcomes: list[Any] = side_by_side(*[lambda: reply(olga, ada, key="k")] * 12)
    assert len({outcome.message_id for outcome in outcomes}) == 1
    assert ada.log().count("handoff.opened") == 1
    assert [author for author, _ in ada.said()] == ["user", "human"]


def test_a_message_that_waits_for_the_lock_goes_to_the_person() -> None:
    """The hot path reads the controller of the row that it has locked, not of the one that it saw before."""
    ada, olga = conversation(), operator()
    with transaction.atomic():
        claim_handoff(olga, session_id=ada.session_id)
        stalled = Stalled(lambda: ada.ask("Hello?"))
        stalled.until_it_waits()
    accepted: Any = stalled.ended()
    assert (accepted.turn_id, accepted.status) == (None, "stored")
    assert ada.turns() == []


# --- while a person answers ---


def test_words_of_the_user_wait_for_the_person_and_set_the_time_for_an_answer() -> None:
    ada, olga = conversation(), operator()
    reply(olga, ada)
    before = ada.snapshot()
    stored = ada.ask("Thanks", key="k")
    assert (stored.turn_id, stored.status) == (None, "stored")
    row = handoff()
    assert row.last_user_message_at
    assert row.due_at
    assert row.due_at - row.last_user_message_at == timedelta(minutes=60)
    ada.ask("Are you there?")
    assert handoff().last_user_message_at == row.last_user_message_at, "the oldest that is not answered"
    assert claim() == []
    assert ada.log()[-2:] == ["message.created", "message.created"]
    same(before, ada)


def test_no_claim_takes_a_turn_of_a_session_that_a_person_controls() -> None:
    """There is none, as control ends them all; should there be one, it waits."""
    ada = conversation()
    ada.ask()
    type(ada.row).objects.filter(pk=ada.session_id).update(controller="human")
    assert (claim(), claim(by_age=True)) == ([], [])
    type(ada.row).objects.filter(pk=ada.session_id).update(controller="agent")
    claimed()


def test_nothing_brings_the_agent_back_to_work_while_a_person_answers() -> None:
    ada, olga = conversation(), operator()
    ada.ask("Where is it?")
    running = claimed()
    claim_handoff(olga, session_id=ada.session_id)
    for verb in (retry_turn, requeue_turn, fail_turn):
        with pytest.raises(DoesNotApply):
            verb(olga, turn_id=running.turn_id)
    assert cancel_any_turn(olga, turn_id=running.turn_id).status == "cancelled"
    assert not release_claim(
        session_id=ada.session_id, turn_id=running.turn_id, epoch=running.epoch, without_progress=True
    )
    branch = ada.ask("Where is my order?", parent=None, when_busy=WhenBusy.INTERRUPT)
    assert (branch.turn_id, branch.status) == (None, "stored")
    reply(olga, ada)
    fork = fork_session(ada.actor, session_id=ada.session_id)
    assert (fork.controller, fork.messages.filter(author="human").count()) == ("agent", 1)
    assert claim() == []
    add_note(olga, session_id=ada.session_id, text="A note", key="k")
    delete_session(ada.actor, session_id=ada.session_id, expected_version=None)
    assert not Handoff.objects.exists()
    assert not HandoffNote.objects.exists()


def test_another_operator_is_refused_unless_on_purpose() -> None:
    ada, olga, oleg = conversation(), operator(), operator("oleg", "Oleg")
    claim_handoff(olga, session_id=ada.session_id)
    before, log = ada.snapshot(), ada.log()
    assert claim_handoff(olga, session_id=ada.session_id).assignee == "Olga"
    for verb in (claim_handoff, lambda actor, session_id: reply(actor, ada)):
        with pytest.raises(AnsweredByAnother, match="Olga answers already"):
            verb(oleg, session_id=ada.session_id)
    assert ada.log() == log
    reply(oleg, ada, take_over=True)
    assert same(before, ada)["handoff"]["assignee"] == "Oleg"
    assert AuditEntry.objects.filter(action="handoff.claimed", detail__from=olga.user_id).count() == 1


@pytest.mark.parametrize(
    ("verb", "action"), [(return_to_agent, "handoff.given_back"), (resolve_handoff, "handoff.closed")]
)
def test_nobody_gives_back_what_another_answers_unless_on_purpose(verb: Callable[..., Any], action: str) -> None:
    ada, olga, oleg = conversation(), operator(), operator("oleg", "Oleg")
    reply(olga, ada)
    log, row = ada.log(), Handoff.objects.values().get()
    with pytest.raises(AnsweredByAnother, match="Olga answers already"):
        verb(oleg, session_id=ada.session_id)
    assert (ada.log(), Handoff.objects.values().get(), ada.row.controller) == (log, row, "human")
    assert not AuditEntry.objects.filter(action=action).exists()
    assert verb(oleg, session_id=ada.session_id, take_over=True).state == "resolved"
    assert AuditEntry.objects.get(action=action).detail["from"] == olga.user_id
    request_handoff(ada.actor, session_id=ada.session_id)
    verb(oleg, session_id=ada.session_id)
    request_handoff(ada.actor, session_id=ada.session_id)
    assign_handoff(oleg, session_id=ada.session_id, assignee_id=olga.user_id)
    verb(olga, session_id=ada.session_id)
    assert {entry.detail.get("from") for entry in AuditEntry.objects.filter(action=action).order_by("id")[1:]} == {None}


def test_an_assigned_handoff_is_for_its_assignee() -> None:
    ada, olga, oleg = conversation(), operator(), operator("oleg", "Oleg")
    request_handoff(ada.actor, session_id=ada.session_id)
    before = ada.snapshot()
    status = assign_handoff(olga, session_id=ada.session_id, assignee_id=oleg.user_id)
    assert (status.state, status.is_human, status.assignee) == ("pending", False, None)
    with pytest.raises(AnsweredByAnother):
        claim_handoff(olga, session_id=ada.session_id)
    claim_handoff(oleg, session_id=ada.session_id)
    assert assign_handoff(oleg, session_id=ada.session_id, assignee_id=olga.user_id).assignee == "Olga"
    assert same(before, ada)["handoff"]["assignee"] == "Olga"
    with pytest.raises(InvalidInput):
        assign_handoff(oleg, session_id=ada.session_id, assignee_id=ada.actor.user_id)


def test_a_snooze_hides_it_from_nobody_but_operators_and_the_user_ends_it() -> None:
    ada, olga = conversation(), operator()
    reply(olga, ada)
    before = ada.snapshot()
    until = now() + timedelta(hours=2)
    snooze_handoff(olga, session_id=ada.session_id, until=until)
    row = handoff()
    assert (row.state, row.snoozed_until, row.due_at) == ("snoozed", until, until)
    assert same(before, ada)["handoff"]["state"] == "open"
    ada.ask("One more thing")
    row = handoff()
    assert (row.state, row.snoozed_until, row.snoozed_at) == ("open", None, None)
    for bad in (now() - timedelta(seconds=1), now() + timedelta(days=31)):
        with pytest.raises(InvalidInput):
            snooze_handoff(olga, session_id=ada.session_id, until=bad)
    snooze_handoff(olga, session_id=ada.session_id, until=until)
    reply(olga, ada)
    assert (handoff().state, handoff().due_at) == ("open", None), "a reply wakes it, too"


def test_notes_are_for_operators_and_priorities_are_rows() -> None:
    ada, olga = conversation(), operator()
    request_handoff(ada.actor, session_id=ada.session_id)
    log = ada.log()
    note = add_note(olga, session_id=ada.session_id, text="A good customer", key="k")
    assert HandoffNote.objects.get().text == note.text
    status = set_handoff_priority(olga, session_id=ada.session_id, priority=HandoffPriority.URGENT)
    assert status.priority is HandoffPriority.URGENT
    assert ada.log() == log, "the user's log says nothing of either"


def test_a_repeated_note_is_stored_once() -> None:
    ada, olga = conversation(), operator()
    words: list[Any] = side_by_side(
        *[lambda: add_note(olga, session_id=ada.session_id, text="A good customer", key="k")] * 4
    )
    assert {note.pk for note in words} == {HandoffNote.objects.get().pk}
    assert AuditEntry.objects.filter(action="handoff.noted").count() == 1
    with pytest.raises(IdempotencyMismatch):
        add_note(olga, session_id=ada.session_id, text="Other words", key="k")
    with pytest.raises(InvalidInput):
        add_note(olga, session_id=ada.session_id, text="A note", key="")
    add_note(olga, session_id=ada.session_id, text="A good customer", key="other")
    add_note(olga, session_id=conversation("bob").session_id, text="A bad one", key="k")
    assert HandoffNote.objects.count() == 3


# --- the session goes back ---


@pytest.mark.parametrize(
    ("verb", "event"), [(return_to_agent, "handoff.returned"), (resolve_handoff, "handoff.resolved")]
)
def test_the_agent_answers_again_and_the_old_request_does_not_fire(verb: Callable[..., Any], event: str) -> None:
    ada, olga = conversation(), operator()
    ada.ask("Where is it?")
    claimed()
    reply(olga, ada)
    ada.ask("Thanks")
    before = ada.snapshot()
    status = verb(olga, session_id=ada.session_id)
    assert (status.state, status.is_human) == ("resolved", False)
    assert ada.log()[-2:] == [event, "session.updated"]
    assert claim() == [], "nothing fires again"
    assert same(before, ada)["handoff"] is None
    assert ada.events()[-2].data["assignee"] == "Olga"
    with pytest.raises(NotHandedOff):
        verb(olga, session_id=ada.session_id)
    ada.ask("And now?")
    answer(claimed(), "Now I am back")
    assert [author for author, _ in ada.said()] == ["user", "human", "user", "user", "agent"]


def test_a_request_that_nobody_took_can_be_declined() -> None:
    ada, olga = conversation(), operator()
    request_handoff(ada.actor, session_id=ada.session_id)
    return_to_agent(olga, session_id=ada.session_id)
    assert ada.log() == ["handoff.requested", "handoff.returned"]
    request_handoff(ada.actor, session_id=ada.session_id)
    assert Handoff.objects.count() == 2, "a later request is another one"


# --- rights and audit ---


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_needs_the_permission_and_the_right_to_read(verb: Callable[..., Any]) -> None:
    ada = conversation()
    request_handoff(ada.actor, session_id=ada.session_id)
    log = ada.log()
    support = Group.objects.create(name="support")
    viewer, stranger = user_actor(person("vera", Role.VIEWER)), operator()
    for actor in (ada.actor, viewer):
        with pytest.raises(Forbidden):
            verb(actor, session_id=ada.session_id)
    Agent.objects.get().groups.add(support)
    with pytest.raises(Forbidden):
        verb(stranger, session_id=ada.session_id)
    with pytest.raises(NotFound):
        verb(stranger, session_id=new_id())
    assert (ada.log(), HandoffNote.objects.count(), handoff().state) == (log, 0, "pending")
    assert not AuditEntry.objects.filter(action__startswith="handoff").exists()
    User.objects.get(username=stranger.name).groups.add(support)
    verb(stranger, session_id=ada.session_id)


def test_each_verb_is_in_the_audit_without_what_was_said() -> None:
    ada, olga = conversation(), operator()
    request_handoff(ada.actor, session_id=ada.session_id, reason="secret")
    ada.ask("secret")
    set_handoff_priority(olga, session_id=ada.session_id, priority=HandoffPriority.HIGH)
    assign_handoff(olga, session_id=ada.session_id, assignee_id=olga.user_id)
    add_note(olga, session_id=ada.session_id, text="secret", key="k")
    claim_handoff(olga, session_id=ada.session_id)
    reply(olga, ada, "secret")
    snooze_handoff(olga, session_id=ada.session_id, until=now() + timedelta(hours=1))
    return_to_agent(olga, session_id=ada.session_id)
    claim_handoff(olga, session_id=ada.session_id)
    resolve_handoff(olga, session_id=ada.session_id)
    entries = list(AuditEntry.objects.filter(target_type="agentsession").order_by("id"))
    assert [entry.action for entry in entries] == [
        "handoff.priority_changed", "handoff.assigned", "handoff.noted", "handoff.claimed", "handoff.replied",
        "handoff.snoozed", "handoff.given_back", "handoff.claimed", "handoff.closed",
    ]  # fmt: skip
    assert not [entry for entry in entries if "secret" in str(entry.detail) + entry.target_name]


# --- duty ---


def test_on_duty_are_operators_who_may_read_what_is_said_until_their_time_is_over() -> None:
    ada, olga = conversation(), operator()
    agent_id = ada.row.agent_id
    assert not is_somebody_on_duty(agent_id)
    duty = go_on_duty(olga)
    assert timedelta(hours=7, minutes=59) < duty.until - now() <= timedelta(hours=8)
    assert is_somebody_on_duty(agent_id)
    go_on_duty(olga, hours=1)
    assert OperatorDuty.objects.get().until < now() + timedelta(hours=1, minutes=1)
    support = Group.objects.create(name="support")
    Agent.objects.get().groups.add(support)
    assert not is_somebody_on_duty(agent_id), "not for agents of others"
    user = User.objects.get(username=olga.name)
    user.groups.add(support)
    assert is_somebody_on_duty(agent_id)
    operators = Group.objects.get(name=Role.OPERATOR)
    user.groups.remove(operators)
    assert not is_somebody_on_duty(agent_id), "no operator any more"
    user.groups.add(operators)
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert not is_somebody_on_duty(agent_id)
    User.objects.filter(pk=user.pk).update(is_active=True)
    OperatorDuty.objects.update(until=Now())
    assert not is_somebody_on_duty(agent_id)
    go_off_duty(olga)
    go_off_duty(olga)
    assert not OperatorDuty.objects.exists()
    entries = AuditEntry.objects.filter(action__startswith="duty").order_by("id")
    assert [entry.action for entry in entries] == ["duty.began", "duty.began", "duty.ended"]
    for hours in (0, 25):
        with pytest.raises(InvalidInput):
            go_on_duty(olga, hours=hours)
    with pytest.raises(Forbidden):
        go_on_duty(ada.actor)


def test_the_state_of_a_handoff_is_read_by_its_user() -> None:
    ada, olga = conversation(), operator()
    assert read_handoff(ada.actor, session_id=ada.session_id) is None
    request_handoff(ada.actor, session_id=ada.session_id)
    reply(olga, ada)
    status = read_handoff(ada.actor, session_id=ada.session_id)
    assert status
    assert (status.state, status.is_human, status.assignee) == (HandoffState.OPEN, True, "Olga")
