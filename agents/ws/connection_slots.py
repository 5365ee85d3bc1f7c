"""How many sockets a user may have open, over all web processes: numbered slots, held for as long as the process lives.

A process keeps one row alive (`beat`), whatever the number of its sockets; when it is killed that row runs out, and all
its slots are free.
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

# A slot is free when no row or no living process holds it. Two that pick the same one: the second finds on the locked
# row that it is taken, and picks again.
_TAKE = """
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
_GIVE_BACK = "DELETE FROM agents_socketslot WHERE user_id = %s AND slot = %s AND process_id = %s"
_BEAT = """
INSERT INTO agents_webprocess (id, expires_at) VALUES (%(process)s, now() + %(lease)s * interval '1 second')
ON CONFLICT (id) DO UPDATE SET expires_at = EXCLUDED.expires_at
"""
_FORGET_PROCESSES = "DELETE FROM agents_webprocess WHERE expires_at < now() - interval '1 hour'"
_FORGET_SLOTS = """
DELETE FROM agents_socketslot s WHERE NOT EXISTS (SELECT FROM agents_webprocess p WHERE p.id = s.process_id)
"""


class TooManySockets(RateLimited):
    """You have too many connections open. Close one, and try again."""

    code = "too_many_sockets"


class ConnectionSlots:
    """The sockets of one process. Its methods go to the database: call them in a database thread."""

    def __init__(self, lease_seconds: float = LEASE_SECONDS) -> None:
        self.process_id: UUID = new_id()
        self._lease_seconds = lease_seconds
        self._beat_at: float | None = None
        self._owed: list[tuple[int, int]] = []

    def hold(self, user_id: int) -> SlotLease:
        """The place of one socket, not yet taken."""
        return SlotLease(self, user_id)

    def take(self, user_id: int) -> int | None:
        """A slot for one more socket; None where there is no limit. Raises `TooManySockets`."""
        limit = settings.BANDSTAND.sockets_per_user
        if not limit:
            return None
        # Before, and committed: a slot counts only while its process does.
        self.beat_if_due()
        while True:
            with connection.cursor() as cursor:
                cursor.execute(_TAKE, {"user": user_id, "limit": limit, "process": self.process_id})
                slot, free = cursor.fetchone()
            if slot is not None:
                return int(slot)
            if not free:
                raise TooManySockets(retry_after_seconds=RETRY_SECONDS, rule="sockets")

    def give_back(self, user_id: int, slot: int) -> None:
        """Without the database it is owed, and given back with a later beat."""
        self._owed.append((user_id, slot))
        try:
            self._pay()
        except DATABASE_FAULTS:
            log.warning("socket_slot.not_returned", user=user_id)

    def beat_if_due(self) -> None:
        """Keep what this process holds for another lease, and give back what is owed; seldom enough to ask often."""
        if self._beat_at is None or monotonic() - self._beat_at >= self._lease_seconds / 3:
            self.beat()

    def beat(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(_BEAT, {"process": self.process_id, "lease": self._lease_seconds})
        self._beat_at = monotonic()
        self._pay()

    def _pay(self) -> None:
        """What one thread takes here no other pays: the slot may have been given to somebody else meanwhile."""
        while self._owed:
            try:
                owed = self._owed.pop()
            except IndexError:  # another thread was faster
                return
            try:
                with connection.cursor() as cursor:
                    cursor.execute(_GIVE_BACK, [*owed, self.process_id])
            except DATABASE_FAULTS:
                self._owed.append(owed)
                raise


class SlotLease:
    """The place of one socket. It may be left while it is still being taken, by another thread: then it is not kept."""

    def __init__(self, slots: ConnectionSlots, user_id: int) -> None:
        self._slots = slots
        self._user_id = user_id
        self._lock = Lock()
        self._slot: int | None = None
        self._left = False

    @property
    def taken(self) -> bool:
        return self._slot is not None

    def take(self) -> None:
        """Raises `TooManySockets`."""
        slot = self._slots.take(self._user_id)
        with self._lock:
            self._slot, left = slot, self._left
        if left:
            self.give_back()

    def leave(self) -> None:
        """From now on this place is not wanted; `give_back` it if it is taken. Touches no database."""
        with self._lock:
            self._left = True

    def give_back(self) -> None:
        with self._lock:
            slot, self._slot = self._slot, None
        if slot is not None:
            self._slots.give_back(self._user_id, slot)


def purge_lost_slots() -> int:
    """Delete the rows of processes that are long gone, and of their sockets; how many they were."""
    with connection.cursor() as cursor:
        cursor.execute(_FORGET_PROCESSES)
        cursor.execute(_FORGET_SLOTS)
        return int(cursor.rowcount)


_slots: ConnectionSlots | None = None


def get_slots() -> ConnectionSlots:
    """The slots of this process."""
    global _slots  # noqa: PLW0603 - one per process is the point
    if _slots is None:
        _slots = ConnectionSlots()
    return _slots
