"""`python -m tests.chaos.child <command>`: a command of `manage.py`, perhaps with a point armed or a defect put in.

Without either it runs `manage.py` itself, unchanged. `seed`, `fold`, `firings`, `takeovers`, `approval_work`,
`budget_work` and `provider` are programs of ours. Every one of them dies with its parent.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PR_SET_PDEATHSIG = 1
OURS = {"seed", "fold", "firings", "takeovers", "approval_work", "budget_work"}

CRASH_AT = "CHAOS_CRASH_AT"
STOP_AT = "CHAOS_STOP_AT"
HITS = "CHAOS_HITS"
DEFECT = "CHAOS_DEFECT"


def main() -> None:
    if ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise SystemExit("chaos: this process would outlive its parent")
    command = sys.argv.pop(1)
    crash_at, stop_at, defect = (os.environ.get(name, "") for name in (CRASH_AT, STOP_AT, DEFECT))
    if crash_at or stop_at or defect or command in OURS:
        _set_up(command)
        _spoil(crash_at, stop_at, defect)
    if command in OURS:
        runpy.run_module(f"tests.chaos.{command}", run_name="__main__")
    elif command == "provider":
        runpy.run_module("tests.provider", run_name="__main__")
    else:
        sys.argv = [str(ROOT / "manage.py"), command]
        runpy.run_path(sys.argv[0], run_name="__main__")


def _set_up(command: str) -> None:
    """What `manage.py` does before it runs a command, so that there is a product to change."""
    sys.path.insert(0, str(ROOT / "platform"))
    from bandstand.command_line import ROLES

    os.environ["DJANGO_SETTINGS_MODULE"] = "bandstand.settings"
    os.environ["BANDSTAND_ROLE"] = ROLES.get(command, "command")
    import django

    django.setup()


def _spoil(crash_at: str, stop_at: str, defect: str) -> None:
    from tests.chaos import defects, points

    if defect:
        defects.install(defect)
    for name, number in ((crash_at, signal.SIGKILL), (stop_at, signal.SIGSTOP)):
        if name:
            points.arm(name, number=number, hits=Path(os.environ[HITS]))


if __name__ == "__main__":
    main()
