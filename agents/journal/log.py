"""Read the log of events. JSON stays text from the row to the socket: nothing in between needs to parse it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from agents.journal.queries import fetch
from agents.journal.sql import LOG_PAGE
from foundation.page_size import PAGE_BYTES


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """One row of a session's log. `data` is JSON text; `replaces_from` as in `agents.models.Event`."""

    seq: int
    turn: str | None
    type: str
    data: str
    at: str
    replaces_from: int | None

    @property
    def first_seq(self) -> int:
        """The first seq that this row covers."""
        return self.replaces_from or self.seq


def read_log(session_id: UUID, *, after: int, limit: int) -> list[LoggedEvent]:
    """Up to `limit` events of a session after seq `after`, in order; fewer if they have `PAGE_BYTES` together."""
    rows = fetch(LOG_PAGE, {"session": session_id, "after": after, "limit": limit, "bytes": PAGE_BYTES})
    return [LoggedEvent(*row) for row in rows]


def is_contiguous(after: int, events: Sequence[LoggedEvent], last_seq: int) -> bool:
    """Whether `events` continue right after seq `after`, or there are none after it. If not, some of the events in
    between were compacted or pruned."""
    if not events:
        return after >= last_seq
    return events[0].first_seq == after + 1
