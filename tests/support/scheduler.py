"""`python -m tests.support.scheduler`: `manage.py qcluster` that looks at its schedules at once, not after half a
minute."""

from __future__ import annotations

import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1


def main() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.environ["DJANGO_SETTINGS_MODULE"] = "bandstand.settings"
    os.environ["BANDSTAND_ROLE"] = "scheduler"
    import django

    django.setup()
    from django.core.management import call_command
    from django_q.conf import Conf

    # Its guard adds this up until there are 30 seconds.
    Conf.GUARD_CYCLE = 30
    call_command("qcluster")


if __name__ == "__main__":
    main()
