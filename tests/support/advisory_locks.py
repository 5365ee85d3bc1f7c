"""Advisory locks that somebody else holds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from agents.journal.listen_connection import open_listen_connection
from foundation.advisory_locks import advisory_lock


@contextmanager
def held_elsewhere(lock: int) -> Iterator[None]:
    """For the length of the block, another connection holds `lock`."""
    with open_listen_connection() as other, advisory_lock(lock, on=other):
        yield
