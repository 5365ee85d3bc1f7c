"""What was promised: an append-only file outside the database, on the disk before anybody acts on it."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from tests.chaos.questions import Question

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
    interrupts: bool = False


class Ledger:
    """Written by the clients of one pass."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    async def sent(self, *, session: str, question: Question) -> None:
        """`question` is about to be sent for the first time. Durable when this returns, like all the others."""
        await self._write(
            Entry(
                time.monotonic(),
                "sent",
                session,
                question.key,
                text=question.text,
                answer=question.answer,
                interrupts=question.interrupts,
            )
        )

    async def acked(self, *, session: str, key: str, turn: str) -> None:
        """The server has promised to answer `key` with `turn`."""
        await self._write(Entry(time.monotonic(), "acked", session, key, turn))

    async def stop(self, *, session: str, turn: str) -> None:
        """Somebody is about to stop `turn`."""
        await self._write(Entry(time.monotonic(), "stop", session, "", turn))

    async def _write(self, entry: Entry) -> None:
        os.write(self._file, json.dumps(asdict(entry)).encode() + b"\n")
        await asyncio.to_thread(os.fdatasync, self._file)

    def close(self) -> None:
        os.close(self._file)


def read(path: Path) -> Iterator[Entry]:
    """Every entry, oldest first."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield Entry(**json.loads(line))
