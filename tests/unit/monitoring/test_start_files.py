"""What runs at every start of Python is listed unless a package answers for it."""

from __future__ import annotations

import base64
import hashlib
import site
import subprocess
import sys
from pathlib import Path

import pytest

from health_checks.check import Level
from monitoring.health_checks import evaluate_start_files
from monitoring.start_files import package_folders, unknown_start_files


def install(folder: Path, name: str, content: bytes, *, recorded: bytes | None = None, package: str = "known") -> Path:
    """Put a file into the folder, and its line into a package's RECORD: with the hash of `recorded`."""
    (folder / name).write_bytes(content)
    if recorded is not None:
        digest = base64.urlsafe_b64encode(hashlib.sha256(recorded).digest()).rstrip(b"=").decode()
        info = folder / f"{package}-1.0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        with (info / "RECORD").open("a") as record:
            record.write(f"{name},sha256={digest},{len(recorded)}\n")
    return folder / name


def test_a_file_of_no_package_is_listed(tmp_path: Path) -> None:
    install(tmp_path, "known.pth", b"import known", recorded=b"import known")
    evil = install(tmp_path, "evil.pth", b"import os; os.system('x')")
    custom = install(tmp_path, "sitecustomize.py", b"")
    install(tmp_path, "harmless.py", b"")
    assert unknown_start_files([tmp_path]) == [str(evil), str(custom)]


def test_a_file_that_was_changed_since_it_was_installed_is_listed(tmp_path: Path) -> None:
    changed = install(tmp_path, "known.pth", b"import evil", recorded=b"import known")
    assert unknown_start_files([tmp_path]) == [str(changed)]


def test_what_every_environment_of_virtualenv_has_is_known_by_its_content(tmp_path: Path) -> None:
    path = install(tmp_path, "_virtualenv.pth", b"import _virtualenv")
    assert unknown_start_files([tmp_path]) == []
    path.write_bytes(b"import _virtualenv, evil")
    assert unknown_start_files([tmp_path]) == [str(path)]


def test_a_broken_link_and_an_absent_folder_are_no_reason_to_fail(tmp_path: Path) -> None:
    (tmp_path / "gone.pth").symlink_to(tmp_path / "nowhere")
    assert unknown_start_files([tmp_path, tmp_path / "absent"]) == [str(tmp_path / "gone.pth")]


def test_the_folders_are_those_whose_files_python_runs() -> None:
    assert package_folders()
    assert set(map(str, package_folders())) <= {*site.getsitepackages(), site.getusersitepackages()}


def test_python_does_run_such_a_file(tmp_path: Path) -> None:
    """The control: what is listed is what runs."""
    install(tmp_path, "evil.pth", b"import sys; sys.evil = True")
    code = f"import site, sys; site.addsitedir({str(tmp_path)!r}); print(sys.evil)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "True\n"


@pytest.mark.parametrize(("paths", "levels"), [([], []), (["a.pth", "b.pth"], [Level.WARN] * 2)])
def test_each_file_is_a_warning(paths: list[str], levels: list[Level]) -> None:
    assert [finding.level for finding in evaluate_start_files(paths)] == levels
