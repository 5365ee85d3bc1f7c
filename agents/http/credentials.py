"""The credential of an open connection, a browser's login or an API key, and whether it is still valid."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from importlib import import_module
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, load_backend
from django.db import connection
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare

from accounts.actor import Actor, Scope
from accounts.api_keys import authenticate_key
from accounts.models import User
from accounts.permissions import SCOPE_PERMISSIONS, held_permissions_sql, permission_scopes, user_actor
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


def request_credential(request: HttpRequest, actor: Actor) -> Credential:
    """The credential of an authenticated request. Makes no query. Raises `Unauthenticated`."""
    if actor.user_id is None:
        raise Unauthenticated
    if actor.key_id is not None:
        return Credential(user_id=actor.user_id, scopes=actor.scopes, key_id=actor.key_id)
    user: Any = request.user  # somebody is signed in
    return Credential(
        user_id=actor.user_id,
        scopes=actor.scopes,
        login=request.session.session_key,
        password_digest=_digest(user.password),
    )


@dataclass(frozen=True, slots=True)
class LostRights:
    """Of the credentials and sessions that were checked, those that are no longer valid or within reach."""

    credentials: frozenset[Credential]
    sessions: frozenset[UUID]


def find_lost_rights(credentials: Collection[Credential], sessions: Collection[UUID]) -> LostRights:
    """Check all at once, by one query whatever their number.

    A credential is lost that was logged out, revoked or expired, whose account was closed or has fewer permissions; a
    session that was deleted, or whose user may no longer use its agent.
    """
    users: dict[str, tuple[bytes, frozenset[Scope]]] = {}
    valid: dict[str, set[str]] = {"login": set(), "key": set(), "session": set()}
    with connection.cursor() as cursor:
        cursor.execute(
            _VALID,
            {
                "users": list({credential.user_id for credential in credentials}),
                "logins": list({credential.login for credential in credentials if credential.login}),
                "keys": list({credential.key_id for credential in credentials if credential.key_id}),
                "sessions": list(sessions),
            },
        )
        for kind, name, password, permissions in cursor.fetchall():
            if kind == "user":
                users[name] = (_digest(password), permission_scopes(permissions))
            else:
                valid[kind].add(name)
    return LostRights(
        credentials=frozenset(
            credential
            for credential in credentials
            if not _still_user(credential, users.get(str(credential.user_id)))
            or (credential.login is not None and credential.login not in valid["login"])
            or (credential.key_id is not None and str(credential.key_id) not in valid["key"])
        ),
        sessions=frozenset(session for session in sessions if str(session) not in valid["session"]),
    )


# What is still valid of each kind. The last part is `agents.permissions.agents.visible_agent_filter` in SQL, for many
# users at once.
_VALID = f"""
SELECT 'user', u.id::text, u.password, {held_permissions_sql(SCOPE_PERMISSIONS)}
FROM accounts_user u WHERE u.id = ANY(%(users)s::bigint[]) AND u.is_active
UNION ALL
SELECT 'login', l.session_key, '', '{{}}'::text[]
FROM django_session l WHERE l.session_key = ANY(%(logins)s::text[]) AND l.expire_date > now()
UNION ALL
SELECT 'key', k.id::text, '', '{{}}'::text[]
FROM accounts_apikey k
WHERE k.id = ANY(%(keys)s::uuid[]) AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
UNION ALL
SELECT 'session', s.id::text, '', '{{}}'::text[]
FROM agents_agentsession s
WHERE s.id = ANY(%(sessions)s::uuid[])
  AND (NOT EXISTS (SELECT FROM agents_agent_groups g WHERE g.agent_id = s.agent_id)
       OR EXISTS (SELECT FROM agents_agent_groups g JOIN accounts_user_groups m ON m.group_id = g.group_id
                  WHERE g.agent_id = s.agent_id AND m.user_id = s.user_id))
"""  # noqa: S608 - put together from a constant; values are parameters


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


def _still_user(credential: Credential, user: tuple[bytes, frozenset[Scope]] | None) -> bool:
    if user is None:
        return False
    digest, scopes = user
    return credential.scopes <= scopes and (credential.login is None or credential.password_digest == digest)
