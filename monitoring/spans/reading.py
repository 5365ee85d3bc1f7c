"""Read the spans of turns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from monitoring.models import TurnSpan

# Of one turn; more would be a fault of ours, and no page could show them.
MAX_SPANS: Final = 1_000
# How long before the time of its turn a span may have begun: clocks of processes differ, and a message is admitted
# before its turn is queued.
_BEFORE: Final = timedelta(minutes=10)
# A turn expires after an hour, unless it waits for somebody; then those of its end are looked for from its end.
_AFTER: Final = timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class StoredSpan:
    """A span as it was recorded: `error_type` is "" for success."""

    name: str
    started_at: datetime
    ended_at: datetime
    attributes: Mapping[str, Any]
    error_type: str
    id: int
    turn_id: UUID

    @property
    def seconds(self) -> float:
        return (self.ended_at - self.started_at).total_seconds()


def spans_of_turn(turn_id: UUID, around: datetime, until: datetime | None = None) -> list[StoredSpan]:
    """The spans of a turn in the order of their beginnings, at most `MAX_SPANS`: those that began from ten minutes
    before `around` to two hours after `until`, which is `around` where it is not set. Times bound the partitions that
    are read."""
    return spans_of_turns([turn_id], around, until)


def spans_of_turns(turn_ids: Iterable[UUID], since: datetime, until: datetime | None = None) -> list[StoredSpan]:
    """The spans of several turns, in the order of their beginnings, `MAX_SPANS` of each on average: those that began
    from ten minutes before `since` to two hours after `until`, which is `since` where it is not set."""
    ids = list(turn_ids)
    rows = TurnSpan.objects.filter(
        turn_id__in=ids, started_at__gte=since - _BEFORE, started_at__lt=(until or since) + _AFTER
    )
    return _stored(rows.order_by("started_at", "id")[: MAX_SPANS * len(ids)])


def _stored(rows: Iterable[TurnSpan]) -> list[StoredSpan]:
    return [
        StoredSpan(row.name, row.started_at, row.ended_at, row.attributes, row.error_type, row.id, row.turn_id)
        for row in rows
    ]
