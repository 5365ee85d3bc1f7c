"""The children's log files: errors are repeated on the terminal, and no file grows for ever."""

import json
import os
import shutil
from pathlib import Path
from typing import Final

ROTATE_BYTES: Final = 50 * 1024 * 1024
READ_BYTES: Final = 256 * 1024
SHOWN_LEVELS = frozenset({"error", "critical"})


class ChildLog:
    """Follows one file from its present end."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path
        self._offset = path.stat().st_size if path.exists() else 0

    def errors(self) -> list[str]:
        """The lines worth showing that were written since the last call; also turns the file over when it is large."""
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
            self._turn_over()
        lines = (_format_line(line) for line in complete.decode(errors="replace").splitlines())
        return [f"{self.name}: {line}" for line in lines if line]

    def _turn_over(self) -> None:
        # The children hold the file open for appending: it is emptied under them, not replaced.
        shutil.copyfile(self.path, self.path.with_name(f"{self.path.name}.1"))
        os.truncate(self.path, 0)
        self._offset = 0


def _format_line(line: str) -> str:
    try:
        entry = json.loads(line)
        if entry["level"] not in SHOWN_LEVELS:
            return ""
        exception = str(entry.get("exception", "")).strip().splitlines()[-1:]
        return " ".join([str(entry["event"]), *exception])
    except (ValueError, KeyError, TypeError):
        return line.strip()  # not from our logger: somebody's last words
