"""What the watchdog must not forget, in a file that can be written while the disk is full."""

from __future__ import annotations

import json
import os
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

SLOT_BYTES: Final = 64 * 1024
_HEADER: Final = 32


class StateFile:
    """One JSON value, in two places of a file whose room is taken when it is made. Each write goes to the place that
    was not written last, with a number and a checksum: a crash leaves the value before it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._number = 0

    def read(self) -> Any:
        """The value that was written last; None if there is none, or none that is whole."""
        try:
            content = self._path.read_bytes()
        except OSError:
            return None
        slots = [_parse(content[start : start + SLOT_BYTES]) for start in (0, SLOT_BYTES)]
        number, value = max((slot for slot in slots if slot is not None), key=lambda slot: slot[0], default=(0, None))
        self._number = number
        return value

    def write(self, value: Any) -> None:
        """Replace the value; durable when this returns. Raises `OSError`, and `ValueError` for one that is too
        large."""
        body = json.dumps(value).encode()
        if len(body) > SLOT_BYTES - _HEADER:
            raise ValueError("The state is too large.")
        number = self._number + 1
        head = f"{number:010d} {len(body):08d} {zlib.crc32(body):08x}\n".encode().ljust(_HEADER)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if os.fstat(descriptor).st_size < 2 * SLOT_BYTES:
                os.posix_fallocate(descriptor, 0, 2 * SLOT_BYTES)
            os.pwrite(descriptor, head + body, number % 2 * SLOT_BYTES)
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        self._number = number


def _parse(slot: bytes) -> tuple[int, Any] | None:
    with suppress(ValueError):
        number, length, checksum = slot[:_HEADER].decode("ascii").split()
        body = slot[_HEADER : _HEADER + int(length)]
        if len(body) == int(length) and zlib.crc32(body) == int(checksum, 16):
            return int(number), json.loads(body)
    return None
