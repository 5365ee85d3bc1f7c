"""The log files of the children: errors are printed on the terminal."""

import json
import os
from pathlib import Path
from typing import Final

from foundation.control_characters import escape_controls

READ_BYTES: Final = 256 * 1024
SHOWN_LEVELS = frozenset({"error", "critical"})


class ChildLog:
    """Follows one log file from its present end."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path
        self._offset = path.stat().st_size if path.exists() else 0

    def errors(self) -> list[str]:
        """Return the error lines written since the last call."""
        try:
            with self.path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size < self._offset:  # rotated
                    self._offset = 0
                file.seek(self._offset)
                content = file.read(READ_BYTES)
        except OSError:
            return []
        complete = content[: content.rfind(b"\n") + 1] if len(content) < READ_BYTES else content
        self._offset += len(complete)
        lines = (_format_line(line) for line in complete.decode(errors="replace").split("\n"))
        return [f"{self.name}: {line}" for line in lines if line]


def _format_line(line: str) -> str:
    try:
        entry = json.loads(line)
        if entry["level"] not in SHOWN_LEVELS:
            return ""
        exception = str(entry.get("exception", "")).strip().split("\n")[-1]
        return escape_controls(" ".join(filter(None, [str(entry["event"]), exception])))
    except (ValueError, KeyError, TypeError):
        return line.strip()  # not a log line: a traceback or a message of a crash
