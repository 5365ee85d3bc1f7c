"""A web process with an application of a few lines, to look at the server alone.

`python tiny_web.py PORT [REQUEST_SECONDS]`
"""

import asyncio
import json
import sys
from typing import Any

from bandstand.web import http_protocol
from bandstand.web.body_limit import BodyLimitMiddleware
from bandstand.web.lifecycle import Lifecycle
from bandstand.web.listen_sockets import listening_socket
from bandstand.web.server import WebServer

sent_bytes = 0
open_sockets = 0
drained = asyncio.Event()


def say(word: str) -> None:
    print(word, flush=True)


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """/echo, /slow (seconds in the query), /stream (for ever), /fail (after so many messages),
    /sent (bytes of streams so far), /watch (until the process is told to end); below /api/ and /v1/, too.
    Websockets echo."""
    if scope["type"] == "websocket":
        await websocket(receive, send)
        return
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message["body"]
        if not message["more_body"]:
            break
    path = scope["path"].removeprefix("/api").removeprefix("/v1")
    if path == "/watch":
        await watch(send)
        return
    if path == "/slow":
        say("slow")
        await asyncio.sleep(float(scope["query_string"]))
    if path == "/stream":
        await stream(send)
        return
    if path == "/fail":
        await fail(send, int(scope["query_string"]))
    told = {"size": len(body), "root_path": scope["root_path"], "sent": sent_bytes, "open": open_sockets}
    told |= {"headers": {name.decode(): value.decode() for name, value in scope["headers"]}}
    status = int(scope["query_string"]) if path == "/status" else 200
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(told).encode()})


async def watch(send: Any) -> None:
    # As our streams have them.
    headers = [(b"content-type", b"text/event-stream"), (b"x-accel-buffering", b"no")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"hello ", "more_body": True})
    say("watch")
    await drained.wait()
    await send({"type": "http.response.body", "body": b"goodbye"})


async def stream(send: Any) -> None:
    global sent_bytes  # noqa: PLW0603
    say("stream")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while True:
        await send({"type": "http.response.body", "body": b"x" * 16384, "more_body": True})
        sent_bytes += 16384
        await asyncio.sleep(0)


async def fail(send: Any, after: int) -> None:
    start = {"type": "http.response.start", "status": 200, "headers": []}
    body = {"type": "http.response.body", "body": b"x", "more_body": True}
    for message in [start, body][:after]:
        await send(message)
    raise LookupError("as asked")


async def websocket(receive: Any, send: Any) -> None:
    global open_sockets  # noqa: PLW0603
    open_sockets += 1
    while (message := await receive())["type"] != "websocket.disconnect":
        if message["type"] == "websocket.connect":
            await send({"type": "websocket.accept"})
        elif message["text"].startswith("close "):
            await send({"type": "websocket.close", "code": int(message["text"].split()[1])})
        elif message["text"] == "flood":
            global sent_bytes  # noqa: PLW0603
            while True:
                await send({"type": "websocket.send", "text": "x" * 16384})
                sent_bytes += 16384
        else:
            await send({"type": "websocket.send", "text": str(len(message["text"]))})
    open_sockets -= 1
    say("disconnected")


async def started() -> None:
    say("started")


async def draining() -> None:
    drained.set()


async def stopped() -> None:
    say("stopped")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        http_protocol.REQUEST_SECONDS = float(sys.argv[2])
    lifecycle = Lifecycle()
    lifecycle.register("tiny", start=started, drain=draining, stop=stopped)
    WebServer(BodyLimitMiddleware(application), listening_socket("127.0.0.1", int(sys.argv[1])), lifecycle).run()
