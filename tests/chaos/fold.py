"""The scheduler's task that compacts deltas, and remembers what a killed runner has not, soon after each turn. Run by
`tests.chaos.child`, again and again."""

from __future__ import annotations

import threading
from datetime import timedelta

from django.db import InterfaceError, OperationalError, connection

from agents import tasks

PAUSE_SECONDS = 0.5
AFTER = timedelta(seconds=2)


def main() -> None:
    tasks.COMPACT_AFTER = AFTER
    pause = threading.Event()
    while not pause.wait(PAUSE_SECONDS):
        try:
            tasks.compact_events()
        except (OperationalError, InterfaceError):
            connection.close()


if __name__ == "__main__":
    main()
