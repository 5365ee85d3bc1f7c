"""Frames between the processes of the pool: a length of four bytes, then JSON."""

from __future__ import annotations

import json
from typing import Any, Final

PREFIX_BYTES: Final = 4
# What a worker may return. More is never read.
MAX_RESULT_BYTES: Final = 256 * 1024
# What a job may be given.
MAX_JOB_BYTES: Final = 4 * 1024 * 1024


class FrameTooLong(Exception):
    """A frame is longer than its reader takes."""


def encode(message: dict[str, Any]) -> bytes:
    """The frame of `message`."""
    data = json.dumps(message).encode()
    return len(data).to_bytes(PREFIX_BYTES, "big") + data


def _decode(data: bytes) -> dict[str, Any]:
    try:
        message = json.loads(data)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(message, dict):
        raise ValueError("no object")
    return message


class FrameReader:
    """Collects the bytes of a stream and returns whole messages."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """The messages that `data` completes. Raises `FrameTooLong` as soon as one announces too many bytes, and
        `ValueError` for what is no message."""
        self._buffer += data
        messages: list[dict[str, Any]] = []
        while len(self._buffer) >= PREFIX_BYTES:
            length = int.from_bytes(self._buffer[:PREFIX_BYTES], "big")
            if length > self._max_bytes:
                raise FrameTooLong
            if len(self._buffer) < PREFIX_BYTES + length:
                break
            messages.append(_decode(bytes(self._buffer[PREFIX_BYTES : PREFIX_BYTES + length])))
            del self._buffer[: PREFIX_BYTES + length]
        return messages
