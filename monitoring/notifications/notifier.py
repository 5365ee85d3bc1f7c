"""The notifier: delivers what is due in the outbox. Background work of every web process and runner.

It needs neither the scheduler nor the event loop. Deliveries run in threads of their own, one for each channel, so that
a slow one holds up no other; only the notifier's own thread uses the database.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from queue import SimpleQueue
from time import monotonic, sleep
from typing import Final
from uuid import UUID

import structlog
from django.db import close_old_connections, connection

from foundation.db_threads import DATABASE_FAULTS
from foundation.db_timeouts import statement_timeout
from foundation.process_work import Process
from monitoring.models import Notification
from monitoring.notifications.message import DeliveryOutcome
from monitoring.notifications.outbox import DeliveryClaim, claim_deliveries, has_due_notifications, record_outcome

# `delivery` is imported by what delivers: its HTTP client is 20 MB, in every process of an installation.

log = structlog.get_logger(__name__)

# One statement over an index of what waits.
POLL_SECONDS: Final = 3.0
MAX_DELIVERIES: Final = 8
STATEMENT_SECONDS: Final = 5.0
# What is under way for longer is left, and sent again when its claim has run out.
STOP_SECONDS: Final = 3.0
_LOOK_SECONDS: Final = 0.5


def deliver_due(*, channel_ids: Collection[UUID] | None = None) -> int:
    """Deliver what is due now, to `channel_ids` if given, one after the other in this thread; return how many
    notifications were sent."""
    from monitoring.notifications.delivery import deliver, read_delivery_settings

    sent = 0
    delivery_settings = read_delivery_settings()
    while claims := claim_deliveries(1, channel_ids=channel_ids):
        for claim in claims:
            outcome = deliver(claim.recipient, claim.messages, delivery_settings)
            record_outcome(claim, outcome)
            sent += len(claim.messages) if outcome.succeeded else 0
    return sent


def wait_until_delivered(notification_ids: Collection[UUID], *, seconds: float) -> bool:
    """Deliver these notifications, or wait until another process has; return whether none waits any more.

    Where a channel has a delivery under way or a pause, this takes until its end, and `seconds` at most.
    """
    waiting = Notification.objects.filter(pk__in=notification_ids, state=Notification.State.WAITING)
    deadline = monotonic() + seconds
    while channel_ids := list(waiting.values_list("channel", flat=True)):
        deliver_due(channel_ids=channel_ids)
        if monotonic() > deadline:
            return not waiting.exists()
        sleep(_LOOK_SECONDS if waiting.exists() else 0)
    return True


class Notifier(threading.Thread):
    """Claims, delivers and records. Without a database nothing is claimed, and outcomes wait to be recorded."""

    def __init__(
        self,
        process: Process | None = None,  # noqa: ARG002 - as the registry calls it
        *,
        poll_seconds: float = POLL_SECONDS,
        stop_seconds: float = STOP_SECONDS,
    ) -> None:
        super().__init__(name="notifier", daemon=True)
        self._poll_seconds = poll_seconds
        self._stop_seconds = stop_seconds
        self._stopping = False
        # Something has happened: a delivery has ended, or the process does.
        self._wake = threading.Event()
        self._done: SimpleQueue[tuple[DeliveryClaim, DeliveryOutcome]] = SimpleQueue()
        self._unrecorded: list[tuple[DeliveryClaim, DeliveryOutcome]] = []
        self._under_way = 0

    def stop(self) -> None:
        """Finish the deliveries under way and end, within some seconds."""
        self._stopping = True
        self._wake.set()
        self.join(self._stop_seconds + 2)

    def run(self) -> None:
        while not self._stopping:
            self._record()
            self.look()
            self._wake.wait(self._poll_seconds)
            self._wake.clear()
        self._record()
        while self._under_way and self._wake.wait(self._stop_seconds):
            self._wake.clear()
            self._record()
        connection.close()

    def look(self) -> None:
        """Start the deliveries that are due. One statement where none is, as most of the time: every process looks, and
        a statement timeout of its own would cost two more."""
        self._guard(self._start_due)

    def _guard(self, work: Callable[[], object]) -> None:
        try:
            work()
        except DATABASE_FAULTS as error:
            log.warning("notifier.interrupted", error=str(error)[:200])
            connection.close()
        except Exception:
            log.exception("notifier.failed")
        finally:
            close_old_connections()

    def _start_due(self) -> None:
        if not has_due_notifications():
            return
        with statement_timeout(STATEMENT_SECONDS):
            claims = claim_deliveries(MAX_DELIVERIES - self._under_way)
        for claim in claims:
            self._under_way += 1
            # Not of an executor, whose threads hold up the end of the process until the last receiver has answered.
            threading.Thread(target=self._deliver, args=(claim,), name="notification", daemon=True).start()

    def _deliver(self, claim: DeliveryClaim) -> None:
        from monitoring.notifications.delivery import deliver, read_delivery_settings

        self._done.put((claim, deliver(claim.recipient, claim.messages, read_delivery_settings())))
        self._wake.set()

    def _record(self) -> None:
        """Record what has ended. Uses no database if nothing has."""
        while not self._done.empty():
            self._unrecorded.append(self._done.get_nowait())
            self._under_way -= 1
        if self._unrecorded:
            self._guard(self._record_outcomes)

    def _record_outcomes(self) -> None:
        while self._unrecorded:
            try:
                with statement_timeout(STATEMENT_SECONDS):
                    record_outcome(*self._unrecorded[0])
            except DATABASE_FAULTS:
                raise
            except Exception:
                # It would fail again. The claim runs out, and the notification is delivered once more.
                log.exception("notification.not_recorded")
            del self._unrecorded[0]
