"""Bulk actions: operations of operators on many rows, which are selected at once and processed one after the other.

Each row is a transaction of its own with its own entry in the audit trail, as if it were the only one. The worker holds
a lease, so the work may begin in one process and continue in another. When a process dies, the counts of the last
second are lost, and the rows of that second are processed again, which refuse.
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
from foundation.graphemes import cut_text
from foundation.ids import new_id

log = structlog.get_logger(__name__)

# A process has the ids of all of them in memory for a moment.
MAX_ROWS: Final = 200_000
# A worker that has not written its progress for so long counts as dead.
LEASE: Final = timedelta(seconds=30)
# The interval at which progress is written and a stop is noticed.
CHUNK_SECONDS: Final = 1.0
CHUNK: Final = 500
REASONS: Final = 5
BUSY: Final = "Somebody else was writing to it just then."
INTERNAL_ERROR: Final = "Something went wrong on our side; the log has it."


@dataclass(frozen=True, slots=True)
class BulkOperation:
    """The function for one row, and the permission that it needs."""

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
    """The results of a number of rows."""

    done: int = 0
    refused: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    # Set when the actor no longer has the permission, which ends the work.
    error: BandstandError | None = None

    @property
    def rows(self) -> int:
        return self.done + self.refused


def run_operation(actor: Actor, operation: str, keys: Iterable[UUID], *, seconds: float) -> Tally:
    """Run `operation` on one row after the other, at least on the first, for `seconds`. Rows that refuse are counted
    and skipped."""
    tally, ends_at = Tally(), time.monotonic() + seconds
    for key in keys:
        try:
            BULK_OPERATIONS[operation].verb(actor, key)
        except (Forbidden, Unauthenticated) as error:
            tally.error = error
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
            # A row that fails must not block the others.
            log.exception("bulk_row.failed", operation=operation, row=str(key))
            tally.refused += 1
            tally.reasons[INTERNAL_ERROR] += 1
        else:
            tally.done += 1
        if time.monotonic() >= ends_at:
            break
    return tally


@transaction.atomic
def start_bulk_action(actor: Actor, *, operation: str, targets: Sequence[UUID]) -> BulkAction:
    """Store a new bulk action, which `run_bulk_action` runs, and return it. Raises `Forbidden`, `InvalidInput`."""
    require_permission(actor, BULK_OPERATIONS[operation].permission)
    if actor.user_id is None or not 0 < len(targets) <= MAX_ROWS:
        raise InvalidInput(f"A bulk action is a user's, on 1 to {MAX_ROWS:,} rows.")
    bulk_action = BulkAction.objects.create(
        operation=operation, user_id=actor.user_id, targets=list(targets), total=len(targets)
    )
    record_audit(
        actor, "bulk_action.started", target=bulk_action, detail={"operation": operation, "rows": len(targets)}
    )
    return bulk_action


@transaction.atomic
def stop_bulk_action(actor: Actor, *, bulk_action_id: UUID) -> BulkAction:
    """Stop a bulk action within a second, whoever started it, and return it; rows that are done stay done. One that has
    ended does not change.

    Raises `NotFound`, `Forbidden`.
    """
    bulk_action = BulkAction.objects.select_for_update(of=("self",)).defer("targets").filter(pk=bulk_action_id).first()
    if bulk_action is None:
        raise NotFound
    require_permission(actor, BULK_OPERATIONS[bulk_action.operation].permission)
    if bulk_action.status == BulkAction.Status.OPEN:
        _end(bulk_action.pk, BulkAction.Status.STOPPED, note=f"Stopped by {actor.name}.")
        record_audit(
            actor,
            "bulk_action.stopped",
            target=bulk_action,
            detail={"done": bulk_action.done, "refused": bulk_action.refused},
        )
    bulk_action.refresh_from_db(fields=["status", "note", "finished_at"])
    return bulk_action


def run_bulk_action(bulk_action_id: UUID, *, seconds: float) -> int:
    """Run a bulk action for `seconds`, at least for one row, and return how many rows were processed: 0 while another
    worker has it."""
    worker, ends_at = new_id(), time.monotonic() + seconds
    if (bulk_action := _claim(bulk_action_id, worker)) is None:
        return 0
    # The user's permission is checked again for every row.
    actor = Actor.user(user_id=bulk_action.user_id, name=bulk_action.user.get_username())
    processed = 0
    try:
        while True:
            remaining = ends_at - time.monotonic()
            tally = run_operation(
                actor, bulk_action.operation, _next_targets(bulk_action), seconds=min(remaining, CHUNK_SECONDS)
            )
            processed += tally.rows
            if not _save_progress(bulk_action, worker, tally) or time.monotonic() >= ends_at:
                break
    finally:
        BulkAction.objects.filter(pk=bulk_action.pk, worker=worker).update(worker=None, lease_expires_at=None)
    return processed


def schedule_bulk_actions() -> None:
    """Queue the task that runs open bulk actions at once. Otherwise a schedule runs it every minute."""
    async_task("agents.tasks.run_bulk_actions", group="bulk")


def open_bulk_actions() -> list[UUID]:
    """The ids of bulk actions that have not ended, oldest first."""
    rows = BulkAction.objects.filter(status=BulkAction.Status.OPEN).order_by("id")
    return list(rows.values_list("pk", flat=True))


def _claim(bulk_action_id: UUID, worker: UUID) -> BulkAction | None:
    unclaimed = Q(lease_expires_at__isnull=True) | Q(lease_expires_at__lt=Now())
    free = BulkAction.objects.filter(unclaimed, pk=bulk_action_id, status=BulkAction.Status.OPEN)
    if not free.update(worker=worker, lease_expires_at=Now() + LEASE):
        return None
    return BulkAction.objects.select_related("user").defer("targets").get(pk=bulk_action_id)


def _next_targets(bulk_action: BulkAction) -> list[UUID]:
    first = bulk_action.done + bulk_action.refused + 1
    with connection.cursor() as cursor:
        # Only a slice of the array is read.
        cursor.execute(
            "SELECT targets[%s:%s] FROM agents_bulkaction WHERE id = %s", [first, first + CHUNK - 1, bulk_action.pk]
        )
        row = cursor.fetchone()
    return list(row[0]) if row else []


def _save_progress(bulk_action: BulkAction, worker: UUID, tally: Tally) -> bool:
    """Write the progress. False when another worker has the bulk action, it was stopped, or no rows are left."""
    bulk_action.done += tally.done
    bulk_action.refused += tally.refused
    bulk_action.reasons = dict((Counter(bulk_action.reasons) + tally.reasons).most_common(REASONS))
    own_row = BulkAction.objects.filter(pk=bulk_action.pk, worker=worker)
    counts = {"done": bulk_action.done, "refused": bulk_action.refused, "reasons": bulk_action.reasons}
    if not own_row.update(**counts, lease_expires_at=Now() + LEASE):
        return False
    if tally.error is not None:
        _end(bulk_action.pk, BulkAction.Status.STOPPED, note=f"{bulk_action.user} may not do this any more.")
    elif bulk_action.done + bulk_action.refused >= bulk_action.total:
        _end(bulk_action.pk, BulkAction.Status.DONE)
    return own_row.filter(status=BulkAction.Status.OPEN).exists()


def _end(bulk_action_id: UUID, status: BulkAction.Status, *, note: str = "") -> None:
    """End an open bulk action. Its targets are dropped; the audit trail has those that were processed."""
    open_row = BulkAction.objects.filter(pk=bulk_action_id, status=BulkAction.Status.OPEN)
    open_row.update(status=status, note=cut_text(note, 200), finished_at=Now(), targets=[])
