"""Errors of work in the compute pool."""

from __future__ import annotations

from enum import StrEnum

from foundation.errors import BandstandError, Unavailable


class Outcome(StrEnum):
    """How a job ended, as the host reports it."""

    DONE = "done"
    RAISED = "raised"  # the function raised: a fault of ours or of its package
    TIMEOUT = "timeout"
    MEMORY = "memory"
    OUTPUT = "output"
    DIED = "died"


_DETAILS = {
    Outcome.RAISED: "The work failed.",
    Outcome.TIMEOUT: "The work was not finished in time.",
    Outcome.MEMORY: "The work needs more memory than it may use.",
    Outcome.OUTPUT: "The result of the work is too large.",
    Outcome.DIED: "The process of the work ended.",
}


class ComputeFailed(BandstandError):
    """The work in the compute pool failed."""

    code = "compute_failed"

    def __init__(self, outcome: Outcome, report: str = "") -> None:
        """`report` is for the log, never for users."""
        self.outcome = outcome
        self.report = report
        super().__init__(_DETAILS[outcome])


class ComputeOverloaded(Unavailable):
    """Too much is being calculated at the moment; try again later."""

    code = "compute_overloaded"
