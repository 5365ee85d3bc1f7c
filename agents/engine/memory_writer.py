"""What follows a turn for the memory: its messages become episodes, and what it has left to remember gets vectors."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final, TypeAlias
from uuid import UUID

import structlog

from agents.engine.context import TurnContext
from agents.sessions.turn_episodes import find_unembedded, remember_turn
from foundation.db_threads import DATABASE_FAULTS, in_db_thread
from memory.embeddings import EmbeddingUnavailable
from memory.lifecycle.embed_pending import embed_memories
from memory.lifecycle.hits import hit_counter

log = structlog.get_logger(__name__)

# Turns come first: they use the same threads of the database.
_REMEMBERED_AT_ONCE: Final = 2
_EMBEDDED_AT_ONCE: Final = 32
# Beyond that the job that embeds memories takes over.
_MAX_PENDING: Final = 2_000
# The first text of an installation waits until its embedder has started.
_EMBEDDING_SECONDS: Final = 30.0

StartTask: TypeAlias = Callable[[Coroutine[Any, Any, None], str], None]


class MemoryWriter:
    """Remembers the ended turns of one process. `start` runs what nobody waits for: it may be cancelled at any time."""

    def __init__(self, start: StartTask) -> None:
        self._start = start
        self._writing = asyncio.Semaphore(_REMEMBERED_AT_ONCE)
        self._pending: deque[UUID] = deque(maxlen=_MAX_PENDING)
        self._is_embedding = False

    async def remember(self, context: TurnContext, *, recalled: Sequence[UUID] = ()) -> None:
        """Remember what was said in the turn: from then on it is found by its words, and by its meaning once the
        embedder has answered. What fails is made up for by the jobs that compact turns and embed memories.

        `recalled` are the memories that the turn was reminded of: their hits are counted, and written with others'.
        """
        claim = context.claim
        if hit_counter.record(recalled):
            await self.flush_hits()
        try:
            async with self._writing:
                await in_db_thread(remember_turn, claim.turn_id, release=context.release)
                self._pending.extend(await in_db_thread(find_unembedded, claim.session_id, claim.turn_id))
        except DATABASE_FAULTS as error:
            log.warning("turn.not_remembered", turn=str(claim.turn_id), error=str(error)[:200])
        except Exception:
            log.exception("turn.not_remembered", turn=str(claim.turn_id))
        if self._pending and not self._is_embedding:
            self._is_embedding = True
            self._start(self._embed(), "embed memories")

    async def flush_hits(self) -> None:
        """Write the hits that were counted; when the database cannot be reached, they are counted on."""
        with suppress(*DATABASE_FAULTS):
            await in_db_thread(hit_counter.flush)

    async def _embed(self) -> None:
        """Embed what is waiting, that of many turns together."""
        try:
            while self._pending:
                ids = [self._pending.popleft() for _ in range(min(len(self._pending), _EMBEDDED_AT_ONCE))]
                await embed_memories(ids, timeout=_EMBEDDING_SECONDS)
        except EmbeddingUnavailable as error:
            self._pending.clear()
            log.warning("memories.not_embedded", error=error.detail)
        except DATABASE_FAULTS as error:
            log.warning("memories.not_embedded", error=str(error)[:200])
        finally:
            self._is_embedding = False
