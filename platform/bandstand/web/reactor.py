"""Twisted's reactor on uvloop. Importing this module installs it for the process, so only the web process does."""

import socket
from typing import Any, Final

import uvloop
from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.error import ConnectionLost
from twisted.internet.main import installReactor
from twisted.internet.tcp import Connection, Port

# New connections per round of the event loop. Twisted (26.10.0) takes a hundred and more, and a burst of connections
# would have everybody else's wait until all of it is read: an answer needs a dozen rounds.
ACCEPTS: Final = 1


class Reactor(AsyncioSelectorReactor):
    """Twisted's reactor, which takes few connections at a time and detects the reset of one with unread data.

    A reset comes to uvloop as an error of its poll handle: it has the reader run once more, and then closes the handle
    for good. A read that finds words there, and no error yet, would be the last that anybody hears of that connection:
    its end is never told, and whatever is written to it raises. MagicStack/uvloop#552; seen in uvloop 0.23.0.
    """

    def _readOrWrite(self, selectable: Any, read: bool) -> None:  # noqa: N802  # Twisted's name
        if isinstance(selectable, Port):
            selectable.numberAccepts = ACCEPTS
        super()._readOrWrite(selectable, read)  # type: ignore[no-untyped-call]
        if read and isinstance(selectable, Connection) and _was_reset(selectable):
            self._disconnectSelectable(selectable, ConnectionLost(), True)  # type: ignore[no-untyped-call]


def _was_reset(connection: Connection) -> bool:
    alive = connection.fileno() != -1
    return alive and connection.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0


loop: Final = uvloop.new_event_loop()
installReactor(Reactor(loop))  # type: ignore[no-untyped-call]  # before Daphne, which would install one on a slower loop

from twisted.internet import reactor as installed

reactor: Final[Any] = installed
