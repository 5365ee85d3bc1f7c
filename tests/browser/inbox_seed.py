"""People who wait for a person, and operators who answer them."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from accounts.actor import Actor
from accounts.models import User
from accounts.permissions import user_actor
from accounts.roles import Role
from agents.domain.handoffs import HandoffPriority, HandoffSource
from agents.journal.handoff_writes import request_handoff_locked
from agents.journal.locked_writes import lock_session
from agents.models import Agent, AgentDraft, Handoff
from agents.releases import publish
from agents.sessions import accept_message, create_session
from agents.sessions.handoff_control import (
    add_note,
    claim_handoff,
    reply_as_human,
    resolve_handoff,
    set_handoff_priority,
    snooze_handoff,
)
from agents.sessions.handoffs import request_handoff
from agents.sessions.operator_duty import go_on_duty
from foundation.clock import now
from tests.browser.seed import make_conversation
from tests.support.people import OFFLINE, person
from tests.support.sockets import login_of

OPERATORS = {"ana": ("Ana", "Novak"), "oscar": ("Oscar", "Keller")}
USERS = ("maria", "jonas", "lena", "tom", "nora", "paul")
CHARGED = [
    ("I was charged twice for order 4711. Can you look?", "I see **one** payment of 59.90 for order 4711, of 3 March."),
    ("No, my bank shows two.", "I can only see our own payments. Shall I look at another order?"),
]
LATE = [
    ("Where is my parcel?", "It left our warehouse in Lyon yesterday."),
    ("It says delivered. I have nothing.", None),
]
ADDRESS = [
    ("I have moved. Can you send order 4712 to my new address?", "Orders that are packed cannot be changed by me.")
]


def main() -> dict[str, Any]:
    """`{people, waiting, answered, approval_session, two_calls}`: handoffs that waits and that Ana answers, a session
    whose agent's call waits for an operator, and a handoff of one in which two calls do."""
    users = {name: person(name, Role.USER) for name in USERS}
    operators = {name: person(name, Role.OPERATOR) for name in OPERATORS}
    for name, (first, last) in OPERATORS.items():
        User.objects.filter(username=name).update(first_name=first, last_name=last)
    ana = user_actor(User.objects.get(username="ana"))
    _publish_orders()
    go_on_duty(ana, hours=4)
    waiting = _ask(users["maria"], "Double charge", CHARGED, "I want to talk to a person about my money.", minutes=12)
    set_handoff_priority(ana, session_id=waiting, priority=HandoffPriority.HIGH)
    note = "The bank's statement is in her last e-mail. Accounting looks into it."
    add_note(ana, session_id=waiting, text=note, key="1")
    _ask(users["jonas"], "My parcel", LATE, "failed_turns", by=HandoffSource.RULE, minutes=3)
    answered = _ask(users["lena"], "New address", ADDRESS, "", minutes=6)
    claim_handoff(ana, session_id=answered)
    reply_as_human(ana, session_id=answered, text="Hello Lena, this is Ana. What is the new address?", key="1")
    accept_message(user_actor(users["lena"]), session_id=answered, text="Via Larga 5, 20122 Milano. Thank you!")
    for name, verb in (("nora", _snooze), ("paul", resolve_handoff)):
        session = _ask(users[name], "A question", CHARGED, "", minutes=50)
        verb(ana, session_id=session)
    tom = user_actor(users["tom"])
    refund = create_session(tom, agent_slug="orders", title="A refund").pk
    accept_message(tom, session_id=refund, text="calculate 59.90*2")
    paul = user_actor(users["paul"])
    two = create_session(paul, agent_slug="orders", title="Two refunds").pk
    calls = [["calculator", {"expression": "11*2"}], ["calculator", {"expression": "12*2"}]]
    accept_message(paul, session_id=two, text=f"[[offline calls={json.dumps(calls)}]] Refund both.")
    request_handoff(paul, session_id=two)
    found = {name: {"login": login_of(user), "id": user.pk} for name, user in {**users, **operators}.items()}
    return {
        "people": found,
        "waiting": _handoff_of(waiting),
        "answered": _handoff_of(answered),
        "approval_session": str(refund),
        "two_calls": _handoff_of(two),
    }


def _publish_orders() -> None:
    agent = Agent.objects.create(slug="orders", name="Orders", description="Knows orders and payments.")
    rules = {"calculator": {"right": "ask", "decided_by": "operator"}}
    AgentDraft.objects.create(agent=agent, configuration=OFFLINE | {"tools": ["calculator"], "tool_rights": rules})
    publish(Actor.system("browser tests"), agent_id=agent.pk, expected_version=1)


def _ask(
    user: User,
    title: str,
    said: list[Any],
    reason: str,
    *,
    minutes: int,
    by: HandoffSource = HandoffSource.USER,
) -> UUID:
    """A session whose user, or a rule, has wanted a person for so many minutes."""
    session_id = UUID(make_conversation(user, title, said))
    if by is HandoffSource.USER:
        request_handoff(user_actor(user), session_id=session_id, reason=reason)
    else:
        with transaction.atomic():
            request_handoff_locked(lock_session(session_id), by=by, reason=reason)
    at = now() - timedelta(minutes=minutes)
    Handoff.objects.filter(agent_session=session_id).update(requested_at=at, reply_due_at=at + timedelta(minutes=10))
    return session_id


def _snooze(actor: Actor, *, session_id: UUID) -> None:
    snooze_handoff(actor, session_id=session_id, until=now() + timedelta(hours=4))


def _handoff_of(session_id: UUID) -> str:
    return str(Handoff.objects.get(agent_session=session_id).pk)
