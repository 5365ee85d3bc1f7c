"""Who sees sessions that try something out: their own user in the chat, and builders in the console.

Their turns stay in the list of turns, for whoever looks after the load, but nobody else reads what is said in them.
"""

from __future__ import annotations

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.db.models import Q

from accounts.models import User
from agents.domain.session_purposes import SessionPurpose
from agents.models import IN_PRODUCTION, AgentSession
from agents.permissions.role_permissions import CHANGE_DRAFT
from agents.permissions.transcripts import can_read_transcript


def sees_trials(user: AbstractBaseUser | AnonymousUser) -> bool:
    """Whether `user` may see the sessions in which others try something out."""
    return isinstance(user, User) and user.has_perm(CHANGE_DRAFT)


def can_read_session(user: AbstractBaseUser | AnonymousUser, session: AgentSession) -> bool:
    """Whether `user` may read the transcript of a session with its agent, and see the session at all."""
    is_visible = session.purpose == SessionPurpose.PRODUCTION or sees_trials(user)
    return is_visible and can_read_transcript(user, session.agent)


def visible_purposes(user: AbstractBaseUser | AnonymousUser) -> Q:
    """The condition on rows that have a session: that `user` may see it, for what it is for."""
    return Q() if sees_trials(user) else IN_PRODUCTION
