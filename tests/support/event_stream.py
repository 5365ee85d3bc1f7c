"""A parser of server-sent events that is as careless as a common library for browsers.

`@microsoft/fetch-event-source` (2.0.1) dispatches a message at every blank line, also where no field stood before it
(Azure/fetch-event-source#15). Its users read `data` as JSON: an empty one throws, and the library sends the request
again.
"""

from __future__ import annotations

Sent = dict[str, str]


class EventStreamParser:
    """Feed it bytes as they come. Lines end with a line feed, as ours do."""

    def __init__(self) -> None:
        self._rest = b""
        self._fields: Sent = {}

    def feed(self, chunk: bytes) -> list[Sent]:
        """What is complete now, in order: a message as its fields, always with `data`; a comment as `{"comment"}`."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        found: list[Sent] = []
        for line in lines:
            name, _, value = line.decode().partition(":")
            value = value.removeprefix(" ")
            if not line:
                found.append({"data": "", **self._fields})
                self._fields = {}
            elif not name:
                found.append({"comment": value})
            elif name == "data" and "data" in self._fields:
                self._fields["data"] += f"\n{value}"
            else:
                self._fields[name] = value
        return found
