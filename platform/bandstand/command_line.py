"""What `manage.py` does: find out which role a command plays, then hand over to Django."""

import os
import sys
from collections.abc import Sequence
from typing import Final

from bandstand.config import Role

ROLES: Final[dict[str, Role]] = {"runweb": "web", "runagents": "runner", "qcluster": "scheduler"}


def main(arguments: Sequence[str]) -> None:
    """Run one command. `run` starts the whole installation and needs no Django; everything else does."""
    command = arguments[1] if len(arguments) > 1 else ""
    if command == "run":
        from bandstand.supervisor import main as run

        raise SystemExit(run())
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bandstand.settings")
    os.environ["BANDSTAND_ROLE"] = ROLES.get(command, "command")
    from django.core.management import execute_from_command_line
    from django.db import OperationalError

    try:
        execute_from_command_line(list(arguments))
    except OperationalError as error:
        # The first line says what is wrong; forty more of traceback say where we noticed.
        print(f"bandstand: the database cannot be used: {str(error).strip().splitlines()[0]}", file=sys.stderr)
        if not os.environ.get("DATABASE_URL"):
            print("bandstand: the embedded database runs while `make run` runs", file=sys.stderr)
        raise SystemExit(1) from None
