"""The web server: Daphne on uvloop, with limits, flow control, and a graceful shutdown.

Importing this module installs Twisted's reactor for the process; only the web process does.
"""

import asyncio
import os
import signal
import socket
import sys
from contextlib import suppress
from typing import Any, Final

import structlog

from bandstand.web.reactor import loop, reactor  # isort: split

from daphne.server import Server
from twisted.internet import defer
from twisted.logger import ILogObserver, LogEvent, globalLogBeginner
from zope.interface import implementer

from bandstand.web.asgi_types import Application, Message
from bandstand.web.http_protocol import RequestFactory
from bandstand.web.lifecycle import Lifecycle
from bandstand.web.shutdown import close_sockets, drain
from bandstand.web.websocket_protocol import MAX_FRAME_BYTES, SocketFactory

log = structlog.get_logger("bandstand.web")

PING_SECONDS: Final = 20
SLOW_READER_SECONDS: Final = 30.0
# The user is authenticated during the handshake. Without a database that lasts until the pool's timeout, and then a
# close code is sent; Daphne's default of 5 s would drop the connection before.
HANDSHAKE_SECONDS: Final = 20
TIMEOUT_CHECK_SECONDS: Final = 2
# How long a thread may keep the interpreter while the event loop waits for it. Python's default is 5 ms: with four
# threads at work the loop, which has all websockets, would wait for 20 ms each time that it wakes; and a request wakes
# several threads in turn.
SWITCH_SECONDS: Final = 0.0001


class WebServer(Server):  # type: ignore[misc]
    """Serves one application on one listening socket until SIGTERM or SIGINT; a second signal ends it at once."""

    def __init__(self, application: Application, listener: socket.socket, lifecycle: Lifecycle) -> None:
        super().__init__(
            application,
            endpoints=["given"],  # unused: the socket exists already
            signal_handlers=False,
            ping_interval=PING_SECONDS,
            websocket_timeout=-1,
            websocket_handshake_timeout=HANDSHAKE_SECONDS,
            websocket_connect_timeout=HANDSHAKE_SECONDS,
            websocket_max_message_size=MAX_FRAME_BYTES,
            websocket_max_frame_size=MAX_FRAME_BYTES,
            server_name="bandstand",
        )
        self.listener = listener
        self.lifecycle = lifecycle
        self._ending: asyncio.Task[None] | None = None
        self._port: Any = None

    @property
    def draining(self) -> bool:
        """Whether the shutdown has begun."""
        return self.lifecycle.draining

    def run(self) -> None:
        """Start the lifecycle, serve, drain, stop the lifecycle; return when all is done."""
        asyncio.set_event_loop(loop)
        sys.setswitchinterval(SWITCH_SECONDS)
        globalLogBeginner.beginLoggingTo([_discard], redirectStandardIO=False, discardBuffer=True)
        loop.run_until_complete(self.lifecycle.start())
        self.connections: dict[Any, dict[str, Any]] = {}
        self._make_factories()
        self._port = reactor.adoptStreamPort(self.listener.fileno(), self.listener.family, self.http_factory)
        self.listener.close()  # the reactor has a duplicate
        reactor.callLater(1, self.application_checker)
        reactor.callLater(TIMEOUT_CHECK_SECONDS, self.timeout_checker)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.end)
        log.info("web.started", pid=os.getpid())
        reactor.run(installSignalHandlers=False)
        log.info("web.stopped", pid=os.getpid())

    def end(self) -> None:
        """Begin the shutdown; a second call stops at once."""
        if self._ending is None:
            self._ending = loop.create_task(self._end(), name="web-end")
        else:
            reactor.stop()

    async def handle_reply(self, protocol: Any, message: Message) -> None:
        """Send a message by Daphne, then wait while the client's write buffer is full."""
        await super().handle_reply(protocol, message)
        if self.connections.get(protocol, {}).get("disconnected"):
            # Nothing was sent. Yield, so that an application that keeps sending does not block the event loop.
            await asyncio.sleep(0.01)
        elif protocol.gate.closed and not await protocol.gate.wait(SLOW_READER_SECONDS):
            log.warning("web_client.dropped", seconds=SLOW_READER_SECONDS)
            protocol.abort()

    def timeout_checker(self) -> None:
        """Daphne's; one connection that fails must not end the pings of all the others, as in Daphne 4.2.3
        (django/daphne#178 was such a failure)."""
        for protocol in list(self.connections):
            try:
                protocol.check_timeouts()
            except Exception:
                log.exception("web_check.failed")
                protocol.abort()
        reactor.callLater(TIMEOUT_CHECK_SECONDS, self.timeout_checker)

    def kill_all_applications(self) -> defer.Deferred[None]:
        """Daphne's (4.2.3) stumbles over a connection that has no application yet; ours are ended in `_end`."""
        return defer.succeed(None)

    def _make_factories(self) -> None:
        self.http_factory = RequestFactory(self)
        self.ws_factory = SocketFactory(self, server=self.server_name)
        self.ws_factory.setProtocolOptions(
            autoPingTimeout=self.ping_timeout,
            allowNullOrigin=True,
            openHandshakeTimeout=self.websocket_handshake_timeout,
            maxMessagePayloadSize=self.websocket_max_message_size,
            maxFramePayloadSize=self.websocket_max_frame_size,
            closeHandshakeTimeout=1,
            failByDrop=False,  # close with a code, as RFC 6455 requires
            perMessageCompressionAccept=lambda _: None,  # compression costs more CPU than it saves for short frames
        )

    async def _end(self) -> None:
        try:
            log.info("web_drain.started", connections=len(self.connections))
            await _resolved(self._port.stopListening())
            close_sockets(self.connections)
            await self.lifecycle.drain()
            await drain(self.connections)
            await self.lifecycle.stop()
        except Exception:
            log.exception("web_stop.failed")
        finally:
            with suppress(Exception):  # already stopped by a second signal
                reactor.stop()


@implementer(ILogObserver)  # type: ignore[untyped-decorator]
def _discard(event: LogEvent) -> None:
    """Discard Twisted's own log; errors are reported by exceptions and by Daphne."""


async def _resolved(deferred: Any) -> None:
    if isinstance(deferred, defer.Deferred):
        await deferred.asFuture(loop)
