"""People, keys, an agent and sessions for one pass, made by the product's own verbs. Run by `tests.chaos.child`.

Prints one line of JSON: `[{"session": id, "key": text}, …]`.
"""

from __future__ import annotations

import json
import os

from django.conf import settings

from accounts.actor import Actor, Scope
from accounts.api_keys import create_api_key
from accounts.models import User
from accounts.roles import Role
from agents.domain.configuration import AgentConfiguration, MemoryPolicy
from agents.models import Agent, AgentDraft
from agents.releases import publish
from agents.sessions import create_session
from tests.support.people import person

SLUG = "chaos"
TOOLS = ("clock", "calculator", "notebook_add")
PEOPLE = 4


def main() -> None:
    _publish_agent()
    people = [_with_key(f"person-{number}") for number in range(PEOPLE)]
    sessions = []
    for number in range(int(os.environ["CHAOS_SESSIONS"])):
        user, key = people[number % PEOPLE]
        actor = Actor.user(user_id=user.pk, name=user.get_username())
        session = create_session(actor, agent_slug=SLUG, title=f"chaos {number}")
        sessions.append({"session": str(session.pk), "key": key})
    print(json.dumps(sessions))


def _publish_agent() -> None:
    agent = Agent.objects.create(slug=SLUG, name="Chaos")
    configuration = AgentConfiguration(
        model_chain=tuple(settings.BANDSTAND.model), tools=TOOLS, memory=MemoryPolicy(remember_turns=True)
    )
    AgentDraft.objects.create(agent=agent, configuration=configuration.dump())
    publish(Actor.system("chaos"), agent_id=agent.pk, expected_version=1)


def _with_key(name: str) -> tuple[User, str]:
    user = person(name, Role.USER)
    _, key = create_api_key(Actor.system("chaos"), user=user, name="chaos", scopes=set(Scope), expires_at=None)
    return user, key


if __name__ == "__main__":
    main()
