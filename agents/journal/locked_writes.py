"""Changes to a turn by others than its runner: cancel, requeue, reap. The session's lock is the fence here.

These paths are rare, so they are plain statements in one transaction, each with a fresh snapshot after the lock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models import Case, Count, Exists, Model, OuterRef, Q, QuerySet, Subquery, Sum, Value, When
from django.db.models.functions import Coalesce, Greatest, Now

from agents.domain.approvals import ApprovalState
from agents.domain.configuration import AgentConfiguration
from agents.domain.events import (
    ApprovalDecided,
    EventType,
    MessageData,
    SessionData,
    TurnCancelling,
    TurnEnded,
    TurnRequeued,
)
from agents.domain.failures import ErrorClass
from agents.domain.message_parts import Part
from agents.domain.replay import show_event
from agents.domain.serialization import message_shape, moment, session_shape, turn_error
from agents.domain.states import (
    OWNED,
    PARKED,
    STOPPED_CLOCKS,
    TERMINAL,
    TURN_DEADLINE,
    StepKind,
    StepStatus,
    TurnStatus,
)
from agents.domain.steps import NOT_RUN, StepRecord, provider_extras
from agents.domain.usage import FREE, BilledUsage, costs_nothing
from agents.journal import sql
from agents.models import ANSWERED_LATER, AgentSession, Approval, Event, Message, Release, Step, Turn
from foundation.errors import BandstandError, NotFound
from foundation.ids import new_id

M = TypeVar("M", bound=Model)

# The columns of a call that was never sent.
_NEVER_SENT: Mapping[str, Any] = {"input_tokens": 0, "output_tokens": 0, "cost_usd": FREE}


def lock_session(session_id: UUID) -> AgentSession:
    """The session's row, locked for this transaction. Raises `NotFound` when it does not exist."""
    return _first_or_raise(AgentSession.objects.select_for_update(no_key=True, of=("self",)).filter(pk=session_id))


def try_lock_session(session_id: UUID) -> AgentSession | None:
    """The session's row, locked for this transaction without waiting; None when it does not exist or another
    transaction holds the lock."""
    rows = AgentSession.objects.select_for_update(no_key=True, skip_locked=True, of=("self",))
    return rows.filter(pk=session_id).first()


def append_locked(
    session: AgentSession, events: Sequence[tuple[str, Mapping[str, Any]]], *, turn: Turn | None = None
) -> int:
    """Append events under the session's lock and return the seq of the last. Relays are notified at commit."""
    first = session.next_seq
    Event.objects.bulk_create(
        Event(
            agent_session=session,
            seq=first + offset,
            turn_id=turn.pk if turn else None,
            epoch=turn.epoch if turn else 0,
            type=event_type,
            data=dict(data),
        )
        for offset, (event_type, data) in enumerate(events)
    )
    session.next_seq = first + len(events)
    session.save(update_fields=["next_seq"])
    last = session.next_seq - 1
    notify(sql.EVENTS_CHANNEL, f"{session.pk} {last}")
    return last


def append_messages_locked(session: AgentSession, messages: Sequence[Message]) -> int:
    """Save new messages, the last of them as the session's head, append their events, and return the seq of the last.

    The caller sets authors, parts and parents; there must be one message at least.
    """
    _insert_messages_locked(session, messages, as_head=True)
    return append_locked(
        session, [(EventType.MESSAGE_CREATED, MessageData(message=message_shape(message))) for message in messages]
    )


def name_session_locked(session: AgentSession, title: str) -> None:
    """Set the title of a listed session that has none, before its first message is added. `sql.ACCEPT` does this in
    SQL."""
    if session.next_ordinal > 1 or session.title or not session.listed or not title:
        return
    session.title = title
    session.save(update_fields=["title"])
    append_locked(session, [(EventType.SESSION_UPDATED, SessionData(session=session_shape(session)))])


def _insert_messages_locked(session: AgentSession, messages: Sequence[Message], *, as_head: bool) -> None:
    for message in messages:
        message.agent_session = session
        message.ordinal = session.next_ordinal
        session.next_ordinal += 1
    Message.objects.bulk_create(messages)
    if as_head:
        session.head_message_id = messages[-1].pk
    session.save(update_fields=["next_ordinal", "head_message_id"])


def notify(channel: str, payload: str = "") -> None:
    """NOTIFY `channel` with `payload` at commit."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [channel, payload])


def lock_turn(session: AgentSession, turn_id: UUID) -> Turn:
    """The turn's row, read under its session's lock. Raises `NotFound`."""
    return _first_or_raise(
        Turn.objects.select_for_update(no_key=True, of=("self",)).filter(agent_session=session, pk=turn_id)
    )


def _first_or_raise(rows: QuerySet[M]) -> M:
    row = rows.first()
    if row is None:
        raise NotFound
    return row


def requeue_locked(session: AgentSession, turn: Turn, *, reason: str, without_progress: bool) -> None:
    """Return an owned or parked turn to the queue; its next claim restarts it, or resumes it if `turn.resumes` is set.
    `without_progress` counts this as one of its attempts without progress."""
    if without_progress:
        turn.attempts_without_progress += 1
    if turn.status in PARKED:
        pending = Approval.objects.filter(turn=turn)
        cancelled = end_approvals_locked(session, turn, pending, state=ApprovalState.CANCELLED)
        _settle_parked_steps(turn, [approval.step for approval in cancelled])
    _queue_locked(session, turn, reason=reason)


def resume_locked(session: AgentSession, turn: Turn, *, reason: str) -> bool:
    """Queue a parked turn so that its next claim resumes it; False when it is not parked."""
    if turn.status not in PARKED:
        return False
    turn.resumes = True
    _queue_locked(session, turn, reason=reason)
    return True


def _queue_locked(session: AgentSession, turn: Turn, *, reason: str) -> None:
    if turn.wait_reason in STOPPED_CLOCKS and turn.available_at:
        # The wait moved the deadline by its longest duration; the part that it did not use is subtracted, and what it
        # took beyond, because no reaper ran, is added.
        turn.deadline_at -= turn.available_at - database_now()
        _start_clocks_locked(session, turn)
        if session.expires_at is not None:
            # Its client reads what comes of the wait, whenever that ends.
            hours = settings.BANDSTAND.client_session_hours
            session.expires_at = max(session.expires_at, database_now() + timedelta(hours=hours))
            session.save(update_fields=["expires_at"])
    turn.status = TurnStatus.QUEUED
    turn.lease_expires_at = turn.available_at = None
    turn.wait_reason = ""
    turn.save(
        update_fields=[
            "status", "lease_expires_at", "available_at", "wait_reason", "resumes", "deadline_at",
            "attempts_without_progress", "tool_stalls",
        ]
    )  # fmt: skip
    _release_locked(session, turn)
    append_locked(session, [(EventType.TURN_QUEUED, TurnRequeued(reason=reason))], turn=turn)
    notify(sql.TURNS_CHANNEL)


def _start_clocks_locked(session: AgentSession, turn: Turn) -> None:
    """Give the turns behind one that waited for people as much time as new ones have: they have waited, too."""
    if session.open_turns == 1:
        return
    later = Turn.objects.filter(agent_session=session, finished_at__isnull=True, ordinal__gt=turn.ordinal)
    later.update(deadline_at=Greatest("deadline_at", Now() + TURN_DEADLINE))


def _settle_parked_steps(turn: Turn, cancelled: Sequence[int]) -> None:
    """Fail the open steps of a wait that ended early: the next claim could not know that they were never tried. It
    would call an idempotent tool in either case, so those calls stay open, but for those whose approvals were
    `cancelled`."""
    steps = Step.objects.filter(turn=turn, status=StepStatus.INTENT)
    settled = {"status": StepStatus.FAILED, "finished_at": Now(), **_NEVER_SENT}
    result = {"content": NOT_RUN, "is_error": True}
    steps.filter(Q(idempotent=False) | Q(number__in=cancelled), kind=StepKind.TOOL).update(
        result=result, error_class=ErrorClass.TOOL_ERROR, **settled
    )
    steps.filter(kind=StepKind.MODEL).update(error_class=ErrorClass.CANCELLED, **settled)


def end_approvals_locked(
    session: AgentSession, turn: Turn, approvals: QuerySet[Approval], *, state: ApprovalState
) -> list[Approval]:
    """End those of `approvals`, of an open turn, that are pending, and return them: nobody has decided them."""
    rows = list(approvals.filter(state=ApprovalState.PENDING).order_by("step"))
    if rows:
        Approval.objects.filter(pk__in=[row.pk for row in rows]).update(state=state, decided_at=Now())
        for row in rows:
            row.state = state
        events = [(EventType.APPROVAL_DECIDED, approval_decided(row, by="system")) for row in rows]
        append_locked(session, events, turn=turn)
    return rows


def approval_decided(approval: Approval, *, by: str) -> ApprovalDecided:
    """What `approval.decided` says of an approval that is no longer pending."""
    data = ApprovalDecided(
        approval=str(approval.pk),
        step=approval.step,
        call_id=approval.call_id,
        tool=approval.tool,
        decision=str(approval.state),
        by=by,
    )
    if approval.note:
        data["note"] = approval.note
    return data


def mark_retried_locked(session_id: UUID, turn_id: UUID, *, parent: UUID | None) -> None:
    """Mark the turns that the branch of a new turn stands beside as retried by it, unless they are or were answered.

    `parent` is that of the new turn's question. Open turns are marked too, because they may still fail.
    """
    if parent is None:
        follows = Q(parent=None)
    else:
        # The question and the answer of one exchange are followed by the same branches (`domain.message_tree`).
        exchange = Q(pk=parent) | Q(turn=Subquery(Message.objects.filter(pk=parent).values("turn")))
        follows = Q(parent__in=Message.objects.filter(exchange, agent_session_id=session_id).values("pk"))
    questions = Message.objects.filter(follows, agent_session_id=session_id, author=Message.Author.USER)
    siblings = Turn.objects.filter(pk__in=questions.order_by().values("turn")).exclude(pk=turn_id)
    siblings.exclude(status=TurnStatus.COMPLETED).exclude(ANSWERED_LATER).update(retried_by=turn_id)


def stop_locked(session: AgentSession, turn: Turn) -> None:
    """Cancel a turn: at once when it has no runner, otherwise its runner is asked to stop. A repeat changes nothing,
    nor does a turn that has ended."""
    status = TurnStatus(turn.status)
    if status in TERMINAL or status is TurnStatus.CANCELLING:
        return
    if status is TurnStatus.RUNNING:
        turn.status = TurnStatus.CANCELLING
        turn.save(update_fields=["status"])
        append_locked(session, [(EventType.TURN_CANCELLING, TurnCancelling())], turn=turn)
        notify(sql.TURNS_CHANNEL, f"stop {turn.pk}")
        return
    end_locked(session, turn, TurnStatus.CANCELLED)


def end_locked(
    session: AgentSession,
    turn: Turn,
    status: TurnStatus,
    *,
    error_class: ErrorClass | None = None,
    error_detail: str = "",
    for_handoff: bool = False,
) -> None:
    """End a turn that has no live runner. What it has shown is stored as a partial answer.

    `error_detail` is what users read of the error; by default the `user_message` of its class. `for_handoff`: it ends
    because a person takes over the session.
    """
    was_owned = TurnStatus(turn.status) in OWNED
    if turn.wait_reason in STOPPED_CLOCKS:
        _start_clocks_locked(session, turn)
    finished_at = database_now()
    _abandon_steps(turn, error_class or ErrorClass.CANCELLED, finished_at)
    turn.status = status
    turn.finished_at = finished_at
    turn.lease_expires_at = turn.available_at = None
    turn.wait_reason, turn.resumes = "", False
    if error_class is not None:
        turn.error_class, turn.error_id = error_class.value, new_id()
        turn.error_detail = error_detail or error_class.failure.user_message
    usage, has_approvals = _sum_steps(turn)
    if has_approvals:
        # The event of the end says it: nobody can decide about a turn that is over.
        pending = Approval.objects.filter(turn=turn, state=ApprovalState.PENDING)
        pending.update(state=ApprovalState.CANCELLED, decided_at=finished_at)
    turn.input_tokens, turn.output_tokens, turn.cost_usd = usage.input_tokens, usage.output_tokens, usage.cost_usd
    turn.save(
        update_fields=[
            "status", "finished_at", "lease_expires_at", "available_at", "wait_reason", "resumes", "error_class",
            "error_detail", "error_id", "input_tokens", "output_tokens", "cost_usd",
        ]
    )  # fmt: skip
    session.open_turns -= 1
    session.save(update_fields=["open_turns"])
    if was_owned:
        _release_locked(session, turn)
    events: list[tuple[str, Mapping[str, Any]]] = []
    if parts := visible_parts(turn):
        partial = message_shape(_add_partial_answer_locked(session, turn, parts))
        events.append((EventType.MESSAGE_COMPLETED, MessageData(message=partial)))
    end = TurnEnded(finished_at=moment(finished_at), usage=usage.shape)
    if for_handoff:
        end["reason"] = "handoff"
    if error := turn_error(turn):
        end["error"] = error
    events.append((f"turn.{status}", end))
    if error_class is not None:
        from agents.journal.handoff_rules import apply_turn_rules_locked  # which is made of what this module has

        apply_turn_rules_locked(session, turn, status)
    append_locked(session, events, turn=turn)
    notify(sql.TURNS_CHANNEL)


def _abandon_steps(turn: Turn, error_class: ErrorClass, at: datetime) -> None:
    """Write outcomes for the open calls of a turn that ends. Whether a tool took effect is unknown, unless it is
    idempotent. A turn that waits, or comes back from a wait, has tried none of its open calls, and a call whose
    approval was not used was never made."""
    steps = Step.objects.filter(turn=turn, status=StepStatus.INTENT)
    if turn.status in PARKED or turn.resumes:
        steps.update(status=StepStatus.FAILED, finished_at=at, error_class=error_class, **_NEVER_SENT)
        return
    unused = Approval.objects.filter(turn=turn, step=OuterRef("number"), used_at=None)
    unknown = When(~Exists(unused), kind=StepKind.TOOL, idempotent=False, then=Value(StepStatus.UNKNOWN.value))
    steps.update(status=Case(unknown, default=Value(StepStatus.FAILED.value)), finished_at=at, error_class=error_class)


def _sum_steps(turn: Turn) -> tuple[BilledUsage, bool]:
    """The usage of the turn's steps, and whether a person was asked about calls that have no result. A call whose
    runner died was not counted: its usage is unknown."""
    model_calls = Q(kind=StepKind.MODEL)
    sums = Step.objects.filter(turn=turn).aggregate(
        input=Coalesce(Sum("input_tokens"), 0),
        output=Coalesce(Sum("output_tokens"), 0),
        cost=Coalesce(Sum("cost_usd"), FREE),
        no_input=Count("pk", filter=model_calls & Q(input_tokens=None)),
        no_output=Count("pk", filter=model_calls & Q(output_tokens=None)),
        no_cost=Count("pk", filter=model_calls & Q(cost_usd=None)),
        asked=Count("pk", filter=Q(result__isnull=True, details__right__decision="ask")),
    )
    usage = BilledUsage(
        None if sums["no_input"] else sums["input"],
        None if sums["no_output"] else sums["output"],
        None if sums["no_cost"] and not _is_free(turn.release) else sums["cost"],
    )
    return usage, bool(sums["asked"])


def _is_free(release: Release) -> bool:
    """Whether all routes of a release are free: the intent of a lost call does not name its route."""
    try:
        routes = AgentConfiguration.parse(release.configuration).routes
    except BandstandError:  # written by a newer version; its turn must end nevertheless
        return False
    return all(costs_nothing(route) for route in routes)


def _release_locked(session: AgentSession, turn: Turn) -> None:
    if session.active_turn_id == turn.pk:
        session.active_turn_id = None
        session.save(update_fields=["active_turn_id"])


def _add_partial_answer_locked(session: AgentSession, turn: Turn, parts: list[Part]) -> Message:
    question = Message.objects.get(agent_session=session, turn=turn, author=Message.Author.USER)
    steps = Step.objects.filter(turn=turn, result__isnull=False).order_by("number")
    extras = provider_extras(
        [
            StepRecord(step.number, StepKind(step.kind), StepStatus(step.status), step.name, result=step.result)
            for step in steps
        ]
    )
    message = Message(
        author=Message.Author.AGENT,
        parts=parts,
        provider_extras=extras or None,
        turn=turn,
        parent=question,
        partial=True,
    )
    _insert_messages_locked(session, [message], as_head=session.head_message_id == question.pk)
    return message


def visible_parts(turn: Turn) -> list[Part]:
    """What the turn has shown to users since it was started or restarted: text, tool calls and their results. A turn
    that resumed after a wait still shows what it had shown before."""
    parts: list[Part] = []
    if not turn.epoch:
        return parts  # it was never started
    log = Event.objects.filter(agent_session_id=turn.agent_session_id, turn_id=turn.pk)
    # There is no index on the turn; the scan backwards from the end of the log stops where the turn started.
    start = log.filter(Q(type=EventType.TURN_STARTED, epoch=1) | Q(type=EventType.TURN_RESTARTED)).order_by("-seq")
    events = log.filter(seq__gt=Subquery(start.values("seq")[:1]))
    for event_type, data in events.order_by("seq").values_list("type", "data"):
        show_event(parts, event_type, data)
    return parts


def database_now() -> datetime:
    """When this transaction began, by the database's clock, which sets all times in rows."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT now()")
        began_at: datetime = cursor.fetchone()[0]
    return began_at
