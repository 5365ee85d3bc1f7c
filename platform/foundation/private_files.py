"""Files that only the account of this process may read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO, Final, Literal

# In the data directory: the login of the first owner.
OWNER_LOGIN_FILE: Final = "login.txt"


def write_private(path: Path, content: str) -> None:
    """Replace the file `path` atomically, readable by its owner only; durable when this returns."""
    _draft(path, content).replace(path)


def write_once(path: Path, content: str) -> None:
    """Create the file `path`, readable by its owner only, unless it exists. Safe to call concurrently."""
    if path.exists():
        return
    draft = _draft(path, content)
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def open_private(path: Path, mode: Literal["ab", "wb"]) -> BinaryIO:
    """Open `path` for writing at its end ("ab") or from its beginning ("wb"); created with mode 0600."""
    return open(path, mode, opener=lambda name, flags: os.open(name, flags, 0o600))


def _draft(path: Path, content: str) -> Path:
    # Written to a temporary file and then renamed, so that a crash leaves no partial file.
    draft = path.with_name(f"{path.name}.{os.getpid()}.draft")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError:  # no room
        draft.unlink()
        raise
    return draft
