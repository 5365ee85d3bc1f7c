"""How the work on a turn says that it must wait."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from agents.domain.failures import ErrorClass
from agents.domain.states import WaitReason


class Park(Exception):
    """The turn must wait: it gives its runner's place up, and goes on when somebody wakes it or when it is `until`.

    A tool that raises it has had no effect: the call is made again, with the same key, when the turn goes on. The call
    of a model is made again, too; what it has shown is dropped, and what it has used is billed.

    `reason` None: the model does not answer just now, and `error_class` says why.
    """

    def __init__(
        self, until: datetime, reason: WaitReason | None = None, *, error_class: ErrorClass = ErrorClass.TRANSIENT
    ) -> None:
        super().__init__(reason or error_class)
        self.until = until
        self.reason = reason
        self.error_class = error_class


# Of what a turn waits for at once, what it is said to wait for: people come first, for nothing else wakes them.
_FIRST = (WaitReason.APPROVAL, WaitReason.CHILDREN, WaitReason.BUDGET, None)


def combine_waits(waits: Sequence[Park]) -> Park:
    """One wait for several: until the first of them is over, since then there is something to do."""
    reason = min((wait.reason for wait in waits), key=_FIRST.index)
    return Park(min(wait.until for wait in waits), reason, error_class=waits[0].error_class)
