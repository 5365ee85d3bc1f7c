"""The audit trail: one row per action, recorded in the transaction of the action itself."""

from __future__ import annotations

import json
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Model, Q, UUIDField
from django.db.models.expressions import RawSQL
from django.urls import reverse

from accounts.actor import Actor
from accounts.models import AuditEntry, User
from foundation.graphemes import cut_text
from foundation.ids import lowest_id

_PURGE: Final = """
DELETE FROM accounts_auditentry WHERE id IN (
    SELECT id FROM accounts_auditentry WHERE id < %(last)s AND at < %(cutoff)s ORDER BY id LIMIT %(limit)s)
"""
# The signs that part words, as `accounts_audit_words` has them.
_SIGNS: Final = str.maketrans(dict.fromkeys(string.punctuation, " "))
# An exact count of a small table; the planner's of a large one.
_SIZE: Final = """
SELECT (SELECT at FROM accounts_auditentry ORDER BY id LIMIT 1),
       CASE WHEN reltuples < 10000 THEN (SELECT count(*) FROM (SELECT FROM accounts_auditentry LIMIT 10000) few)
            ELSE reltuples::bigint END,
       pg_total_relation_size(oid)
FROM pg_class WHERE oid = 'accounts_auditentry'::regclass
"""
# Always from the index, which OFFSET sees to. Ordered by time, PostgreSQL would go through the trail backwards and take
# each entry apart: tens of seconds for words that are common each and rare together, or that were common long ago.
_MATCHES: Final = """
(SELECT id FROM accounts_auditentry
 WHERE accounts_audit_document(action, actor, target_type, target_id, target_name, detail)
       @@ to_tsquery('simple', %s)
 OFFSET 0)
"""

# The name of a detail may be spelled as somebody's: it is put aside as a character that no JSON text has.
_ERASE: Final = """
UPDATE accounts_auditentry SET
    actor = CASE WHEN user_id = %(user)s OR actor = %(name)s THEN %(pseudonym)s ELSE actor END,
    target_name = CASE WHEN target_type = 'user' AND target_id = %(user)s::text OR target_name = %(name)s
                  THEN %(pseudonym)s ELSE target_name END,
    detail = replace(replace(replace(replace(replace(replace(
        detail::text,
        %(name_json)s || ':', E'\\x01'), %(email_json)s || ':', E'\\x02'),
        %(name_json)s, %(pseudonym_json)s), %(email_json)s, %(pseudonym_json)s),
        E'\\x02', %(email_json)s || ':'), E'\\x01', %(name_json)s || ':'
    )::jsonb
WHERE user_id = %(user)s OR actor = %(name)s OR (target_type = 'user' AND target_id = %(user)s::text)
   OR accounts_audit_document(action, actor, target_type, target_id, target_name, detail)
      @@ to_tsquery('simple', %(words)s)
"""


@dataclass(frozen=True, slots=True)
class AuditTarget:
    """A kind of row that entries refer to: the name of its model, its label, and where its rows are in the console.

    `page` is the URL name of a row's page. For kinds of rows without pages `address` returns that of another page which
    shows the row, by its id; None: there is none.
    """

    model_name: str
    label: str
    page: str | None = None
    address: Callable[[str], str | None] | None = None

    def row_address(self, target_id: str) -> str | None:
        """The address of the row in the console, or None."""
        if self.address is not None:
            return self.address(target_id)
        return None if self.page is None else reverse(self.page, args=[target_id])


_targets: dict[str, AuditTarget] = {}


def register_audit_targets(*targets: AuditTarget) -> None:
    """Register kinds of rows, so that the audit pages label them, link to them and offer them as filters."""
    _targets.update((target.model_name, target) for target in targets)


def audit_targets() -> dict[str, AuditTarget]:
    """All registered kinds of rows, by model name."""
    return dict(_targets)


def record_audit(
    actor: Actor, action: str, *, target: Model, target_name: str | None = None, detail: Mapping[str, Any] | None = None
) -> AuditEntry:
    """Record that `actor` did `action` ("release.published") to `target`, a saved row; return the entry.

    Call it inside the transaction of the action, so that neither is committed without the other. `detail` is JSON,
    without secrets and without the content of conversations. The target is named by `target_name`, else by its model's
    `audit_name()` if it has one, else by `str()`.
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
        target_name=_target_name(target) if target_name is None else cut_text(target_name, 200),
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


def search_condition(term: str) -> Q | None:
    """The condition that an entry holds every word of `term`, or one that begins so: what was done, who did it, the
    name and id of what it was done to, and the details; or that it is the entry with this id. None, if there is no
    word."""
    lexemes = split_words(term)
    if not lexemes:
        return None
    statement, params = _MATCHES, [_tsquery(lexemes)]
    if (entry_id := _parse_uuid(term.strip())) is not None:
        statement, params = f"{_MATCHES} UNION ALL SELECT %s::uuid", [*params, str(entry_id)]
    return Q(pk__in=RawSQL(statement, params, output_field=UUIDField()))  # noqa: S611 - of constants alone


def _parse_uuid(value: str) -> UUID | None:
    try:
        return UUID(value)
    except ValueError:
        return None


def split_words(text: str) -> list[str]:
    """The words of `text` as the index has them: parted by signs and spaces."""
    return text.translate(_SIGNS).split()


def _tsquery(lexemes: Sequence[str]) -> str:
    return " & ".join(f"'{lexeme}':*" for lexeme in lexemes)  # quotes and backslashes are signs, and in no word


@transaction.atomic
def erase_person(user: User, *, pseudonym: str) -> int:
    """Replace the names of `user` in all entries, theirs and others', by `pseudonym`; return the number of entries.

    Part of a person's erasure: what was done, when and to which row stays. Names are replaced where they are the whole
    value: of the actor, of the target, and of each detail. All other changes of entries are refused by a trigger of the
    table. The order with the deletion of the account does not matter, as long as `user` still has its id and name.
    """
    name, email = user.get_username(), user.email or user.get_username()
    values: dict[str, Any] = {
        "user": user.pk,
        "name": name,
        "pseudonym": pseudonym,
        "name_json": json.dumps(name, ensure_ascii=False),
        "email_json": json.dumps(email, ensure_ascii=False),
        "pseudonym_json": json.dumps(pseudonym, ensure_ascii=False),
        "words": " | ".join(f"({_tsquery(lexemes)})" for text in (name, email) if (lexemes := split_words(text))),
    }
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL bandstand.audit_erasure = 'on'")
        cursor.execute(_ERASE, values)
        changed: int = cursor.rowcount
        cursor.execute("SET LOCAL bandstand.audit_erasure = 'off'")
    return changed


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
