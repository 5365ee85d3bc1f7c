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
    result: CompletionResult | None = None


@dataclass(slots=True)
class _PendingText:
    """Words that were heard and are still to be told. Those since the last tool may be void yet."""

    final: list[str] = field(default_factory=list)
    provisional: list[str] = field(default_factory=list)
    # Whether some of those since the last tool were told.
    was_sent: bool = False

    def finalize(self) -> None:
        self.final += self.provisional
        self.provisional, self.was_sent = [], False

    def drop(self) -> bool:
        """Forget those since the last tool; whether some of them were told."""
        was_sent, self.was_sent = self.was_sent, False
        self.provisional = []
        return was_sent

    def take(self) -> str:
        self.was_sent = self.was_sent or bool(self.provisional)
        text = "".join((*self.final, *self.provisional))
        self.final, self.provisional = [], []
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
        self._authorization = StreamAuthorization(request, actor, session_id)
        self._catches_up = catch_up
        self._caught_up_seq = seq
        self._pending = _PendingText()
        self._has_text = self._restarted = self._retracted = False
        self._subscription = get_hub().subscribe(session_id, seq)

    def close(self) -> None:
        """On the event loop."""
        self._subscription.close()

    async def next_update(self, seconds: float = inf) -> TurnUpdate:
        """What happened next; nothing, if nothing did for `seconds`, or for some seconds at most.

        Raises `ApprovalRequired`, `ServerStops`, and as `StreamAuthorization`.
        """
        if self._catches_up:
            self._caught_up_seq = await self._last_seq()
            self._catches_up = False
        item = await self._subscription.get(min(seconds, self._authorization.seconds_left))
        if self._subscription.closed:
            raise ServerStops(retry_after_seconds=1)
        await self._authorization.check()
        if item is None:
            return TurnUpdate()
        if isinstance(item, Resync):
            return await self._read_state()
        return await self._process(item)

    async def _process(self, events: list[LoggedEvent]) -> TurnUpdate:
        result: CompletionResult | None = None
        for event in events:
            if event.turn != self._turn:
                continue
            if event.type in TERMINAL_EVENTS:
                result = await self._read_result()
                break
            await self._apply(event)
        if result is None and events[-1].seq < self._caught_up_seq:
            return TurnUpdate()
        update = TurnUpdate(self._pending.take(), self._restarted, self._retracted, result)
        self._restarted = self._retracted = False
        return update

    async def _apply(self, event: LoggedEvent) -> None:
        if event.type == EventType.MESSAGE_DELTA:
            self._pending.provisional.append(orjson.loads(event.data)["text"])
            self._has_text = True
        elif event.type in _TOOLS:
            self._pending.finalize()
        elif event.type == EventType.MODEL_RETRYING:
            self._retracted = self._pending.drop() or self._retracted
        elif event.type == EventType.TURN_RESTARTED:
            self._pending = _PendingText()
            self._restarted = self._restarted or self._has_text
        elif event.type == EventType.TURN_WAITING and orjson.loads(event.data)["for"] == WaitReason.APPROVAL:
            # Unless somebody has decided by now: the rest of what happened comes next.
            await self._read_result()

    async def _read_state(self) -> TurnUpdate:
        """The events were folded together: how the turn stands now, and what follows from here."""
        self._subscription.reset(after=await self._last_seq())
        self._pending = _PendingText()
        result = await self._read_result()
        return TurnUpdate(restarted=True, result=result if result.ended else None)

    async def _last_seq(self) -> int:
        session = await in_db_thread(access_session, actor=self._actor, session_id=self._session_id)
        return int(session.next_seq) - 1

    async def _read_result(self) -> CompletionResult:
        """How the turn stands. Raises `ApprovalRequired`."""
        result: CompletionResult = await in_db_thread(read_completion_result, self._actor, turn_id=self._turn_id)
        if result.wait_reason is WaitReason.APPROVAL:
            raise ApprovalRequired
        return result


def response_headers(session_id: UUID, turn_id: UUID | None) -> dict[str, Any]:
    """The headers that say where an answer belongs."""
    turn = {"X-Turn-Id": str(turn_id)} if turn_id else {}
    return {"X-Session-Id": str(session_id), **turn}
