"""Twisted's reader of requests, with an error response for what it cannot read."""

from typing import Any, Final

from bandstand.web.reactor import reactor  # isort: split

from twisted.web import http

from bandstand.web.error_responses import ErrorResponse
from foundation.problems import status_phrase

# How long, and how much, a client may go on sending after it was refused in the middle of its request.
LINGER_SECONDS: Final = 2.0
LINGER_BYTES: Final = 1024 * 1024
MAX_LOGGED_PATH: Final = 200

_HTTPChannel: Any = http.HTTPChannel  # most of Twisted is not typed


class Channel(_HTTPChannel):  # type: ignore[misc]
    """Reads the requests of one connection, and says what is wrong with one that cannot be read before closing.

    Twisted (26.10.0) closes without a word after a line of more than `MAX_LENGTH` bytes, and at once after a 400: what
    the client still sends then makes its system throw the response away.
    """

    _refused = False
    _discarded_bytes = 0
    _lingering: Any = None

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        if not self._refused:
            super().dataReceived(data)
            return
        self._discarded_bytes += len(data)
        if self._discarded_bytes > LINGER_BYTES:
            self.forceAbortClient()

    def lineReceived(self, line: bytes) -> None:  # noqa: N802
        if self._refused:
            return
        if self._receivedHeaderSize + len(line) > self.totalHeadersSize:
            self._refuse_too_large(line)
        else:
            super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:  # noqa: N802
        self._refuse_too_large(line)

    def headerReceived(self, line: bytes) -> bool:  # noqa: N802
        if self._receivedHeaderCount >= self.maxHeaders:
            self._refuse_too_large(line)
            return False
        return bool(super().headerReceived(line))

    def _refuse_too_large(self, line: bytes) -> None:
        if self._receivedHeaderSize:
            detail = "The headers of a request have at most 16 KB, with its first line, and 500 lines."
            self._refuse(ErrorResponse(431, "headers_too_large", detail), getattr(self, "_path", b""))
        else:
            _, _, target = line[: self.totalHeadersSize].partition(b" ")
            self._refuse(ErrorResponse(414, "uri_too_long", "The address of a request has at most 16 KB."), target)

    def _respondToBadRequestAndDisconnect(self) -> None:  # noqa: N802
        self._refuse(ErrorResponse(400, "malformed", "This is no HTTP request."), getattr(self, "_path", b""))

    def _refuse(self, refusal: ErrorResponse, target: bytes) -> None:
        """Send an error response, end our side of the connection, and discard what still comes for a while."""
        if self._refused:
            return
        self._refused = True
        path = target.partition(b" ")[0].partition(b"?")[0].decode("latin1")
        content, headers = refusal.prepare(path[:MAX_LOGGED_PATH])
        lines = [f"HTTP/1.1 {refusal.status} {status_phrase(refusal.status)}".encode()]
        lines += [b": ".join(header) for header in (*headers, (b"connection", b"close"))]
        self.transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + content)
        self.setTimeout(None)
        self._lingering = reactor.callLater(LINGER_SECONDS, self.forceAbortClient)
        self._networkProducer.unregisterProducer()
        self.transport.loseWriteConnection()

    def connectionLost(self, reason: Any = None) -> None:  # noqa: N802
        if self._lingering is not None and self._lingering.active():
            self._lingering.cancel()
        super().connectionLost(reason)
