"""Websockets as Daphne speaks them, with bounds, and with every close code of the standard."""

import struct
from typing import Final

import structlog

from bandstand.web.reactor import reactor  # isort: split

from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol

from bandstand.web.backpressure import Gate

log = structlog.get_logger("bandstand.web")

# A little more than the application allows: it refuses such a frame itself, in the shape its client knows.
MAX_FRAME_BYTES: Final = 256 * 1024 + 1024
# Frames that the application has not taken yet; beyond them nothing more is read from that client.
WAITING_FRAMES: Final = 128
LOOK_AGAIN_SECONDS: Final = 0.01
# Read at a time. All frames of a piece are parsed before anybody else's turn comes: of 64 KiB that takes 100 ms.
PIECE_BYTES: Final = 8 * 1024
TOO_LARGE: Final = 4413


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
        # Autobahn's `sendClose` (26.10.2) knows 1000 and 3000-4999 only; 1011, 1012 and 1013 are ours to send.
        self.sendCloseFrame(code=1000 if code is None else code)

    def serverSend(self, content: str | bytes, binary: bool = False) -> None:  # noqa: N802
        # Autobahn's `sendMessage` (26.10.2) would hold what we send to the limits for what we receive: no snapshot of a
        # long session.
        # Its `sendFrame` makes up, for every frame, the coloured words of a debug line that nobody reads: a tenth of
        # what a turn costs this process.
        if self.state == self.STATE_OPEN:
            payload = content if isinstance(content, bytes) else content.encode()
            self.transport.write(_frame(payload, binary=binary))

    def _max_message_size_exceeded(self, _size: int, _limit: int, _reason: str) -> None:
        # Autobahn's own (26.10.2) knows 1009 only. What of the message still comes is skipped.
        self.failedByMe = True
        self.sendCloseFrame(code=TOO_LARGE)

    def handle_exception(self, exception: BaseException) -> None:
        """The application failed. Nothing may be raised here: it would end Daphne's checks of all connections."""
        try:
            super().handle_exception(exception)
        except Exception:
            log.exception("web_refusal.failed")
            self.abort()

    def abort(self) -> None:
        """Drop the connection now."""
        if self.transport is not None:
            self.transport.abortConnection()


class SocketFactory(WebSocketFactory):  # type: ignore[misc]
    """Makes our websockets instead of Daphne's."""

    protocol = Socket


def _frame(payload: bytes, *, binary: bool) -> bytes:
    """RFC 6455, section 5.2: a final frame from a server."""
    first, size = 0x82 if binary else 0x81, len(payload)
    if size < 126:
        return struct.pack("!BB", first, size) + payload
    if size < 1 << 16:
        return struct.pack("!BBH", first, 126, size) + payload
    return struct.pack("!BBQ", first, 127, size) + payload
