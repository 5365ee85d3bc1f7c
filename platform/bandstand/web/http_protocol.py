"""HTTP as Daphne speaks it, with bounds: on what is kept of a body, on patience, and on how fast we write."""

from contextlib import suppress
from io import BytesIO
from typing import Any, Final

import structlog

from bandstand.web.reactor import reactor  # isort: split

from daphne.http_protocol import HTTPFactory, WebRequest

from bandstand.web.asgi_types import Message
from bandstand.web.backpressure import Gate
from bandstand.web.body_limit import MAX_BODY_BYTES
from bandstand.web.error_responses import ErrorResponse
from foundation.ids import new_id
from foundation.problems import status_phrase

log = structlog.get_logger("bandstand.web")

# One byte more than the application allows: it refuses such a body itself, in the shape its client knows.
KEPT_BODY_BYTES: Final = MAX_BODY_BYTES + 1
ABORTED_BODY_BYTES: Final = 64 * 1024 * 1024
# Within this a request has come as a whole. Twisted's own patience begins anew with every byte.
REQUEST_SECONDS = 60.0


class Request(WebRequest):  # type: ignore[misc]  # Daphne is not typed
    """One HTTP request: keeps as much of its body as will be looked at, and writes no faster than its client reads."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.gate = Gate()
        self._received = 0
        # Or Twisted would read forms in the event loop (twisted/twisted#4519): a megabyte of them from anybody held all
        # others up for 0.7 s.
        self._parsePOSTFormSubmission = False
        self.channel.has_request = True
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
        # Twisted 26.10.0 calls 422 and 428 "Unknown Status".
        with suppress(ValueError):
            message = message or status_phrase(code).encode()
        super().setResponseCode(code, message)

    def process(self) -> Any:
        self._arrived()
        if len(self.requestHeaders.getRawHeaders(b"transfer-encoding", ())) > 1:
            # Twisted 26.10.0 reads chunks whatever the others say; a proxy may see the end of the body elsewhere.
            self.abort()
            return None
        hosts = self.requestHeaders.getRawHeaders(b"host", ())
        if len(hosts) > 1 or (not hosts and self.clientproto == b"HTTP/1.1"):
            self.refuse(ErrorResponse(400, "malformed", "A request names one host."))  # RFC 9112, section 3.2
            return None
        # A client must not move the application to another path.
        self.requestHeaders.removeHeader(b"daphne-root-path")
        return super().process()

    def handle_reply(self, message: Message) -> None:
        if message["type"] == "http.response.start" and self.server.draining and self.channel is not None:
            # What this connection would ask next, another process answers.
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
        """Answer in the application's place."""
        path, request_id = self.path.decode("latin1"), new_id()
        content = refusal.content(path, request_id)
        headers = [*refusal.headers(path, content), (b"x-request-id", str(request_id).encode())]
        log.warning("web.refused", status=refusal.status, rule=refusal.code, path=path, request_id=str(request_id))
        self.handle_reply({"type": "http.response.start", "status": refusal.status, "headers": headers})
        self.handle_reply({"type": "http.response.body", "body": content})

    def basic_error(self, status: int, status_text: bytes, body: str) -> None:  # noqa: ARG002  # Daphne's names
        """Daphne's own refusals, in our shapes."""
        is_server_error = status >= 500
        detail = "Something went wrong on our side." if is_server_error else f"{body}."
        self.refuse(ErrorResponse(status, "internal" if is_server_error else "malformed", detail))

    def handle_exception(self, exception: BaseException) -> None:
        """The application failed: say so, or where the answer has begun, break it off, so that nobody waits for more.

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
    """Makes our requests instead of Daphne's."""

    def buildProtocol(self, addr: Any) -> Any:  # noqa: N802
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = Request
        reactor.callLater(REQUEST_SECONDS, _drop_idle, protocol)
        return protocol


def _drop_idle(protocol: Any) -> None:
    """Drop who has connected and not yet said what they want: the first line, too, may come a byte at a time."""
    channel = protocol._channel
    if not getattr(channel, "has_request", False) and getattr(channel, "transport", None) is not None:
        channel.forceAbortClient()
