"""Rollups: counters of ended turns that stay when their conversations are deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db import connection
from django.db.models import Max, Min, Q
from django.db.models.functions import Now

from agents.journal.rollup_sql import COUNT
from agents.models import IN_PRODUCTION, CallRollup, RollupWidth, Turn, TurnRollup
from agents.models.rollups import HOURS_REACH, MINUTES_REACH
from foundation.ids import lowest_id

# Ids are made by the clocks of the web processes, all other times by that of the database.
CLOCKS_DIFFER: Final = timedelta(minutes=5)
# A reader decides by its own clock which rows it needs.
READERS_MAY_BE_LATE: Final = timedelta(hours=1)
_REACHES: Final[Mapping[str, Any]] = {
    "minutes_reach": MINUTES_REACH + READERS_MAY_BE_LATE,
    "hours_reach": HOURS_REACH + READERS_MAY_BE_LATE,
}


def count_turns(turn_ids: Sequence[UUID]) -> None:
    """Add ended turns and their steps to the rollups. For callers that mark them as compacted, or delete them, in the
    same transaction, under the locks of their sessions: that makes each count once. Its rows stay locked to the end of
    the transaction, so this comes late in it. Turns that try something out count in the usage of their users only."""
    if turn_ids:
        with connection.cursor() as cursor:
            cursor.execute(COUNT, {**_REACHES, "turns": list(turn_ids)})


def count_before_deletion(session_ids: Sequence[UUID]) -> None:
    """Count the ended turns of sessions that were not counted yet. For whoever deletes them: in the same transaction,
    before anything of them is deleted, and under their locks."""
    uncounted = Turn.objects.filter(agent_session__in=session_ids, finished_at__isnull=False, compacted=False)
    count_turns(list(uncounted.values_list("pk", flat=True)))


def ended_between(since: datetime, until: datetime) -> Q:
    """The condition on turns that ended from `since` to before `until`: exactly those of a figure of this range. Two
    small queries.

    Lists of turns go by their ids, which tell when a message was accepted. So it bounds the ids, too: by how long the
    longest of those turns took, which their rollups know.
    """
    days = TurnRollup.objects.filter(width=RollupWidth.DAY, at__gt=since - timedelta(days=1), at__lt=until)
    longest = days.aggregate(longest=Max("max_seconds"))["longest"] or 0.0
    uncounted = Turn.objects.filter(finished_at__gte=since, finished_at__lt=until, compacted=False)
    earliest = uncounted.aggregate(earliest=Min("queued_at"))["earliest"] or since
    first = min(earliest, since - timedelta(seconds=longest)) - CLOCKS_DIFFER
    ids = Q(pk__gte=lowest_id(first), pk__lt=lowest_id(until + CLOCKS_DIFFER))
    return ids & Q(finished_at__gte=since, finished_at__lt=until) & IN_PRODUCTION


def delete_old_rollups() -> int:
    """Delete the counters of minutes and hours that are older than readers look for; those of their days stay. Return
    how many rows went."""
    gone = 0
    for width, reach in ((RollupWidth.MINUTE, "minutes_reach"), (RollupWidth.HOUR, "hours_reach")):
        for rollup in (TurnRollup, CallRollup):
            old = rollup._default_manager.filter(width=width, at__lt=Now() - _REACHES[reach])
            gone += old._raw_delete("default")
    return gone
