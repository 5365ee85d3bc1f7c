"""Changes of schedules: timing, on and off, run now."""

from __future__ import annotations

from typing import Final

from django.db import transaction

from accounts.actor import Actor
from accounts.audit import record_audit
from accounts.permissions import require_permission
from foundation.clock import now
from foundation.errors import InvalidInput, NotFound, PreconditionFailed
from scheduling.models import Schedule
from scheduling.q2_sync import enqueue_job, sync_to_q2
from scheduling.role_permissions import CHANGE_SCHEDULE, RUN_SCHEDULE
from scheduling.timing import next_run, read_time_zone

LONGEST_MINUTES: Final = 7 * 24 * 60


@transaction.atomic
def change_schedule(
    actor: Actor,
    *,
    schedule_id: int,
    expected_version: int,
    enabled: bool,
    every_minutes: int | None,
    cron: str,
    time_zone: str,
) -> Schedule:
    """Set when a job runs: every `every_minutes`, or by `cron` in `time_zone`. The next run is rescheduled.

    Raises `Forbidden`, `NotFound`, `PreconditionFailed` for a stale version, and `InvalidInput` with a pointer.
    """
    require_permission(actor, CHANGE_SCHEDULE)
    check_timing(every_minutes, cron, time_zone)
    schedule = Schedule.objects.select_for_update(no_key=True).filter(pk=schedule_id).first()
    if schedule is None:
        raise NotFound("There is no such schedule here.")
    if schedule.version != expected_version:
        raise PreconditionFailed
    values = {
        "enabled": enabled,
        "every_minutes": every_minutes,
        "cron": " ".join(cron.split()),
        "time_zone": time_zone,
    }
    changed = {name: value for name, value in values.items() if getattr(schedule, name) != value}
    if changed:
        for name, value in changed.items():
            setattr(schedule, name, value)
        schedule.version += 1
        schedule.save(update_fields=[*changed, "version"])
        sync_to_q2()
        record_audit(actor, "schedule.changed", target=schedule, detail=values)
    return schedule


def check_timing(every_minutes: int | None, cron: str, time_zone: str) -> None:
    """Raise `InvalidInput` with a pointer unless exactly one of minutes and cron is set, and is valid and ever runs."""
    if bool(cron.strip()) == (every_minutes is not None):
        raise InvalidInput("Give either the minutes between two runs, or a cron expression.", pointer="/every_minutes")
    if every_minutes is not None and not 1 <= every_minutes <= LONGEST_MINUTES:
        raise InvalidInput(f"From 1 to {LONGEST_MINUTES:,} minutes (a week).", pointer="/every_minutes")
    read_time_zone(time_zone)
    if cron.strip():
        next_run(cron, time_zone, after=now())


@transaction.atomic
def run_now(actor: Actor, *, schedule_id: int) -> Schedule:
    """Queue one run of the job, even if its schedule is switched off. Raises `Forbidden`, `NotFound`."""
    require_permission(actor, RUN_SCHEDULE)
    schedule = Schedule.objects.filter(pk=schedule_id).first()
    if schedule is None:
        raise NotFound("There is no such schedule here.")
    record_audit(actor, "schedule.run_now", target=schedule)
    enqueue_job(schedule.job, actor.name)
    return schedule
