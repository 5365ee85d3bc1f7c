"""Runs of releases against test sets: their states, their lanes, and what becomes of an entry."""

from __future__ import annotations

from enum import StrEnum


class RunState(StrEnum):
    """`stopped`: out of money, or cancelled by somebody; what was done stays. `failed`: it cannot go on."""

    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


class Lane(StrEnum):
    """Which release answers an entry again. The third lane is the recorded answer itself, which the entry has."""

    BASELINE = "baseline"
    CANDIDATE = "candidate"


class ResultStatus(StrEnum):
    """`diverged`: the release called a tool as the recording does not have it."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    DIVERGED = "diverged"
    FAILED = "failed"
