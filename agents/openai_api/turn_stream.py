"""One turn, as the client that waits for it is told: words as they become durable, then the outcome."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import Any
from uuid import UUID

import orjson
from django.http import HttpRequest

from accounts.actor import Actor
from agents.domain.events import TERMINAL_EVENTS, EventType
from agents.domain.states import WaitReason
from agents.http.revalidation import StreamAuthorization
from agents.openai_api.errors import ApprovalRequired
from agents.relay import LoggedEvent, Resync, get_hub
from agents.sessions import CompletionResult, access_session, read_completion_result
from foundation.db_threads import in_db_thread
from rest.errors import ServerStops

_TOOLS = frozenset({EventType.TOOL_STARTED, EventType.TOOL_FINISHED, EventType.TOOL_FAILED})


@dataclass(frozen=True, slots=True)
class TurnUpdate:
    """What one look brought. `restarted`: words were heard before `text` that are void now, or that the log no longer
    has. `retracted`: words that an earlier look brought are void, and `text` stands in their place. `outcome`: there
    will be no more."""

    text: str = ""
    restarted: bool = False
    retracted: bool = False
    outcome: CompletionResult | None = None


@dataclass(slots=True)
class _Text:
    """Words that were heard and are still to be told. Those since the last tool may be void yet."""

    settled: list[str] = field(default_factory=list)
    loose: list[str] = field(default_factory=list)
    # Whether some of those since the last tool were told.
    told: bool = False

    def settle(self) -> None:
        self.settled += self.loose
        self.loose, self.told = [], False

    def drop(self) -> bool:
        """Forget those since the last tool; whether some of them were told."""
        told, self.told = self.told, False
        self.loose = []
        return told

    def tell(self) -> str:
        self.told = self.told or bool(self.loose)
        text = "".join((*self.settled, *self.loose))
        self.settled, self.loose = [], []
        return text


class TurnFollower:
    """Follows one turn from the event after `seq`, on the running event loop. `close` it; that changes nothing else.

    With `catch_up` nothing is told before all that has happened by now is known: words that are void by now are not
    told at all.
    """

    def __init__(
        self, request: HttpRequest, actor: Actor, *, session_id: UUID, turn_id: UUID, seq: int, catch_up: bool = False
    ) -> None:
        self._actor = actor
        self._session_id = session_id
        self._turn_id = turn_id
        self._turn = str(turn_id)
        self._welcome = StreamAuthorization(request, actor, session_id)
        self._catches_up = catch_up
        self._present = seq
        self._words = _Text()
        self._spoken = self._restarted = self._retracted = False
        self._watcher = get_hub().subscribe(session_id, seq)

    def close(self) -> None:
        """On the event loop."""
        self._watcher.close()

    async def hear(self, seconds: float = inf) -> TurnUpdate:
        """What happened next; nothing, if nothing did for `seconds`, or for some seconds at most.

        Raises `ApprovalRequired`, `ServerStops`, and as `StreamAuthorization`.
        """
        if self._catches_up:
            self._present = await self._last_seq()
            self._catches_up = False
        item = await self._watcher.get(min(seconds, self._welcome.seconds_left))
        if self._watcher.closed:
            raise ServerStops(retry_after_seconds=1)
        await self._welcome.check()
        if item is None:
            return TurnUpdate()
        if isinstance(item, Resync):
            return await self._looked_up()
        return await self._heard(item)

    async def _heard(self, events: list[LoggedEvent]) -> TurnUpdate:
        outcome: CompletionResult | None = None
        for event in events:
            if event.turn != self._turn:
                continue
            if event.type in TERMINAL_EVENTS:
                outcome = await self._outcome()
                break
            await self._take(event)
        if outcome is None and events[-1].seq < self._present:
            return TurnUpdate()
        heard = TurnUpdate(self._words.tell(), self._restarted, self._retracted, outcome)
        self._restarted = self._retracted = False
        return heard

    async def _take(self, event: LoggedEvent) -> None:
        if event.type == EventType.MESSAGE_DELTA:
            self._words.loose.append(orjson.loads(event.data)["text"])
            self._spoken = True
        elif event.type in _TOOLS:
            self._words.settle()
        elif event.type == EventType.MODEL_RETRYING:
            self._retracted = self._words.drop() or self._retracted
        elif event.type == EventType.TURN_RESTARTED:
            self._words = _Text()
            self._restarted = self._restarted or self._spoken
        elif event.type == EventType.TURN_WAITING and orjson.loads(event.data)["for"] == WaitReason.APPROVAL:
            # Unless somebody has decided by now: the rest of what happened comes next.
            await self._outcome()

    async def _looked_up(self) -> TurnUpdate:
        """The events were folded together: how the turn stands now, and what follows from here."""
        self._watcher.reset(after=await self._last_seq())
        self._words = _Text()
        outcome = await self._outcome()
        return TurnUpdate(restarted=True, outcome=outcome if outcome.is_finished else None)

    async def _last_seq(self) -> int:
        session = await in_db_thread(access_session, actor=self._actor, session_id=self._session_id)
        return int(session.next_seq) - 1

    async def _outcome(self) -> CompletionResult:
        """How the turn stands. Raises `ApprovalRequired`."""
        outcome: CompletionResult = await in_db_thread(read_completion_result, self._actor, turn_id=self._turn_id)
        if outcome.wait_reason is WaitReason.APPROVAL:
            raise ApprovalRequired
        return outcome


def names(session_id: UUID, turn_id: UUID | None) -> dict[str, Any]:
    """The headers that say where an answer belongs."""
    turn = {"X-Turn-Id": str(turn_id)} if turn_id else {}
    return {"X-Session-Id": str(session_id), **turn}
