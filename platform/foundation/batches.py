"""Work in batches, each in its own transaction, within a bounded time."""

from __future__ import annotations

import time
from collections.abc import Callable


def work_in_batches(step: Callable[[float], int], *, seconds: float, full: int = 1) -> int:
    """Call `step(seconds_left)` until it returns less than `full` or the time is up; return the sum of the results.

    `step` is never interrupted. A result below `full` means that no work is left, or that the rest is locked.
    """
    done, ends_at = 0, time.monotonic() + seconds
    while (remaining := ends_at - time.monotonic()) > 0:
        batch = step(remaining)
        done += batch
        if batch < full:
            break
    return done
