"""People's schedules: what an agent is asked at a time. Created, changed, paused and deleted by their user, and held by
operators; `agents.sessions.schedule_firing` fires them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from accounts.actor import Actor, Scope
from accounts.audit import record_audit
from accounts.models import User
from accounts.permissions import require_permission
from agents.domain.message_parts import check_text
from agents.models import IS_OVER, AgentSession, TurnSchedule
from agents.permissions.agents import visible_agents
from agents.permissions.role_permissions import HOLD_SCHEDULE
from agents.sessions.access import user_sessions
from foundation.clock import now
from foundation.errors import Conflict, InvalidInput, NotFound, PreconditionFailed, Unauthenticated
from foundation.sentinels import UNSET, Unset
from ratelimits import guard_storage
from rest.idempotency import erase_responses
from scheduling.occurrences import next_runs, shortest_gap_minutes
from scheduling.timing import next_run, read_time_zone
from scheduling.timing_descriptions import describe_timing, time_zone_city

LONGEST_AHEAD: Final = timedelta(days=5 * 365)
# Schedules whose one time is over are kept for their user to see.
KEEP_OVER: Final = timedelta(days=30)


class ScheduleState(StrEnum):
    """`active`: there is a next time; `over`: the one time has passed."""

    ACTIVE = "active"
    PAUSED = "paused"
    HELD = "held"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Timing:
    """When a schedule is fired: at the times of `cron` on the clocks of `time_zone`, or once, at `once_at`."""

    cron: str
    time_zone: str
    once_at: datetime | None

    def upcoming(self, *, after: datetime, count: int) -> list[datetime]:
        """Up to `count` times later than `after`."""
        if self.once_at is not None:
            return [self.once_at] if self.once_at > after else []
        return next_runs(self.cron, self.time_zone, after=after, count=count)


def timing_of(schedule: TurnSchedule) -> Timing:
    """The timing in the row of a schedule."""
    return Timing(schedule.cron, schedule.time_zone, schedule.once_at)


def describe_schedule_timing(timing: Timing) -> str:
    """When a schedule is fired, in words: "every weekday 08:00, Zurich", "once, 24 December 2026 08:00, Zurich"."""
    if timing.once_at is None:
        return describe_timing(None, timing.cron, timing.time_zone)
    local = timing.once_at.astimezone(read_time_zone(timing.time_zone))
    return f"once, {local:%-d %B %Y %H:%M}, {time_zone_city(timing.time_zone)}"


def schedule_state(schedule: TurnSchedule) -> ScheduleState:
    """Whether it is fired at the present, and if not, why."""
    if schedule.hold_reason:
        return ScheduleState.HELD
    if schedule.enabled:
        return ScheduleState.ACTIVE
    over = schedule.once_at is not None and schedule.once_at <= now()
    return ScheduleState.OVER if over else ScheduleState.PAUSED


def user_schedules(actor: Actor) -> QuerySet[TurnSchedule]:
    """The actor's own schedules, with their agents. Raises `Forbidden`, `Unauthenticated`."""
    actor.require_scope(Scope.READ)
    return TurnSchedule.objects.filter(user_id=_user_id(actor)).select_related("agent")


def access_schedule(actor: Actor, *, schedule_id: UUID) -> TurnSchedule:
    """One of the actor's schedules. Raises `NotFound`, `Forbidden`, `Unauthenticated`."""
    schedule = user_schedules(actor).filter(pk=schedule_id).first()
    if schedule is None:
        raise NotFound
    return schedule


def check_timing(*, cron: str, time_zone: str, once_at: datetime | None) -> Timing:
    """The timing, if a schedule may have it. Raises `InvalidInput` with the pointer /cron, /time_zone or /at: also for
    one that never comes, that has passed, or that comes more often than a schedule may."""
    read_time_zone(time_zone)
    present, cron = now(), " ".join(cron.split())
    if bool(cron) == (once_at is not None):
        raise InvalidInput("Say when: either by cron, or once by at.", pointer="/cron")
    if once_at is not None:
        if not present < once_at <= present + LONGEST_AHEAD:
            raise InvalidInput("This has passed, or is more than five years ahead.", pointer="/at")
        return Timing("", time_zone, once_at)
    next_run(cron, time_zone, after=present)
    shortest = settings.BANDSTAND.schedule_minutes
    if shortest_gap_minutes(cron) < shortest:
        raise InvalidInput(f"There must be {shortest} minutes between two times.", pointer="/cron")
    return Timing(cron, time_zone, None)


def create_schedule(
    actor: Actor,
    *,
    text: str,
    agent_slug: str | None = None,
    session_id: UUID | None = None,
    cron: str = "",
    time_zone: str = "UTC",
    once_at: datetime | None = None,
) -> TurnSchedule:
    """Have `text` sent at a time: in the session, or in a new one each time with the agent; exactly one is set.

    Whether its user may still ask the agent is decided when it is fired. Raises `InvalidInput`, also for an agent or a
    session that the actor may not use, `TooLarge`, `RateLimited`, `Forbidden`, `Unauthenticated`, and `Conflict` when
    the user has as many schedules as allowed.
    """
    actor.require_scope(Scope.CHAT)
    user_id = _user_id(actor)
    check_text(text, pointer="/text")
    timing = check_timing(cron=cron, time_zone=time_zone, once_at=once_at)
    agent_id, session = _find_target(actor, agent_slug, session_id)
    guard_storage(user_id=user_id, size_bytes=len(text.encode()))
    with transaction.atomic():
        # Its session is not to be deleted in between: a deletion would not see the schedule.
        if session is not None and not AgentSession.objects.select_for_update(no_key=True).filter(pk=session).exists():
            raise InvalidInput("There is no such session.", pointer="/session")
        _check_room(user_id)
        schedule = TurnSchedule.objects.create(
            user_id=user_id,
            agent_id=agent_id,
            agent_session_id=session,
            text=text,
            api_key_id=actor.key_id,
            cron=timing.cron,
            time_zone=timing.time_zone,
            once_at=timing.once_at,
            # One time that has passed while this waited for the locks is fired at once.
            next_at=timing.once_at or timing.upcoming(after=now(), count=1)[0],
        )
    return access_schedule(actor, schedule_id=schedule.pk)


def update_schedule(
    actor: Actor,
    *,
    schedule_id: UUID,
    expected_version: int | None,
    text: str | Unset = UNSET,
    cron: str | Unset = UNSET,
    time_zone: str | Unset = UNSET,
    once_at: datetime | Unset | None = UNSET,
) -> TurnSchedule:
    """Change what is asked or when, and return the schedule. A new `cron` replaces a single time, and the other way
    round. One that was over is fired again. A timing that stays as it is does not skip a time that is due just now.

    `expected_version` None skips the check of the version. Raises `NotFound`, `InvalidInput`, `TooLarge`,
    `RateLimited`, `Conflict`, and `PreconditionFailed` when the version is another one.
    """
    actor.require_scope(Scope.CHAT)
    if not isinstance(text, Unset):
        check_text(text, pointer="/text")
        guard_storage(user_id=_user_id(actor), size_bytes=len(text.encode()))
    with transaction.atomic():
        schedule = _lock_own(actor, schedule_id, expected_version)
        was_over = schedule_state(schedule) is ScheduleState.OVER
        if not isinstance(text, Unset):
            schedule.text = text
        if not (isinstance(cron, Unset) and isinstance(time_zone, Unset) and isinstance(once_at, Unset)):
            timing = _merge_timing(schedule, cron=cron, time_zone=time_zone, once_at=once_at)
            if was_over or timing != timing_of(schedule):
                _set_timing(schedule, timing)
                if was_over:
                    _check_room(schedule.user_id)
                    schedule.enabled = True
                _plan(schedule)
        schedule.api_key_id = actor.key_id
        _save(schedule)
    return schedule


def pause_schedule(actor: Actor, *, schedule_id: UUID) -> TurnSchedule:
    """Fire it no more until it is resumed; one that is paused or over does not change. Raises `NotFound`."""
    actor.require_scope(Scope.CHAT)
    with transaction.atomic():
        schedule = _lock_own(actor, schedule_id, None)
        if schedule.enabled:
            schedule.enabled = False
            _plan(schedule)
            _save(schedule)
    return schedule


def resume_schedule(actor: Actor, *, schedule_id: UUID) -> TurnSchedule:
    """Fire it again, from its next time on; what passed in between does not count as missed.

    Raises `NotFound`, and `Conflict` when an operator holds it or its one time is over.
    """
    actor.require_scope(Scope.CHAT)
    with transaction.atomic():
        schedule = _lock_own(actor, schedule_id, None)
        state = schedule_state(schedule)
        if state is ScheduleState.HELD:
            raise Conflict("An operator holds this schedule.")
        if state is ScheduleState.OVER:
            raise Conflict("Its time has passed: choose another one.")
        if state is ScheduleState.PAUSED:
            schedule.enabled = True
            _plan(schedule)
            _save(schedule)
    return schedule


def delete_schedule(actor: Actor, *, schedule_id: UUID, expected_version: int | None) -> None:
    """Delete a schedule; what was asked by it stays. Raises `NotFound`, and `PreconditionFailed` when the version is
    another one."""
    actor.require_scope(Scope.CHAT)
    with transaction.atomic():
        _lock_own(actor, schedule_id, expected_version).delete()
        erase_responses([schedule_id])


def hold_schedule(
    actor: Actor, *, schedule_id: UUID, reason: TurnSchedule.Hold = TurnSchedule.Hold.OPERATOR
) -> TurnSchedule:
    """Fire somebody's schedule no more until an operator releases it; one that is held does not change. Raises
    `Forbidden`, `NotFound`."""
    require_permission(actor, HOLD_SCHEDULE)
    with transaction.atomic():
        schedule = _lock_any(schedule_id)
        if not schedule.hold_reason:
            schedule.hold_reason = reason
            _plan(schedule)
            _save(schedule)
            record_audit(actor, "turn_schedule.held", target=schedule, detail={"reason": str(reason)})
    return schedule


def release_schedule(actor: Actor, *, schedule_id: UUID) -> TurnSchedule:
    """End the hold of a schedule, which goes on with its next time, unless its user has paused it; a single time that
    has passed is over. Raises `Forbidden`, `NotFound`."""
    require_permission(actor, HOLD_SCHEDULE)
    with transaction.atomic():
        schedule = _lock_any(schedule_id)
        if schedule.hold_reason:
            schedule.hold_reason = ""
            _plan(schedule)
            _save(schedule)
            record_audit(actor, "turn_schedule.released", target=schedule)
    return schedule


def count_active_schedules(user_ids: Collection[int]) -> int:
    """How many schedules of these users will be fired."""
    return TurnSchedule.objects.filter(user_id__in=user_ids, next_at__isnull=False).count()


def purge_over_schedules() -> int:
    """Delete schedules whose one time was over 30 days ago; return their number."""
    deleted, _ = TurnSchedule.objects.filter(IS_OVER, once_at__lt=Now() - KEEP_OVER).delete()
    return deleted


def _user_id(actor: Actor) -> int:
    if actor.user_id is None:
        raise Unauthenticated
    return actor.user_id


def _find_target(actor: Actor, agent_slug: str | None, session_id: UUID | None) -> tuple[UUID, UUID | None]:
    """The ids of the agent and of the session, if there is one."""
    if (agent_slug is None) == (session_id is None):
        raise InvalidInput("Say whom to ask: either an agent, or a session to go on with.", pointer="/agent")
    if session_id is None:
        agent_id = visible_agents(actor).filter(slug=agent_slug).values_list("pk", flat=True).first()
        if agent_id is None:
            raise InvalidInput("There is no such agent.", pointer="/agent")
        return agent_id, None
    agent_id = user_sessions(actor).filter(pk=session_id).values_list("agent_id", flat=True).first()
    if agent_id is None:
        raise InvalidInput("There is no such session.", pointer="/session")
    return agent_id, session_id


def _check_room(user_id: int) -> None:
    """Raise `Conflict` if the user has as many schedules as allowed. Locks the account, against calls at once."""
    User.objects.select_for_update(no_key=True).get(pk=user_id)
    most = settings.BANDSTAND.schedules_per_user
    if TurnSchedule.objects.filter(user_id=user_id).exclude(IS_OVER).count() >= most:
        raise Conflict(f"You have {most} schedules, as many as you may: delete one first.")


def _lock_own(actor: Actor, schedule_id: UUID, expected_version: int | None) -> TurnSchedule:
    rows = TurnSchedule.objects.select_for_update(no_key=True, of=("self",)).select_related("agent")
    schedule = rows.filter(pk=schedule_id, user_id=_user_id(actor)).first()
    if schedule is None:
        raise NotFound
    if expected_version is not None and schedule.version != expected_version:
        raise PreconditionFailed
    return schedule


def _lock_any(schedule_id: UUID) -> TurnSchedule:
    schedule = TurnSchedule.objects.select_for_update(no_key=True).filter(pk=schedule_id).first()
    if schedule is None:
        raise NotFound
    return schedule


def _merge_timing(
    schedule: TurnSchedule, *, cron: str | Unset, time_zone: str | Unset, once_at: datetime | Unset | None
) -> Timing:
    """The timing that a change asks for, unchecked: whichever of the two timings is set replaces the other."""
    if isinstance(cron, Unset):
        cron = "" if isinstance(once_at, datetime) else schedule.cron
    if isinstance(once_at, Unset):
        once_at = None if cron else schedule.once_at
    return Timing(cron, schedule.time_zone if isinstance(time_zone, Unset) else time_zone, once_at)


def _set_timing(schedule: TurnSchedule, timing: Timing) -> None:
    checked = check_timing(cron=timing.cron, time_zone=timing.time_zone, once_at=timing.once_at)
    schedule.cron, schedule.time_zone, schedule.once_at = checked.cron, checked.time_zone, checked.once_at


def _plan(schedule: TurnSchedule) -> None:
    """Set the next time: from the present on, and none while it is paused or held. A single time that has passed is
    over."""
    schedule.next_at, schedule.available_at, schedule.attempts = None, None, 0
    if schedule.enabled and not schedule.hold_reason:
        upcoming = timing_of(schedule).upcoming(after=now(), count=1)
        schedule.next_at = upcoming[0] if upcoming else None
        schedule.enabled = bool(upcoming)


def _save(schedule: TurnSchedule) -> None:
    schedule.version += 1
    schedule.save(
        update_fields=[
            "text",
            "cron",
            "time_zone",
            "once_at",
            "enabled",
            "hold_reason",
            "next_at",
            "available_at",
            "attempts",
            "api_key_id",
            "version",
        ]
    )
