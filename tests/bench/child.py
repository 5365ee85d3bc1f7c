"""`python -m tests.bench.child <command>`: a command of `manage.py` that dies with the bench, perhaps profiled.

The product knows nothing of it. `seed`, `provider` and `attack` are programs of the tests.
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

# The file that a profile is written to when the process ends; unset: none is taken.
PROFILE = "BENCH_PROFILE"


def main() -> None:
    if ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise SystemExit("bench: this process would outlive its parent")
    command = sys.argv.pop(1)
    if command == "provider":
        runpy.run_module("tests.provider", run_name="__main__")
    elif command == "attack":
        runpy.run_module("tests.bench.attackers", run_name="__main__")
    elif command == "seed":
        runpy.run_module("tests.bench.seed", run_name="__main__")
    elif target := os.environ.get(PROFILE):
        from tests.bench.profiling import profiled

        with profiled(Path(target)):
            _manage(command)
    else:
        _manage(command)


def _manage(command: str) -> None:
    sys.argv = [str(ROOT / "manage.py"), command, *sys.argv[1:]]
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
