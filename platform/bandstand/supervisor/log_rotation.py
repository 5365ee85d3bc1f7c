"""Rotates the log files of a data directory, so that they never fill its disk: bounded in size, number and age."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from bandstand.supervisor.terminal import print_error
from foundation.private_files import open_private

CHECK_INTERVAL_SECONDS: Final = 10.0
# A file is rotated at this part of what a process may use, so that older ones stay beside it.
_FILES: Final = 4
_ROTATE_AFTER: Final = timedelta(days=1)
# All logs are in UTC: ours as JSON, and PostgreSQL's.
_TIME_IN_A_LINE: Final = re.compile(rb"20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d")
_HEAD_BYTES: Final = 4096
_TIME_FORMAT: Final = "%Y-%m-%dT%H-%M-%S"


@dataclass(frozen=True, slots=True)
class LogLimits:
    """`megabytes`: of all files of one process, to within what it writes in ten seconds; `days`: how long they stay."""

    megabytes: int
    days: int

    @property
    def bytes(self) -> int:
        return self.megabytes * 1024 * 1024


async def rotate_forever(folder: Path, limits: LogLimits) -> None:
    """Rotate the logs in `folder` every ten seconds; never returns."""
    while True:
        await asyncio.sleep(CHECK_INTERVAL_SECONDS)
        try:
            await asyncio.to_thread(rotate_logs, folder, limits, now=datetime.now(UTC))
        except OSError as error:
            print_error(f"the logs in {folder} cannot be rotated: {error.strerror}")


def rotate_logs(folder: Path, limits: LogLimits, *, now: datetime) -> None:
    """Rotate each `*.log` in `folder` that is large or covers a day, and delete the oldest rotated ones.

    What is no file of its own there, such as a link, is left alone. Raises the first `OSError` of a file that cannot be
    read or changed once the others are done; a copy for which the disk has no room is given up.
    """
    faults: list[OSError] = []
    for log in sorted(folder.glob("*.log")):
        if log.is_symlink() or not log.is_file():
            continue
        try:
            _rotate_if_due(log, limits, now)
        except OSError as error:
            faults.append(error)
    if faults:
        raise faults[0]


def _rotate_if_due(log: Path, limits: LogLimits, now: datetime) -> None:
    size = log.stat().st_size
    if size > limits.bytes // _FILES or (size and _first_line_at(log) < now - _ROTATE_AFTER):
        _rotate(log, now)
    _delete_oldest(log, limits, now)


def rotated_files(log: Path) -> list[Path]:
    """The rotated files of `log`, oldest first: "web-1.log.2026-11-30T17-55-00"."""
    return sorted(log.parent.glob(f"{log.name}.*-*-*T*-*-*"))


def _first_line_at(log: Path) -> datetime:
    """When the first line was written, by the time in it; if there is none, when the last one was."""
    with log.open("rb") as file:
        match = _TIME_IN_A_LINE.search(file.read(_HEAD_BYTES))
    with suppress(ValueError):
        if match is not None:
            return datetime.fromisoformat(match[0].decode()).replace(tzinfo=UTC)
    return _modified_at(log)


def _rotate(log: Path, now: datetime) -> None:
    # The processes have the file open for appending, so it is copied and truncated, not replaced.
    target = log.with_name(f"{log.name}.{now.strftime(_TIME_FORMAT)}")
    try:
        with log.open("rb") as source, open_private(target, "wb") as copy:
            shutil.copyfileobj(source, copy)
    except OSError as error:
        # A full disk is worse than a lost log.
        target.unlink(missing_ok=True)
        print_error(f"{log} was emptied without a copy: {error.strerror}")
    os.truncate(log, 0)


def _delete_oldest(log: Path, limits: LogLimits, now: datetime) -> None:
    oldest_allowed = now - timedelta(days=limits.days)
    for file, size_up_to_now in _with_size_of_newer(log):
        if size_up_to_now > limits.bytes or _modified_at(file) < oldest_allowed:
            with suppress(FileNotFoundError):
                file.unlink()


def _with_size_of_newer(log: Path) -> Iterator[tuple[Path, int]]:
    """The rotated files, newest first, each with the bytes of it and all newer ones."""
    size = log.stat().st_size
    for file in reversed(rotated_files(log)):
        size += file.stat().st_size
        yield file, size


def _modified_at(file: Path) -> datetime:
    return datetime.fromtimestamp(file.stat().st_mtime, UTC)
