"""A receiver of traces: a real HTTP server, which reads OTLP with OpenTelemetry's own package."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


class OtlpReceiver:
    """What came in, request by request. `statuses` are answered first, one a request; those of `refused` turns get
    400."""

    def __init__(self) -> None:
        self.messages: list[ExportTraceServiceRequest] = []
        self.headers: list[Mapping[str, str]] = []
        self.statuses: list[int] = []
        self.retry_after = ""
        self.refused: set[bytes] = set()
        self.endpoint = ""

    def spans(self) -> list[Any]:
        """The spans of all that was taken."""
        return [
            span
            for message in self.messages
            for resource in message.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def named(self, name: str) -> Any:
        """The one span of this name."""
        [span] = [span for span in self.spans() if span.name == name]
        return span

    def take(self, path: str, headers: Mapping[str, str], content: bytes) -> int:
        """The status of one request."""
        self.headers.append(headers)
        if self.statuses:
            return self.statuses.pop(0)
        if path != "/v1/traces" or headers["content-type"] != "application/x-protobuf":
            return 404
        message = ExportTraceServiceRequest.FromString(content)
        spans = [span for one in message.resource_spans for scope in one.scope_spans for span in scope.spans]
        if any(span.trace_id in self.refused for span in spans):
            return 400
        self.messages.append(message)
        return 200


def attributes_of(holder: Any) -> dict[str, Any]:
    """The attributes of a span or a resource."""
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in holder.attributes}


@contextmanager
def otlp_receiver() -> Iterator[OtlpReceiver]:
    """A receiver on a port of its own."""
    receiver = OtlpReceiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            status = receiver.take(self.path, {k.lower(): v for k, v in self.headers.items()}, content)
            body = ExportTraceServiceResponse().SerializeToString() if status == 200 else b""
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if receiver.retry_after and status != 200:
                self.send_header("Retry-After", receiver.retry_after)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
