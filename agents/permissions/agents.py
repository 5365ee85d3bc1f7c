"""Access to agents: which users may use which agents."""

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
    """The agents that `actor` may use: with a live release, not archived, in one of the user's groups or in no
    group."""
    live = Agent.objects.filter(archived_at__isnull=True, live_release__isnull=False)
    if actor.user_id is None:
        return live
    return live.filter(visible_agent_filter(actor.user_id, "pk"))


def visible_agent_filter(user_id: int, agent: str) -> Q:
    """A condition: the agent in the column `agent` has no groups or one of the user's. Archived agents match, too.

    Users outside the groups of an agent have no access to its sessions either, not even to their own.
    """
    # Not a join: an agent in two of the user's groups is still one row.
    visible_to: Any = Agent.groups.through
    member: Any = User.groups.through
    groups = visible_to.objects
    own_groups = groups.filter(group__in=member.objects.filter(user_id=user_id).values("group_id"))
    return Q(**{f"{agent}__in": own_groups.values("agent_id")}) | ~Q(**{f"{agent}__in": groups.values("agent_id")})


def can_use_agent(*, user_id: int, agent_id: UUID) -> bool:
    """Whether the agent has no groups or one of the user's, archived or not."""
    return Agent.objects.filter(visible_agent_filter(user_id, "pk"), pk=agent_id).exists()


def access_agent(*, actor: Actor, slug: str) -> Agent:
    """The agent with its live release. Raises `NotFound` both when it does not exist and when `actor` may
    not use it."""
    agent = visible_agents(actor).select_related("live_release").filter(slug=slug).first()
    if agent is None:
        raise NotFound("There is no such agent here.")
    return agent


def refuse_if_agents_need(group: Group) -> None:
    """Raise `Conflict` while `group` is one of the groups of an agent: without it everybody might see the agent."""
    agents = Agent.objects.filter(groups=group).order_by("name")
    if agents:
        names = ", ".join(agent.name for agent in agents)
        raise Conflict(
            f"These agents are only for some groups, and this is one of them: {names}. Take it off them first."
        )
