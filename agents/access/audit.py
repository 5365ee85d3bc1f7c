"""The audit trail: one row per act of somebody, in the transaction of the act itself."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from django.db import connection, transaction
from django.db.models import Model

from agents.access.actor import Actor
from agents.models import AgentSession, AuditEntry, Message, Turn

# Their names are what people said.
_PRIVATE: Final = (AgentSession, Turn, Message)


def record(actor: Actor, action: str, *, target: Model, detail: Mapping[str, Any] | None = None) -> AuditEntry:
    """Note that `actor` did `action` ("agent.published") to `target`, a row that has its key.

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
def forget_before(moment: datetime) -> int:
    """Delete the entries made before `moment`; how many there were. The one way past the table's guard."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL bandstand.audit_retention = 'on'")
        cursor.execute("DELETE FROM agents_auditentry WHERE at < %s", [moment])
        forgotten: int = cursor.rowcount
        cursor.execute("SET LOCAL bandstand.audit_retention = 'off'")
    return forgotten
