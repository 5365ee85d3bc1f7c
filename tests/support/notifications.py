"""Receivers of notifications: a real HTTP server on loopback, and channels that lead to it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any

from django.conf import settings
from django.test import override_settings

from monitoring.models import Notification, NotificationChannel
from monitoring.notifications.channel_secrets import encrypt_secret, set_webhook_url
from monitoring.notifications.notification_content import ContentState, NotificationContent
from monitoring.notifications.outbox import queue_notification

# The example of the specification's own libraries.
WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ROUTING_KEY = "0123456789abcdef0123456789abcdef"

_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Received:
    """One request."""

    path: str
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)


@dataclass
class Receiver:
    """What came in. `responses` are answered first, one a request: status, body, headers. `gate` holds answers back."""

    origin: str = ""
    requests: list[Received] = field(default_factory=list)
    responses: list[tuple[int, bytes, dict[str, str]]] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    arrived: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    @property
    def url(self) -> str:
        return f"http://{self.origin}/hooks/1"

    def refuse(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Answer the next request so."""
        self.responses.append((status, body, {name.replace("_", "-"): value for name, value in headers.items()}))


@contextmanager
def receiver(*others: Receiver) -> Iterator[Receiver]:
    """A receiver on a port of its own, which the environment allows beside `others`."""
    there = Receiver()
    there.gate.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            there.requests.append(Received(self.path, headers, content))
            there.arrived.release()
            there.gate.wait(20)
            status, body, more = there.responses.pop(0) if there.responses else (200, b"ok", {})
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            for name, value in more.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    there.origin = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    update = {
        "alert_hosts": tuple(each.origin for each in (there, *others)),
        "pagerduty_url": f"http://{there.origin}/v2/enqueue",
    }
    try:
        with override_settings(BANDSTAND=settings.BANDSTAND.model_copy(update=update)):
            yield there
    finally:
        there.gate.set()
        server.shutdown()
        server.server_close()
        thread.join()


def channel(kind: NotificationChannel.Kind, there: Receiver | None = None, **values: Any) -> NotificationChannel:
    """A channel of this kind that leads to `there`."""
    kinds = NotificationChannel.Kind
    address, secret = {
        kinds.WEBHOOK: (there.url if there else "https://hooks.example.org/1", WEBHOOK_SECRET),
        kinds.SLACK: (f"http://{there.origin}" if there else "https://hooks.slack.com", there.url if there else ""),
        kinds.PAGERDUTY: ("", ROUTING_KEY),
        kinds.EMAIL: ("ops@example.org\nada@example.org", ""),
    }[kind]
    row = NotificationChannel(name=f"{kind.value}-{next(_numbers)}", kind=kind, address=address)
    if kind == kinds.WEBHOOK:
        set_webhook_url(row, address)
    for name, value in values.items():
        setattr(row, name, value)
    row.secret = encrypt_secret(row, secret) if secret else ""
    row.save()
    return row


def content(incident: str = "incident-1", **values: Any) -> NotificationContent:
    """What a notification says."""
    return NotificationContent(
        **{
            "title": "high_error_rate: 7.2 % of turns fail",
            "incident_key": incident,
            "severity": "critical",
            "rule": "high_error_rate",
            "url": "https://chat.example.org/admin/monitoring/alert/1/change/",
            "runbook_url": "https://chat.example.org/admin/runbooks/#high_error_rate",
            **values,
        }
    )


def queue(
    to: NotificationChannel,
    *,
    key: str = "event-1",
    kind: Notification.Kind = Notification.Kind.FIRING,
    **values: Any,
) -> Notification:
    """A notification in the outbox."""
    if kind == Notification.Kind.RESOLVED:
        values.setdefault("state", ContentState.RESOLVED)
    row = queue_notification(to, kind=kind, dedup_key=key, content=content(**values))
    assert row is not None
    return row
