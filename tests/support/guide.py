"""docs/building.md as files: each block of code that begins with the name of one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.support.surroundings import ROOT

GUIDE = ROOT / "docs" / "building.md"
_BLOCK = re.compile(r"^```(?:python|toml)\n# (?P<path>\S+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def write_package(folder: Path) -> Path:
    """The guide's files below `folder`, each where its first line says; `folder` itself."""
    for block in _BLOCK.finditer(GUIDE.read_text(encoding="utf-8")):
        file = folder / block["path"]
        file.parent.mkdir(exist_ok=True)
        file.write_text(block["text"], encoding="utf-8")
    return folder


def run_tests(package: Path, name: str, **environment: str) -> None:
    """Run one of its test files as a builder would; raises `AssertionError` with what was printed."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", ".", name],
        cwd=package,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join([str(package), str(ROOT), str(ROOT / "platform")]),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            **environment,
        },
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
