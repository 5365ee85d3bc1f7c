"""Handoffs: a person is asked to take over a session, takes it over, and gives it back."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class HandoffState(StrEnum):
    """The states of a handoff, as support tools name them. Who answers the session's user meanwhile is the session's
    `controller`, which a snoozed one does not change."""

    PENDING = "pending"  # a person is wanted, the agent goes on answering
    OPEN = "open"  # a person answers
    SNOOZED = "snoozed"  # out of sight until a time, or until the user writes
    RESOLVED = "resolved"


class HandoffOutcome(StrEnum):
    """How a handoff was resolved. The agent answers again after each of them."""

    RETURNED = "returned"  # the agent goes on with what the user wanted
    RESOLVED = "resolved"  # the person has done it
    TIMED_OUT = "timed_out"  # nobody came in time
    WITHDRAWN = "withdrawn"  # the user goes on with the agent


class HandoffSource(StrEnum):
    """Who asks for a person, or ends that."""

    USER = "user"
    OPERATOR = "operator"
    RULE = "rule"  # one of the release
    FALLBACK = "fallback"  # no model answered
    TOOL = "tool"  # the agent
    SYSTEM = "system"  # a time that is over


class HandoffPriority(IntEnum):
    """Lower is served first."""

    URGENT = 0
    HIGH = 10
    NORMAL = 20
    LOW = 30
