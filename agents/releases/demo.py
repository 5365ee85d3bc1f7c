"""The demo agent of a new installation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import structlog
from django.db import transaction

from accounts.actor import Actor
from agents.domain.configuration import AgentConfiguration, MemoryPolicy, NewerConfiguration
from agents.models import Agent, AgentDraft, Release
from agents.releases.publish import publish
from foundation.errors import InvalidInput

log = structlog.get_logger(__name__)

SLUG = "demo"
TOOLS = (
    "clock",
    "calculator",
    "http_fetch",
    "notebook_add",
    "remember",
    "recall",
    "forget",
    "add_task",
    "finish_task",
    "note",
)
MEMORY = MemoryPolicy(recall=True, remember_turns=True)
INSTRUCTIONS = """\
You are a friendly assistant who shows what this platform can do. Answer briefly and in the language of the question.
Use the tools when they help: the clock for the time, the calculator for arithmetic, http_fetch to read a public page,
and notebook_add when somebody asks you to note something down. Remember what people ask you to remember, look up what
they told you in earlier conversations when a question needs it, forget what they want forgotten, and keep open tasks on
the list of the conversation. Say so when a tool fails."""


def ensure_demo_agent(model_chain: Sequence[str]) -> Release | None:
    """Create the demo agent with a first release; later, publish a release when `model_chain` has changed, unless a
    person has published one.

    Returns the new release, None if nothing was published. Existing sessions keep their release.
    """
    chain = tuple(route if ":" in route else f"{route}:" for route in model_chain)
    agent = Agent.objects.select_related("live_release").filter(slug=SLUG).first()
    if agent is not None and (agent.archived_at or agent.deployment_id or not _can_update(agent, chain)):
        return None
    with transaction.atomic():
        agent, _ = Agent.objects.get_or_create(
            slug=SLUG,
            defaults={"name": "Demo", "description": "Tells the time, calculates, reads pages, takes notes."},
        )
        first = AgentConfiguration(model_chain=chain, instructions=INSTRUCTIONS, tools=TOOLS, memory=MEMORY)
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
    """Whether the model chain has changed and no person has edited or published the agent, nor written what this
    version cannot read."""
    live = agent.live_release
    try:
        if live is not None:
            if AgentConfiguration.parse(live.configuration).model_chain == chain:
                return False
            if agent.draft.version != live.number or agent.releases.filter(published_by__isnull=False).exists():
                return False
        if (draft := AgentDraft.objects.filter(agent=agent).first()) is not None:
            AgentConfiguration.parse(draft.configuration)
    except (InvalidInput, NewerConfiguration) as error:
        # Perhaps an older version is running. It must start, and must not replace what it cannot read.
        log.warning("demo_agent.not_updated", agent=agent.slug, fault=error.detail)
        return False
    return True
