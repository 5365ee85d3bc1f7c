"""The audit trail: one row per action, recorded in the transaction of the action itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import connection, transaction
from django.db.models import Model

from accounts.actor import Actor
from accounts.models import AuditEntry
from foundation.graphemes import cut_text
from foundation.ids import lowest_id

_PURGE: Final = """
DELETE FROM accounts_auditentry WHERE id IN (
    SELECT id FROM accounts_auditentry WHERE id < %(last)s AND at < %(cutoff)s ORDER BY id LIMIT %(limit)s)
"""
# An exact count of a small table; the planner's of a large one.
_SIZE: Final = """
SELECT (SELECT at FROM accounts_auditentry ORDER BY id LIMIT 1),
       CASE WHEN reltuples < 10000 THEN (SELECT count(*) FROM (SELECT FROM accounts_auditentry LIMIT 10000) few)
            ELSE reltuples::bigint END,
       pg_total_relation_size(oid)
FROM pg_class WHERE oid = 'accounts_auditentry'::regclass
"""


@dataclass(frozen=True, slots=True)
class AuditTarget:
    """A kind of row that entries refer to: the name of its model, its label, and the URL name of its page in the
    console, if it has one."""

    model_name: str
    label: str
    page: str | None = None


_targets: dict[str, AuditTarget] = {}


def register_audit_targets(*targets: AuditTarget) -> None:
    """Register kinds of rows, so that the audit pages label them, link to them and offer them as filters."""
    _targets.update((target.model_name, target) for target in targets)


def audit_targets() -> dict[str, AuditTarget]:
    """All registered kinds of rows, by model name."""
    return dict(_targets)


def record_audit(actor: Actor, action: str, *, target: Model, detail: Mapping[str, Any] | None = None) -> AuditEntry:
    """Record that `actor` did `action` ("release.published") to `target`, a saved row; return the entry.

    Call it inside the transaction of the action, so that neither is committed without the other. `detail` is JSON,
    without secrets and without the content of conversations. The target is named by its model's `audit_name()` if it
    has one, else by `str()`.
    """
    payload = dict(detail or {})
    if actor.key_id is not None:
        payload["api_key"] = str(actor.key_id)
    return AuditEntry.objects.create(
        actor=actor.name,
        user_id=actor.user_id,
        action=action,
        target_type=target._meta.model_name or "",
        target_id=str(target.pk),
        target_name=_target_name(target),
        detail=payload,
    )


def _target_name(target: Model) -> str:
    name = getattr(target, "audit_name", None)
    return cut_text(str(target) if name is None else str(name()), 200)


def find_last_change(row: Model) -> AuditEntry | None:
    """The newest entry about `row`, or None."""
    entries = AuditEntry.objects.filter(target_id=str(row.pk), target_type=row._meta.model_name)
    return entries.order_by("-id").first()


@transaction.atomic
def purge_audit_before(cutoff: datetime, *, limit: int = 5_000) -> int:
    """Delete the oldest entries made before `cutoff`, up to `limit`; return how many. All other deletes are refused
    by a trigger of the table."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL bandstand.audit_retention = 'on'")
        # Ids carry this process's clock and `at` the database's; a day of margin covers any difference.
        values: dict[str, Any] = {"cutoff": cutoff, "last": lowest_id(cutoff + timedelta(days=1)), "limit": limit}
        cursor.execute(_PURGE, values)
        deleted: int = cursor.rowcount
        cursor.execute("SET LOCAL bandstand.audit_retention = 'off'")
    return deleted


@dataclass(frozen=True, slots=True)
class AuditSize:
    """The time of the oldest entry, PostgreSQL's estimate of the number of entries, and their size on disk in bytes."""

    oldest: datetime | None
    entries: int
    size: int


def audit_size() -> AuditSize:
    """The size of the audit trail, by one query that is fast for any number of entries."""
    with connection.cursor() as cursor:
        cursor.execute(_SIZE)
        return AuditSize(*cursor.fetchone())
