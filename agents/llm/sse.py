"""Decode server-sent events from bytes that may be split anywhere."""

from __future__ import annotations

MAX_EVENT_BYTES = 1024 * 1024
_BOM = b"\xef\xbb\xbf"


class EventTooLong(ValueError):
    """One event is longer than any provider has reason to send."""


class SSEDecoder:
    """Feed it the bytes of the network; it returns the data of each event that is complete.

    Lines may end in LF, CRLF or CR. Comments and the fields `event`, `id` and `retry` are dropped. The result
    does not depend on how the bytes are split. Bytes, not text: a character may be split too, and JSON is parsed from
    bytes.
    """

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._rest = b""
        self._started = False
        self._after_cr = False
        self._max_event_bytes = max_event_bytes

    def feed(self, data: bytes) -> list[bytes]:
        """The events that `data` completes. Raises `EventTooLong`."""
        if not data:
            return []
        if self._after_cr or b"\r" in data:
            data = self._with_newlines(data)
        if self._rest:
            data = self._rest + data
        if not self._started:
            # A byte order mark may precede the first line, and may itself be split.
            if len(data) < len(_BOM) and _BOM.startswith(data):
                self._rest = data
                return []
            data = data.removeprefix(_BOM)
            self._started = True
        complete, _, self._rest = data.rpartition(b"\n\n")
        if len(self._rest) > self._max_event_bytes:
            raise EventTooLong(f"An event is longer than {self._max_event_bytes} bytes.")
        return _events(complete) if complete else []

    def finish(self) -> list[bytes]:
        """The events that the end of the stream completes: some servers omit the last empty line."""
        rest, self._rest = self._rest, b""
        return _events(rest)

    def _with_newlines(self, data: bytes) -> bytes:
        """`data` with LF for CRLF and CR, also when CR and LF arrive apart."""
        if self._after_cr and data.startswith(b"\n"):
            data = data[1:]
        self._after_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _events(complete: bytes) -> list[bytes]:
    events = []
    for block in complete.split(b"\n\n"):
        # Nearly every block is exactly one data line; the others take the slow path.
        if block.startswith(b"data: ") and b"\n" not in block and len(block) > 6:
            events.append(block[6:])
        else:
            data = [
                line[5:].removeprefix(b" ")
                for line in block.split(b"\n")
                if line.startswith(b"data:") or line == b"data"
            ]
            if any(data):
                events.append(b"\n".join(data))
    return events
