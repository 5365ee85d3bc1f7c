"""Files that only the account of this process may read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO, Literal


def write_private(path: Path, content: str) -> None:
    """Replace the file `path` as a whole, readable by its owner only; durable when this returns."""
    _draft(path, content).replace(path)


def write_once(path: Path, content: str) -> None:
    """Like :func:`write_private`, but a file that exists is left as it is; two processes may try at once."""
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
    """Open `path` for writing at its end ("ab") or from its beginning ("wb"); made for its owner only."""
    return open(path, mode, opener=lambda name, flags: os.open(name, flags, 0o600))


def _draft(path: Path, content: str) -> Path:
    # Written beside and then moved into place: a crash in between must not leave an empty or half a file.
    draft = path.with_name(f"{path.name}.{os.getpid()}.draft")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return draft
