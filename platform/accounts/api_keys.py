"""API keys: `bs_<prefix>_<secret>`, whose secret ends with a tag (`credential_tags`). Shown once; stored as the prefix
and an HMAC of the whole key."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
import unicodedata
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q
from django.db.models.functions import Now

from accounts.actor import Actor, Scope
from accounts.api_key_usage import record_key_use
from accounts.audit import record_audit
from accounts.credential_tags import TAG_LENGTH, has_tag, tag_credential
from accounts.models import ApiKey, User
from accounts.permissions import (
    SCOPE_PERMISSIONS,
    has_permission,
    held_permissions_sql,
    permission_scopes,
    require_rights_over,
)
from accounts.role_permissions import ADD_API_KEY, REVOKE_API_KEY
from foundation.clock import now
from foundation.errors import Conflict, Forbidden, InvalidInput, NotFound, Unauthenticated
from foundation.ids import new_id
from foundation.visible_text import is_printable
from ratelimits import guard_bad_key

PREFIX_LENGTH = 12
RANDOM_LENGTH = 43  # 256 bits in an alphabet of 62 characters
SECRET_LENGTH = RANDOM_LENGTH + TAG_LENGTH
_PREFIX_LETTERS = string.ascii_lowercase + string.digits
_SECRET_LETTERS = string.ascii_letters + string.digits
_SHAPE = re.compile(rf"bs_([a-z0-9]{{{PREFIX_LENGTH}}})_[A-Za-z0-9]{{{SECRET_LENGTH}}}")

# Labels of the scopes and of the lifetimes, as the pages show them.
SCOPE_LABELS: Final = {
    Scope.READ: "read: look at what is the person's own",
    Scope.CHAT: "chat: talk to agents",
    Scope.MANAGE: "manage: do what the person's roles allow, beyond chatting",
}
KEY_DAYS: Final = (("30", "30 days"), ("90", "90 days"), ("365", "a year"), ("", "until somebody revokes it"))
# Working keys per user: stops a program that creates a key for each of its runs.
MAX_KEYS: Final = 100
MAX_CONNECTIONS: Final = 10_000

log = structlog.get_logger(__name__)

# Hand-written because it runs once for every request with a key. A key can do no more than its user may now.
_FIND = f"""
SELECT k.id, k.digest, k.scopes, k.last_used_at,
       CASE WHEN k.revoked_at IS NOT NULL THEN 'key_revoked'
            WHEN k.expires_at <= now() THEN 'key_expired'
            WHEN NOT u.is_active THEN 'user_inactive' END,
       u.id, u.username,
       {held_permissions_sql(SCOPE_PERMISSIONS)}
  FROM accounts_apikey k JOIN accounts_user u ON u.id = k.user_id
 WHERE k.prefix = %(prefix)s
"""  # noqa: S608 - put together from a constant; values are parameters


@transaction.atomic
def create_api_key(
    actor: Actor,
    *,
    user: User,
    name: str,
    scopes: Iterable[Scope],
    expires_at: datetime | None,
    key_id: UUID | None = None,
    connections: int | None = None,
) -> tuple[ApiKey, str]:
    """Create a key for `user`; return its row and its plain text, which is stored nowhere.

    `connections` is how many it may have open at a time, 0 without a limit; None: as many as the settings say. Only who
    may make keys for others may choose it.

    A user may create keys for themselves with at most their own scopes; keys for others need `ADD_API_KEY`.
    `expires_at` None: it never expires. Raises `Forbidden`, `Conflict` for a `key_id` in use or too many keys, and
    `InvalidInput` with a pointer.
    """
    requested = _parse_scopes(scopes)
    _check_may_create(actor, user, requested)
    title = _name(name)
    if expires_at is not None and expires_at <= now():
        raise InvalidInput("The end lies in the past.", pointer="/expires_at")
    slots = _connections(actor, connections)
    if key_id is not None and ApiKey.objects.filter(pk=key_id).exists():
        raise Conflict("This key is made already, and its text cannot be shown again.")
    if ApiKey.objects.filter(_working(), user=user).count() >= MAX_KEYS:
        raise Conflict(f"{user} has {MAX_KEYS} keys that work: revoke one first.")
    prefix, plain = _new_key()
    key = ApiKey.objects.create(
        id=key_id or new_id(),
        user=user,
        name=title,
        prefix=prefix,
        digest=_digests(plain)[0],
        scopes=[str(scope) for scope in sorted(requested)],
        expires_at=expires_at,
        connections=slots,
    )
    detail = {
        "user": user.get_username(),
        "scopes": key.scopes,
        "expires_at": key.expires_at and str(key.expires_at),
        "connections": slots,
    }
    record_audit(actor, "api_key.created", target=key, detail=detail)
    log.info("api_key.created", actor=actor.name, user=user.get_username(), key=prefix, scopes=key.scopes)
    return key, plain


@transaction.atomic
def revoke_api_key(actor: Actor, *, key_id: UUID) -> ApiKey:
    """Revoke a key at once; a second call changes nothing. Raises `NotFound` if it does not exist or is not visible."""
    key = ApiKey.objects.select_related("user").filter(pk=key_id).first()
    if key is None or not (actor.user_id == key.user_id or has_permission(actor, REVOKE_API_KEY)):
        raise NotFound("There is no such key here.")
    if ApiKey.objects.filter(pk=key_id, revoked_at__isnull=True).update(revoked_at=Now()):
        record_audit(actor, "api_key.revoked", target=key, detail={"user": key.user.get_username()})
        log.info("api_key.revoked", actor=actor.name, key=key.prefix)
    key.refresh_from_db()
    return key


def expiry_from_days(days: str) -> datetime | None:
    """The expiry of a key created now, for a value of `KEY_DAYS`; None for ""."""
    return now() + timedelta(days=int(days)) if days else None


def authenticate_key(plain: str, *, address: str | None = None) -> Actor:
    """The actor that a key stands for, by one uncached query, so that a revocation takes effect at once.

    Raises `Unauthenticated` (its message does not tell the reason; its rule is for the log), and `RateLimited` instead
    when too many bad keys came from `address`.
    """
    try:
        return _find_actor(plain)
    except Unauthenticated:
        guard_bad_key(address)
        raise


def is_api_key(text: str) -> bool:
    """Whether this installation made this key, which may be revoked or expired. Makes no query."""
    return _SHAPE.fullmatch(text) is not None and has_tag(text, _peppers())


def _find_actor(plain: str) -> Actor:
    shape = _SHAPE.fullmatch(plain)
    if shape is None:
        raise Unauthenticated(rule="key_malformed")
    if not has_tag(plain, _peppers()):
        raise Unauthenticated(rule="key_unknown")
    with connection.cursor() as cursor:
        cursor.execute(_FIND, {"prefix": shape[1]})
        row = cursor.fetchone()
    # Digests are computed and compared even without a row, so that timing does not reveal which prefixes exist.
    stored = bytes(row[1]) if row else bytes(hashlib.sha256().digest_size)
    matches = [hmac.compare_digest(digest, stored) for digest in _digests(plain)]
    if row is None or not any(matches):
        raise Unauthenticated(rule="key_unknown")
    key_id, _, scopes, last_used_at, rule, user_id, username, permissions = row
    if rule is not None:
        raise Unauthenticated(rule=rule)
    record_key_use(key_id, last_used_at)
    allowed = permission_scopes(permissions) & {Scope(scope) for scope in scopes}
    return Actor.user(user_id=user_id, name=username, scopes=allowed, key_id=key_id)


def _working() -> Q:
    return Q(revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=now()))


def _new_key() -> tuple[str, str]:
    prefix = "".join(secrets.choice(_PREFIX_LETTERS) for _ in range(PREFIX_LENGTH))
    secret = "".join(secrets.choice(_SECRET_LETTERS) for _ in range(RANDOM_LENGTH))
    return prefix, tag_credential(f"bs_{prefix}_{secret}", _peppers()[0])


def _digests(plain: str) -> list[bytes]:
    """The HMACs of a key under each of the peppers."""
    return [hmac.digest(pepper.encode(), plain.encode(), hashlib.sha256) for pepper in _peppers()]


def _peppers() -> list[str]:
    """The pepper in use, and its predecessor while there is one."""
    config = settings.BANDSTAND
    peppers = (config.key_pepper, config.key_pepper_previous)
    return [pepper.get_secret_value() for pepper in peppers if pepper is not None]


def _parse_scopes(scopes: Iterable[Scope]) -> frozenset[Scope]:
    try:
        requested = frozenset(Scope(scope) for scope in scopes)
    except ValueError:
        raise InvalidInput(f"Scopes are {', '.join(Scope)}.", pointer="/scopes") from None
    if not requested:
        raise InvalidInput("At least one scope is needed.", pointer="/scopes")
    return requested


def _check_may_create(actor: Actor, user: User, requested: frozenset[Scope]) -> None:
    # A key may create further keys only with `manage`: otherwise a leaked one could outlive its own expiry.
    trusted = actor.key_id is None or Scope.MANAGE in actor.scopes
    if actor.user_id == user.pk and trusted and requested <= actor.scopes:
        return
    if not has_permission(actor, ADD_API_KEY):
        raise Forbidden(rule=ADD_API_KEY)
    require_rights_over(actor, user)


def _connections(actor: Actor, connections: int | None) -> int:
    if connections is None:
        return int(settings.BANDSTAND.connections_per_key)
    if not has_permission(actor, ADD_API_KEY):
        raise Forbidden(rule=ADD_API_KEY)
    if not 0 <= connections <= MAX_CONNECTIONS:
        raise InvalidInput(f"A key has 0 to {MAX_CONNECTIONS} connections.", pointer="/connections")
    return connections


def _name(name: str) -> str:
    title = unicodedata.normalize("NFC", name).strip()
    if not 1 <= len(title) <= 100 or not is_printable(title):
        raise InvalidInput("A name has 1 to 100 printable characters.", pointer="/name")
    return title
