"""Daphne's HTTP protocol with limits on body size and request time, and with backpressure on writes."""

from contextlib import suppress
from io import BytesIO
from typing import Any, Final

import structlog

from bandstand.web.reactor import reactor  # isort: split

from daphne.http_protocol import HTTPFactory, WebRequest

from bandstand.web.asgi_types import Message
from bandstand.web.backpressure import Gate
from bandstand.web.body_limit import COMPLETIONS_PATH, MAX_BODY_BYTES, MAX_COMPLETION_BYTES
from bandstand.web.error_responses import ErrorResponse
from bandstand.web.http_channel import Channel
from foundation.problems import status_phrase

log = structlog.get_logger("bandstand.web")

# One byte more than the application allows, which then rejects the body in the format of its interface.
BUFFERED_BODY_BYTES: Final = MAX_BODY_BYTES + 1
BUFFERED_COMPLETION_BYTES: Final = MAX_COMPLETION_BYTES + 1
# What the bodies of chat completions that are arriving take together beyond `BUFFERED_BODY_BYTES` each. Nobody is
# authenticated before a body is there.
LARGE_BODIES_BYTES: Final = 64 * 1024 * 1024
NO_ROOM: Final = ErrorResponse(503, "unavailable", "Too many large requests arrive just now.", retry_after_seconds=2)
ABORTED_BODY_BYTES: Final = 64 * 1024 * 1024
# The time within which a whole request must arrive. Twisted's own timeout restarts with every byte.
REQUEST_SECONDS = 60.0


class _LargeBodies:
    """The room for large bodies in this process; used on the event loop only."""

    def __init__(self) -> None:
        self._free_bytes = LARGE_BODIES_BYTES

    def take(self, size: int) -> bool:
        """Whether there is room for `size` bytes more, which are then taken."""
        if size > self._free_bytes:
            return False
        self._free_bytes -= size
        return True

    def give_back(self, size: int) -> None:
        self._free_bytes += size


_large_bodies = _LargeBodies()


class Request(WebRequest):  # type: ignore[misc]  # Daphne is not typed
    """One HTTP request: keeps a bounded part of its body, and writes no faster than its client reads."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.gate = Gate()
        self._received = 0
        self._max_buffered = BUFFERED_BODY_BYTES
        self._large_bytes = 0
        self._no_room = False
        # Or Twisted would read forms in the event loop (twisted/twisted#4519): a megabyte of them from anybody held all
        # others up for 0.7 s.
        self._parsePOSTFormSubmission = False
        self.channel.has_request = True
        self._late = reactor.callLater(REQUEST_SECONDS, self.abort)

    def gotLength(self, length: int | None) -> None:  # noqa: ARG002, N802  # Twisted's name
        # In memory, because the size is bounded; Twisted would open a temporary file for large bodies.
        self.content = BytesIO()
        # The request itself learns its path when the body is there.
        if self.channel._path.partition(b"?")[0] == COMPLETIONS_PATH.encode():
            self._max_buffered = BUFFERED_COMPLETION_BYTES

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802
        free_bytes = self._max_buffered - self._received
        self._received += len(data)
        if free_bytes > 0 and not self._no_room:
            self._buffer(data[:free_bytes])
        elif self._received > ABORTED_BODY_BYTES:
            self.channel.forceAbortClient()

    def _buffer(self, data: bytes) -> None:
        large_bytes = max(0, self.content.tell() + len(data) - BUFFERED_BODY_BYTES) - self._large_bytes
        if large_bytes > 0:
            if not _large_bodies.take(large_bytes):
                self._no_room = True
                self.content = BytesIO()
                self._free_room()
                return
            self._large_bytes += large_bytes
        self.content.write(data)

    def _free_room(self) -> None:
        _large_bodies.give_back(self._large_bytes)
        self._large_bytes = 0

    def setResponseCode(self, code: int, message: bytes | None = None) -> None:  # noqa: N802
        # Twisted 26.10.0 calls 422 and 428 "Unknown Status".
        with suppress(ValueError):
            message = message or status_phrase(code).encode()
        super().setResponseCode(code, message)

    def process(self) -> Any:
        self._arrived()
        try:
            return self._process()
        finally:
            # The application has the body now; Twisted would keep it until the answer has ended.
            self.content = BytesIO()
            self._free_room()

    def _process(self) -> Any:
        if len(self.requestHeaders.getRawHeaders(b"transfer-encoding", ())) > 1:
            # Twisted 26.10.0 reads chunks whatever the others say; a proxy may see the end of the body elsewhere.
            self.abort()
            return None
        hosts = self.requestHeaders.getRawHeaders(b"host", ())
        if len(hosts) > 1 or (not hosts and self.clientproto == b"HTTP/1.1"):
            self.refuse(ErrorResponse(400, "malformed", "A request names one host."))  # RFC 9112, section 3.2
            return None
        if self._no_room:
            self.refuse(NO_ROOM)
            return None
        # A client must not set the root path of the application.
        self.requestHeaders.removeHeader(b"daphne-root-path")
        return super().process()

    def handle_reply(self, message: Message) -> None:
        if message["type"] == "http.response.start" and self.server.draining and self.channel is not None:
            # The client's next request goes to another process.
            self.channel.persistent = False
            self.setHeader(b"connection", b"close")
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
        self._free_room()
        self.gate.open()
        super().connectionLost(reason)

    def _arrived(self) -> None:
        if self._late.active():
            self._late.cancel()

    def abort(self) -> None:
        """Drop the connection now."""
        if self.channel is not None:
            self.channel.forceAbortClient()

    def refuse(self, refusal: ErrorResponse) -> None:
        """Send an error response instead of calling the application."""
        content, headers = refusal.prepare(self.path.decode("latin1"))
        self.handle_reply({"type": "http.response.start", "status": refusal.status, "headers": headers})
        self.handle_reply({"type": "http.response.body", "body": content})

    def basic_error(self, status: int, status_text: bytes, body: str) -> None:  # noqa: ARG002  # Daphne's names
        """Send Daphne's own errors in the formats of our interfaces."""
        is_server_error = status >= 500
        detail = "Something went wrong on our side." if is_server_error else f"{body}."
        self.refuse(ErrorResponse(status, "internal" if is_server_error else "malformed", detail))

    def handle_exception(self, exception: BaseException) -> None:
        """The application failed: respond with 500, or abort the connection if the response has begun.

        Daphne's (4.2.3) begins a second answer instead. Nothing may be raised here: it would end Daphne's checks of all
        connections.
        """
        try:
            if not self._response_started:
                super().handle_exception(exception)
                return
        except Exception:
            log.exception("web_refusal.failed")
        self.abort()


class RequestFactory(HTTPFactory):  # type: ignore[misc]
    """Creates instances of :class:`Channel` and :class:`Request` instead of Twisted's and Daphne's classes."""

    protocol = Channel

    def buildProtocol(self, addr: Any) -> Any:  # noqa: N802
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = Request
        reactor.callLater(REQUEST_SECONDS, _drop_idle, protocol)
        return protocol


def _drop_idle(protocol: Any) -> None:
    """Drop a connection that has not sent a request line and headers in time."""
    if not getattr(protocol, "has_request", False) and getattr(protocol, "transport", None) is not None:
        protocol.forceAbortClient()
