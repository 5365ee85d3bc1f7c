"""Decode the events of an answer from bytes that may be split anywhere: server-sent events, or lines of JSON.

The body is read for what it is, whatever its content type says.
"""

from __future__ import annotations

import orjson

MAX_EVENT_BYTES = 1024 * 1024
_BOM = b"\xef\xbb\xbf"
_SPACE = b" \t\n"
# Events that only keep a connection alive, by parts of their names.
_KEEP_ALIVE = (b"ping", b"heartbeat", b"keep")
_ERRORS = (b"error", b"exception")


class EventTooLong(ValueError):
    """One event is longer than any provider has reason to send."""


class EventDecoder:
    """Feed it the bytes of the network; it returns the data of each event that is complete.

    Lines may end in LF, CRLF or CR. Comments and the fields `id` and `retry` are dropped, events that are called a ping
    too; the data of an event that is called an error is returned as `{"error": …}`. A line that holds a whole JSON
    object is an event of its own, also where the empty line between events is missing. A body that begins with `{` or
    `[` consists of JSON alone: one value, or one per line.

    The result does not depend on how the bytes are split. Bytes, not text: a character may be split too, and JSON is
    parsed from bytes.
    """

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self.is_markup = False
        self._rest = b""
        self._may_have_bom = True
        self._started = False
        self._is_json = False
        self._after_cr = False
        self._max_event_bytes = max_event_bytes
        # The event that is under way: its name, and the lines of its data.
        self._name = b""
        self._lines: list[bytes] = []
        self._size = 0
        # Whether the next block is not simply read: something is under way, or the body is JSON.
        self._is_odd = False

    def feed(self, data: bytes) -> list[bytes]:
        """The events that `data` completes. Raises `EventTooLong`."""
        if not data:
            return []
        if self._after_cr or b"\r" in data:
            data = self._with_newlines(data)
        if self._rest:
            data, self._rest = self._rest + data, b""
        if not self._started and not (data := self._start(data)):
            return []
        complete, _, self._rest = data.rpartition(b"\n\n")
        events: list[bytes] = []
        if complete:
            for block in complete.split(b"\n\n"):
                # Nearly every block is exactly one data line; the others take the slow path.
                if not self._is_odd and block.startswith(b"data: ") and b"\n" not in block and len(block) > 6:
                    events.append(block[6:])
                else:
                    self._take_block(block, events)
        if not self._rest:
            return events
        if b"\n" in self._rest:
            *lines, self._rest = self._rest.split(b"\n")
            for line in lines:
                self._take_line(line, events)
        if self._size + len(self._rest) > self._max_event_bytes:
            raise EventTooLong(f"An event is longer than {self._max_event_bytes} bytes.")
        return events

    def finish(self) -> list[bytes]:
        """The events that the end of the stream completes: some servers omit the last empty line."""
        rest, self._rest = self._rest, b""
        events: list[bytes] = []
        self._take_line(rest, events)
        self._end_event(events)
        return events

    def _start(self, data: bytes) -> bytes:
        """`data` without a byte order mark, which may itself be split; what the first byte that is no space says about
        the body."""
        if not self._may_have_bom:
            pass
        elif len(data) < len(_BOM) and _BOM.startswith(data):
            self._rest = data
            return b""
        else:
            self._may_have_bom = False
            data = data.removeprefix(_BOM)
        if first := data.lstrip(_SPACE)[:1]:
            self._started = True
            self._is_json = self._is_odd = first in (b"{", b"[")
            self.is_markup = first == b"<"
        return data

    def _take_block(self, block: bytes, events: list[bytes]) -> None:
        for line in block.split(b"\n"):
            self._take_line(line, events)
        if not self._is_json:
            self._end_event(events)

    def _take_line(self, line: bytes, events: list[bytes]) -> None:
        if self._is_json:
            self._take_json_line(line, events)
        elif not line:
            self._end_event(events)
        elif line.startswith(b"data:"):
            self._take_data(line[5:].removeprefix(b" "), events)
        elif line == b"data":
            self._take_data(b"", events)
        elif line.startswith(b"event:"):
            self._name = line[6:].strip().lower()
            self._is_odd = True
        elif line.startswith(b"{"):
            # No field of this name is known, but servers write errors so.
            self._take_data(line, events)

    def _take_data(self, data: bytes, events: list[bytes]) -> None:
        if not self._lines and not self._name and _is_complete_json(data):
            events.append(data)
        else:
            self._lines.append(data)
            self._size += len(data)
            self._is_odd = True

    def _take_json_line(self, line: bytes, events: list[bytes]) -> None:
        """Each line may be a value of its own, or part of one: the last line of such a value is not indented."""
        if line.startswith(b"data:"):
            line = line[5:].strip()
        if line:
            self._lines.append(line)
            self._size += len(line)
            if (len(self._lines) == 1 or line[:1] in b"}]") and _is_complete_json(b"\n".join(self._lines)):
                self._end_event(events)

    def _end_event(self, events: list[bytes]) -> None:
        name, lines = self._name, self._lines
        self._name, self._lines, self._size, self._is_odd = b"", [], 0, self._is_json
        if any(lines) and not any(word in name for word in _KEEP_ALIVE):
            data = b"\n".join(lines)
            events.append(_as_error(data) if any(word in name for word in _ERRORS) else data)

    def _with_newlines(self, data: bytes) -> bytes:
        """`data` with LF for CRLF and CR, also when CR and LF arrive apart."""
        if self._after_cr and data.startswith(b"\n"):
            data = data[1:]
        self._after_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _is_complete_json(data: bytes) -> bool:
    """Whether `data` is one JSON object or array, or the mark of the end."""
    if data[:1] not in (b"{", b"[") or data.rstrip()[-1:] not in (b"}", b"]"):
        return False
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError:
        return data.strip() == b"[DONE]"
    return True


def _as_error(data: bytes) -> bytes:
    try:
        error = orjson.loads(data)
    except orjson.JSONDecodeError:
        error = data.decode("utf-8", "replace")
    if isinstance(error, dict) and "error" in error:
        return data
    return orjson.dumps({"error": error or "unknown"})
