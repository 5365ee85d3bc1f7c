"""Work that is too much for one transaction, and that must not hold up a worker for ever."""

from __future__ import annotations

import time
from collections.abc import Callable


def work_in_batches(step: Callable[[float], int], *, seconds: float, full: int = 1) -> int:
    """Call `step(seconds_left)` until it deals with fewer than `full` or the time is up; the sum of what it returned.

    A step that has begun is waited for. One that is not full has found nothing more, or what is left is busy just now.
    """
    done, ends_at = 0, time.monotonic() + seconds
    while (remaining := ends_at - time.monotonic()) > 0:
        batch = step(remaining)
        done += batch
        if batch < full:
            break
    return done
