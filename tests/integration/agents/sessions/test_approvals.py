"""Decisions about calls that wait, and passes: who may, once, and what follows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from accounts.actor import Actor, Scope
from accounts.models import AuditEntry, User
from accounts.permissions import user_actor
from accounts.roles import Role
from agents.domain.approvals import Decider, Decision
from agents.domain.states import StepStatus
from agents.journal import fenced_writes
from agents.journal.approval_writes import park_for_approval, read_approvals, use_approvals
from agents.journal.fenced_writes import LostTurn
from agents.models import AgentSession, Approval, ApprovalPass, Turn
from agents.runner.reaper import reap
from agents.sessions import cancel_turn, delete_expired_sessions, delete_session, fail_turn, requeue_turn
from agents.sessions.approvals import AlreadyDecided, decide_approval, end_pass, grant_pass, pending_approvals_for
from foundation.clock import now
from foundation.errors import Forbidden, InvalidInput, NotFound, Unauthenticated
from foundation.ids import new_id
from tests.support.approvals import approval_of, ask_person, decide, let_time_pass, wait_for_person
from tests.support.conversations import (
    FAR_AHEAD,
    Conversation,
    Stalled,
    answer,
    claim,
    claimed,
    conversation,
    ending,
    lease_is_over,
    nothing_yet,
    replayed,
    side_by_side_without_pool,
)
from tests.support.people import person

pytestmark = pytest.mark.usefixtures("transactional_db")

SYSTEM = Actor.system("tests")
APPROVE, DENY = Decision.APPROVE, Decision.DENY


def operator(role: Role = Role.OPERATOR) -> Actor:
    return user_actor(User.objects.filter(username=role.value).first() or person(role.value, role))


def test_fifty_clicks_at_once_have_one_effect() -> None:
    ada = conversation()
    wait_for_person(ada)
    approval_id = approval_of(ada).pk

    def click(decision: Decision) -> Callable[[], Approval]:
        return lambda: decide_approval(ada.actor, approval_id=approval_id, decision=decision)

    outcomes = side_by_side_without_pool(*[click(decision) for decision in (APPROVE, DENY) for _ in range(25)])
    first = approval_of(ada)
    won = [one for one in outcomes if isinstance(one, Approval)]
    assert [one for one in outcomes if not isinstance(one, Approval | AlreadyDecided)] == []
    assert len(won) == 25
    assert {(one.state, one.decided_at) for one in won} == {(first.state, first.decided_at)}
    assert ada.log().count("approval.decided") == 1
    assert ada.log().count("turn.queued") == 2
    work = claimed()
    assert work.resumed
    assert use_approvals(work, [2]) == ({2} if first.state == "approved" else set())
    assert use_approvals(work, [2]) == set()


def test_the_first_decision_counts() -> None:
    ada = conversation()
    wait_for_person(ada)
    first = decide(ada, DENY, note="No.")
    again = decide(ada, DENY, note="Never!")
    assert (again.note, again.decided_at, again.state) == ("No.", first.decided_at, "denied")
    with pytest.raises(AlreadyDecided, match="refused already") as refused:
        decide(ada)
    assert refused.value.code == "approval_decided"
    assert not AuditEntry.objects.filter(action="approval.decided").exists()


@pytest.mark.parametrize("decision", Decision)
def test_a_decision_and_the_end_of_its_time_cannot_both_happen(decision: Decision) -> None:
    ada = conversation()
    wait_for_person(ada, hours=1)
    let_time_pass(ada, 1)
    assert pending_approvals_for(ada.row).count() == 0
    with pytest.raises(AlreadyDecided):
        decide(ada, decision)
    assert reap() == 1
    assert read_approvals(claimed(), [2])[2].state == "expired"
    with pytest.raises(AlreadyDecided):
        decide(ada, decision)
    assert replayed(ada, nothing_yet(ada.snapshot()["session"])) == ada.snapshot()


def test_who_is_not_asked_cannot_decide() -> None:
    ada, bob = conversation(), conversation("bob")
    wait_for_person(ada)
    approval = approval_of(ada)

    def refused(actor: Actor, error: type[Exception], **options: Any) -> None:
        with pytest.raises(error):
            decide_approval(actor, approval_id=approval.pk, decision=APPROVE, **options)

    refused(bob.actor, NotFound)
    refused(ada.actor, NotFound, turn_id=new_id())
    refused(Actor.user(user_id=ada.actor.user_id or 0, name="ada", scopes=frozenset({Scope.READ})), Forbidden)
    refused(SYSTEM, Unauthenticated)
    refused(ada.actor, Forbidden, as_operator=True)
    # The release leaves this call to its users.
    refused(operator(), Forbidden, as_operator=True)
    refused(operator(Role.VIEWER), Forbidden, as_operator=True)
    refused(ada.actor, InvalidInput, note="x" * 1001)
    refused(ada.actor, InvalidInput, note="\x00")
    assert approval_of(ada).state == "pending"


def test_an_operator_decides_what_the_release_leaves_to_operators() -> None:
    ada = conversation()
    wait_for_person(ada, decider=Decider.OPERATOR)
    with pytest.raises(Forbidden, match="An operator decides"):
        decide(ada)
    with pytest.raises(Forbidden):
        decide_approval(operator(Role.VIEWER), approval_id=approval_of(ada).pk, decision=APPROVE, as_operator=True)
    grace = operator()
    approval = decide_approval(grace, approval_id=approval_of(ada).pk, decision=APPROVE, as_operator=True)
    assert approval.decided_by_id == grace.user_id
    entry = AuditEntry.objects.get(action="approval.decided")
    assert (entry.user_id, entry.target_name, entry.detail["decision"]) == (grace.user_id, "mail", "approve")
    turn = Turn.objects.get(agent_session=ada.row)
    assert entry.detail == {"decision": "approve", "turn": str(turn.pk), "step": 2}  # and nothing of its values


# --- what else may happen to the turn ---


def test_a_decision_right_before_the_turn_parks_is_not_slept_over() -> None:
    ada = conversation()
    ada.ask()
    work = claimed()
    ask_person(work)
    decide(ada)
    assert ada.turn().status == "running"
    assert park_for_approval(work, until=FAR_AHEAD)
    turn = ada.turn()
    assert (turn.status, turn.resumes) == ("queued", True)
    assert claimed().resumed
    assert replayed(ada, nothing_yet(ada.snapshot()["session"])) == ada.snapshot()


def test_a_decision_while_the_turn_parks_is_not_slept_over() -> None:
    """With the lock of the session as the only order between the two."""
    ada = conversation()
    ada.ask()
    work = claimed()
    ask_person(work)
    with transaction.atomic():
        decide(ada)
        parking = Stalled(lambda: park_for_approval(work, until=FAR_AHEAD))
        parking.until_it_waits()
    assert parking.ended() is True
    assert ada.turn().status == "queued"


def test_a_used_call_that_must_wait_itself_does_not_wake_its_turn() -> None:
    """As where an approved call must wait for money."""
    ada = conversation()
    wait_for_person(ada)
    decide(ada)
    work = claimed()
    assert use_approvals(work, [2]) == {2}
    assert park_for_approval(work, until=FAR_AHEAD)
    assert ada.turn().status == "waiting"


ENDS: dict[str, Callable[[Conversation], object]] = {
    "cancel": lambda ada: cancel_turn(ada.actor, turn_id=ada.turn().pk),
    "fail": lambda ada: fail_turn(SYSTEM, turn_id=ada.turn().pk),
    "requeue": lambda ada: requeue_turn(SYSTEM, turn_id=ada.turn().pk),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_whatever_ends_the_wait_cancels_what_waits(end: Callable[[Conversation], object]) -> None:
    ada = conversation()
    wait_for_person(ada, 2, 3)
    decide(ada, DENY, step=3)
    claimed_again = claimed()
    assert park_for_approval(claimed_again, until=FAR_AHEAD)
    # A refusal has no outcome yet: the turn goes on at once.
    assert ada.turn().status == "queued"
    work = claimed()
    fenced_writes.advance(
        work,
        outcomes=[fenced_writes.StepOutcome(3, StepStatus.FAILED, {"content": "No.", "is_error": True})],
    )
    assert park_for_approval(work, until=FAR_AHEAD)
    end(ada)
    assert [approval_of(ada, step).state for step in (2, 3)] == ["cancelled", "denied"]
    assert ada.turn().status in {"cancelled", "failed", "queued"}
    with pytest.raises(AlreadyDecided):
        decide(ada)
    assert replayed(ada, nothing_yet(ada.snapshot()["session"])) == ada.snapshot()


def test_a_lost_lease_leaves_what_waits_and_the_end_of_the_turn_does_not() -> None:
    ada = conversation()
    ada.ask()
    work = claimed()
    ask_person(work)
    lease_is_over(work.turn_id)
    assert reap() == 1
    assert (ada.turn().status, ada.turn().tool_stalls, approval_of(ada).state) == ("queued", 0, "pending")
    again = claimed()
    assert not again.resumed
    cancel_turn(ada.actor, turn_id=again.turn_id)
    lease_is_over(again.turn_id)
    assert reap() == 1
    assert (ada.turn().status, approval_of(ada).state) == ("cancelled", "cancelled")
    # A call that waited was never made.
    assert ada.turn().steps.get(number=2).status == "failed"


def test_the_end_by_its_runner_cancels_what_waits_but_no_decision() -> None:
    ada = conversation()
    ada.ask()
    work = claimed()
    ask_person(work, 2, 3)
    decide(ada, step=3)
    fenced_writes.finish(work, ending(work), with_approvals=True)
    assert [approval_of(ada, step).state for step in (2, 3)] == ["cancelled", "approved"]
    assert approval_of(ada, 3).used_at is None


def test_a_turn_that_waits_takes_no_place() -> None:
    """Neither a runner's nor one of those that its user may use at once."""
    ada, other = conversation(), conversation()
    wait_for_person(ada)
    assert ada.turn().lease_expires_at is None
    other.ask()
    assert [work.session_id for work in claim(5, running_per_user=1)] == [other.session_id]


def test_a_runner_that_lost_its_turn_writes_nothing() -> None:
    ada = conversation()
    old = wait_for_person(ada)
    decide(ada)
    claimed()
    events = len(ada.log())
    for write in (
        lambda: ask_person(old, 9),
        lambda: use_approvals(old, [2]),
        lambda: park_for_approval(old, until=FAR_AHEAD),
    ):
        with pytest.raises(LostTurn):
            write()
    assert len(ada.log()) == events
    assert approval_of(ada).used_at is None


def test_the_database_refuses_what_must_not_be() -> None:
    ada = conversation()
    wait_for_person(ada)
    for change in ({"state": "denied"}, {"used_at": "2026-01-01T00:00:00Z"}, {"state": "maybe"}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Approval.objects.filter(pk=approval_of(ada).pk).update(**change)


def test_the_session_of_a_client_outlives_what_comes_of_a_long_wait() -> None:
    ada = conversation()
    wait_for_person(ada, hours=100)
    long_ago = now() - timedelta(hours=99)
    AgentSession.objects.update(listed=False, expires_at=long_ago, updated_at=long_ago)
    assert delete_expired_sessions(limit=10) == 0
    decide(ada)
    answer(claimed(), "Paid")
    assert delete_expired_sessions(limit=10) == 0
    assert AgentSession.objects.filter(expires_at__gt=now() + timedelta(hours=23)).exists()


def test_a_deleted_session_leaves_no_approval() -> None:
    ada = conversation()
    wait_for_person(ada)
    cancel_turn(ada.actor, turn_id=ada.turn().pk)
    delete_session(ada.actor, session_id=ada.session_id, expected_version=ada.row.version)
    assert not Approval.objects.exists()
    assert not Turn.objects.exists()


# --- passes ---


def granted(actor: Actor, ada: Conversation, **options: Any) -> ApprovalPass:
    named = {"tool": "mail", "agent_id": ada.row.agent_id, "session_id": ada.session_id, "seconds": 60}
    return grant_pass(actor, **{**named, **options})


def passes_for(ada: Conversation) -> bool:
    """Whether a call that asks is let through now."""
    ada.ask()
    work = claimed()
    ask_person(work)
    exists = Approval.objects.filter(turn=work.turn_id).exists()
    fenced_writes.finish(work, ending(work), with_approvals=True)
    return not exists


def test_an_owner_grants_a_pass_for_a_while_and_ends_it() -> None:
    ada, bob = conversation(), conversation("bob")
    owner = operator(Role.OWNER)
    one = granted(owner, ada, reason="A long import.")
    assert passes_for(ada)
    assert not passes_for(bob)
    end_pass(owner, pass_id=one.pk)
    end_pass(owner, pass_id=one.pk)
    assert not passes_for(ada)
    actions = AuditEntry.objects.filter(action__startswith="approval_pass").values_list("action", "user_id")
    assert list(actions.order_by("id")) == [
        ("approval_pass.granted", owner.user_id), ("approval_pass.ended", owner.user_id),
    ]  # fmt: skip
    granted(owner, ada, session_id=None, user_id=bob.actor.user_id, seconds=3600)
    assert passes_for(bob)
    assert not passes_for(ada)
    ApprovalPass.objects.update(expires_at="2000-01-01T00:00:00Z")
    assert not passes_for(bob)


def test_passes_have_bounds() -> None:
    ada = conversation()
    owner = operator(Role.OWNER)
    user_id = ada.actor.user_id
    for actor, error, options in (
        (ada.actor, Forbidden, {}),
        (operator(), Forbidden, {}),
        (owner, InvalidInput, {"seconds": 8 * 3600 + 1}),
        (owner, InvalidInput, {"seconds": 0}),
        (owner, InvalidInput, {"session_id": None}),
        (owner, InvalidInput, {"user_id": user_id}),
        (owner, InvalidInput, {"tool": ""}),
        (owner, NotFound, {"session_id": new_id()}),
        (owner, NotFound, {"agent_id": new_id()}),
        (owner, NotFound, {"session_id": None, "user_id": 0}),
    ):
        with pytest.raises(error):
            granted(actor, ada, **options)
    with pytest.raises(NotFound):
        end_pass(owner, pass_id=new_id())
    assert not ApprovalPass.objects.exists()
    assert connection.in_atomic_block is False
