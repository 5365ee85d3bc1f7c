"""The draft becomes the next immutable release."""

from __future__ import annotations

from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Max

from agents.access.actor import Actor
from agents.access.audit import record
from agents.access.permissions import need_permission
from agents.access.roles import PUBLISH_AGENT
from agents.models import Agent, AgentDraft, Release
from agents.releases.known import tool_names
from agents.rules.limits import validate_configuration
from foundation.errors import InvalidInput, NotFound, PreconditionFailed

log = structlog.get_logger(__name__)


@transaction.atomic
def publish(actor: Actor, *, agent_id: UUID, expected_version: int, note: str = "") -> Release:
    """Copy the draft to the next release and make it the live one; sessions that exist keep the release they have.

    `expected_version` is the draft's. Raises `Forbidden`, `NotFound`, `PreconditionFailed` when somebody changed the
    draft since, and `InvalidInput` with a pointer into the draft when no turn could run on it. Locks the agent.
    """
    need_permission(actor, PUBLISH_AGENT)
    agent = Agent.objects.select_for_update(no_key=True).filter(pk=agent_id).first()
    draft = AgentDraft.objects.filter(agent_id=agent_id).first()
    if agent is None or draft is None:
        raise NotFound("There is no such agent here.")
    if draft.version != expected_version:
        raise PreconditionFailed
    if len(note) > 200:
        raise InvalidInput("A note has at most 200 characters.", pointer="/note")
    validate_configuration(**_configuration(draft), known_tools=tool_names())
    last = agent.releases.aggregate(last=Max("number"))["last"] or 0
    release = Release.objects.create(
        agent=agent, number=last + 1, note=note, published_by_id=actor.user_id, **_configuration(draft)
    )
    agent.live_release = release
    agent.version += 1
    agent.save(update_fields=["live_release", "version"])
    record(actor, "release.published", target=release, detail={"agent": agent.slug, "note": note})
    log.info("release.published", actor=actor.name, agent=agent.slug, number=release.number)
    return release


def _configuration(draft: AgentDraft) -> dict[str, object]:
    return {
        "model_chain": draft.model_chain,
        "instructions": draft.instructions,
        "tools": draft.tools,
        "limits": draft.limits,
        "context_policy": draft.context_policy,
    }
