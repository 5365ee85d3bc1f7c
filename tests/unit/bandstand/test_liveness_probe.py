"""`manage.py alive runner|scheduler`, as a probe calls it: without a database and without Django."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("name", ["runner", "scheduler"])
def test_a_process_lives_while_its_file_is_young(name: str, tmp_path: Path) -> None:
    assert alive(tmp_path, name).returncode == 1
    file = tmp_path / "run" / f"{name}.alive"
    file.parent.mkdir()
    file.touch()
    done = alive(tmp_path, name)
    assert (done.returncode, done.stderr) == (0, "")
    os.utime(file, (time.time() - 60, time.time() - 60))
    done = alive(tmp_path, name)
    assert done.returncode == 1
    assert f"the {name} has been silent for 6" in done.stderr


def test_nobody_else_is_asked_about(tmp_path: Path) -> None:
    assert alive(tmp_path, "dead").returncode == 2
