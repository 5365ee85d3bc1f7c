"""Record when an API key was last used: at most one write per minute and key, outside of the request."""

from __future__ import annotations

from concurrent.futures import Future, wait
from datetime import datetime, timedelta
from threading import Lock
from uuid import UUID

from django.db.models import Q
from django.db.models.functions import Now

from accounts.models import ApiKey
from foundation.clock import now
from foundation.db_threads import start_in_db_thread

PERIOD = timedelta(minutes=1)

_lock = Lock()
_recorded: dict[UUID, datetime] = {}
_running: set[Future[object]] = set()


def record_key_use(key_id: UUID, last_used_at: datetime | None) -> None:
    """Queue an update of `last_used_at`, unless the row or this process recorded a use within the last minute."""
    current_time = now()
    if last_used_at is not None and current_time - last_used_at < PERIOD:
        return
    with _lock:
        recorded_at = _recorded.get(key_id)
        if recorded_at is not None and current_time - recorded_at < PERIOD:
            return
        if len(_recorded) > 10_000:
            _recorded.clear()  # costs at most one more write per key
        _recorded[key_id] = current_time
    future = start_in_db_thread(_write, key_id)
    _running.add(future)
    future.add_done_callback(_running.discard)


def wait_for_writes() -> None:
    """Return when every write that was started is done."""
    wait(list(_running))


def _write(key_id: UUID) -> None:
    # Checked again in SQL: other processes have caches of their own.
    stale = Q(last_used_at__isnull=True) | Q(last_used_at__lt=Now() - PERIOD)
    ApiKey.objects.filter(stale, pk=key_id).update(last_used_at=Now())
