"""Make the partitions of the next days, and delete spans that are older than their agents keep them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from time import monotonic
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from foundation.clock import now
from monitoring.models import TraceSettings
from monitoring.spans.partitions import create_partitions, partition_day, partition_name, partition_names

DAYS_AHEAD: Final = 3
# Dropping a partition locks the whole table; who waits for it makes everybody else wait.
LOCK_TIMEOUT: Final = "1s"
# The scheduler's other work waits no longer than this.
DELETE_SECONDS: Final = 40
_ONE_DAY: Final = timedelta(days=1)
# A statement deletes of so much of a day, so that none is long.
_SLICE: Final = timedelta(hours=1)


def keep_partitions() -> int:
    """Make the partitions of today and the next days, and drop those that no agent keeps any more; return how many were
    dropped. What somebody reads at the moment is dropped by a later run: raises `OperationalError` then."""
    today = now().date()
    with connection.cursor() as cursor:
        create_partitions(cursor, (today + _ONE_DAY * ahead for ahead in range(DAYS_AHEAD + 1)))
    first_day = today - timedelta(days=_longest_retention())
    expired = [name for name in partition_names() if partition_day(name) < first_day]
    for name in expired:
        drop_partition(name)
    return len(expired)


def drop_partition(name: str) -> None:
    """Drop one day of spans. Raises `OperationalError` when it is in use for a second."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
        cursor.execute(f"DROP TABLE IF EXISTS {name}")


def delete_expired_spans() -> int:
    """Delete the spans of agents that keep theirs for a shorter time than others, for at most 40 seconds, the newest
    days first; return how many."""
    ends_at, deleted = monotonic() + DELETE_SECONDS, 0
    for expired in _expired_days():
        for start, end in _slices(expired.day):
            if monotonic() > ends_at:
                return deleted
            deleted += _delete(expired, start, end)
    return deleted


@dataclass(frozen=True, slots=True)
class _ExpiredDay:
    """A day with the agents whose spans of it have expired; `others_than`: those of all agents but these have, too."""

    day: date
    agent_ids: list[UUID]
    others_than: list[UUID] | None


def _longest_retention() -> int:
    return max([settings.BANDSTAND.span_days, *TraceSettings.objects.values_list("retention_days", flat=True)])


def _expired_days() -> Iterator[_ExpiredDay]:
    """The days that still have a partition and expired spans, newest first."""
    default, own = settings.BANDSTAND.span_days, dict(TraceSettings.objects.values_list("agent_id", "retention_days"))
    longest, today = max([default, *own.values()]), now().date()
    for name in reversed(partition_names()):
        age = (today - partition_day(name)).days
        agent_ids = [agent_id for agent_id, days in own.items() if days < min(age, longest)]
        others_than = list(own) if default < min(age, longest) else None
        if agent_ids or others_than is not None:
            yield _ExpiredDay(partition_day(name), agent_ids, others_than)


def _slices(day: date) -> Iterator[tuple[datetime, datetime]]:
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return pairwise(midnight + number * _SLICE for number in range(_ONE_DAY // _SLICE + 1))


def _delete(expired: _ExpiredDay, start: datetime, end: datetime) -> int:
    params: list[Any] = [start, end, expired.agent_ids]
    condition = "agent_id = ANY(%s)"
    if expired.others_than is not None:
        condition = f"({condition} OR agent_id <> ALL(%s))"
        params.append(expired.others_than)
    with connection.cursor() as cursor:
        cursor.execute(
            f"DELETE FROM {partition_name(expired.day)} WHERE started_at >= %s AND started_at < %s AND {condition}",  # noqa: S608
            params,
        )
        return int(cursor.rowcount)
