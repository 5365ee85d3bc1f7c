"""Processes that run turns."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import connection, models
from django.db.models.functions import Now

from foundation.ids import new_id

# A runner sends a heartbeat with each renewal of its leases; after three missed ones it counts as dead.
MISSED_HEARTBEATS: Final = 3
MAX_OUTCOME: Final = 400


def heartbeat_timeout() -> timedelta:
    """The age of a heartbeat after which its runner counts as dead."""
    return timedelta(seconds=MISSED_HEARTBEATS * settings.BANDSTAND.heartbeat_seconds)


class RunnerQuerySet(models.QuerySet["Runner"]):
    def alive(self) -> RunnerQuerySet:
        """Runners that take turns and have a recent heartbeat, by the database's clock."""
        return self.filter(status=Runner.Status.RUNNING, heartbeat_at__gte=Now() - heartbeat_timeout())


@dataclass(frozen=True, slots=True)
class RequestedAction:
    """What somebody wants a runner to do; see `Runner.Action`."""

    id: UUID
    name: str


@dataclass(frozen=True, slots=True)
class HeartbeatReply:
    """What a runner learns with its heartbeat: how many runners are `alive`, how many turns it may have at a time if
    fewer than it could, and what it is to do."""

    alive: int
    claim_limit: int | None = None
    action: RequestedAction | None = None


_SEND_HEARTBEAT: Final = """
WITH me AS (
    UPDATE agents_runner SET heartbeat_at = now(), running = %(running)s WHERE id = %(runner)s
    RETURNING claim_limit, CASE WHEN action_started_at IS NULL THEN action_id END AS action_id, action
)
SELECT (SELECT count(*) FROM agents_runner
        WHERE id = %(runner)s
           OR (status = 'running' AND heartbeat_at >= now() - make_interval(secs => %(timeout)s))),
       me.claim_limit, me.action_id, me.action
FROM (SELECT) one LEFT JOIN me ON true
"""


def send_heartbeat(runner_id: UUID, *, running: int) -> HeartbeatReply:
    """Report a runner as alive with so many `running` turns, and return what concerns it: one statement."""
    with connection.cursor() as cursor:
        cursor.execute(
            _SEND_HEARTBEAT,
            {"runner": runner_id, "running": running, "timeout": heartbeat_timeout().total_seconds()},
        )
        alive, claim_limit, action_id, action = cursor.fetchone()
    return HeartbeatReply(
        int(alive), claim_limit, RequestedAction(action_id, action) if action_id is not None else None
    )


def request_action(runner_id: UUID, action_id: UUID, action: Runner.Action) -> None:
    """Have a runner do something after its next heartbeat, in place of what it was to do before."""
    Runner.objects.filter(pk=runner_id).update(
        action=action, action_id=action_id, action_started_at=None, action_finished_at=None, action_outcome=""
    )


def cancel_action(runner_id: UUID, action_id: UUID) -> bool:
    """Take an action back; False if the runner has begun it, or has another one."""
    requested = Runner.objects.filter(pk=runner_id, action_id=action_id, action_started_at=None)
    return bool(requested.update(action="", action_id=None))


def set_claim_limit(runner_id: UUID, limit: int | None) -> None:
    """Limit how many turns a runner may have at a time, from its next heartbeat on; None: its capacity."""
    Runner.objects.filter(pk=runner_id).update(claim_limit=limit)


def start_action(runner_id: UUID, action_id: UUID) -> bool:
    """Record that the runner begins to do what it is to do; False if that has changed, or was begun before."""
    requested = Runner.objects.filter(pk=runner_id, action_id=action_id, action_started_at=None)
    return bool(requested.update(action_started_at=Now()))


def finish_action(runner_id: UUID, action_id: UUID, outcome: str) -> None:
    """Record what came of the action of a runner."""
    started = Runner.objects.filter(pk=runner_id, action_id=action_id, action_finished_at=None)
    started.update(action_finished_at=Now(), action_outcome=outcome[:MAX_OUTCOME])


class Runner(models.Model):
    """A runner process as of its last heartbeat."""

    class Status(models.TextChoices):
        RUNNING = "running"
        DRAINING = "draining"
        STOPPED = "stopped"

    class Action(models.TextChoices):
        """What a runner can be requested to do, once for each `action_id`. It begins after its next heartbeat."""

        FREE_MEMORY = "free_memory"
        RESTART = "restart"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    host = models.CharField(max_length=255)
    pid = models.IntegerField()
    status = models.CharField(max_length=8, choices=Status.choices, default=Status.RUNNING)
    capacity = models.IntegerField()
    running = models.IntegerField(default=0)
    started_at = models.DateTimeField(db_default=Now())
    heartbeat_at = models.DateTimeField(db_default=Now())
    claim_limit = models.IntegerField(
        null=True, blank=True, help_text="How many turns it may have at a time, if fewer than its capacity."
    )
    # An action is requested by its id; the runner writes when it begins, and what came of it. Ids are never used twice.
    action = models.CharField(max_length=12, choices=Action.choices, blank=True, default="")
    action_id = models.UUIDField(null=True, blank=True)
    action_started_at = models.DateTimeField(null=True)
    action_finished_at = models.DateTimeField(null=True)
    action_outcome = models.CharField(max_length=MAX_OUTCOME, blank=True, default="")

    objects = RunnerQuerySet.as_manager()

    class Meta:
        ordering = ["-heartbeat_at"]
        indexes = [models.Index(fields=["-heartbeat_at"], name="runner_heartbeat")]

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"

    def is_silent(self, now: datetime) -> bool:
        """Whether its heartbeat has stopped although it has not reported that it stopped, as after a kill."""
        return self.status != self.Status.STOPPED and self.heartbeat_at < now - heartbeat_timeout()
