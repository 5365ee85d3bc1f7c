"""Requests to the whole web application, all its layers, without a server around it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from django.urls import URLPattern, URLResolver, get_resolver

from bandstand.asgi import application

PATIENCE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def ask(
    method: str,
    target: str,
    body: bytes = b"",
    headers: Iterable[tuple[str, bytes | str]] = (),
    *,
    host: bytes = b"localhost:8000",
    client: str = "127.0.0.1",
) -> Answer:
    """What the application answers. `target` is the path with its query, quoted as it goes over the network."""
    path, _, query = target.partition("?")
    given = [(name.lower().encode(), value if isinstance(value, bytes) else value.encode()) for name, value in headers]
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        # As Daphne hands it over.
        "path": unquote_to_bytes(path).decode("utf-8", "replace"), "raw_path": path.encode(), "root_path": "",
        "query_string": query.encode("latin1"), "client": [client, 1], "server": ["127.0.0.1", 8000],
        "headers": [(b"host", host), (b"content-length", str(len(body)).encode()), *given],
    }  # fmt: skip
    incoming = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[dict[str, Any]] = []
    enough = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if incoming:
            return incoming.pop()
        await enough.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)
        if message.get("more_body"):
            enough.set()  # of an answer that never ends the beginning is looked at

    async with asyncio.timeout(PATIENCE_SECONDS):
        await application(scope, receive, send)
    return Answer(
        sent[0]["status"],
        {name.decode().lower(): value.decode("latin1") for name, value in sent[0]["headers"]},
        b"".join(message.get("body", b"") for message in sent[1:]),
    )


@dataclass(frozen=True, slots=True)
class Route:
    """An address as the resolver knows it: `/api/v1/sessions/<str:session_id>`."""

    pattern: str
    callback: Any
    name: str


def routes() -> list[Route]:
    """Every address of the application but the ones that catch the rest."""
    return sorted(_routes(get_resolver().url_patterns, "/"), key=lambda route: route.pattern)


def _routes(patterns: Iterable[URLPattern | URLResolver], before: str) -> Iterable[Route]:
    for one in patterns:
        text = before + str(one.pattern)
        if isinstance(one, URLResolver):
            yield from _routes(one.url_patterns, text)
        elif not text.endswith("^") and "(?P<url>.*)" not in text:
            yield Route(text, one.callback, one.name or "")
