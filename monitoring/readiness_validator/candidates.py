"""The configurations that a run is about."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from agents.models import Agent, AgentDraft
from foundation import strict_json
from foundation.errors import NotFound


@dataclass(frozen=True, slots=True)
class ReleaseCandidate:
    """A stored configuration of an agent; `source` says which one, such as "the draft"."""

    agent_id: UUID
    slug: str
    name: str
    source: str
    stored: Any

    @property
    def fingerprint(self) -> str:
        """Equal for equal configurations."""
        return fingerprint(self.stored)


def fingerprint(stored: Any) -> str:
    """A digest of a stored configuration."""
    return hashlib.sha256(strict_json.canonical(stored)).hexdigest()


def read_draft(slug: str) -> ReleaseCandidate:
    """What publishing the agent would make live. Raises `NotFound`."""
    draft = AgentDraft.objects.select_related("agent").filter(agent__slug=slug).first()
    if draft is None:
        raise NotFound(f"There is no agent {slug!r} here.")
    return _candidate(draft.agent, "the draft", draft.configuration)


def read_live_releases() -> list[ReleaseCandidate]:
    """The live release of each agent that is not archived, in the order of their slugs."""
    agents = Agent.objects.select_related("live_release").filter(archived_at=None, live_release__isnull=False)
    return [
        _candidate(agent, f"release {agent.live_release.number}", agent.live_release.configuration)
        for agent in agents.order_by("slug")
        if agent.live_release is not None
    ]


def _candidate(agent: Agent, source: str, stored: Any) -> ReleaseCandidate:
    return ReleaseCandidate(agent.pk, agent.slug, agent.name, source, stored)
