"""One turn, as the client that waits for it is told: words as they become durable, then the outcome."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any
from uuid import UUID

import orjson
from django.http import HttpRequest

from accounts.actor import Actor
from agents.domain.states import TERMINAL_EVENTS, TurnStatus
from agents.http.revalidation import Welcome
from agents.openai_api.errors import ApprovalRequired
from agents.relay import LoggedEvent, Resync, get_hub
from agents.sessions import Outcome, access_session, read_outcome
from foundation.db_threads import in_db_thread
from rest.errors import ServerStops

_APPROVALS = frozenset({"approval.requested", "turn.waiting"})


@dataclass(frozen=True, slots=True)
class Heard:
    """What one look brought. `restarted`: words were heard before `text` that are void now, or that the log no longer
    has. `outcome`: there will be no more."""

    text: str = ""
    restarted: bool = False
    outcome: Outcome | None = None


class Follower:
    """Follows one turn from the event after `seq`, on the running event loop. `close` it; that changes nothing else."""

    def __init__(self, request: HttpRequest, actor: Actor, *, session_id: UUID, turn_id: UUID, seq: int) -> None:
        self._actor = actor
        self._session_id = session_id
        self._turn_id = turn_id
        self._turn = str(turn_id)
        self._welcome = Welcome(request, actor, session_id)
        self._spoken = False
        self._watcher = get_hub().subscribe(session_id, seq)

    def close(self) -> None:
        """On the event loop."""
        self._watcher.close()

    async def hear(self, seconds: float = inf) -> Heard:
        """What happened next; nothing, if nothing did for `seconds`, or for some seconds at most.

        Raises `ApprovalRequired`, `ServerStops`, and as `Welcome`.
        """
        item = await self._watcher.get(min(seconds, self._welcome.seconds_left))
        if self._watcher.closed:
            raise ServerStops(retry_after_seconds=1)
        await self._welcome.check()
        if item is None:
            return Heard()
        if isinstance(item, Resync):
            return await self._looked_up()
        return await self._heard(item)

    async def _heard(self, events: list[LoggedEvent]) -> Heard:
        text: list[str] = []
        restarted = False
        for event in events:
            if event.turn != self._turn:
                continue
            if event.type == "message.delta":
                text.append(orjson.loads(event.data)["text"])
                self._spoken = True
            elif event.type == "turn.restarted":
                text, restarted = [], restarted or self._spoken
            elif event.type in _APPROVALS:
                raise ApprovalRequired
            elif event.type in TERMINAL_EVENTS:
                return Heard("".join(text), restarted, await self._outcome())
        return Heard("".join(text), restarted)

    async def _looked_up(self) -> Heard:
        """The events were folded together: how the turn stands now, and what follows from here."""
        session = await in_db_thread(access_session, actor=self._actor, session_id=self._session_id)
        self._watcher.reset(after=session.next_seq - 1)
        outcome = await self._outcome()
        return Heard(restarted=True, outcome=outcome if outcome.ended else None)

    async def _outcome(self) -> Outcome:
        outcome: Outcome = await in_db_thread(read_outcome, self._actor, turn_id=self._turn_id)
        if outcome.status is TurnStatus.WAITING:
            raise ApprovalRequired
        return outcome


def names(session_id: UUID, turn_id: UUID | None) -> dict[str, Any]:
    """The headers that say where an answer belongs."""
    turn = {"X-Turn-Id": str(turn_id)} if turn_id else {}
    return {"X-Session-Id": str(session_id), **turn}
