"""Who may read transcripts: users with the permission, of the agent's groups if it has any."""

from __future__ import annotations

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser, Group
from django.db.models import Q, QuerySet

from accounts.actor import Actor
from accounts.models import User
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
