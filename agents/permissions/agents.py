"""The one door to agents: who may talk to which."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib.auth.models import Group
from django.db.models import Q, QuerySet

from accounts.actor import Actor
from accounts.models import User
from agents.models import Agent
from foundation.errors import Conflict, NotFound


def visible_agents(actor: Actor) -> QuerySet[Agent]:
    """The agents that `actor` may talk to: live, not archived, and of one of the user's groups or of none."""
    live = Agent.objects.filter(archived_at__isnull=True, live_release__isnull=False)
    if actor.user_id is None:
        return live
    return live.filter(visible_agent_filter(actor.user_id, "pk"))


def visible_agent_filter(user_id: int, agent: str) -> Q:
    """That the agent in the column `agent` is for everybody or for one of the user's groups, whatever became of it.

    Without such a group one has no way to its sessions either, not even to one's own.
    """
    # Not a join: an agent in two of the user's groups is still one row.
    visible_to: Any = Agent.groups.through
    member: Any = User.groups.through
    groups = visible_to.objects
    own_groups = groups.filter(group__in=member.objects.filter(user_id=user_id).values("group_id"))
    return Q(**{f"{agent}__in": own_groups.values("agent_id")}) | ~Q(**{f"{agent}__in": groups.values("agent_id")})


def can_use_agent(*, user_id: int, agent_id: UUID) -> bool:
    """Whether the agent is within the user's reach."""
    return Agent.objects.filter(visible_agent_filter(user_id, "pk"), pk=agent_id).exists()


def access_agent(*, actor: Actor, slug: str) -> Agent:
    """The agent with its live release. Raises `NotFound` for an absent one and for one of others' groups alike."""
    agent = visible_agents(actor).select_related("live_release").filter(slug=slug).first()
    if agent is None:
        raise NotFound("There is no such agent here.")
    return agent


def refuse_if_agents_need(group: Group) -> None:
    """Raise `Conflict` while an agent is only for some groups and `group` is one of them: everybody would see it."""
    agents = Agent.objects.filter(groups=group).order_by("name")
    if agents:
        names = ", ".join(agent.name for agent in agents)
        raise Conflict(
            f"These agents are only for some groups, and this is one of them: {names}. Take it off them first."
        )
