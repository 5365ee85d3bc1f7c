"""Daphne, started from here: on a uvloop, with limits, flow control, and an orderly end.

Importing this module installs Twisted's reactor for the process; only the web process does.
"""

import asyncio
import os
import signal
import socket
import struct
from contextlib import suppress
from http import HTTPStatus
from io import BytesIO
from typing import Any, Final, cast

import structlog
import uvloop
from twisted.internet import asyncioreactor

loop = uvloop.new_event_loop()
asyncioreactor.install(loop)  # type: ignore[no-untyped-call]  # before Daphne, which would install one on a slower loop

from daphne.http_protocol import HTTPFactory, WebRequest
from daphne.server import Server
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol
from twisted.internet import defer
from twisted.internet import reactor as installed_reactor
from twisted.logger import ILogObserver, LogEvent, globalLogBeginner
from zope.interface import implementer

from bandstand.web.asgi_types import Application, Message
from bandstand.web.bodies import MAX_BODY_BYTES
from bandstand.web.flow import Gate
from bandstand.web.lifecycle import Lifecycle

log = structlog.get_logger("bandstand.web")
reactor: Any = installed_reactor

# One byte more than the application allows: it refuses such a frame or body itself, in the shape its client knows.
MAX_FRAME_BYTES: Final = 256 * 1024 + 1024
KEPT_BODY_BYTES: Final = MAX_BODY_BYTES + 1
ABORTED_BODY_BYTES: Final = 64 * 1024 * 1024
PING_SECONDS: Final = 20
# Within this a request has come as a whole. Twisted's own patience begins anew with every byte.
REQUEST_SECONDS = 60.0
SLOW_READER_SECONDS: Final = 30.0
DRAIN_SECONDS: Final = 5.0
ARRIVAL_SECONDS: Final = 0.1
STREAM_DRAIN_SECONDS: Final = 1.0
# Frames that the application has not taken yet; beyond them nothing more is read from that client.
WAITING_FRAMES: Final = 128
LOOK_AGAIN_SECONDS: Final = 0.01
# Read at a time. All frames of a piece are parsed before anybody else's turn comes: of 64 KiB that takes 100 ms.
PIECE_BYTES: Final = 8 * 1024
SERVICE_RESTART: Final = 1012
TOO_LARGE: Final = 4413


class Request(WebRequest):  # type: ignore[misc]  # Daphne is not typed
    """One HTTP request: keeps as much of its body as will be looked at, and writes no faster than its client reads."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.gate = Gate()
        self._received = 0
        # Or Twisted would read forms in the event loop: a megabyte of them from anybody held all others up for 0.7 s.
        self._parsePOSTFormSubmission = False
        self.channel.has_asked = True
        self._late = reactor.callLater(REQUEST_SECONDS, self.abort)

    def gotLength(self, length: int | None) -> None:  # noqa: ARG002, N802  # Twisted's name
        # Twisted would open a temporary file for large bodies; ours are bounded.
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802
        room = KEPT_BODY_BYTES - self._received
        self._received += len(data)
        if room > 0:
            self.content.write(data[:room])
        elif self._received > ABORTED_BODY_BYTES:
            self.channel.forceAbortClient()

    def setResponseCode(self, code: int, message: bytes | None = None) -> None:  # noqa: N802
        # Twisted calls 422 and 428 "Unknown Status".
        with suppress(ValueError):
            message = message or HTTPStatus(code).phrase.encode()
        super().setResponseCode(code, message)

    def process(self) -> Any:
        self._arrived()
        if len(self.requestHeaders.getRawHeaders(b"transfer-encoding", ())) > 1:
            # Twisted reads chunks whatever the others say; a proxy may see the end of the body elsewhere.
            self.abort()
            return None
        # A client must not move the application to another path.
        self.requestHeaders.removeHeader(b"daphne-root-path")
        return super().process()

    def handle_reply(self, message: Message) -> None:
        super().handle_reply(message)
        streaming = message["type"] == "http.response.body" and message.get("more_body")
        if streaming and self.producer is None and not self.finished and self.channel is not None:
            self.registerProducer(self.gate, True)

    def finish(self) -> None:
        if self.producer is not None:
            self.unregisterProducer()
        super().finish()

    def connectionLost(self, reason: Any) -> None:  # noqa: N802
        self._arrived()
        self.gate.open()
        super().connectionLost(reason)

    def _arrived(self) -> None:
        if self._late.active():
            self._late.cancel()

    def abort(self) -> None:
        """Drop the connection now."""
        if self.channel is not None:
            self.channel.forceAbortClient()

    def handle_exception(self, exception: BaseException) -> None:
        """The application failed: say so, or where the answer has begun, break it off, so that nobody waits for more.

        Daphne's begins a second answer instead; the error that raises would end its checks of all connections.
        """
        if self._response_started:
            self.abort()
        else:
            super().handle_exception(exception)


class Socket(WebSocketProtocol):  # type: ignore[misc]
    """One websocket: writes no faster than its client reads, and may close with every code of the standard."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = Gate()
        self._reading = True

    def onOpen(self) -> None:  # noqa: N802
        # The HTTP channel is still registered as what fills this connection.
        self.transport.unregisterProducer()
        self.transport.registerProducer(self.gate, True)
        self.transport.bufferSize = PIECE_BYTES
        super().onOpen()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:  # noqa: N802, N803
        if self.state != self.STATE_OPEN:
            return  # sent after our goodbye
        super().onMessage(payload, isBinary)
        if self._reading and self.application_queue.qsize() >= WAITING_FRAMES:
            # The application takes one frame while thousands are read: it would never see how many there are.
            self._reading = False
            self.transport.pauseProducing()
            reactor.callLater(LOOK_AGAIN_SECONDS, self._read_on)

    def _read_on(self) -> None:
        if self.application_queue.qsize() >= WAITING_FRAMES // 2 and self.state == self.STATE_OPEN:
            reactor.callLater(LOOK_AGAIN_SECONDS, self._read_on)
        else:
            self._reading = True
            self.transport.resumeProducing()

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:  # noqa: N802, N803
        self.gate.open()
        super().onClose(wasClean, code, reason)

    def serverClose(self, code: int | None = None) -> None:  # noqa: N802
        # Its `sendClose` knows 1000 and 3000-4999 only; 1011, 1012 and 1013 are ours to send.
        self.sendCloseFrame(code=1000 if code is None else code)

    def serverSend(self, content: str | bytes, binary: bool = False) -> None:  # noqa: N802
        # Its `sendMessage` would hold what we send to the limits for what we receive: no snapshot of a long session.
        # Its `sendFrame` makes up, for every frame, the coloured words of a debug line that nobody reads: a tenth of
        # what a turn costs this process.
        if self.state == self.STATE_OPEN:
            payload = content if isinstance(content, bytes) else content.encode()
            self.transport.write(_frame(payload, binary=binary))

    def _max_message_size_exceeded(self, _size: int, _limit: int, _reason: str) -> None:
        # Autobahn's own knows 1009 only. What of the message still comes is skipped.
        self.failedByMe = True
        self.sendCloseFrame(code=TOO_LARGE)

    def abort(self) -> None:
        """Drop the connection now."""
        self.transport.abortConnection()


class Requests(HTTPFactory):  # type: ignore[misc]
    """Makes our requests instead of Daphne's."""

    def buildProtocol(self, addr: Any) -> Any:  # noqa: N802
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = Request
        reactor.callLater(REQUEST_SECONDS, _hang_up_unasked, protocol)
        return protocol


class Sockets(WebSocketFactory):  # type: ignore[misc]
    """Makes our websockets instead of Daphne's."""

    protocol = Socket


class WebServer(Server):  # type: ignore[misc]
    """Serves one application on one listening socket until SIGTERM or SIGINT; a second signal ends it at once."""

    def __init__(self, application: Application, listener: socket.socket, lifecycle: Lifecycle) -> None:
        super().__init__(
            application,
            endpoints=["given"],  # not used: the socket exists already
            signal_handlers=False,
            ping_interval=PING_SECONDS,
            websocket_timeout=-1,
            websocket_max_message_size=MAX_FRAME_BYTES,
            websocket_max_frame_size=MAX_FRAME_BYTES,
            server_name="bandstand",
        )
        self.listener = listener
        self.lifecycle = lifecycle
        self._ending: asyncio.Task[None] | None = None
        self._port: Any = None

    def run(self) -> None:
        """Start the lifecycle, serve, drain, stop the lifecycle; returns when all of it is done."""
        asyncio.set_event_loop(loop)
        globalLogBeginner.beginLoggingTo([_discard], redirectStandardIO=False, discardBuffer=True)
        loop.run_until_complete(self.lifecycle.start())
        self.connections: dict[Any, dict[str, Any]] = {}
        self._make_factories()
        self._port = reactor.adoptStreamPort(self.listener.fileno(), self.listener.family, self.http_factory)
        self.listener.close()  # the reactor has a duplicate
        reactor.callLater(1, self.application_checker)
        reactor.callLater(2, self.timeout_checker)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.end)
        log.info("web.serving", pid=os.getpid())
        reactor.run(installSignalHandlers=False)
        log.info("web.stopped", pid=os.getpid())

    def end(self) -> None:
        """Begin to end; called again, end now."""
        if self._ending is None:
            self._ending = loop.create_task(self._end(), name="web-end")
        else:
            reactor.stop()

    async def handle_reply(self, protocol: Any, message: Message) -> None:
        """Daphne's, and then wait until the client has read enough of what was sent before."""
        await super().handle_reply(protocol, message)
        if self.connections.get(protocol, {}).get("disconnected"):
            # Nothing was sent. An application that goes on sending must not keep the others from running meanwhile.
            await asyncio.sleep(0.01)
        elif protocol.gate.closed and not await protocol.gate.wait(SLOW_READER_SECONDS):
            log.warning("web.slow_client_dropped", seconds=SLOW_READER_SECONDS)
            protocol.abort()

    def kill_all_applications(self) -> defer.Deferred[None]:
        """Daphne's stumbles over a connection that has no application yet; ours are ended in `_end`."""
        return defer.succeed(None)

    def _make_factories(self) -> None:
        self.http_factory = Requests(self)
        self.ws_factory = Sockets(self, server=self.server_name)
        self.ws_factory.setProtocolOptions(
            autoPingTimeout=self.ping_timeout,
            allowNullOrigin=True,
            openHandshakeTimeout=self.websocket_handshake_timeout,
            maxMessagePayloadSize=self.websocket_max_message_size,
            maxFramePayloadSize=self.websocket_max_frame_size,
            closeHandshakeTimeout=1,
            failByDrop=False,  # say why, as the standard asks
            perMessageCompressionAccept=lambda _: None,  # costs more CPU than our short frames are worth
        )

    async def _end(self) -> None:
        try:
            log.info("web.draining", connections=len(self.connections))
            self.lifecycle.draining = True
            await _resolved(self._port.stopListening())
            self._close_sockets()
            await self._drain()
            await self.lifecycle.stop()
        except Exception:
            log.exception("web.end_failed")
        finally:
            with suppress(Exception):  # already stopped by a second signal
                reactor.stop()

    def _close_sockets(self) -> None:
        for protocol in list(self.connections):
            if isinstance(protocol, Socket):
                if protocol.state == protocol.STATE_OPEN:
                    protocol.serverClose(SERVICE_RESTART)
                elif protocol.state == protocol.STATE_CONNECTING:
                    protocol.abort()

    async def _drain(self) -> None:
        """Let what is being answered finish; streams less long, they can be taken up again elsewhere."""
        # Requests whose connection was accepted a moment ago are still on their way in.
        await asyncio.sleep(ARRIVAL_SECONDS)
        began = loop.time()
        while left := self._unfinished():
            for protocol in left:
                if self.connections[protocol].get("disconnected"):
                    self.connections[protocol]["application_instance"].cancel()  # nobody hears its answer
            waited = loop.time() - began
            if waited > DRAIN_SECONDS:
                await self._cut(left)
                return
            if waited > STREAM_DRAIN_SECONDS:
                await self._cut([p for p in left if getattr(p, "_response_started", True)])
            await asyncio.sleep(0.02)

    def _unfinished(self) -> list[Any]:
        return [
            protocol
            for protocol, details in self.connections.items()
            if (task := details.get("application_instance")) is not None and not task.done()
        ]

    async def _cut(self, protocols: list[Any]) -> None:
        tasks = []
        for protocol in protocols:
            task = cast("asyncio.Future[None]", self.connections[protocol]["application_instance"])
            task.cancel()
            tasks.append(task)
            if not getattr(protocol, "_response_started", True):
                protocol.basic_error(503, b"Service Unavailable", "This server is restarting; ask again.")
            else:
                protocol.abort()
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)


def _hang_up_unasked(protocol: Any) -> None:
    """Drop who has connected and not yet said what they want: the first line, too, may come a byte at a time."""
    channel = protocol._channel
    if not getattr(channel, "has_asked", False) and getattr(channel, "transport", None) is not None:
        channel.forceAbortClient()


def _frame(payload: bytes, *, binary: bool) -> bytes:
    """RFC 6455, section 5.2: a final frame from a server."""
    first, size = 0x82 if binary else 0x81, len(payload)
    if size < 126:
        return struct.pack("!BB", first, size) + payload
    if size < 1 << 16:
        return struct.pack("!BBH", first, 126, size) + payload
    return struct.pack("!BBQ", first, 127, size) + payload


@implementer(ILogObserver)  # type: ignore[untyped-decorator]
def _discard(event: LogEvent) -> None:
    """Twisted's own log: what matters of it reaches us as exceptions and Daphne's messages."""


async def _resolved(deferred: Any) -> None:
    if isinstance(deferred, defer.Deferred):
        await deferred.asFuture(loop)
