"""The entry point of `manage.py`: sets the role of the process, then calls Django."""

import os
import sys
from collections.abc import Sequence
from typing import Final

from bandstand.config import ProcessRole

ROLES: Final[dict[str, ProcessRole]] = {"runweb": "web", "runagents": "runner", "qcluster": "scheduler"}


DATABASE_WAIT_SECONDS: Final = 10.0  # as long as a killed server takes to restart


def main(arguments: Sequence[str]) -> None:
    """Run one command of `manage.py`. `run` starts the supervisor; it and `alive` do not load Django, everything else
    does.

    Raises `SystemExit`.
    """
    command = arguments[1] if len(arguments) > 1 else ""
    if command == "run":
        from bandstand.supervisor import main as run

        raise SystemExit(run())
    if command == "alive":
        from bandstand.liveness_probe import main as judge

        raise SystemExit(judge(arguments[2:]))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bandstand.settings")
    os.environ["BANDSTAND_ROLE"] = ROLES.get(command, "command")
    from django.core.management import execute_from_command_line
    from django.db import OperationalError

    if command in ROLES:
        _check_database()
    try:
        execute_from_command_line(list(arguments))
    except OperationalError as error:
        # The first line says what is wrong; forty more of traceback say where we noticed.
        from bandstand.supervisor.terminal import print_error

        print_error("the database cannot be used: " + str(error).strip().partition("\n")[0])
        if not os.environ.get("DATABASE_URL"):
            print_error("the embedded database runs while `make run` runs")
        raise SystemExit(1) from None


def _check_database() -> None:
    from django.conf import settings

    from bandstand import boot_checks, databases

    faults = boot_checks.find_faults(databases.database_url(settings.BANDSTAND), wait_seconds=DATABASE_WAIT_SECONDS)
    if faults:
        for fault in faults:
            print(f"bandstand: {fault}", file=sys.stderr)
        raise SystemExit(1)
