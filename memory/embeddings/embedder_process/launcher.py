"""Starts the embedder, and ends one that does not answer. Two are never there: the second finds the lock held."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil
import structlog

from foundation.compute_pool.boot import isolated_command
from foundation.private_files import open_private
from memory.embeddings.embedder_process import wire
from memory.embeddings.embedder_process.embedder_server import EXIT_SECOND, EXIT_UNUSABLE, Limits
from memory.embeddings.embedder_process.folder import embedder_folder, make_private
from memory.embeddings.interface import EmbeddingUnavailable

log = structlog.get_logger(__name__)

_SERVER: Final = "memory.embeddings.embedder_process.embedder_server:main"
_FIRST_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 30.0
# Read by the C library before any of ours runs: fewer arenas, or its many threads keep what they have freed.
_ENVIRONMENT: Final = {"MALLOC_ARENA_MAX": "2", "OPENBLAS_NUM_THREADS": "1"}
# Times of starting are computed from that of the machine's, which moves when the clock is set.
_CLOCK_STEP_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class EmbedderSpec:
    """What the embedder of an installation runs: the function that loads its model, and that function's arguments."""

    data_dir: Path
    load: str
    options: dict[str, Any] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)

    @property
    def folder(self) -> Path:
        """The folder of its socket."""
        return embedder_folder(self.data_dir)


class EmbedderLauncher:
    """Starts the process of `spec` when it is needed. Safe to use from several threads."""

    def __init__(self, spec: EmbedderSpec) -> None:
        self._spec = spec
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._pause_seconds = 0.0
        self._earliest = 0.0

    def ensure_started(self) -> bool:
        """Start the process unless one of ours is starting or runs, without waiting for it; return whether it did.

        Raises `EmbeddingUnavailable` for half a minute after one that could not load its model.
        """
        with self._lock:
            status = None if self._process is None else self._process.poll()
            if self._process is not None and status is None:
                return False
            if status is not None:
                self._process = None
                self._note_end(status)
            if time.monotonic() >= self._earliest:
                self._start()
                return True
            if self._pause_seconds >= _LONGEST_PAUSE_SECONDS:
                raise EmbeddingUnavailable("The embedding model cannot be used.")
            return False

    def end(self) -> None:
        """Kill the process if this launcher has started it."""
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                self._process.kill()
                self._process.wait()

    def note_answer(self) -> None:
        """The process works: when it ends, the next one starts at once."""
        self._pause_seconds = 0.0

    def _note_end(self, status: int) -> None:
        if status == 0:  # idle
            return
        pause = self._pause_seconds
        if status == EXIT_SECOND:
            pause = _FIRST_PAUSE_SECONDS
        elif status == EXIT_UNUSABLE:
            pause = self._pause_seconds = _LONGEST_PAUSE_SECONDS
            log.error("embedder.failed", reason=read_fault(self._spec.folder))
        else:
            # One that has worked is followed at once by the next one.
            self._pause_seconds = min(pause * 2 or _FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
        self._earliest = time.monotonic() + pause

    def _start(self) -> None:
        options = {
            "folder": str(self._spec.folder),
            "load": self._spec.load,
            "options": self._spec.options,
            "limits": asdict(self._spec.limits),
            "starter": os.getpid(),
        }
        try:
            make_private(self._spec.folder)
            logs = self._spec.data_dir / "logs"
            logs.mkdir(mode=0o700, exist_ok=True)
            with open_private(logs / "embedder.log", "ab") as errors:
                self._process = subprocess.Popen(  # noqa: S603  # our own words
                    isolated_command(_SERVER, options),
                    cwd="/",
                    env=_ENVIRONMENT,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    start_new_session=True,
                )
        except OSError as error:
            self._earliest = time.monotonic() + _LONGEST_PAUSE_SECONDS
            raise EmbeddingUnavailable("The process of the embedding model cannot be started.") from error
        # It may end long after anybody here looks; a dead child that nobody waits for stays in the table of processes.
        threading.Thread(target=self._process.wait, name="embedder", daemon=True).start()


def read_fault(folder: Path) -> str:
    """Why the last process could not load its model; "" if it could."""
    with suppress(OSError):
        return (folder / wire.FAULT).read_text(encoding="utf-8", errors="replace")
    return ""


def kill_embedder(folder: Path) -> bool:
    """Kill the embedder of `folder`, which does not answer; return whether there was one."""
    try:
        (record,) = json.loads((folder / wire.RECORD).read_text(encoding="utf-8"))
        process = psutil.Process(record["pid"])
        if abs(process.create_time() - record["started_at"]) > _CLOCK_STEP_SECONDS:
            return False
        process.kill()
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return False
    log.error("embedder.stalled", pid=process.pid)
    return True
