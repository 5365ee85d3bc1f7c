"""Checks of turns and runners."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import orjson
from django.db import connection
from django.db.models import Count

from agents.domain.failures import ERROR_CLASSES, SILENT_CLASSES, parse_error_class
from agents.models import IN_PRODUCTION_SQL, STUCK_AFTER, UNANSWERED_FAILURE, Runner, Turn
from agents.models.runners import heartbeat_timeout
from console.date_filters import format_filter_time
from foundation.durations import duration
from foundation.ids import lowest_id
from health_checks.check import Check, Concerns, Finding, Level, Link, Reader
from health_checks.run import Measurements

# Above this percentage of the past hour's turns failures are a general problem.
FAILED_PERCENT: Final = 5
# The queue is empty most of the time; a longer wait means that something is broken.
SLOW_QUEUE_SECONDS: Final = 30
# So many percent of thumbs down, among so many ratings at least, are worth a look.
DOWN_PERCENT: Final = 20
MIN_RATINGS: Final = 10
# The number of kinds of failures that are listed.
KINDS: Final = 4

# The SQL of `agents.models.UNANSWERED_FAILURE`, in a statement that reads agents_turn and passes `quiet`.
UNANSWERED_FAILURE_SQL: Final = f"""(
    status IN ('expired', 'failed') AND error_class <> ALL(%(quiet)s)
    AND NOT EXISTS (SELECT FROM agents_turn later WHERE later.id = agents_turn.retried_by_id
                      AND later.status = 'completed')
    AND {IN_PRODUCTION_SQL.format(row="agents_turn")})"""

# Each count uses an index of its own, and finished turns are found by the range of the newest ids. The runners are
# those of `Runner.objects.alive()`, counted here so that all figures stay one statement. What is queued or running is
# load, whatever it is for; what was asked and rated is production's only.
_FIGURES: Final = f"""
SELECT (SELECT count(*) FROM agents_turn WHERE id >= %(hour_ago)s AND {IN_PRODUCTION_SQL.format(row="agents_turn")}),
       (SELECT count(*) FROM agents_turn WHERE id >= %(hour_ago)s AND {UNANSWERED_FAILURE_SQL}),
       (SELECT count(*) FROM agents_turn WHERE status = 'queued'),
       (SELECT extract(epoch FROM statement_timestamp() - min(queued_at))::float8
          FROM agents_turn WHERE status = 'queued'),
       (SELECT count(*) FROM agents_turn WHERE lease_expires_at IS NOT NULL),
       (SELECT count(*) FROM agents_turn WHERE lease_expires_at < statement_timestamp() - %(stuck)s)
         + (SELECT count(*) FROM agents_turn WHERE deadline_at < statement_timestamp() - %(stuck)s
              AND lease_expires_at IS NULL AND finished_at IS NULL),
       (SELECT count(*) FROM agents_runner WHERE status = 'running'
           AND heartbeat_at >= statement_timestamp() - %(patience)s),
       (SELECT coalesce(sum(capacity), 0) FROM agents_runner WHERE status = 'running'
           AND heartbeat_at >= statement_timestamp() - %(patience)s),
       (SELECT coalesce(jsonb_agg(jsonb_build_array(a.id, a.name, r.configuration) ORDER BY a.name), '[]')::text
          FROM agents_agent a JOIN agents_release r ON r.id = a.live_release_id WHERE a.archived_at IS NULL),
       (SELECT count(*) FROM agents_feedback WHERE id >= %(day_ago)s AND turn_id IS NOT NULL
           AND {IN_PRODUCTION_SQL.format(row="agents_feedback")}),
       (SELECT count(*) FROM agents_feedback WHERE id >= %(day_ago)s AND turn_id IS NOT NULL AND value < 0
           AND {IN_PRODUCTION_SQL.format(row="agents_feedback")})
"""  # noqa: S608 - put together from a constant; values are parameters

_OPEN_ONE: Final = "Open one: its steps say what went wrong."
_START_A_RUNNER: Final = "Start a runner; var/logs/runner-*.log says why the last one died."


@dataclass(frozen=True, slots=True)
class LiveRelease:
    """What is stored as the live configuration of an agent that is not archived."""

    agent_id: UUID
    agent_name: str
    configuration: Any


@dataclass(frozen=True, slots=True)
class CurrentTurns:
    """Turns and runners now, `turns` and `failed` since `since`, an hour ago; `failed` are without those that a later
    turn has answered. `oldest_seconds` is the wait of the oldest queued turn, None if the queue is empty.
    `live_releases` are read with them, so that the start page needs one statement. `ratings` are those of turns since
    `rated_since`, a day ago, and `down` the thumbs down among them."""

    since: datetime | None = None
    rated_since: datetime | None = None
    turns: int = 0
    failed: int = 0
    queued: int = 0
    oldest_seconds: float | None = None
    running: int = 0
    stuck: int = 0
    runners: int = 0
    capacity: int = 0
    live_releases: Sequence[LiveRelease] = ()
    ratings: int = 0
    down: int = 0


@dataclass(frozen=True, slots=True)
class FailureKind:
    """The number of turns of an agent that failed with an error class ("" for none) since a moment."""

    times: int
    error_class: str
    agent_id: UUID
    agent_name: str
    since: datetime


def turn_figures(measurements: Measurements) -> CurrentTurns:
    """The figures, from one statement."""
    bounds: dict[str, Any] = {
        "hour_ago": lowest_id(since := _minute_before(measurements.now, timedelta(hours=1))),
        "day_ago": lowest_id(rated_since := _minute_before(measurements.now, timedelta(days=1))),
        "quiet": list(SILENT_CLASSES),
        "stuck": STUCK_AFTER,
        "patience": heartbeat_timeout(),
    }
    with connection.cursor() as cursor:
        cursor.execute(_FIGURES, bounds)
        figures = list(cursor.fetchone())
    figures[-3] = [LiveRelease(UUID(agent_id), name, stored) for agent_id, name, stored in orjson.loads(figures[-3])]
    return CurrentTurns(since, rated_since, *figures)


def failure_kinds(measurements: Measurements) -> list[FailureKind]:
    """The failures of the past hour by class and agent, the most frequent first."""
    if not measurements.get(turn_figures).failed:
        return []
    since = _minute_before(measurements.now, timedelta(hours=1))
    failed = Turn.objects.filter(UNANSWERED_FAILURE, pk__gte=lowest_id(since))
    kinds = failed.values_list("error_class", "release__agent", "release__agent__name").annotate(times=Count("pk"))
    return [
        FailureKind(times, error_class, agent_id, agent_name, since)
        for error_class, agent_id, agent_name, times in kinds.order_by("-times", "error_class")[:KINDS]
    ]


def runner_is_alive(measurements: Measurements) -> bool:  # noqa: ARG001
    """Whether any runner takes turns. One cheap query, so that it may be asked every second."""
    return Runner.objects.alive().exists()


def evaluate_failed(figures: CurrentTurns) -> Sequence[Finding]:
    exceeds_limit = figures.failed * 100 > figures.turns * FAILED_PERCENT
    level = Level.BAD if exceeds_limit else Level.WARN if figures.failed else Level.GOOD
    link = _failed_turns_link(since=figures.since) if figures.since else None
    return [Finding(level, f"of {figures.turns:,} turns asked in it", f"{figures.failed:,}", link=link)]


def evaluate_queue(figures: CurrentTurns) -> Sequence[Finding]:
    oldest = figures.oldest_seconds
    level = Level.BAD if oldest is not None and oldest > SLOW_QUEUE_SECONDS else Level.GOOD
    label = "nobody waits" if oldest is None else f"oldest for {duration(oldest)}"
    return [Finding(level, label, f"{figures.queued:,}")]


def evaluate_running(figures: CurrentTurns) -> Sequence[Finding]:
    return [Finding(Level.GOOD, "turns with a runner", f"{figures.running:,}")]


def evaluate_stuck(figures: CurrentTurns) -> Sequence[Finding]:
    if not figures.stuck:
        return [Finding(Level.GOOD, "every turn is cared for", "0")]
    return [Finding(Level.BAD, "past their lease or deadline", f"{figures.stuck:,}")]


def evaluate_runners(figures: CurrentTurns) -> Sequence[Finding]:
    if not figures.runners:
        return [Finding(Level.BAD, "nothing is answered", "0")]
    return [Finding(Level.GOOD, f"room for {figures.capacity:,} turns", f"{figures.runners:,}")]


def evaluate_ratings(figures: CurrentTurns) -> Sequence[Finding]:
    is_high = figures.ratings >= MIN_RATINGS and figures.down * 100 >= figures.ratings * DOWN_PERCENT
    query = {"value": "down", "of": "turns"}
    if figures.rated_since:
        query["since"] = format_filter_time(figures.rated_since)
    label = f"of {figures.ratings:,} ratings" if figures.ratings else "nobody has rated an answer"
    link = Link("admin:agents_feedback_changelist", query=query)
    return [Finding(Level.WARN if is_high else Level.GOOD, label, f"{figures.down:,}", link=link)]


def evaluate_alive(alive: bool) -> Sequence[Finding]:
    return [] if alive else [Finding(Level.BAD, "no runner has reported itself lately")]


def evaluate_kinds(kinds: Sequence[FailureKind]) -> Sequence[Finding]:
    return [
        Finding(
            Level.WARN,
            f"{kind.times:,} failed with {kind.error_class or 'no class'}, agent {kind.agent_name}",
            remedy=error_class.failure.remedy if (error_class := parse_error_class(kind.error_class)) else _OPEN_ONE,
            link=_failed_turns_link(since=kind.since, agent=kind.agent_id, **_error(kind)),
            agent_id=kind.agent_id,
        )
        for kind in kinds
    ]


def _error(kind: FailureKind) -> dict[str, str]:
    """The filter by the class of a failure; none for a class that the filter does not know."""
    return {"error": kind.error_class} if kind.error_class in ERROR_CLASSES else {}


def _failed_turns_link(*, since: datetime, **query: Any) -> Link:
    return _turns_link(state="unanswered", since=format_filter_time(since), **query)


def _turns_link(**query: Any) -> Link:
    return Link("admin:agents_turn_changelist", query=query)


def _minute_before(moment: datetime, period: timedelta) -> datetime:
    """The full minute a `period` before `moment`: lists are filtered by the minute."""
    return moment.replace(second=0, microsecond=0) - period


_OVERVIEW: Final = frozenset({Reader.OVERVIEW})
# All figures are one statement, so viewers need the permissions of all.
_PERMISSIONS: Final = ("agents.view_turn", "agents.view_runner")

CHECKS: Final[tuple[Check[Any], ...]] = (
    Check(
        name="runner",
        title="Runner",
        measure=runner_is_alive,
        evaluator=evaluate_alive,
        alarms_when="no runner has reported itself",
        remedy=_START_A_RUNNER,
        readers=frozenset({Reader.READY}),
        order=40,
        link=Link("admin:agents_runner_changelist"),
    ),
    Check(
        name="failure_kinds",
        title="Kinds of failures",
        measure=failure_kinds,
        evaluator=evaluate_kinds,
        alarms_when="each kind of failure of the past hour",
        remedy=_OPEN_ONE,
        readers=_OVERVIEW,
        order=60,
        concerns=Concerns.AGENT,
        link=_turns_link(state="unanswered"),
        permissions=_PERMISSIONS,
    ),
    Check(
        name="failed_turns",
        title="Failed, past hour",
        measure=turn_figures,
        evaluator=evaluate_failed,
        alarms_when="a turn that was asked in the past hour failed or expired (not those that operators failed, or "
        f"that a later turn answered); red above {FAILED_PERCENT} %",
        remedy=_OPEN_ONE,
        readers=_OVERVIEW,
        order=100,
        link=_turns_link(state="unanswered"),
        permissions=_PERMISSIONS,
        is_metric=True,
        detailed_by="failure_kinds",
    ),
    Check(
        name="queue",
        title="In the queue",
        measure=turn_figures,
        evaluator=evaluate_queue,
        alarms_when=f"the oldest waits for more than {SLOW_QUEUE_SECONDS} s",
        remedy="Are runners up, and do they have room? If so, one user or program may fill the queue: "
        "Cancel ends that.",
        readers=_OVERVIEW,
        order=110,
        link=_turns_link(state="queued"),
        permissions=_PERMISSIONS,
        is_metric=True,
    ),
    Check(
        name="running_turns",
        title="Running",
        measure=turn_figures,
        evaluator=evaluate_running,
        alarms_when="never",
        remedy="",
        readers=_OVERVIEW,
        order=120,
        link=_turns_link(state="any_running"),
        permissions=_PERMISSIONS,
        is_metric=True,
    ),
    Check(
        name="stuck_turns",
        title="Stuck",
        measure=turn_figures,
        evaluator=evaluate_stuck,
        alarms_when="a turn is more than a minute past its lease or deadline",
        remedy="Nobody takes these back: start a runner. A turn that stays is ended by Fail turn.",
        readers=_OVERVIEW,
        order=130,
        link=_turns_link(state="stuck"),
        permissions=_PERMISSIONS,
        is_metric=True,
    ),
    Check(
        name="ratings",
        title="Rated down, past day",
        measure=turn_figures,
        evaluator=evaluate_ratings,
        alarms_when=f"{DOWN_PERCENT} % or more of at least {MIN_RATINGS} ratings are thumbs down",
        remedy="Read the comments. One release only: publish the one before it again.",
        readers=_OVERVIEW,
        order=135,
        link=Link("admin:agents_feedback_changelist", query={"value": "down", "of": "turns"}),
        permissions=(*_PERMISSIONS, "agents.view_feedback"),
        is_metric=True,
    ),
    Check(
        name="runners",
        title="Active runners",
        measure=turn_figures,
        evaluator=evaluate_runners,
        alarms_when="no runner has reported itself",
        remedy=_START_A_RUNNER,
        readers=_OVERVIEW,
        order=140,
        link=Link("admin:agents_runner_changelist", query={"alive": "yes"}),
        permissions=_PERMISSIONS,
        is_metric=True,
    ),
)
