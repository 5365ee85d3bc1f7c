"""Counts how often memories are recalled: in the process, and later in the rows, in batches. Reading writes nothing."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from threading import Lock
from uuid import UUID

from memory.writing.statements import run

# So many different memories, or so many seconds, are collected before they are written.
HIT_BATCH = 500
HIT_SECONDS = 30.0

# Rows are locked in the order of their ids, so that two processes never wait for each other.
_ADD = """
WITH counted AS (
    SELECT u.id, u.count FROM unnest(%(ids)s::uuid[], %(counts)s::int[]) AS u(id, count)
), locked AS MATERIALIZED (
    SELECT m.id FROM memory_memory m WHERE m.id = ANY(%(ids)s) ORDER BY m.id FOR NO KEY UPDATE
)
UPDATE memory_memory m SET hits = m.hits + c.count, last_hit_at = now()
FROM locked l JOIN counted c ON c.id = l.id WHERE m.id = l.id
RETURNING m.id
"""


class HitCounter:
    """The hits of a process that are not in the rows yet. A process that is killed loses those of half a minute."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._hits: Counter[UUID] = Counter()
        self._since = time.monotonic()

    def record(self, memory_ids: Iterable[UUID]) -> bool:
        """Count recalled memories, without the database; return whether a flush is due."""
        with self._lock:
            if not self._hits:
                self._since = time.monotonic()
            self._hits.update(memory_ids)
            return len(self._hits) >= HIT_BATCH or time.monotonic() - self._since >= HIT_SECONDS

    def flush(self) -> int:
        """Write what was counted; return how many memories it was. After an error it is counted again."""
        with self._lock:
            hits, self._hits = self._hits, Counter()
        if not hits:
            return 0
        try:
            return len(run(_ADD, {"ids": list(hits), "counts": list(hits.values())}))
        except BaseException:
            with self._lock:
                self._hits.update(hits)
            raise


hit_counter = HitCounter()
