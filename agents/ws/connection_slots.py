"""The limit of open sockets per user over all web processes: numbered slots, leased to the process of the socket.

A process renews one row (`renew`), whatever the number of its sockets; when it is killed the row expires, and all its
slots are free.
"""

from __future__ import annotations

from threading import Lock
from time import monotonic
from uuid import UUID

import structlog
from django.conf import settings
from django.db import connection

from foundation.db_threads import DATABASE_FAULTS
from foundation.errors import RateLimited
from foundation.ids import new_id

log = structlog.get_logger(__name__)

# A killed process holds its slots for so long at most.
LEASE_SECONDS = 15
RETRY_SECONDS = 5.0

# A slot is free when no row or no living process holds it. When two pick the same one, the second finds on the locked
# row that it is taken, and picks again.
_ACQUIRE_SLOT = """
WITH free AS MATERIALIZED (
    SELECT n FROM generate_series(1, %(limit)s) n
    WHERE NOT EXISTS (
        SELECT FROM agents_socketslot s JOIN agents_webprocess p ON p.id = s.process_id AND p.expires_at > now()
        WHERE s.user_id = %(user)s AND s.slot = n)
), taken AS (
    INSERT INTO agents_socketslot AS s (user_id, slot, process_id)
    SELECT %(user)s, n, %(process)s FROM (SELECT n FROM free ORDER BY random() LIMIT 1) one
    ON CONFLICT (user_id, slot) DO UPDATE SET process_id = EXCLUDED.process_id
    WHERE NOT EXISTS (SELECT FROM agents_webprocess p WHERE p.id = s.process_id AND p.expires_at > now())
    RETURNING slot
)
SELECT (SELECT slot FROM taken), (SELECT count(*) FROM free)
"""
_RELEASE_SLOT = "DELETE FROM agents_socketslot WHERE user_id = %s AND slot = %s AND process_id = %s"
_RENEW_PROCESS = """
INSERT INTO agents_webprocess (id, expires_at) VALUES (%(process)s, now() + %(lease)s * interval '1 second')
ON CONFLICT (id) DO UPDATE SET expires_at = EXCLUDED.expires_at
"""
_DELETE_PROCESSES = "DELETE FROM agents_webprocess WHERE expires_at < now() - interval '1 hour'"
_DELETE_SLOTS = """
DELETE FROM agents_socketslot s WHERE NOT EXISTS (SELECT FROM agents_webprocess p WHERE p.id = s.process_id)
"""


class TooManySockets(RateLimited):
    """You have too many connections open. Close one, and try again."""

    code = "too_many_sockets"


class ConnectionSlots:
    """The slots of one process. The methods query the database: call them in a database thread."""

    def __init__(self, lease_seconds: float = LEASE_SECONDS) -> None:
        self.process_id: UUID = new_id()
        self._lease_seconds = lease_seconds
        self._renewed_at: float | None = None
        self._unreleased: list[tuple[int, int]] = []

    def lease(self, user_id: int) -> SlotLease:
        """A lease for one socket, whose slot is not acquired yet."""
        return SlotLease(self, user_id)

    def acquire(self, user_id: int) -> int | None:
        """The number of a slot, now held by this process; None where there is no limit. Raises `TooManySockets`."""
        limit = settings.BANDSTAND.sockets_per_user
        if not limit:
            return None
        # First, and committed: a slot counts only while the row of its process is valid.
        self.renew_if_due()
        while True:
            with connection.cursor() as cursor:
                cursor.execute(_ACQUIRE_SLOT, {"user": user_id, "limit": limit, "process": self.process_id})
                slot, free = cursor.fetchone()
            if slot is not None:
                return int(slot)
            if not free:
                raise TooManySockets(retry_after_seconds=RETRY_SECONDS, rule="sockets")

    def release(self, user_id: int, slot: int) -> None:
        """Free a slot of this process. Without the database it is queued and freed with a later `renew`."""
        self._unreleased.append((user_id, slot))
        try:
            self._release_pending()
        except DATABASE_FAULTS:
            log.warning("socket_slot.not_returned", user=user_id)

    def renew_if_due(self) -> None:
        """Renew when a third of the lease has passed; cheap to call often."""
        if self._renewed_at is None or monotonic() - self._renewed_at >= self._lease_seconds / 3:
            self.renew()

    def renew(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(_RENEW_PROCESS, {"process": self.process_id, "lease": self._lease_seconds})
        self._renewed_at = monotonic()
        self._release_pending()

    def _release_pending(self) -> None:
        """Free the queued slots, each by one thread only: a slot may belong to another process by now."""
        while self._unreleased:
            try:
                slot_row = self._unreleased.pop()
            except IndexError:  # another thread was faster
                return
            try:
                with connection.cursor() as cursor:
                    cursor.execute(_RELEASE_SLOT, [*slot_row, self.process_id])
            except DATABASE_FAULTS:
                self._unreleased.append(slot_row)
                raise


class SlotLease:
    """The slot of one socket. It may be cancelled while another thread still acquires it: then it is released."""

    def __init__(self, slots: ConnectionSlots, user_id: int) -> None:
        self._slots = slots
        self._user_id = user_id
        self._lock = Lock()
        self._slot: int | None = None
        self._is_cancelled = False

    @property
    def is_acquired(self) -> bool:
        return self._slot is not None

    def acquire(self) -> None:
        """Acquire a slot, and release it at once if the lease was cancelled meanwhile. Raises `TooManySockets`."""
        slot = self._slots.acquire(self._user_id)
        with self._lock:
            self._slot, is_cancelled = slot, self._is_cancelled
        if is_cancelled:
            self.release()

    def cancel(self) -> None:
        """Note that the slot is not needed any more; `release` it if `is_acquired`. Makes no query."""
        with self._lock:
            self._is_cancelled = True

    def release(self) -> None:
        with self._lock:
            slot, self._slot = self._slot, None
        if slot is not None:
            self._slots.release(self._user_id, slot)


def purge_lost_slots() -> int:
    """Delete the rows of processes that expired an hour ago, and their slots; return the number of slots."""
    with connection.cursor() as cursor:
        cursor.execute(_DELETE_PROCESSES)
        cursor.execute(_DELETE_SLOTS)
        return int(cursor.rowcount)


_slots: ConnectionSlots | None = None


def get_slots() -> ConnectionSlots:
    """The slots of this process."""
    global _slots  # noqa: PLW0603 - one per process is the point
    if _slots is None:
        _slots = ConnectionSlots()
    return _slots
