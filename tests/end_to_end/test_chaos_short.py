"""The short version of `make chaos`: every kind of fault, on real processes of its own."""

import os
import subprocess
import sys

from tests.support.surroundings import PYTHON_PATH, ROOT


def test_nothing_acknowledged_is_lost_while_processes_are_killed_paused_and_cut_off() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos", "short"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": PYTHON_PATH},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
