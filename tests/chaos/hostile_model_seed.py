"""People, and an agent for each kind of right, for `tests.chaos.hostile_model`: run by `manage.py shell`."""

from __future__ import annotations

import json

from accounts.actor import Actor, Scope
from accounts.api_keys import create_api_key
from accounts.roles import Role
from agents.domain.configuration import AgentConfiguration
from agents.models import Agent, AgentDraft
from agents.releases import publish
from tests.provider.hostile import CANARY, PAGE
from tests.support.canary import RIGHTS
from tests.support.people import person


def main(people: int) -> None:
    """Print the people's API keys, as JSON."""
    for slug, rule in RIGHTS.items():
        agent = Agent.objects.create(slug=slug, name=slug.title())
        configuration = AgentConfiguration.from_values(
            {
                "model_chain": ["openai:hostile"],
                "tools": [CANARY, PAGE],
                "tool_rights": {CANARY: rule},
                "limits": {"tool_calls": 100},
            }
        )
        AgentDraft.objects.create(agent=agent, configuration=configuration.dump())
        publish(Actor.system("chaos"), agent_id=agent.pk, expected_version=1)
    keys = []
    for number in range(people):
        user = person(f"person-{number}", Role.USER)
        _, key = create_api_key(Actor.system("chaos"), user=user, name="chaos", scopes=set(Scope), expires_at=None)
        keys.append(key)
    print(json.dumps(keys))
