"""What was promised: an append-only file outside the database, on the disk before anybody acts on it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

What = Literal["sent", "acked", "stop"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: `at` is monotonic seconds of the machine; `turn` is set from the acknowledgement on."""

    at: float
    what: What
    session: str
    key: str
    turn: str = ""
    text: str = ""
    answer: str = ""


class Ledger:
    """Written by the clients of one pass."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, what: What, *, session: str, key: str, turn: str = "", text: str = "", answer: str = "") -> None:
        """Durable when this returns."""
        entry = Entry(time.monotonic(), what, session, key, turn, text, answer)
        os.write(self._file, json.dumps(asdict(entry)).encode() + b"\n")
        os.fdatasync(self._file)

    def close(self) -> None:
        os.close(self._file)


def read(path: Path) -> Iterator[Entry]:
    """Every entry, oldest first."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield Entry(**json.loads(line))
