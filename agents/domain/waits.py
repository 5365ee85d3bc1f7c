"""How the work on a turn signals that it must wait."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from agents.domain.failures import ErrorClass
from agents.domain.states import WaitReason


class Park(Exception):
    """The turn must wait: it releases its runner and resumes when something wakes it, or at `until` at the latest; at
    `resume_at` if another wait, which is not shown, ends before.

    A tool that raises this has had no effect: the call is repeated, with the same key, when the turn resumes. A model
    call is repeated, too; its text is dropped, and its usage is billed.

    `reason` None: the model is not available at the moment, and `error_class` says why; the turn resumes before when
    one of `routes` may be asked again.
    """

    def __init__(
        self,
        until: datetime,
        reason: WaitReason | None = None,
        *,
        error_class: ErrorClass = ErrorClass.TRANSIENT,
        resume_at: datetime | None = None,
        routes: tuple[str, ...] = (),
    ) -> None:
        super().__init__(reason or error_class)
        self.until = until
        self.reason = reason
        self.error_class = error_class
        self.resume_at = resume_at or until
        self.routes = routes


# Which of several reasons is shown: an approval first, since nothing happens before a person acts.
_REASON_ORDER = (WaitReason.APPROVAL, WaitReason.CHILDREN, WaitReason.BUDGET, None)


def combine_waits(waits: Sequence[Park]) -> Park:
    """One wait for several simultaneous ones: one of them is shown, and the turn resumes when the first ends."""
    shown = min(waits, key=lambda wait: (_REASON_ORDER.index(wait.reason), wait.until))
    resume_at = min(wait.resume_at for wait in waits)
    return Park(shown.until, shown.reason, error_class=shown.error_class, resume_at=resume_at)
