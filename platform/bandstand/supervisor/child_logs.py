"""The log files of the children: errors are printed on the terminal, and large files are rotated."""

import json
import os
import shutil
from pathlib import Path
from typing import Final

from foundation.control_characters import escape_controls

ROTATE_BYTES: Final = 50 * 1024 * 1024
READ_BYTES: Final = 256 * 1024
SHOWN_LEVELS = frozenset({"error", "critical"})


class ChildLog:
    """Follows one log file from its present end."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path
        self._offset = path.stat().st_size if path.exists() else 0

    def errors(self) -> list[str]:
        """Return the error lines written since the last call; also rotate the file when it is large."""
        try:
            with self.path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                self._offset = min(self._offset, size)
                file.seek(self._offset)
                content = file.read(READ_BYTES)
        except OSError:
            return []
        complete = content[: content.rfind(b"\n") + 1] if len(content) < READ_BYTES else content
        self._offset += len(complete)
        if size > ROTATE_BYTES:
            self._rotate()
        lines = (_format_line(line) for line in complete.decode(errors="replace").split("\n"))
        return [f"{self.name}: {line}" for line in lines if line]

    def _rotate(self) -> None:
        # The children have the file open for appending, so it is truncated, not replaced.
        shutil.copyfile(self.path, self.path.with_name(f"{self.path.name}.1"))
        os.truncate(self.path, 0)
        self._offset = 0


def _format_line(line: str) -> str:
    try:
        entry = json.loads(line)
        if entry["level"] not in SHOWN_LEVELS:
            return ""
        exception = str(entry.get("exception", "")).strip().split("\n")[-1]
        return escape_controls(" ".join(filter(None, [str(entry["event"]), exception])))
    except (ValueError, KeyError, TypeError):
        return line.strip()  # not a log line: a traceback or a message of a crash
