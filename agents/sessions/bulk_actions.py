"""Acts of operators on many rows: the rows are chosen at once, the work is done one row after the other.

Each row is a transaction of its own with its own entry in the audit trail, exactly as if it were the only one. Who
works holds a lease, so the work may be begun in one process and gone on with in another, and a process that dies costs
at most the counting of a second: rows that are behind it refuse a second time.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import Q
from django.db.models.functions import Now
from django_q.tasks import async_task
from psycopg import errors

from accounts.actor import Actor
from accounts.audit import record_audit
from accounts.permissions import require_permission
from agents.models import BulkAction
from agents.permissions.role_permissions import CANCEL_TURN, FAIL_TURN, REQUEUE_TURN, RETRY_TURN
from agents.sessions.cancel import cancel_any_turn, cancel_open_turns
from agents.sessions.fail_turn import fail_turn
from agents.sessions.requeue import requeue_turn
from agents.sessions.retry import retry_turn
from foundation.errors import BandstandError, Forbidden, InvalidInput, NotFound, Unauthenticated
from foundation.ids import new_id

log = structlog.get_logger(__name__)

# A process holds the keys of all of them for a moment.
MOST: Final = 200_000
# A worker that has written nothing for so long is gone.
LEASE: Final = timedelta(seconds=30)
# How long work goes on before its progress is written, and a wish to stop is heard.
CHUNK_SECONDS: Final = 1.0
CHUNK: Final = 500
REASONS: Final = 5
BUSY: Final = "Somebody else was writing to it just then."
OUR_FAULT: Final = "Something went wrong on our side; the log has it."


@dataclass(frozen=True, slots=True)
class BulkOperation:
    """What is done to one row, and the permission that it needs."""

    permission: str
    verb: Callable[[Actor, UUID], object]


BULK_OPERATIONS: Final[dict[str, BulkOperation]] = {
    "cancel": BulkOperation(CANCEL_TURN, lambda actor, key: cancel_any_turn(actor, turn_id=key)),
    "retry": BulkOperation(RETRY_TURN, lambda actor, key: retry_turn(actor, turn_id=key)),
    "requeue": BulkOperation(REQUEUE_TURN, lambda actor, key: requeue_turn(actor, turn_id=key)),
    "fail_turn": BulkOperation(FAIL_TURN, lambda actor, key: fail_turn(actor, turn_id=key)),
    "cancel_open": BulkOperation(CANCEL_TURN, lambda actor, key: cancel_open_turns(actor, session_id=key)),
}


@dataclass(slots=True)
class Tally:
    """What came of a number of rows."""

    done: int = 0
    refused: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    # Why nothing more can be done: the actor may not do this any more.
    ended_by: BandstandError | None = None

    @property
    def rows(self) -> int:
        return self.done + self.refused


def perform(actor: Actor, act: str, keys: Iterable[UUID], *, seconds: float) -> Tally:
    """Do `act` to one row after the other, at least to the first, until the time is up. A row that refuses is left."""
    tally, ends_at = Tally(), time.monotonic() + seconds
    for key in keys:
        try:
            BULK_OPERATIONS[act].verb(actor, key)
        except (Forbidden, Unauthenticated) as error:
            tally.ended_by = error
            break
        except BandstandError as error:
            tally.refused += 1
            tally.reasons[error.detail] += 1
        except OperationalError as error:
            if not isinstance(error.__cause__, errors.LockNotAvailable):
                raise
            tally.refused += 1
            tally.reasons[BUSY] += 1
        except InterfaceError:
            raise
        except Exception:
            # A row that we cannot deal with must not hold up the others; without the database none would be dealt with.
            log.exception("bulk_row.failed", act=act, row=str(key))
            tally.refused += 1
            tally.reasons[OUR_FAULT] += 1
        else:
            tally.done += 1
        if time.monotonic() >= ends_at:
            break
    return tally


@transaction.atomic
def start_bulk_action(actor: Actor, *, act: str, targets: Sequence[UUID]) -> BulkAction:
    """Note that `act` is to be done to `targets`; `run_bulk_action` does it. Raises `Forbidden`, `InvalidInput`."""
    require_permission(actor, BULK_OPERATIONS[act].permission)
    if actor.user_id is None or not 0 < len(targets) <= MOST:
        raise InvalidInput(f"An act is somebody's, on 1 to {MOST:,} rows.")
    bulk = BulkAction.objects.create(act=act, user_id=actor.user_id, targets=list(targets), total=len(targets))
    record_audit(actor, "bulk_action.started", target=bulk, detail={"act": act, "rows": len(targets)})
    return bulk


@transaction.atomic
def stop_bulk_action(actor: Actor, *, bulk_id: UUID) -> BulkAction:
    """End it within a second, whoever began it; what is done stays done. Stopping what has ended changes nothing.

    Raises `NotFound`, `Forbidden`.
    """
    bulk = BulkAction.objects.select_for_update(of=("self",)).defer("targets").filter(pk=bulk_id).first()
    if bulk is None:
        raise NotFound
    require_permission(actor, BULK_OPERATIONS[bulk.act].permission)
    if bulk.status == BulkAction.Status.OPEN:
        _end(bulk.pk, BulkAction.Status.STOPPED, note=f"Stopped by {actor.name}.")
        record_audit(actor, "bulk_action.stopped", target=bulk, detail={"done": bulk.done, "refused": bulk.refused})
    bulk.refresh_from_db(fields=["status", "note", "finished_at"])
    return bulk


def run_bulk_action(bulk_id: UUID, *, seconds: float) -> int:
    """Go on with it for so long, at least for one row; how many were dealt with. None while another worker is at it."""
    worker, ends_at = new_id(), time.monotonic() + seconds
    if (bulk := _take(bulk_id, worker)) is None:
        return 0
    # What its user may is asked anew with every row.
    actor = Actor.user(user_id=bulk.user_id, name=bulk.user.get_username())
    dealt_with = 0
    try:
        while True:
            left = ends_at - time.monotonic()
            tally = perform(actor, bulk.act, _next(bulk), seconds=min(left, CHUNK_SECONDS))
            dealt_with += tally.rows
            if not _progress(bulk, worker, tally) or time.monotonic() >= ends_at:
                break
    finally:
        BulkAction.objects.filter(pk=bulk.pk, worker=worker).update(worker=None, lease_expires_at=None)
    return dealt_with


def schedule_bulk_actions() -> None:
    """Wake the scheduler for what `start_bulk_action` noted; its minute comes round for what that misses."""
    async_task("agents.tasks.run_bulk_actions", group="bulk")


def open_bulk_actions() -> list[UUID]:
    """Those that are not over, the oldest first."""
    rows = BulkAction.objects.filter(status=BulkAction.Status.OPEN).order_by("id")
    return list(rows.values_list("pk", flat=True))


def _take(bulk_id: UUID, worker: UUID) -> BulkAction | None:
    nobody = Q(lease_expires_at__isnull=True) | Q(lease_expires_at__lt=Now())
    free = BulkAction.objects.filter(nobody, pk=bulk_id, status=BulkAction.Status.OPEN)
    if not free.update(worker=worker, lease_expires_at=Now() + LEASE):
        return None
    return BulkAction.objects.select_related("user").defer("targets").get(pk=bulk_id)


def _next(bulk: BulkAction) -> list[UUID]:
    first = bulk.done + bulk.refused + 1
    with connection.cursor() as cursor:
        # Not the whole of a list of a million.
        cursor.execute(
            "SELECT targets[%s:%s] FROM agents_bulkaction WHERE id = %s", [first, first + CHUNK - 1, bulk.pk]
        )
        row = cursor.fetchone()
    return list(row[0]) if row else []


def _progress(bulk: BulkAction, worker: UUID, tally: Tally) -> bool:
    """Write what was done; whether to go on: it is still this worker's, nobody has stopped it, and rows are left."""
    bulk.done += tally.done
    bulk.refused += tally.refused
    bulk.reasons = dict((Counter(bulk.reasons) + tally.reasons).most_common(REASONS))
    mine = BulkAction.objects.filter(pk=bulk.pk, worker=worker)
    counts = {"done": bulk.done, "refused": bulk.refused, "reasons": bulk.reasons}
    if not mine.update(**counts, lease_expires_at=Now() + LEASE):
        return False
    if tally.ended_by is not None:
        _end(bulk.pk, BulkAction.Status.STOPPED, note=f"{bulk.user} may not do this any more.")
    elif bulk.done + bulk.refused >= bulk.total:
        _end(bulk.pk, BulkAction.Status.DONE)
    return mine.filter(status=BulkAction.Status.OPEN).exists()


def _end(bulk_id: UUID, status: BulkAction.Status, *, note: str = "") -> None:
    """The audit trail has the rows that were acted on, so they need not be kept."""
    still_open = BulkAction.objects.filter(pk=bulk_id, status=BulkAction.Status.OPEN)
    still_open.update(status=status, note=note[:200], finished_at=Now(), targets=[])
