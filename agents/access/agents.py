"""The one door to agents: who may talk to which."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet

from agents.access.actor import Actor
from agents.models import Agent, User
from foundation.errors import NotFound


def visible_agents(actor: Actor) -> QuerySet[Agent]:
    """The agents that `actor` may talk to: live, not archived, and of one of the user's groups or of none."""
    live = Agent.objects.filter(archived_at__isnull=True, live_release__isnull=False)
    if actor.user_id is None:
        return live
    # EXISTS rather than a join: an agent in two of the user's groups is still one row.
    visible_to: Any = Agent.groups.through
    member: Any = User.groups.through
    groups = visible_to.objects
    of_mine = groups.filter(group__in=member.objects.filter(user_id=actor.user_id).values("group_id"))
    return live.filter(Q(pk__in=of_mine.values("agent_id")) | ~Q(pk__in=groups.values("agent_id")))


def access_agent(*, actor: Actor, slug: str) -> Agent:
    """The agent with its live release. Raises `NotFound` for an absent one and for one of others' groups alike."""
    agent = visible_agents(actor).select_related("live_release").filter(slug=slug).first()
    if agent is None:
        raise NotFound("There is no such agent here.")
    return agent
