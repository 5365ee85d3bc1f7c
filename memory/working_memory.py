"""Working memory: goals, open tasks and notes of a session or of one of its turns. They go with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from django.db import connection, transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from accounts.actor import Actor
from foundation.errors import Conflict, InvalidInput, NotFound
from foundation.ids import new_id
from memory.enums import MemoryScope, TaskState, WorkingKind
from memory.models import MemoryOwner, WorkingItem
from memory.ownership import OwnerKey, get_or_create_owner
from memory.writing.facts import lock_owner
from memory.writing.new_memory import check_text

MAX_ITEMS = 100
MAX_CHARACTERS = 2_000
# Of the task in a prompt: the newest.
MAX_PROMPT_ITEMS = 50

_OPEN_ITEMS = """
SELECT i.id, i.kind, i.text, i.position
FROM memory_workingitem i JOIN memory_memoryowner o ON o.id = i.owner_id
WHERE o.session = %(session)s AND o.scope = 'session' AND i.state = 'open'
  AND (i.turn IS NULL OR i.turn = %(turn)s)
ORDER BY i.position DESC, i.id DESC LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class OpenItem:
    """An open item as a prompt shows it."""

    id: str
    text: str


def add_item(
    owner: OwnerKey, kind: WorkingKind, text: str, *, turn_id: UUID | None = None, item_id: UUID | None = None
) -> WorkingItem:
    """A new item of a session, or of its turn `turn_id`; with the id of one that exists, that one. `owner` is the
    session's.

    Raises `InvalidInput`, `TooLarge`, and `Conflict` when a session has 100 items.
    """
    if owner.scope is not MemoryScope.SESSION:
        raise InvalidInput("Working memory belongs to a session.", pointer="/scope")
    cleaned = check_text(text)
    if len(cleaned) > MAX_CHARACTERS:
        raise InvalidInput(f"At most {MAX_CHARACTERS} characters are expected.", pointer="/text")
    with transaction.atomic():
        owner_id = get_or_create_owner(owner)
        lock_owner(owner_id)
        rows = WorkingItem.objects.filter(owner=owner_id)
        if item_id is not None and (present := rows.filter(pk=item_id).first()) is not None:
            return present
        count = rows.count()
        if count >= MAX_ITEMS:
            # What is done makes room, oldest first.
            oldest = rows.exclude(state=TaskState.OPEN.value).order_by("position", "pk").first()
            if oldest is None:
                raise Conflict(f"A session has at most {MAX_ITEMS} open items; finish one first.")
            oldest.delete()
        last = rows.order_by("-position").values_list("position", flat=True).first()
        return WorkingItem.objects.create(
            pk=item_id or new_id(),
            owner_id=owner_id,
            turn=turn_id,
            kind=kind.value,
            text=cleaned,
            position=0 if last is None else last + 1,
        )


def update_item(owner: OwnerKey, item_id: UUID, *, state: TaskState) -> WorkingItem:
    """Set the state of an item and return it. Raises `NotFound`."""
    rows = WorkingItem.objects.filter(pk=item_id, owner__in=MemoryOwner.objects.filter(owner.condition()))
    rows.exclude(state=state.value).update(state=state.value, version=F("version") + 1, updated_at=Now())
    item = rows.first()
    if item is None:
        raise NotFound("There is no such item.")
    return item


def access_item(actor: Actor, item_id: UUID) -> WorkingItem:
    """An item of one of the actor's sessions, with its owner. Raises `NotFound`, also for those of others."""
    item = WorkingItem.objects.select_related("owner").filter(pk=item_id, owner__user=actor.user_id).first()
    if item is None or actor.user_id is None:
        raise NotFound("There is no such item.")
    return item


def list_items(session_id: UUID, *, turn_id: UUID | None = None) -> list[WorkingItem]:
    """The items of a session in their order; those of turns only for `turn_id`."""
    visible = Q(turn__isnull=True) | Q(turn=turn_id) if turn_id else Q(turn__isnull=True)
    rows = WorkingItem.objects.filter(visible, owner__session=session_id, owner__scope=MemoryScope.SESSION.value)
    return list(rows.order_by("position", "pk"))


def read_open_items(session_id: UUID, turn_id: UUID, *, on: psycopg.Connection | None = None) -> list[OpenItem]:
    """The open items that the prompt of a turn shows, goals first; by one statement, on the connection `on` of a thread
    that has its own."""
    params: dict[str, Any] = {"session": session_id, "turn": turn_id, "limit": MAX_PROMPT_ITEMS}
    if on is not None:
        rows = on.execute(_OPEN_ITEMS.encode(), params).fetchall()
    else:
        with connection.cursor() as cursor:
            cursor.execute(_OPEN_ITEMS, params)
            rows = cursor.fetchall()
    order = [WorkingKind.GOAL.value, WorkingKind.TASK.value, WorkingKind.NOTE.value]
    rows.sort(key=lambda row: (order.index(row[1]), row[3]))
    return [OpenItem(str(pk), _line(pk, kind, text)) for pk, kind, text, _ in rows]


def read_items(item_ids: Sequence[UUID]) -> dict[str, OpenItem]:
    """These items as a prompt showed them while they were open, whatever their state is; those that are gone are not
    among them."""
    rows = WorkingItem.objects.filter(pk__in=item_ids).values_list("pk", "kind", "text")
    return {str(pk): OpenItem(str(pk), _line(pk, kind, text)) for pk, kind, text in rows}


def working_texts(session_id: UUID, turn_id: UUID) -> list[str]:
    """The lines of `read_open_items`."""
    return [item.text for item in read_open_items(session_id, turn_id)]


def _line(item_id: UUID, kind: str, text: str) -> str:
    # Tasks carry their id, by which a model finishes them.
    suffix = f" (id {item_id})" if kind == WorkingKind.TASK.value else ""
    # One line each: what stands in a text is no further item.
    return f"{kind.capitalize()}: {' '.join(text.split())}{suffix}"


def end_turn_items(turn_ids: Sequence[UUID]) -> int:
    """Delete the items of turns that have ended; return how many."""
    deleted, _ = WorkingItem.objects.filter(turn__in=turn_ids).delete()
    return deleted
