"""A file whose age says whether the process that touches it still works."""

from __future__ import annotations

import os
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)


def touch_liveness_file(file: Path) -> None:
    """Set the time of `file`, which is made if it is not there. What the disk refuses is logged: it is no reason to end
    a process that works, but whoever watches the file will."""
    try:
        file.parent.mkdir(mode=0o700, exist_ok=True)
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600))
        os.utime(file)
    except OSError as error:
        log.warning("liveness_file.not_written", error=str(error))
