"""A receiver of webhooks: a real HTTP server on this machine, which notes when it was called and with what."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class WebhookReceiver:
    """`texts` came by POST, as `{"text": …}`; `calls` are the times of GETs, by the monotonic clock. `statuses` are
    answered first, one a request."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.calls: list[float] = []
        self.statuses: list[int] = []
        self.url = ""


@contextmanager
def webhook_receiver() -> Iterator[WebhookReceiver]:
    """A receiver on a port of its own."""
    receiver = WebhookReceiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self._answer():
                receiver.texts.append(body["text"])

        def do_GET(self) -> None:
            if self._answer():
                receiver.calls.append(time.monotonic())

        def _answer(self) -> bool:
            status = receiver.statuses.pop(0) if receiver.statuses else 200
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return status == 200

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_port}/hooks/secret-path"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
