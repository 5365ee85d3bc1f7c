"""Whose memories a search reads."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from django.db import connection

from memory.enums import MemoryScope
from memory.ownership import OwnerKey

# Of one search; an agent in more pools than that is searched in the first ones.
MAX_OWNERS: Final = 64
MAX_ACTORS: Final = 32


@dataclass(frozen=True, slots=True)
class OwnerRow:
    """An owner, about how many memories it has, whose words they are, and the row of the embedding model that was
    asked for (None: nothing was embedded by it yet)."""

    id: int
    memories: int
    actors: tuple[str, ...] = ()
    model_id: int | None = None


def owner_keys(user_id: int, agent_id: UUID, session_id: UUID, scopes: Collection[str]) -> list[OwnerKey]:
    """What a turn of a user's session may draw on, but for pools, which `find_owner_rows` finds by the agent."""
    keys: list[OwnerKey] = []
    if MemoryScope.SESSION in scopes:
        keys.append(OwnerKey(MemoryScope.SESSION, user_id=user_id, agent_id=agent_id, session_id=session_id))
    if MemoryScope.USER in scopes:
        keys.append(OwnerKey(MemoryScope.USER, user_id=user_id, agent_id=agent_id))
        keys.append(OwnerKey(MemoryScope.USER, user_id=user_id))
    if MemoryScope.AGENT in scopes:
        keys.append(OwnerKey(MemoryScope.AGENT, agent_id=agent_id))
    return keys


# The distinct actors by hopping along the index of (owner, actor): as many steps as there are actors.
_ROW = f"""
SELECT o.id, o.memories, ARRAY(
    WITH RECURSIVE hop(actor) AS (
        (SELECT m.actor FROM memory_memory m WHERE m.owner_id = o.id ORDER BY m.actor LIMIT 1)
        UNION ALL
        SELECT (SELECT m.actor FROM memory_memory m WHERE m.owner_id = o.id AND m.actor > h.actor
                ORDER BY m.actor LIMIT 1)
        FROM hop h WHERE h.actor IS NOT NULL
    ) SELECT actor FROM hop WHERE actor <> '' LIMIT {MAX_ACTORS}
), (SELECT e.id FROM memory_embeddingmodel e WHERE e.name = %(model)s)
FROM memory_memoryowner o
"""
_POOLS = """
JOIN memory_memorypool p ON p.id = o.pool_id
WHERE p.agents @> ARRAY[%(agent)s]::uuid[] AND o.scope = 'shared'
  AND CASE WHEN p.personal THEN o.user_id = %(user)s ELSE o.user_id IS NULL END
"""
_COLUMNS: Final = ("user_id", "agent_id", "session_id", "pool_id")


def find_owner_rows(
    keys: Sequence[OwnerKey], *, model: str = "", pools_for: tuple[UUID, int] | None = None
) -> list[OwnerRow]:
    """The rows of those owners that have one, by one statement. `model` is the name of the embedding model;
    `pools_for` an agent, and a user, whose pools count too."""
    branches: list[str] = []
    params: dict[str, Any] = {"model": model}
    for number, key in enumerate(keys[:MAX_OWNERS]):
        branches.append(_ROW + _condition(key, number, params))
    if pools_for is not None:
        params["agent"], params["user"] = pools_for
        branches.append(_ROW + _POOLS)
    if not branches:
        return []
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(branches) + f" LIMIT {MAX_OWNERS}", params)
        return [OwnerRow(owner_id, count, tuple(actors), model_id) for owner_id, count, actors, model_id in cursor]


def _condition(key: OwnerKey, number: int, params: dict[str, Any]) -> str:
    params[f"scope{number}"] = key.scope.value
    parts = [f"o.scope = %(scope{number})s"]
    for attribute in _COLUMNS:
        value = getattr(key, attribute)
        column = attribute if attribute in {"user_id", "pool_id"} else attribute.removesuffix("_id")
        if value is None:
            parts.append(f"o.{column} IS NULL")
        else:
            params[f"{attribute}{number}"] = value
            parts.append(f"o.{column} = %({attribute}{number})s")
    return "WHERE " + " AND ".join(parts)
