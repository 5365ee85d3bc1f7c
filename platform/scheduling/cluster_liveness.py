"""A file that is young while the scheduler works, for whoever restarts one that has frozen.

A cluster of django-q2 can freeze with all its processes alive: a worker that dies while it waits for a task takes the
queue's lock along (django-q2/django-q2#23, open in 1.11.1), and one that dies at a wrong moment stops the guard. So
the guard touches the file in each of its rounds, unless a beat remains unanswered: a task that the pusher puts into the
queue every few seconds and that no free worker takes. None of it asks the database, so a dead one makes nobody look
dead.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

from django.utils import timezone
from django_q import cluster
from django_q.brokers.orm import ORM
from django_q.conf import Conf
from django_q.signing import SignedPackage

from foundation.liveness_file import touch_liveness_file

BEAT_SECONDS: Final = 5.0
# A beat is lost with the worker that had taken it.
_LOST_SECONDS: Final = 10.0
UNANSWERED_SECONDS: Final = 15.0


class BeatClock:
    """When a beat was last asked for and answered, in memory that the processes of a cluster share: seconds of the
    monotonic clock, which is one for all processes. Without a lock, which a process could take along when it dies."""

    def __init__(self) -> None:
        self._asked = get_context("fork").RawValue("d", 0.0)
        self._answered = get_context("fork").RawValue("d", time.monotonic())

    def start_beat(self) -> bool:
        """Whether a beat is due; it counts as asked for from now on."""
        now, asked = time.monotonic(), self._asked.value
        patience = BEAT_SECONDS if self._answered.value >= asked else _LOST_SECONDS
        if now - asked < patience:
            return False
        self._asked.value = now
        return True

    def answer(self) -> None:
        """Record an answer."""
        self._answered.value = time.monotonic()

    @property
    def unanswered_seconds(self) -> float:
        """Seconds since the last answer, or since the start."""
        return time.monotonic() - float(self._answered.value)


# Of this process's cluster: made before the processes that share it.
_clock: BeatClock | None = None


def answer_beat() -> None:
    """The task of a beat, in a worker."""
    if _clock is not None:
        _clock.answer()


class BeatBroker(ORM):  # type: ignore[misc]  # the library has no types
    """The queue in the database, and a beat every few seconds that needs none."""

    def dequeue(self) -> Any:
        """The next tasks, as the library wants them; None after a pause without one."""
        if _clock is not None and _clock.start_beat():
            return [(None, _beat_task())]
        return super().dequeue()


def _beat_task() -> str:
    task = {
        "id": "beat",
        "name": "beat",
        "func": f"{__name__}.{answer_beat.__name__}",
        "args": (),
        "kwargs": {},
        "started": timezone.now(),
        "save": False,
    }
    return str(SignedPackage.dumps(task))


class _RoundEvent:
    """The event that ends a cluster, for which its guard waits once in each round."""

    def __init__(self, event: Any, each_round: Callable[[], None]) -> None:
        self._event = event
        self._each_round = each_round

    def wait(self, seconds: float) -> bool:
        self._each_round()
        return bool(self._event.wait(seconds))

    def is_set(self) -> bool:
        return bool(self._event.is_set())


class BeatSentinel(cluster.Sentinel):  # type: ignore[misc]  # the library has no types
    """The guard of a cluster, which touches `file` in each round in which tasks are worked on."""

    file: Path

    def start(self) -> None:
        """Start the processes and guard them; returns at the end of the cluster."""
        global _clock  # noqa: PLW0603 - the processes to be forked inherit it
        _clock = BeatClock()
        self.stop_event: Any = _RoundEvent(self.stop_event, self._touch)
        super().start()

    def _touch(self) -> None:
        assert _clock is not None
        # Of a timer only the value: its lock may have died with a worker. It is above 0 while the worker is busy.
        is_busy = all(worker.timer.get_obj().value > 0 for worker in self.pool)
        if is_busy or _clock.unanswered_seconds < UNANSWERED_SECONDS:
            touch_liveness_file(self.file)


def use_liveness_file(file: Path) -> None:
    """Have clusters that this process starts touch `file`. The library has no other place for a guard of one's own."""
    BeatSentinel.file = file
    cluster.Sentinel = BeatSentinel
    Conf.BROKER_CLASS = f"{__name__}.{BeatBroker.__name__}"
