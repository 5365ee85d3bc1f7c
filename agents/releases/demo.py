"""The agent that greets a new installation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from django.db import transaction

from accounts.actor import Actor
from agents.domain.configuration import AgentConfiguration, NewerConfiguration
from agents.models import Agent, AgentDraft, Release
from agents.releases.publish import publish

SLUG = "demo"
TOOLS = ("clock", "calculator", "http_fetch", "notebook_add")
INSTRUCTIONS = """\
You are a friendly assistant who shows what this platform can do. Answer briefly and in the language of the question.
Use the tools when they help: the clock for the time, the calculator for arithmetic, http_fetch to read a public page,
and notebook_add when somebody asks you to note something down. Say so when a tool fails."""


def ensure_demo_agent(model_chain: Sequence[str]) -> Release | None:
    """Make the demo agent on its first release; later, a release for another model chain, as long as only we published.

    Returns the new release, if there was reason for one. Conversations that exist stay on theirs.
    """
    chain = tuple(route if ":" in route else f"{route}:" for route in model_chain)
    agent = Agent.objects.select_related("live_release").filter(slug=SLUG).first()
    if agent is not None and (agent.archived_at or not _can_update(agent, chain)):
        return None
    with transaction.atomic():
        agent, _ = Agent.objects.get_or_create(
            slug=SLUG,
            defaults={"name": "Demo", "description": "Tells the time, calculates, reads pages, takes notes."},
        )
        first = AgentConfiguration(model_chain=chain, instructions=INSTRUCTIONS, tools=TOOLS)
        draft, _ = AgentDraft.objects.get_or_create(agent=agent, defaults={"configuration": first.dump()})
        configuration = AgentConfiguration.parse(draft.configuration)
        if configuration.model_chain != chain:
            draft.configuration = replace(configuration, model_chain=chain).dump()
            draft.version += 1
            draft.save(update_fields=["configuration", "version", "updated_at"])
        return publish(
            Actor.system("bootstrap"),
            agent_id=agent.pk,
            expected_version=draft.version,
            note="The model of this installation." if agent.live_release else "First release.",
        )


def _can_update(agent: Agent, chain: tuple[str, ...]) -> bool:
    """Whether the environment names another chain and no person has taken the agent over."""
    live = agent.live_release
    if live is None:
        return True
    try:
        if AgentConfiguration.parse(live.configuration).model_chain == chain:
            return False
    except NewerConfiguration:
        # An older version was started again. It must start; what it cannot read is not its to replace.
        return False
    return agent.draft.version == live.number and not agent.releases.filter(published_by__isnull=False).exists()
