"""The lock files: what runs does not depend on the Python that it runs on, and comes from no registry in particular."""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
LOCKS = sorted(ROOT.glob("requirements*.lock"))
PYTHONS = ("3.11.0", "3.12.0", "3.13.0", "3.14.0")


def locked(lock: Path, python: str) -> set[str]:
    """`name==version` of what the lock installs with this CPython on Linux."""
    lines = re.findall(r"^(?=\S)(.+?) \\$", lock.read_text(), flags=re.MULTILINE)
    surroundings = {
        "python_full_version": python,
        "python_version": python.rpartition(".")[0],
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "sys_platform": "linux",
    }
    needs = [Requirement(line) for line in lines]
    return {f"{one.name}{one.specifier}" for one in needs if one.marker is None or one.marker.evaluate(surroundings)}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_python_gets_the_same_versions(lock: Path) -> None:
    oldest, *others = (locked(lock, python) for python in PYTHONS)
    assert len(oldest) > 50
    for other in others:
        assert other == oldest


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_names_hashes_and_no_registry(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    assert "--hash=sha256:" in text
