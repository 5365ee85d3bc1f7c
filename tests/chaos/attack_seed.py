"""People, and an agent with hostile tools, for `tests.chaos.attack`: run by `manage.py shell`."""

from __future__ import annotations

from accounts.actor import Actor
from agents.domain.configuration import AgentConfiguration
from agents.models import Agent, AgentDraft
from agents.releases import publish
from tests.chaos import people_seed
from tests.chaos.hostile_tools import AGENT, ISOLATED, STALLING


def main(people: int) -> None:
    """Print the people's API keys, as JSON."""
    agent = Agent.objects.create(slug=AGENT, name="Attacked")
    configuration = AgentConfiguration(model_chain=("offline:",), tools=("calculator", *ISOLATED, *STALLING))
    AgentDraft.objects.create(agent=agent, configuration=configuration.dump())
    publish(Actor.system("chaos"), agent_id=agent.pk, expected_version=1)
    people_seed.main(people)
