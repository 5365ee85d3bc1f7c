"""Who may read transcripts: users with the permission, of the agent's groups if it has any."""

from __future__ import annotations

from collections.abc import Hashable, Set
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser, Group
from django.db.models import Q, QuerySet

from accounts.actor import Actor
from accounts.models import User
from accounts.permissions import is_owner
from agents.models import Agent
from agents.permissions.role_permissions import VIEW_TRANSCRIPT
from foundation.errors import Forbidden


def can_read_transcript(user: AbstractBaseUser | AnonymousUser, agent: Agent) -> bool:
    """Whether `user` has the permission, and `agent` has no groups or one of the user's."""
    if not isinstance(user, User) or not user.has_perm(VIEW_TRANSCRIPT):
        return False
    allowed = set(agent.groups.values_list("pk", flat=True))
    return not allowed or Group.objects.filter(pk__in=allowed, user=user).exists()


def readable_agents(user: AbstractBaseUser | AnonymousUser) -> QuerySet[Agent]:
    """The agents whose transcripts `user` may read, as `can_read_transcript` says."""
    if not isinstance(user, User) or not user.has_perm(VIEW_TRANSCRIPT):
        return Agent.objects.none()
    return Agent.objects.filter(Q(groups__isnull=True) | Q(groups__in=user.groups.all())).distinct()


def require_transcript(actor: Actor, agent: Agent) -> None:
    """Raise `Forbidden` unless the actor's user may read the transcripts of `agent` now; system actors may."""
    if actor.user_id is None:
        return
    user = User.objects.filter(pk=actor.user_id, is_active=True).first()
    if user is None or not can_read_transcript(user, agent):
        raise Forbidden(rule=VIEW_TRANSCRIPT)


def group_rights(users: QuerySet[User]) -> Set[Hashable]:
    """What at least one of `users` has by a group of an agent: ("use", its id), and with the permission to read
    transcripts ("read", its id). Agents without groups are nobody's by a group."""
    app, codename = VIEW_TRANSCRIPT.split(".")
    holds = {"codename": codename, "content_type__app_label": app}
    by_group, own = (
        {f"{path}__{name}": value for name, value in holds.items()}
        for path in ("groups__permissions", "user_permissions")
    )
    readers = users.filter(Q(is_superuser=True) | Q(**by_group) | Q(**own))
    return {("use", agent_id) for agent_id in _agents_by_group(users)} | {
        ("read", agent_id) for agent_id in _agents_by_group(readers)
    }


def require_wider_groups(actor: Actor, agent: Agent, groups: Set[int]) -> None:
    """Raise `Forbidden` if more people could use `agent` and read its transcripts with `groups`, the ids of its next
    ones, and the actor neither may read them now nor is an owner."""
    present = set(agent.groups.values_list("pk", flat=True))
    widens = bool(present) and (not groups or not groups <= present)
    if not widens or actor.user_id is None or is_owner(actor):
        return
    if not can_read_transcript(User.objects.get(pk=actor.user_id), agent):
        raise Forbidden(
            "You may not read what is said with this agent, so you cannot let others read it: ask an owner, or "
            "somebody of its groups.",
            rule="relation_rights",
        )


def _agents_by_group(users: QuerySet[User]) -> set[Any]:
    rows: Any = Agent.groups.through
    return set(rows.objects.filter(group__user__in=users).values_list("agent_id", flat=True))
