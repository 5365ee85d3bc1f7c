"""The closed list of what the watchdog reports, each with its words and how long it must last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Condition(StrEnum):
    """What keeps the platform from reporting anything itself. Each has its section in docs/runbooks.md."""

    DATABASE_DOWN = "database_down"
    DISK_FULL = "disk_full"
    SCHEDULER_FROZEN = "scheduler_frozen"
    RUNNER_DOWN = "runner_down"
    WEB_DOWN = "web_down"
    PROCESS_KEEPS_ENDING = "process_keeps_ending"


@dataclass(frozen=True, slots=True)
class ConditionTerms:
    """`title` is a sentence without its full stop, `remedy` what to do first. A condition is reported when every look
    for `hold_seconds` has seen it, so that what is restarted in time wakes nobody, and is over when none for
    `clear_seconds` has."""

    title: str
    remedy: str
    hold_seconds: float
    clear_seconds: float = 10.0


# With a look every five seconds, and five for a look that hangs, all of them are reported within a minute.
TERMS: Final[Mapping[Condition, ConditionTerms]] = MappingProxyType(
    {
        Condition.DATABASE_DOWN: ConditionTerms(
            "The database does not answer",
            "Nobody can write or is answered. Start PostgreSQL, or see that DATABASE_URL leads to it; the embedded one "
            "is started again by itself, and logs/postgres.log says what hinders it.",
            hold_seconds=15.0,
        ),
        Condition.DISK_FULL: ConditionTerms(
            "The disk is nearly full",
            "Make room before the database stops: logs, other programs' files; then a larger disk.",
            hold_seconds=10.0,
        ),
        Condition.SCHEDULER_FROZEN: ConditionTerms(
            "The scheduler does not work",
            "It is started anew by itself. If it goes on, logs/scheduler.log says why.",
            hold_seconds=25.0,
        ),
        Condition.RUNNER_DOWN: ConditionTerms(
            "No runner works",
            "Messages are accepted and not answered. Runners are started anew by themselves; logs/runner-*.log says "
            "why they end.",
            hold_seconds=30.0,
        ),
        Condition.WEB_DOWN: ConditionTerms(
            "No web process answers",
            "Pages and API are away. Web processes are started anew by themselves; logs/web-*.log says why they end.",
            hold_seconds=35.0,
        ),
        Condition.PROCESS_KEEPS_ENDING: ConditionTerms(
            "A process ends again and again",
            "It is started anew by itself, each time later. Its log says why it ends.",
            hold_seconds=0.0,
        ),
    }
)
