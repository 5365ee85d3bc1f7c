"""The audit trail: one row per act of somebody, in the transaction of the act itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import connection, transaction
from django.db.models import Model

from agents.access.actor import Actor
from agents.models import AgentSession, AuditEntry, Message, Turn
from foundation.ids import first_id_at

# Their names are what people said.
_PRIVATE: Final = (AgentSession, Turn, Message)

_FORGET: Final = """
DELETE FROM agents_auditentry WHERE id IN (
    SELECT id FROM agents_auditentry WHERE id < %(last)s AND at < %(moment)s ORDER BY id LIMIT %(limit)s)
"""
# An exact count of a small table; the planner's of a large one.
_EXTENT: Final = """
SELECT (SELECT at FROM agents_auditentry ORDER BY id LIMIT 1),
       CASE WHEN reltuples < 10000 THEN (SELECT count(*) FROM (SELECT FROM agents_auditentry LIMIT 10000) few)
            ELSE reltuples::bigint END,
       pg_total_relation_size(oid)
FROM pg_class WHERE oid = 'agents_auditentry'::regclass
"""


def record(actor: Actor, action: str, *, target: Model, detail: Mapping[str, Any] | None = None) -> AuditEntry:
    """Note that `actor` did `action` ("release.published") to `target`, a row that has its key.

    Call it inside the verb's transaction: then there is no act without its entry, and no entry without its act.
    `detail` is JSON, without secrets and without what was said in a conversation.
    """
    told = dict(detail or {})
    if actor.key_id is not None:
        told["api_key"] = str(actor.key_id)
    return AuditEntry.objects.create(
        actor=actor.name,
        user_id=actor.user_id,
        action=action,
        target_type=target._meta.model_name or "",
        target_id=str(target.pk),
        target_name="" if isinstance(target, _PRIVATE) else str(target)[:200],
        detail=told,
    )


@transaction.atomic
def forget_before(moment: datetime, *, limit: int = 5_000) -> int:
    """Delete the oldest entries made before `moment`, up to `limit`; how many. The one way past the table's guard."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL bandstand.audit_retention = 'on'")
        # The ids are of our clock and `at` is of the database's; a day apart is no clock.
        values: dict[str, Any] = {"moment": moment, "last": first_id_at(moment + timedelta(days=1)), "limit": limit}
        cursor.execute(_FORGET, values)
        forgotten: int = cursor.rowcount
        cursor.execute("SET LOCAL bandstand.audit_retention = 'off'")
    return forgotten


@dataclass(frozen=True, slots=True)
class Extent:
    """How far back the trail goes, how many entries it has by PostgreSQL's estimate, and what they take on the disk."""

    oldest: datetime | None
    entries: int
    size: int


def extent() -> Extent:
    """One query, quick for any number of entries."""
    with connection.cursor() as cursor:
        cursor.execute(_EXTENT)
        return Extent(*cursor.fetchone())
