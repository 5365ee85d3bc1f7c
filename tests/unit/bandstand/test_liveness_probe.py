"""`manage.py alive runner`, as a probe calls it: without a database and without Django."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from tests.support.surroundings import ROOT, environment


def alive(data_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = environment(BANDSTAND_DATA_DIR=str(data_dir), BANDSTAND_ENV_FILE=os.devnull)
    return subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "alive", *arguments],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_runner_lives_while_its_file_is_young(tmp_path: Path) -> None:
    assert alive(tmp_path, "runner").returncode == 1
    file = tmp_path / "run" / "runner.alive"
    file.parent.mkdir()
    file.touch()
    done = alive(tmp_path, "runner")
    assert (done.returncode, done.stderr) == (0, "")
    os.utime(file, (time.time() - 60, time.time() - 60))
    done = alive(tmp_path, "runner")
    assert done.returncode == 1
    assert "silent for 6" in done.stderr
    assert alive(tmp_path, "dead").returncode == 2
