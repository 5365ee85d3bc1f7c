"""Daphne's websocket protocol with limits, backpressure, and all close codes of RFC 6455."""

import struct
from time import monotonic
from typing import Final

import structlog

from bandstand.web.reactor import reactor  # isort: split

from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol

from bandstand.web.backpressure import Gate

_CONTINUATION: Final = 0
_CLOSE: Final = 8

log = structlog.get_logger("bandstand.web")

# A little more than the application allows, which then rejects the frame in its own format.
MAX_FRAME_BYTES: Final = 256 * 1024 + 1024
# Frames queued for the application; beyond them, reading from the client pauses.
WAITING_FRAMES: Final = 128
RECHECK_SECONDS: Final = 0.01
# Bytes per read. All frames in it are parsed before the event loop continues: for 64 KiB that takes 100 ms.
READ_BYTES: Final = 8 * 1024
TOO_LARGE: Final = 4413
RATE: Final = 4429
# Messages are limited by the application, which sees whole ones only; these limits are of what they are made of.
# Of pings and pongs; our own ping is answered once in twenty seconds.
CONTROL_FRAMES_PER_SECOND: Final = 5
FRAGMENTS_PER_MESSAGE: Final = 1000
# Of messages, whole or in fragments, also empty ones.
FRAMES_PER_SECOND: Final = 2000
# A client that was closed for its rate connects again at once, and a handshake costs more than its flood: first its
# socket stays open for so long, and is not read.
RATE_CLOSE_SECONDS: Final = 2.0


class Socket(WebSocketProtocol):  # type: ignore[misc]
    """One websocket: writes no faster than its client reads, and can close with every code of RFC 6455."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = Gate()
        self._reading = True
        self._control_frames = _Second(CONTROL_FRAMES_PER_SECOND)
        self._data_frames = _Second(FRAMES_PER_SECOND)
        self._fragments = 0
        self._has_flooded = False
        self._closes_for_rate = False

    def onOpen(self) -> None:  # noqa: N802
        # The HTTP channel is still registered as the producer of this connection.
        self.transport.unregisterProducer()
        self.transport.registerProducer(self.gate, True)
        self.transport.bufferSize = READ_BYTES
        super().onOpen()

    def onFrameBegin(self) -> None:  # noqa: N802
        """Called by Autobahn (26.10.2) for every frame, also for empty ones and control frames."""
        opcode = self.current_frame.opcode
        if opcode == _CLOSE:
            super().onFrameBegin()
            return
        if opcode > _CLOSE:
            is_flood = self._control_frames.exceeded(monotonic())
        else:
            self._fragments = self._fragments + 1 if opcode == _CONTINUATION else 1
            is_flood = self._fragments > FRAGMENTS_PER_MESSAGE or self._data_frames.exceeded(monotonic())
        super().onFrameBegin()
        if is_flood and self.state == self.STATE_OPEN:
            self._refuse_flood()

    def _refuse_flood(self) -> None:
        """Close, and read nothing more: parsing it would be what the flood is for. The connection is dropped when the
        client's goodbye does not come in time."""
        if self._has_flooded:
            return
        log.warning("websocket.refused", rule="frames", client=self.client_addr and self.client_addr[0])
        self._has_flooded = True
        self.data = b""
        self._close_for_rate()

    def _close_for_rate(self) -> None:
        if not self._closes_for_rate:
            self._closes_for_rate = True
            self.transport.pauseProducing()
            reactor.callLater(RATE_CLOSE_SECONDS, self._close_for_rate_now)

    def _close_for_rate_now(self) -> None:
        if self.state != self.STATE_OPEN:
            return
        self.failedByMe = True
        self.sendCloseFrame(code=RATE)
        if not self._has_flooded:
            self.transport.resumeProducing()  # the client's goodbye

    def dataReceived(self, data: bytes) -> None:  # noqa: N802  # Twisted's name
        # Autobahn's own (26.10.2) makes up a coloured debug line that nobody reads.
        if not self._has_flooded:
            self._dataReceived(data)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:  # noqa: N802, N803
        if self.state != self.STATE_OPEN:
            return  # sent after the close frame
        super().onMessage(payload, isBinary)
        if self._reading and self.application_queue.qsize() >= WAITING_FRAMES:
            # The application processes one frame while thousands arrive, so the queue must be bounded here.
            self._reading = False
            self.transport.pauseProducing()
            reactor.callLater(RECHECK_SECONDS, self._resume_reading)

    def _resume_reading(self) -> None:
        if self._closes_for_rate:
            return
        if self.application_queue.qsize() >= WAITING_FRAMES // 2 and self.state == self.STATE_OPEN:
            reactor.callLater(RECHECK_SECONDS, self._resume_reading)
        else:
            self._reading = True
            self.transport.resumeProducing()

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:  # noqa: N802, N803
        self.gate.open()
        super().onClose(wasClean, code, reason)

    def serverClose(self, code: int | None = None) -> None:  # noqa: N802
        # Autobahn's `sendClose` (26.10.2) knows 1000 and 3000-4999 only; 1011, 1012 and 1013 are ours to send.
        if code == RATE:
            self._close_for_rate()
        else:
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
        """The application failed: close the connection. This must not raise, or it would end Daphne's checks."""
        try:
            super().handle_exception(exception)
        except Exception:
            log.exception("web_refusal.failed")
            self.abort()

    def abort(self) -> None:
        """Drop the connection now."""
        if self.transport is not None:
            self.transport.abortConnection()


class _Second:
    """Counts events in periods of a second."""

    __slots__ = ("_begins_at", "_count", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._count = 0
        self._begins_at = 0.0

    def exceeded(self, at: float) -> bool:
        """Count one more; whether there are more than the limit in this second."""
        if at - self._begins_at >= 1.0:
            self._begins_at, self._count = at, 0
        self._count += 1
        return self._count > self._limit


class SocketFactory(WebSocketFactory):  # type: ignore[misc]
    """Creates instances of :class:`Socket` instead of Daphne's class."""

    protocol = Socket


def _frame(payload: bytes, *, binary: bool) -> bytes:
    """RFC 6455, section 5.2: a final frame from a server."""
    first, size = 0x82 if binary else 0x81, len(payload)
    if size < 126:
        return struct.pack("!BB", first, size) + payload
    if size < 1 << 16:
        return struct.pack("!BBH", first, 126, size) + payload
    return struct.pack("!BBQ", first, 127, size) + payload
