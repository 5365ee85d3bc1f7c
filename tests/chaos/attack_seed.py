"""People, and an agent with hostile tools, for `tests.chaos.attack`: run by `manage.py shell`."""

from __future__ import annotations

import json

from accounts.actor import Actor, Scope
from accounts.api_keys import create_api_key
from accounts.roles import Role
from agents.domain.configuration import AgentConfiguration
from agents.models import Agent, AgentDraft
from agents.releases import publish
from tests.chaos.hostile_tools import AGENT, ISOLATED, STALLING
from tests.support.people import person


def main(people: int) -> None:
    """Print the people's API keys, as JSON."""
    agent = Agent.objects.create(slug=AGENT, name="Attacked")
    configuration = AgentConfiguration(model_chain=("offline:",), tools=("calculator", *ISOLATED, *STALLING))
    AgentDraft.objects.create(agent=agent, configuration=configuration.dump())
    publish(Actor.system("chaos"), agent_id=agent.pk, expected_version=1)
    keys = []
    for number in range(people):
        user = person(f"person-{number}", Role.USER)
        _, key = create_api_key(Actor.system("chaos"), user=user, name="chaos", scopes=set(Scope), expires_at=None)
        keys.append(key)
    print(json.dumps(keys))
