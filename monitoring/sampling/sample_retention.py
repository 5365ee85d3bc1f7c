"""Samples are deleted after BANDSTAND_SAMPLE_DAYS, recommendations after three months."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from django.conf import settings
from django.db import connection
from django.db.models.functions import Now

from foundation.batches import work_in_batches
from monitoring.models import UNFINISHED, Recommendation

KEEP_RECOMMENDATIONS: Final = timedelta(days=90)
BATCH: Final = 5_000
SECONDS: Final = 20.0

# Ids follow time, so the oldest rows stand first: no more than a batch is looked at.
_DELETE: Final = """
DELETE FROM {table} WHERE id IN (
    SELECT id FROM (SELECT id, at FROM {table} ORDER BY id LIMIT %(batch)s) oldest WHERE at < now() - %(keep)s
)
"""
_TABLES: Final = ("monitoring_gaugesample", "monitoring_processsample")


def purge_samples() -> int:
    """Delete samples and recommendations past their time, in batches; return how many."""
    seconds = SECONDS / len(_TABLES)
    deleted = sum(
        work_in_batches(lambda _, table=table: _delete_batch(table), seconds=seconds, full=BATCH)  # type: ignore[misc]
        for table in _TABLES
    )
    old = Recommendation.objects.filter(created_at__lt=Now() - KEEP_RECOMMENDATIONS).exclude(status__in=UNFINISHED)
    return deleted + old.delete()[0]


def _delete_batch(table: str) -> int:
    params: dict[str, Any] = {"batch": BATCH, "keep": timedelta(days=settings.BANDSTAND.sample_days)}
    with connection.cursor() as cursor:
        cursor.execute(_DELETE.format(table=table), params)
        return int(cursor.rowcount)
