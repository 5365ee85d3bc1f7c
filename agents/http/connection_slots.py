"""The limit of open connections over all web processes: numbered slots, leased to the process of the connection.

A connection is a websocket, an event stream, or a request that waits for an answer. The logins of a user share the
slots of a person; an API key has its own. A process renews one row (`renew`), whatever the number of its connections;
when it is killed the row expires, and all its slots are free.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from threading import Lock
from time import monotonic
from uuid import UUID

import structlog
from django.conf import settings
from django.db import connection

from accounts.actor import Actor
from foundation.db_threads import DATABASE_FAULTS, start_in_db_thread
from foundation.errors import RateLimited, Unauthenticated
from foundation.ids import new_id

log = structlog.get_logger(__name__)

# A killed process holds its slots for so long at most.
LEASE_SECONDS = 15
RETRY_SECONDS = 5.0
# All keys of a user together have so many times the slots of one: a user may have a hundred keys.
KEYS_TOGETHER = 2

# A slot is free when no row or no living process holds it. When two pick the same one, the second finds on the locked
# row that it is taken, and picks again. Without a limit nothing is free or taken.
_ACQUIRE_SLOT = """
WITH live AS MATERIALIZED (
    SELECT s.key_id, s.slot
    FROM agents_connectionslot s JOIN agents_webprocess p ON p.id = s.process_id AND p.expires_at > now()
    WHERE s.user_id = %(user)s
), size AS MATERIALIZED (
    SELECT CASE WHEN %(key)s::uuid IS NULL THEN %(limit)s
                ELSE coalesce((SELECT k.connections FROM accounts_apikey k WHERE k.id = %(key)s::uuid), 0) END AS slots
), free AS MATERIALIZED (
    SELECT n FROM size, generate_series(1, size.slots) n
    WHERE NOT EXISTS (SELECT FROM live l WHERE l.key_id IS NOT DISTINCT FROM %(key)s::uuid AND l.slot = n)
      AND (%(key)s::uuid IS NULL
           OR (SELECT count(*) FROM live l WHERE l.key_id IS NOT NULL) < size.slots * %(keys_together)s)
), taken AS (
    INSERT INTO agents_connectionslot AS s (user_id, key_id, slot, process_id)
    SELECT %(user)s, %(key)s::uuid, n, %(process)s FROM (SELECT n FROM free ORDER BY random() LIMIT 1) one
    ON CONFLICT (user_id, key_id, slot) DO UPDATE SET process_id = EXCLUDED.process_id
    WHERE NOT EXISTS (SELECT FROM agents_webprocess p WHERE p.id = s.process_id AND p.expires_at > now())
    RETURNING slot
)
SELECT (SELECT slot FROM taken), (SELECT count(*) FROM free), (SELECT slots FROM size)
"""
_RELEASE_SLOTS = """
DELETE FROM agents_connectionslot s
USING unnest(%(users)s::bigint[], %(keys)s::uuid[], %(slots)s::int[]) AS r(user_id, key_id, slot)
WHERE s.user_id = r.user_id AND s.key_id IS NOT DISTINCT FROM r.key_id AND s.slot = r.slot
  AND s.process_id = %(process)s
"""
_RENEW_PROCESS = """
INSERT INTO agents_webprocess (id, expires_at) VALUES (%(process)s, now() + %(lease)s * interval '1 second')
ON CONFLICT (id) DO UPDATE SET expires_at = EXCLUDED.expires_at
"""
_DELETE_PROCESSES = "DELETE FROM agents_webprocess WHERE expires_at < now() - interval '1 hour'"
_DELETE_SLOTS = """
DELETE FROM agents_connectionslot s WHERE NOT EXISTS (SELECT FROM agents_webprocess p WHERE p.id = s.process_id)
"""


class TooManyConnections(RateLimited):
    """You have too many connections open: websockets, event streams and requests that wait for an answer. Close one,
    and try again."""

    code = "too_many_connections"


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose slots: an API key's, or (None) those of a user's logins."""

    user_id: int
    key_id: UUID | None = None


class ConnectionSlots:
    """The slots of one process. The methods query the database, unless they say otherwise: call them in a database
    thread."""

    def __init__(self, lease_seconds: float = LEASE_SECONDS) -> None:
        self.process_id: UUID = new_id()
        self._lease_seconds = lease_seconds
        self._renewed_at: float | None = None
        self._unreleased: deque[tuple[Holder, int]] = deque()

    def lease(self, actor: Actor) -> SlotLease:
        """A lease for one connection, whose slot is not acquired yet. Makes no query. Raises `Unauthenticated`."""
        if actor.user_id is None:
            raise Unauthenticated
        return SlotLease(self, Holder(actor.user_id, actor.key_id))

    def acquire(self, holder: Holder) -> int | None:
        """The number of a slot, now held by this process; None where there is no limit. Raises `TooManyConnections`."""
        limit = settings.BANDSTAND.connections_per_user
        if holder.key_id is None and not limit:
            return None
        # First, and committed: a slot counts only while the row of its process is valid.
        self.renew_if_due()
        params = {
            "user": holder.user_id,
            "key": holder.key_id,
            "limit": limit,
            "keys_together": KEYS_TOGETHER,
            "process": self.process_id,
        }
        while True:
            with connection.cursor() as cursor:
                cursor.execute(_ACQUIRE_SLOT, params)
                slot, free, slots = cursor.fetchone()
            if slot is not None:
                return int(slot)
            if not slots:
                return None
            if not free:
                raise TooManyConnections(retry_after_seconds=RETRY_SECONDS, rule="connections")

    def release(self, holder: Holder, slot: int) -> None:
        """Free a slot of this process. Without the database it is queued and freed with a later `renew`."""
        self.release_later(holder, slot)
        try:
            self.release_pending()
        except DATABASE_FAULTS:
            log.warning("connection_slot.not_returned", user=holder.user_id)

    def release_later(self, holder: Holder, slot: int) -> None:
        """Free a slot with the next `release_pending` or `renew`. Makes no query."""
        self._unreleased.append((holder, slot))

    def renew_if_due(self) -> None:
        """Renew when a third of the lease has passed; cheap to call often."""
        if self._renewed_at is None or monotonic() - self._renewed_at >= self._lease_seconds / 3:
            self.renew()

    def renew(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(_RENEW_PROCESS, {"process": self.process_id, "lease": self._lease_seconds})
        self._renewed_at = monotonic()
        self.release_pending()

    def release_pending(self) -> None:
        """Free all queued slots in one statement, each by one thread only: it may belong to another process by now."""
        released: list[tuple[Holder, int]] = []
        while self._unreleased:
            try:
                released.append(self._unreleased.popleft())
            except IndexError:  # another thread was faster
                break
        if not released:
            return
        try:
            with connection.cursor() as cursor:
                cursor.execute(
                    _RELEASE_SLOTS,
                    {
                        "users": [holder.user_id for holder, _ in released],
                        "keys": [holder.key_id for holder, _ in released],
                        "slots": [slot for _, slot in released],
                        "process": self.process_id,
                    },
                )
        except DATABASE_FAULTS:
            self._unreleased.extend(released)
            raise


class SlotLease:
    """The slot of one connection. It may be cancelled while another thread still acquires it: then it is released."""

    def __init__(self, slots: ConnectionSlots, holder: Holder) -> None:
        self._slots = slots
        self._holder = holder
        self._lock = Lock()
        self._slot: int | None = None
        self._is_cancelled = False

    @property
    def is_acquired(self) -> bool:
        return self._slot is not None

    def acquire(self) -> None:
        """Acquire a slot, and release it at once if the lease was cancelled meanwhile. Raises `TooManyConnections`."""
        slot = self._slots.acquire(self._holder)
        with self._lock:
            self._slot, is_cancelled = slot, self._is_cancelled
        if is_cancelled:
            self.release()

    def cancel(self) -> None:
        """Note that the slot is not needed any more; `release` it if `is_acquired`. Makes no query."""
        with self._lock:
            self._is_cancelled = True

    def release(self) -> None:
        if (slot := self._pop_slot()) is not None:
            self._slots.release(self._holder, slot)

    def end(self) -> None:
        """Cancel, and release in a database thread. Returns at once; may be called from any thread, and twice."""
        self.cancel()
        if (slot := self._pop_slot()) is not None:
            self._slots.release_later(self._holder, slot)
            start_in_db_thread(_release_pending, self._slots)

    def _pop_slot(self) -> int | None:
        with self._lock:
            slot, self._slot = self._slot, None
        return slot

    def __del__(self) -> None:
        # For a response that nobody closed: a request may be cancelled between its view and its first byte.
        if self._slot is not None:
            self._slots.release_later(self._holder, self._slot)


def purge_lost_slots() -> int:
    """Delete the rows of processes that expired an hour ago, and their slots; return the number of slots."""
    with connection.cursor() as cursor:
        cursor.execute(_DELETE_PROCESSES)
        cursor.execute(_DELETE_SLOTS)
        return int(cursor.rowcount)


def _release_pending(slots: ConnectionSlots) -> None:
    try:
        slots.release_pending()
    except DATABASE_FAULTS:
        log.warning("connection_slot.not_returned")


_slots: ConnectionSlots | None = None


def get_slots() -> ConnectionSlots:
    """The slots of this process."""
    global _slots  # noqa: PLW0603 - one per process is the point
    if _slots is None:
        _slots = ConnectionSlots()
    return _slots
