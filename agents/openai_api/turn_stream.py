"""Follows one turn for a waiting client: text as it becomes durable, then the result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson

from accounts.actor import Actor
from agents.domain.events import TERMINAL_EVENTS, EventType
from agents.domain.states import WaitReason
from agents.http.long_responses import LongResponse
from agents.http.streams import waits_for_approval
from agents.openai_api.errors import ApprovalRequired
from agents.relay import LoggedEvent, Resync, get_hub
from agents.sessions import CompletionResult, access_session, read_completion_result
from foundation.db_threads import in_db_thread
from rest.errors import ServerStops

_TOOLS = frozenset({EventType.TOOL_STARTED, EventType.TOOL_FINISHED, EventType.TOOL_FAILED})


@dataclass(frozen=True, slots=True)
class TurnUpdate:
    """The news of one wait; `reasoning` came before `text`. `restarted`: earlier text is void, or missing in the log.
    `retracted`: text of an earlier update is void, and `text` replaces it. `result`: the turn has ended. Reasoning may
    become void without a word."""

    text: str = ""
    reasoning: str = ""
    restarted: bool = False
    retracted: bool = False
    result: CompletionResult | None = None

    @property
    def has_words(self) -> bool:
        return bool(self.text or self.reasoning)


@dataclass(slots=True)
class _PendingText:
    """Received text that is not delivered yet; since the last tool call it is provisional and may be retracted. The
    same for reasoning."""

    final: list[str] = field(default_factory=list)
    provisional: list[str] = field(default_factory=list)
    final_reasoning: list[str] = field(default_factory=list)
    provisional_reasoning: list[str] = field(default_factory=list)
    # Whether some of the text since the last tool call was delivered.
    was_sent: bool = False

    def finalize(self) -> None:
        self.final += self.provisional
        self.final_reasoning += self.provisional_reasoning
        self.provisional, self.provisional_reasoning, self.was_sent = [], [], False

    def drop(self) -> bool:
        """Drop text and reasoning since the last tool call; return whether some of the text was delivered."""
        was_sent, self.was_sent = self.was_sent, False
        self.provisional, self.provisional_reasoning = [], []
        return was_sent

    def take(self) -> tuple[str, str]:
        """The text and the reasoning."""
        self.was_sent = self.was_sent or bool(self.provisional)
        text = "".join((*self.final, *self.provisional))
        reasoning = "".join((*self.final_reasoning, *self.provisional_reasoning))
        self.final, self.provisional = [], []
        self.final_reasoning, self.provisional_reasoning = [], []
        return text, reasoning


class TurnFollower:
    """Follows one turn from the event after `seq`, on the running event loop, until `close`. `long` ends with it.

    With `catch_up` all existing events are read before the first text is delivered, so that text that was retracted
    meanwhile is not delivered at all. `is_behind`: other turns of the session may be open.
    """

    def __init__(
        self,
        long: LongResponse,
        actor: Actor,
        *,
        session_id: UUID,
        turn_id: UUID,
        seq: int,
        catch_up: bool = False,
        is_behind: bool = False,
    ) -> None:
        self._actor = actor
        self._session_id = session_id
        self._turn_id = turn_id
        self._turn = str(turn_id)
        self._long = long
        self._catches_up = catch_up
        self._is_behind = self._asks_for_approvals = is_behind
        self._caught_up_seq = seq
        self._pending = _PendingText()
        self._has_text = self._restarted = self._retracted = False
        self._subscription = get_hub().subscribe(session_id, seq)
        long.watch(session_id, self._subscription.close)

    def close(self) -> None:
        """End the subscription and free the slot. Call it on the event loop; safe to call twice."""
        self._subscription.close()
        self._long.end()

    async def next_update(self, seconds: float | None = None) -> TurnUpdate:
        """The next update; an empty one after `seconds`.

        Raises `ApprovalRequired`, `ServerStops`, `Unauthenticated` and `NotFound`.
        """
        if self._asks_for_approvals:
            self._asks_for_approvals = False
            await self._read_result()
        if self._catches_up:
            self._caught_up_seq = await self._last_seq()
            self._catches_up = False
        item = await self._subscription.get(seconds)
        self._long.check()
        if self._subscription.closed:
            raise ServerStops(retry_after_seconds=1)
        if item is None:
            return TurnUpdate()
        if isinstance(item, Resync):
            return await self._read_state()
        return await self._process(item)

    async def _process(self, events: list[LoggedEvent]) -> TurnUpdate:
        result: CompletionResult | None = None
        for event in events:
            if event.turn != self._turn:
                if self._is_behind and waits_for_approval(event):
                    await self._read_result()
                continue
            if event.type in TERMINAL_EVENTS:
                result = await self._read_result()
                break
            await self._apply(event)
        if result is None and events[-1].seq < self._caught_up_seq:
            return TurnUpdate()
        update = TurnUpdate(*self._pending.take(), self._restarted, self._retracted, result)
        self._restarted = self._retracted = False
        return update

    async def _apply(self, event: LoggedEvent) -> None:
        if event.type == EventType.MESSAGE_DELTA:
            self._pending.provisional.append(orjson.loads(event.data)["text"])
            self._has_text = True
        elif event.type == EventType.REASONING_DELTA:
            self._pending.provisional_reasoning.append(orjson.loads(event.data)["text"])
        elif event.type in _TOOLS:
            self._pending.finalize()
        elif event.type == EventType.MODEL_RETRYING:
            self._retracted = self._pending.drop() or self._retracted
        elif event.type == EventType.TURN_RESTARTED:
            self._pending = _PendingText()
            self._restarted = self._restarted or self._has_text
        elif event.type == EventType.TURN_STARTED:
            self._is_behind = False
        elif waits_for_approval(event):
            # Raises unless the approval was decided meanwhile; then the following events show it.
            await self._read_result()

    async def _read_state(self) -> TurnUpdate:
        """The current state, in place of compacted events; the subscription goes on from here."""
        self._subscription.reset(after=await self._last_seq())
        self._pending = _PendingText()
        result = await self._read_result()
        return TurnUpdate(restarted=True, result=result if result.is_finished else None)

    async def _last_seq(self) -> int:
        session = await in_db_thread(access_session, actor=self._actor, session_id=self._session_id)
        return int(session.next_seq) - 1

    async def _read_result(self) -> CompletionResult:
        """The result of the turn so far. Raises `ApprovalRequired`, also when a turn waits that must end before."""
        result: CompletionResult = await in_db_thread(read_completion_result, self._actor, turn_id=self._turn_id)
        if result.wait_reason is WaitReason.APPROVAL or result.approvals:
            raise ApprovalRequired(result.approvals)
        return result


def response_headers(session_id: UUID, turn_id: UUID | None) -> dict[str, Any]:
    """The headers with the ids of the session and the turn."""
    turn = {"X-Turn-Id": str(turn_id)} if turn_id else {}
    return {"X-Session-Id": str(session_id), **turn}
