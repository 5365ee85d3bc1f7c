"""People, agents and conversations for the browser."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from random import Random
from typing import Any

from django.conf import settings
from django.utils import timezone

from accounts.actor import Actor
from accounts.models import User
from accounts.permissions import user_actor
from accounts.roles import Role
from agents.domain.message_parts import text_part
from agents.domain.states import TurnStatus
from agents.journal.rollups import count_turns
from agents.management.demo.past_ids import make_id
from agents.models import Agent, AgentDraft, AgentSession, Message, Turn
from agents.releases import publish
from agents.releases.demo import SLUG, ensure_demo_agent
from agents.sessions import create_session
from foundation.ids import new_id
from tests.browser.texts import LONG_ANSWER, PLAN, PLAN_QUESTION
from tests.support.people import OFFLINE, PASSWORD, person
from tests.support.sockets import login_of

_NOISE = Random(1)
LONG_TURNS = 500
TITLES = ["Birthday present for Lea", "Which bicycle pump?", "OutgoingEmail to the landlord", "Trains to Lisbon"]


def main() -> dict[str, Any]:
    """`{cookie, people: {name: {login, id}}, password, long, plan, error}`.

    `login` is a value of the cookie; eve has no role; the last three are sessions: of bob a long one, of grace two for
    pictures.
    """
    ensure_demo_agent(["offline"])
    _publish("writer", "Writer", "Drafts and rewrites texts.")
    people = {name: person(name, Role.USER) for name in ("ada", "bob", "grace")} | {"eve": person("eve")}
    long = [(f"Question {n}: what about number {n}?", LONG_ANSWER.format(n=n)) for n in range(1, LONG_TURNS + 1)]
    grace = people["grace"]
    for title in TITLES:
        make_conversation(grace, title, [(title, "Gladly.")])
    return {
        "cookie": settings.SESSION_COOKIE_NAME,
        "people": {name: {"login": login_of(user), "id": user.pk} for name, user in people.items()},
        "password": PASSWORD,
        "long": make_conversation(people["bob"], "A long conversation", long),
        "error": make_conversation(grace, "Holiday photos", [("Sort my holiday photos by place, please.", None)]),
        "plan": make_conversation(grace, "Dinners for next week", [(PLAN_QUESTION, PLAN)]),
    }


def _publish(slug: str, name: str, description: str) -> None:
    agent = Agent.objects.create(slug=slug, name=name, description=description)
    # When its model fails, a person is asked.
    AgentDraft.objects.create(agent=agent, configuration=OFFLINE | {"fallbacks": {"order": ["human_handoff"]}})
    publish(Actor.system("browser tests"), agent_id=agent.pk, expected_version=1)


def make_conversation(user: User, title: str, said: Iterable[tuple[str, str | None]]) -> str:
    """A session with these questions and answers, as rows; None failed. Its log begins after them."""
    session = create_session(user_actor(user), agent_slug=SLUG, title=title)
    turns: list[Turn] = []
    messages: list[Message] = []
    said = list(said)
    for number, (question, answer) in enumerate(said, 1):
        # A long one fills the day, more densely towards its end.
        ago = timedelta(hours=23) * (1 - number / len(said)) ** 1.5
        turns.append(_turn(session, len(messages) + 1, at=timezone.now() - ago, failed=answer is None))
        for author, text in (("user", question), ("agent", answer)):
            if text is not None:
                parent = messages[-1] if messages else None
                messages.append(_message(turns[-1], author, len(messages) + 1, text, parent))
    Turn.objects.bulk_create(turns)
    Message.objects.bulk_create(messages)
    count_turns([turn.pk for turn in turns])
    head = {"next_ordinal": len(messages) + 1, "head_message_id": messages[-1].pk}
    AgentSession.objects.filter(pk=session.pk).update(**head)
    return str(session.pk)


def _turn(session: AgentSession, ordinal: int, *, at: datetime, failed: bool) -> Turn:
    error: dict[str, Any] = {
        "status": TurnStatus.FAILED,
        "error_class": "transient",
        "error_detail": "The model could not be reached, also after several attempts.",
        "error_id": new_id(),
    }
    queued_at = at - timedelta(seconds=2 + ordinal % 7)
    return Turn(
        id=make_id(queued_at, _NOISE),
        agent_session=session,
        user=session.user,
        release=session.release,
        ordinal=ordinal,
        fingerprint=b"\0" * 32,
        queued_at=queued_at,
        started_at=queued_at,
        finished_at=at,
        deadline_at=at + timedelta(hours=1),
        compacted=True,  # or the job that does it works on each
        **(error if failed else {"status": TurnStatus.COMPLETED}),
    )


def _message(turn: Turn, author: str, ordinal: int, text: str, parent: Message | None) -> Message:
    return Message(
        id=new_id(),
        agent_session=turn.agent_session,
        turn=turn,
        author=author,
        ordinal=ordinal,
        parts=[text_part(text)],
        parent=parent,
    )
