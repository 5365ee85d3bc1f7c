"""The draft, or an older release, becomes the next immutable release."""

from __future__ import annotations

from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Max

from accounts.actor import Actor
from accounts.audit import record_audit
from accounts.permissions import require_permission
from agents.domain.configuration import AgentConfiguration
from agents.models import Agent, AgentDraft, Configuration, Release
from agents.permissions.role_permissions import PUBLISH_AGENT
from agents.releases.publication_gate import require_ready
from agents.releases.validation import check_runnable
from foundation.errors import Conflict, InvalidInput, NotFound, PreconditionFailed

log = structlog.get_logger(__name__)


@transaction.atomic
def publish(
    actor: Actor,
    *,
    agent_id: UUID,
    expected_version: int,
    expected_live: UUID | None = None,
    note: str = "",
    override_reason: str = "",
) -> Release:
    """Copy the draft to the next release, make that the live one and return it; existing sessions keep their release.

    `expected_version` is the draft's; `expected_live`, if not None, the id of the release that is live until then.
    Raises `Forbidden`, `NotFound`, `PreconditionFailed` when either has changed, `InvalidInput` with a pointer into the
    draft when no turn could run on it, `NewerConfiguration` when a newer version wrote it, `NotReady` when
    readiness checks have failed, unless an owner gives an `override_reason`, and `Conflict` while a deployment of the
    agent is under way. Locks the agent.
    """
    require_permission(actor, PUBLISH_AGENT)
    agent = lock_agent(agent_id)
    _require_settled(agent, expected_live)
    draft = AgentDraft.objects.filter(agent_id=agent_id).first()
    if draft is None:
        raise NotFound("There is no such agent here.")
    if draft.version != expected_version:
        raise PreconditionFailed
    check_runnable(AgentConfiguration.parse(draft.configuration))
    overridden = require_ready(actor, agent, draft.configuration, reason=override_reason)
    release = _next_release(actor, agent, draft, note)
    detail = {"agent": agent.slug, "note": note, **overridden}
    record_audit(actor, "release.published", target=release, detail=detail)
    return release


@transaction.atomic
def roll_back(
    actor: Actor, *, agent_id: UUID, number: int, expected_live: UUID | None = None, note: str = ""
) -> Release:
    """Publish release `number` again, as the next one, and return that; the draft does not change.

    What was published once is not gated: going back must not wait. `expected_live`, if not None, is the id of the
    release that is live until then. Raises `Forbidden`, `NotFound`, `PreconditionFailed` when another one is live,
    `InvalidInput` when `number` is the live one or no turn could run on it, `NewerConfiguration` when a newer version
    wrote it, and `Conflict` while a deployment of the agent is under way. Locks the agent.
    """
    require_permission(actor, PUBLISH_AGENT)
    agent = lock_agent(agent_id)
    _require_settled(agent, expected_live)
    old = agent.releases.filter(number=number).first()
    if old is None:
        raise NotFound("There is no such release here.")
    if old.pk == agent.live_release_id:
        raise InvalidInput("This release is live already.")
    release = _next_release(actor, agent, old, note or f"Back to release {number}.")
    detail = {"agent": agent.slug, "note": release.note, "number": number}
    record_audit(actor, "release.rolled_back", target=release, detail=detail)
    return release


def lock_agent(agent_id: UUID) -> Agent:
    """The agent's row, locked until the end of the transaction. Raises `NotFound`."""
    agent = Agent.objects.select_for_update(no_key=True).filter(pk=agent_id).first()
    if agent is None:
        raise NotFound("There is no such agent here.")
    return agent


def insert_release(actor: Actor, agent: Agent, source: Configuration, note: str) -> Release:
    """The next release of a locked agent, which is not live. Raises `InvalidInput` with a pointer, also when no turn
    could run on it, and `NewerConfiguration`."""
    if len(note) > 200:
        raise InvalidInput("A note has at most 200 characters.", pointer="/note")
    configuration = AgentConfiguration.parse(source.configuration)
    check_runnable(configuration)
    last = agent.releases.aggregate(last=Max("number"))["last"] or 0
    return Release.objects.create(
        agent=agent, number=last + 1, note=note, published_by_id=actor.user_id, configuration=configuration.dump()
    )


def _require_settled(agent: Agent, expected_live: UUID | None) -> None:
    """Raise `Conflict` while a deployment of the agent is under way: it would compare with what is not live any more;
    `PreconditionFailed` when another release than `expected_live` is live."""
    if agent.deployment_id is not None:
        raise Conflict("A deployment of this agent is under way. Let it go through, or end it first.")
    if expected_live is not None and agent.live_release_id != expected_live:
        raise PreconditionFailed("Somebody published another release since you opened this page.")


def _next_release(actor: Actor, agent: Agent, source: Configuration, note: str) -> Release:
    release = insert_release(actor, agent, source, note)
    agent.live_release = release
    agent.version += 1
    agent.save(update_fields=["live_release", "version"])
    log.info("release.published", actor=actor.name, agent=agent.slug, number=release.number)
    return release
