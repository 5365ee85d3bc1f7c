"""Alerts that ended, notifications that were delivered, and silences are deleted after three months."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from foundation.batches import work_in_batches
from monitoring.models import Alert, Notification, Silence

KEEP: Final = timedelta(days=90)
BATCH: Final = 1_000
SECONDS: Final = 20.0


def purge_alerts() -> int:
    """Delete what is past its time, in batches; return how many rows.

    Notifications of an alert that still fires stay: they say who is to hear of its end.
    """
    old = Now() - KEEP
    expired: tuple[Callable[[], QuerySet[Any]], ...] = (
        lambda: (
            Notification.objects.filter(created_at__lt=old)
            .exclude(state=Notification.State.WAITING)
            .exclude(Q(alerts__isnull=False) & Q(alerts__resolved_at=None))
        ),
        lambda: Alert.objects.filter(resolved_at__lt=old),
        lambda: Silence.objects.filter(ends_at__lt=old),
    )
    return sum(_delete(rows) for rows in expired)


def _delete(rows: Callable[[], QuerySet[Any]]) -> int:
    def delete_batch(_seconds_left: float) -> int:
        model = rows().model
        ids = list(rows().order_by("pk").values_list("pk", flat=True)[:BATCH])
        model._default_manager.filter(pk__in=ids).delete()
        return len(ids)

    return work_in_batches(delete_batch, seconds=SECONDS, full=BATCH)
