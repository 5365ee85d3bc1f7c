"""Whose memories: owners are made when somebody first writes, and emptied when whom they stand for goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from memory.enums import MemoryScope, MemorySource
from memory.models import Memory, MemoryOwner


@dataclass(frozen=True, slots=True)
class OwnerKey:
    """Whom a scope stands for, before there is a row (`MemoryOwner` says which columns belong to which scope)."""

    scope: MemoryScope
    user_id: int | None = None
    agent_id: UUID | None = None
    session_id: UUID | None = None
    pool_id: UUID | None = None

    def condition(self) -> Q:
        """What selects its row."""
        condition = Q(scope=self.scope.value)
        for column, value in (
            ("user_id", self.user_id),
            ("agent", self.agent_id),
            ("session", self.session_id),
            ("pool_id", self.pool_id),
        ):
            condition &= Q(**{f"{column}__isnull": True}) if value is None else Q(**{column: value})
        return condition


def get_or_create_owner(key: OwnerKey) -> int:
    """The id of the owner's row."""
    row = MemoryOwner.objects.filter(key.condition()).values_list("pk", flat=True).first()
    if row is not None:
        return row
    # Somebody else may make it at the same moment: then the unique constraint leaves theirs.
    MemoryOwner.objects.bulk_create(
        [
            MemoryOwner(
                scope=key.scope.value,
                user_id=key.user_id,
                agent=key.agent_id,
                session=key.session_id,
                pool_id=key.pool_id,
            )
        ],
        ignore_conflicts=True,
    )
    return MemoryOwner.objects.values_list("pk", flat=True).get(key.condition())


def find_owners(keys: Sequence[OwnerKey]) -> list[int]:
    """The ids of those that have a row, in no order."""
    if not keys:
        return []
    condition = Q()
    for key in keys:
        condition |= key.condition()
    return list(MemoryOwner.objects.filter(condition).values_list("pk", flat=True))


@transaction.atomic
def forget_session(session_id: UUID) -> None:
    """Delete what is remembered for a session, and what was said in it. For the verbs that delete sessions, in their
    transaction."""
    Memory.objects.filter(body__session=session_id, body__source=MemorySource.TURN.value).delete()
    MemoryOwner.objects.filter(session=session_id).delete()
