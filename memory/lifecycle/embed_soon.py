"""Embeds in the background what a process without an event loop of its own has written: no request waits for it."""

from __future__ import annotations

import threading
from collections import deque
from functools import partial
from typing import Final
from uuid import UUID

import structlog
from asgiref.sync import async_to_sync
from django.db import connection, transaction

from foundation.db_threads import DATABASE_FAULTS
from memory.embeddings import EmbeddingUnavailable
from memory.lifecycle.embed_pending import embed_memories

log = structlog.get_logger(__name__)

# Beyond that the job that embeds memories takes over.
_MAX_PENDING: Final = 500
_BATCH: Final = 32
# An embedder that has to start takes three.
_SECONDS: Final = 10.0

_pending: deque[UUID] = deque(maxlen=_MAX_PENDING)
_lock = threading.Lock()
_thread: threading.Thread | None = None


def embed_soon(memory_id: UUID) -> None:
    """Embed a memory once the present transaction has committed, at once outside of one, in a thread of its own. What
    cannot be embedded is left to the job."""
    transaction.on_commit(partial(_begin, memory_id), robust=True)


def _begin(memory_id: UUID) -> None:
    global _thread  # noqa: PLW0603 - one thread for the process
    with _lock:
        _pending.append(memory_id)
        if _thread is None:
            _thread = threading.Thread(target=_run, name="embed-soon", daemon=True)
            _thread.start()


def _take() -> list[UUID]:
    """The next ids; with none left, the thread is given up under the same lock, so that nothing is overlooked."""
    global _thread  # noqa: PLW0603
    with _lock:
        ids = [_pending.popleft() for _ in range(min(len(_pending), _BATCH))]
        if not ids:
            _thread = None
        return ids


def _run() -> None:
    while ids := _take():
        try:
            async_to_sync(embed_memories)(ids, timeout=_SECONDS)
        except (EmbeddingUnavailable, *DATABASE_FAULTS) as error:
            log.warning("memories.not_embedded", error=str(error)[:200])
        except Exception:
            log.exception("memories.not_embedded")
        finally:
            connection.close()
