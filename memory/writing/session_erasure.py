"""Erasure of what was said in sessions that are deleted."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.db import transaction

from memory.enums import MemorySource
from memory.models import MemoryBody, MemoryOwner
from memory.writing.erasure import ERASE_BATCH, erase, erase_owners
from memory.writing.review import reopen_locked


@transaction.atomic
def forget_sessions(session_ids: Sequence[UUID]) -> int:
    """Erase what was said in sessions, what was made of it, and the memories of the sessions themselves; return how
    many memories went. What a user had the agent remember in them stays.

    For everything that deletes sessions, in its transaction.
    """
    gone = 0
    # A fact that was extracted while there were no episodes, or after they were evicted, is derived of nothing.
    sources = [MemorySource.TURN.value, MemorySource.EXTRACTION.value]
    episodes = MemoryBody.objects.filter(session__in=session_ids, source__in=sources).order_by("pk")
    while ids := list(episodes.values_list("pk", flat=True)[:ERASE_BATCH]):
        # What these had superseded was asked for, and holds again.
        reopen_locked(ids)
        gone += erase(ids)
    return gone + erase_owners(MemoryOwner.objects.filter(session__in=session_ids).values_list("pk", flat=True))
