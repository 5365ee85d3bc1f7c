"""The credential of a socket, a browser's login or an API key, and whether it is still valid."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from importlib import import_module
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, load_backend
from django.contrib.sessions.models import Session
from django.db import connection
from django.db.models import Q
from django.utils.crypto import constant_time_compare

from accounts.actor import Actor, Scope
from accounts.api_keys import authenticate_key
from accounts.models import ApiKey, User
from accounts.permissions import SCOPE_PERMISSIONS, held_permissions_sql, permission_scopes, user_actor
from foundation.clock import now
from foundation.errors import Unauthenticated


@dataclass(frozen=True, slots=True)
class Credential:
    """Either `login` (the key of the browser's login session) or `key_id` is set."""

    user_id: int
    scopes: frozenset[Scope]
    login: str | None = None
    password_digest: bytes = b""
    key_id: UUID | None = None


def authenticate_by_key(plain: str, *, address: str) -> tuple[Actor, Credential]:
    """The actor of this API key. Raises `Unauthenticated`, `RateLimited`."""
    actor = authenticate_key(plain, address=address)
    if actor.user_id is None:
        raise Unauthenticated(rule="key_without_user")
    return actor, Credential(user_id=actor.user_id, scopes=actor.scopes, key_id=actor.key_id)


def authenticate_by_login(session_key: str) -> tuple[Actor, Credential]:
    """The actor of this login session. Raises `Unauthenticated`. Writes nothing, unlike Django's `get_user`."""
    store = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    user = _session_user(store.load())
    actor = user_actor(user)
    credential = Credential(
        user_id=user.pk, scopes=actor.scopes, login=session_key, password_digest=_digest(user.password)
    )
    return actor, credential


def revoked_credentials(credentials: Collection[Credential]) -> set[Credential]:
    """Those of `credentials` that are no longer valid: logged out, revoked, expired, closed account, fewer permissions.

    Three queries, whatever their number.
    """
    users = _users({credential.user_id for credential in credentials})
    logins = _live_logins({credential.login for credential in credentials if credential.login})
    keys = _live_keys({credential.key_id for credential in credentials if credential.key_id})
    return {
        credential
        for credential in credentials
        if not _still_user(credential, users.get(credential.user_id))
        or (credential.login is not None and credential.login not in logins)
        or (credential.key_id is not None and credential.key_id not in keys)
    }


def unreachable_sessions(sessions: Collection[UUID]) -> set[UUID]:
    """Those of `sessions` that were deleted, or whose user may no longer use their agent. One query."""
    with connection.cursor() as cursor:
        cursor.execute(_REACHABLE_SESSIONS, {"sessions": list(sessions)})
        return set(sessions) - {session_id for (session_id,) in cursor.fetchall()}


# `agents.permissions.agents.visible_agent_filter` in SQL, for many users at once.
_REACHABLE_SESSIONS = """
SELECT s.id FROM agents_agentsession s
WHERE s.id = ANY(%(sessions)s)
  AND (NOT EXISTS (SELECT FROM agents_agent_groups g WHERE g.agent_id = s.agent_id)
       OR EXISTS (SELECT FROM agents_agent_groups g JOIN accounts_user_groups m ON m.group_id = g.group_id
                  WHERE g.agent_id = s.agent_id AND m.user_id = s.user_id))
"""


def _session_user(data: dict[str, Any]) -> User:
    backend_path = str(data.get(BACKEND_SESSION_KEY))
    if SESSION_KEY not in data or backend_path not in settings.AUTHENTICATION_BACKENDS:
        raise Unauthenticated(rule="login")
    user = load_backend(backend_path).get_user(User._meta.pk.to_python(data[SESSION_KEY]))
    stored = data.get(HASH_SESSION_KEY, "")
    if not isinstance(user, User) or not any(
        constant_time_compare(stored, session_hash)
        for session_hash in (user.get_session_auth_hash(), *user.get_session_auth_fallback_hash())
    ):
        raise Unauthenticated(rule="login")
    return user


def _digest(password: str) -> bytes:
    return hashlib.sha256(password.encode()).digest()


_RIGHTS = f"""
SELECT u.id, u.password, {held_permissions_sql(SCOPE_PERMISSIONS)}
  FROM accounts_user u
 WHERE u.id = ANY(%(users)s) AND u.is_active
"""  # noqa: S608 - put together from a constant; values are parameters


def _users(ids: set[int]) -> dict[int, tuple[bytes, frozenset[Scope]]]:
    with connection.cursor() as cursor:
        cursor.execute(_RIGHTS, {"users": list(ids)})
        return {
            user_id: (_digest(password), permission_scopes(permissions))
            for user_id, password, permissions in cursor.fetchall()
        }


def _still_user(credential: Credential, user: tuple[bytes, frozenset[Scope]] | None) -> bool:
    if user is None:
        return False
    digest, scopes = user
    return credential.scopes <= scopes and (credential.login is None or credential.password_digest == digest)


def _live_logins(keys: set[str]) -> set[str]:
    live = Session.objects.filter(session_key__in=keys, expire_date__gt=now())
    return set(live.values_list("session_key", flat=True)) if keys else set()


def _live_keys(ids: set[UUID]) -> set[UUID]:
    live = ApiKey.objects.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=now()), pk__in=ids, revoked_at=None)
    return set(live.values_list("pk", flat=True)) if ids else set()
