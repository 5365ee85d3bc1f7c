"""Conversations to test with: somebody who asks, and the work of a runner done by hand."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from django.db import connection, connections, transaction

from accounts.actor import Actor
from accounts.models import User
from agents.domain.message_parts import Part, text_part
from agents.domain.replay import Snapshot, replay
from agents.domain.states import StepKind, StepStatus, TurnStatus, WaitReason, WhenBusy
from agents.journal import claims, fenced_writes
from agents.journal.claims import Claim
from agents.journal.compaction import compact_turns
from agents.journal.fenced_writes import FinishedTurn, Intent, NewEvent, StepOutcome, TurnEnd
from agents.journal.locked_writes import lock_session, lock_turn, resume_locked
from agents.models import Agent, AgentSession, Event, Message, Turn
from agents.sessions import Accepted, LoggedEvent, accept_message, create_session, read_events, read_snapshot
from foundation.ids import new_id
from tests.support.people import agent

T = TypeVar("T")

RUNNER = UUID("00000000-0000-7000-8000-00000000000a")
OTHER_RUNNER = UUID("00000000-0000-7000-8000-00000000000b")
LEASE_SECONDS = 15.0
FAR_AHEAD = datetime(2100, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Conversation:
    """A session and its user. Everything is read afresh."""

    actor: Actor
    session_id: UUID

    @property
    def row(self) -> AgentSession:
        return AgentSession.objects.get(pk=self.session_id)

    def ask(self, text: str = "Hi", **options: Any) -> Accepted:
        return accept_message(self.actor, session_id=self.session_id, text=text, **options)

    def asks(self, count: int) -> list[Accepted]:
        return [self.ask(f"Question {number}") for number in range(1, count + 1)]

    def turns(self) -> list[Turn]:
        return list(Turn.objects.filter(agent_session_id=self.session_id).order_by("ordinal"))

    def turn(self) -> Turn:
        [turn] = self.turns()
        return turn

    def statuses(self) -> list[str]:
        return [turn.status for turn in self.turns()]

    def messages(self) -> list[Message]:
        return list(Message.objects.filter(agent_session_id=self.session_id).order_by("ordinal"))

    def said(self) -> list[tuple[str, str]]:
        """Author and text of every message, in order."""
        return [
            (message.author, "".join(part.get("text", "") for part in message.parts)) for message in self.messages()
        ]

    def events(self) -> list[Event]:
        return list(Event.objects.filter(agent_session_id=self.session_id).order_by("seq"))

    def log(self) -> list[str]:
        """The types of all events. The seqs are checked on the way: they have no gap."""
        events = self.events()
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        assert self.row.next_seq == len(events) + 1
        return [event.type for event in events]

    def snapshot(self) -> Snapshot:
        return read_snapshot(actor=self.actor, session_id=self.session_id)


def conversation(name: str = "ada", *, when_busy: WhenBusy = WhenBusy.ENQUEUE, slug: str = "demo") -> Conversation:
    """A new session; the person and the agent are made when they do not exist."""
    user = User.objects.filter(username=name).first() or User.objects.create(username=name)
    if not Agent.objects.filter(slug=slug).exists():
        agent(slug)
    Agent.objects.filter(slug=slug).update(when_busy=when_busy)
    actor = Actor.user(user_id=user.pk, name=user.username)
    # With a title: otherwise the first message gives it one, which is an event more.
    return Conversation(actor, create_session(actor, agent_slug=slug, title="A test").pk)


# --- the replay law ---


def nothing_yet(session: Mapping[str, Any]) -> Snapshot:
    """Before the first event of a session of this shape."""
    return {"seq": 0, "session": dict(session), "messages": [], "turns": {}, "older": False, "handoff": None}


def replayed(ada: Conversation, earlier: Snapshot, *, until: int | None = None) -> Snapshot:
    """The earlier snapshot and the events after it, up to `until`."""
    page = read_events(actor=ada.actor, session_id=ada.session_id, after=earlier["seq"], limit=100_000)
    assert not page.resync
    return replay(earlier, [arguments(event) for event in page.events if until is None or event.seq <= until])


def arguments(event: LoggedEvent) -> dict[str, Any]:
    """An event as `apply_event` takes it."""
    return {
        "seq": event.seq,
        "turn_id": event.turn,
        "event_type": event.type,
        "data": json.loads(event.data),
        "replaces_from": event.replaces_from,
    }


# --- a runner's work ---


def claim(
    limit: int = 1,
    *,
    runner: UUID = RUNNER,
    running_per_user: int = 3,
    lease_seconds: float = LEASE_SECONDS,
    by_age: bool = False,
) -> list[Claim]:
    return claims.claim(
        runner_id=runner,
        limit=limit,
        running_per_user=running_per_user,
        lease_seconds=lease_seconds,
        by_age=by_age,
    )


def claimed(**options: Any) -> Claim:
    """The one turn that can be claimed."""
    [found] = claim(2, **options)
    return found


def asked_by(claim: Claim) -> UUID:
    return Message.objects.get(turn=claim.turn_id, author=Message.Author.USER).pk


def ending(claim: Claim, status: TurnStatus = TurnStatus.COMPLETED, parts: Sequence[Part] = (), **more: Any) -> TurnEnd:
    return TurnEnd(status=status, question_id=asked_by(claim), message_id=new_id(), parts=parts, **more)


def answer(claim: Claim, text: str = "Hello") -> FinishedTurn:
    """End the turn with an answer."""
    return fenced_writes.finish(claim, ending(claim, parts=[text_part(text)]), outcomes=[done(1)])


def fail(claim: Claim, error_class: str = "transient", text: str = "") -> FinishedTurn:
    """End the turn with an error, and with the text that was shown if there was any."""
    error = {"error_class": error_class, "detail": "It broke.", "error_id": None, "retry_suggested": True}
    return fenced_writes.finish(
        claim,
        ending(
            claim, TurnStatus.FAILED, [text_part(text)] if text else [], partial=bool(text), data={"error": error},
            error_class=error_class, error_detail="It broke.",
        ),
    )  # fmt: skip


def compact_turn(session_id: UUID, turn_id: UUID) -> bool:
    """What the scheduler does with a turn some time after its end; whether it did."""
    return compact_turns([(session_id, turn_id)]) == 1


def say(claim: Claim, *texts: str) -> int:
    """Deltas, one event each; the seq of the last."""
    return fenced_writes.append(claim, [NewEvent("message.delta", {"text": text}) for text in texts])


def reason(claim: Claim, *texts: str) -> int:
    """The same of the model's reasoning."""
    return fenced_writes.append(claim, [NewEvent("reasoning.delta", {"text": text}) for text in texts])


def done(number: int, text: str = "") -> StepOutcome:
    return StepOutcome(number, StepStatus.DONE, {"text": text, "tool_calls": []})


def tool_intent(number: int, call_id: str = "call_1") -> Intent:
    return Intent(number, StepKind.TOOL, "clock", call_id, idempotent=False, request="{}")


def park(claim: Claim, reason: WaitReason | None = None, *, until: datetime = FAR_AHEAD, **writes: Any) -> bool:
    return fenced_writes.park(claim, until=until, reason=reason, **writes)


def wake(turn: Turn, reason: str = "approved") -> bool:
    """End a turn's wait, as whoever it waits for does."""
    with transaction.atomic():
        session = lock_session(turn.agent_session_id)
        assert session
        locked = lock_turn(session, turn.pk)
        assert locked
        return resume_locked(session, locked, reason=reason)


def wait_is_over(turn_id: UUID) -> None:
    """The time has come at which the turn goes on by itself."""
    Turn.objects.filter(pk=turn_id).update(available_at="2000-01-01T00:00:00Z")


def retrying(route: str | None = "openai:next", step: int = 1) -> NewEvent:
    """The model is asked once more, and the words of the attempt before are void."""
    return NewEvent("model.retrying", {"step": step, "route": route, "reason": "transient"})


def lease_is_over(turn_id: UUID) -> None:
    """What a runner that is gone leaves behind."""
    Turn.objects.filter(pk=turn_id).update(lease_expires_at="2000-01-01T00:00:00Z")


# --- real connections ---


def side_by_side(*calls: Callable[[], T]) -> list[T | Exception]:
    """What the calls return or raise when all begin at the same moment, each with a connection of its own."""
    barrier = threading.Barrier(len(calls))
    outcomes: list[T | Exception | None] = [None] * len(calls)

    def run(number: int, call: Callable[[], T]) -> None:
        try:
            connection.ensure_connection()
            barrier.wait(timeout=10)
            outcomes[number] = call()
        except Exception as error:
            outcomes[number] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=item) for item in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    return outcomes  # type: ignore[return-value]  # each thread has put its own


def side_by_side_without_pool(*calls: Callable[[], T]) -> list[T | Exception]:
    """`side_by_side` for more calls than the pool has connections."""

    def with_own_connection(call: Callable[[], T]) -> Callable[[], T]:
        def run() -> T:
            connections["default"].close()
            connections["default"] = wrapper = connections["default"].copy()
            wrapper.settings_dict["OPTIONS"] = {**wrapper.settings_dict["OPTIONS"], "pool": False}
            wrapper.ensure_connection()
            barrier.wait(timeout=30)
            return call()

        return run

    barrier = threading.Barrier(len(calls))
    outcomes: list[T | Exception] = []
    threads = [threading.Thread(target=_collect, args=(with_own_connection(call), outcomes)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return outcomes


def _collect(call: Callable[[], T], outcomes: list[T | Exception]) -> None:
    try:
        outcomes.append(call())
    except Exception as error:
        outcomes.append(error)
    finally:
        connections.close_all()


class Stalled:
    """A call in a thread of its own, which cannot go on before the caller's transaction ends."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call
        self._pid = 0
        self._connected = threading.Event()
        self.outcome: object = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._connected.wait(10)

    def _run(self) -> None:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                self._pid = cursor.fetchone()[0]
            self._connected.set()
            self.outcome = self._call()
        except Exception as error:
            self.outcome = error
        finally:
            self._connected.set()
            connections.close_all()

    def until_it_waits(self) -> None:
        """Return when PostgreSQL says that the call waits for somebody's lock."""
        give_up_at = time.monotonic() + 10
        while time.monotonic() < give_up_at:
            with connection.cursor() as cursor:
                cursor.execute("SELECT cardinality(pg_blocking_pids(%s)) > 0", [self._pid])
                if cursor.fetchone()[0]:
                    return
        raise AssertionError(f"it never waited: {self.outcome!r}")

    def ended(self) -> object:
        """What it returned or raised."""
        self._thread.join(timeout=10)
        assert not self._thread.is_alive()
        return self.outcome
