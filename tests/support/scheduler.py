"""`python -m tests.support.scheduler`: `manage.py qcluster` that looks at its schedules at once, not after half a
minute; with `beats` as its argument one that never does, and whose beats are quick."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.environ["DJANGO_SETTINGS_MODULE"] = "bandstand.settings"
    os.environ["BANDSTAND_ROLE"] = "scheduler"
    import django

    django.setup()
    from django.core.management import call_command
    from django_q.conf import Conf

    from scheduling import cluster_liveness

    if sys.argv[1:] == ["beats"]:
        Conf.GUARD_CYCLE, Conf.SCHEDULER = 0.05, False
        cluster_liveness.BEAT_SECONDS, cluster_liveness.UNANSWERED_SECONDS = 0.1, 0.5  # type: ignore[misc]
    else:
        # Its guard adds this up until there are 30 seconds.
        Conf.GUARD_CYCLE = 30
    call_command("qcluster")


if __name__ == "__main__":
    main()
