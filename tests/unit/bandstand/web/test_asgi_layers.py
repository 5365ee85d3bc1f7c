"""The ASGI layers around the application."""

import ipaddress
import json
import socket
import uuid
from typing import Any

import pytest
from structlog.testing import capture_logs

from bandstand.web import requests
from bandstand.web.body_limit import COMPLETIONS_PATH, MAX_BODY_BYTES, BodyLimitMiddleware
from bandstand.web.cookies import CookieFilterMiddleware
from bandstand.web.lifecycle import Lifecycle, Lifespan
from bandstand.web.listen_sockets import AddressError, check_free, listening_socket
from bandstand.web.proxies import ProxyHeadersMiddleware
from bandstand.web.request_counters import RequestCounters
from bandstand.web.requests import RequestIdMiddleware
from bandstand.web.transport import TransportMiddleware
from foundation.request_ids import current_request_id

Message = dict[str, Any]
TRUSTED = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")]


def http(path: str = "/", headers: list[tuple[bytes, bytes]] | None = None, **more: Any) -> dict[str, Any]:
    scope = {"type": "http", "method": "POST", "path": path, "scheme": "http", "client": ["10.0.0.1", 1]}
    return {**scope, "headers": headers or [], **more}


class Client:
    """Speaks ASGI: gives body chunks, keeps what is sent."""

    def __init__(self, *chunks: bytes) -> None:
        self.incoming: list[Message] = [
            {"type": "http.request", "body": chunk, "more_body": i < len(chunks)} for i, chunk in enumerate(chunks, 1)
        ]
        self.sent: list[Message] = []

    async def receive(self) -> Message:
        return self.incoming.pop(0)

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def status(self) -> Any:
        return self.sent[0]["status"]

    @property
    def body(self) -> Any:
        return json.loads(b"".join(message.get("body", b"") for message in self.sent[1:]))


async def reads_everything(scope: Message, receive: Any, send: Any) -> None:
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message["body"]), message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps({"size": size}).encode()})


async def test_a_body_up_to_the_limit_passes() -> None:
    client = Client(b"x" * MAX_BODY_BYTES)
    await BodyLimitMiddleware(reads_everything)(http(), client.receive, client.send)
    assert (client.status, client.body) == (200, {"size": MAX_BODY_BYTES})


async def test_an_announced_body_over_the_limit_is_refused_unread() -> None:
    client = Client(b"x")
    headers = [(b"content-length", str(MAX_BODY_BYTES + 1).encode())]
    await BodyLimitMiddleware(reads_everything)(http("/api/v1/sessions", headers), client.receive, client.send)
    assert client.status == 413
    assert client.body["code"] == "too_large"
    assert dict(client.sent[0]["headers"])[b"content-type"] == b"application/problem+json"
    assert len(client.incoming) == 1


async def test_an_unannounced_body_is_counted() -> None:
    client = Client(*[b"x" * 65536] * 17)
    await BodyLimitMiddleware(reads_everything)(http("/v1/models"), client.receive, client.send)
    assert client.status == 413
    assert client.body["error"]["code"] == "too_large"


@pytest.mark.parametrize("announced", [False, True])
async def test_a_conversation_may_be_longer_and_beyond_that_its_client_learns_so(announced: bool) -> None:
    body, size = [b"x" * MAX_BODY_BYTES] * 4, 4 * MAX_BODY_BYTES
    client = Client(*body)
    await BodyLimitMiddleware(reads_everything)(http(COMPLETIONS_PATH), client.receive, client.send)
    assert (client.status, client.body) == (200, {"size": size})
    client = Client(*body, b"x")
    headers = [(b"content-length", str(size + 1).encode())] if announced else []
    await BodyLimitMiddleware(reads_everything)(http(COMPLETIONS_PATH, headers), client.receive, client.send)
    assert client.status == 400
    assert client.body["error"]["code"] == "context_length_exceeded"
    assert client.body["error"]["type"] == "invalid_request_error"
    client = Client(b"x" * MAX_BODY_BYTES, b"x" * MAX_BODY_BYTES)
    await BodyLimitMiddleware(reads_everything, MAX_BODY_BYTES)(http(COMPLETIONS_PATH), client.receive, client.send)
    assert client.status == 400, "the setting counts"


async def test_a_person_reads_a_refusal_as_a_page() -> None:
    client = Client(b"x")
    headers = [(b"content-length", str(MAX_BODY_BYTES + 1).encode())]
    await BodyLimitMiddleware(reads_everything)(http("/admin/", headers), client.receive, client.send)
    assert (client.status, dict(client.sent[0]["headers"])[b"content-type"]) == (413, b"text/html; charset=utf-8")
    assert b"at most 1048576 bytes" in client.sent[1]["body"]


async def test_an_application_that_hides_the_refusal_does_not_get_to_answer() -> None:
    async def swallows(scope: Message, receive: Any, send: Any) -> None:
        try:
            await reads_everything(scope, receive, send)
        except Exception:
            await send({"type": "http.response.start", "status": 500, "headers": []})

    client = Client(b"x" * MAX_BODY_BYTES, b"x")
    await BodyLimitMiddleware(swallows)(http(), client.receive, client.send)
    assert client.status == 413


async def resolved(headers: list[tuple[bytes, bytes]], client: str = "10.0.0.1", kind: str = "http") -> Message:
    seen: Message = {}

    async def app(scope: Message, receive: Any, send: Any) -> None:
        seen.update(scope)

    scheme = {"scheme": "http"} if kind == "http" else {}
    scope = {"type": kind, "headers": headers, "client": [client, 1], **scheme}
    await ProxyHeadersMiddleware(app, TRUSTED)(scope, Client().receive, Client().send)
    return seen


async def test_a_trusted_proxy_is_believed_about_client_and_scheme() -> None:
    scope = await resolved([(b"x-forwarded-for", b"203.0.113.7"), (b"x-forwarded-proto", b"https")])
    assert (scope["client"][0], scope["scheme"], scope["forwarded"]) == ("203.0.113.7", "https", True)
    assert scope["headers"] == []


async def test_a_websocket_behind_tls_is_a_secure_one() -> None:
    scope = await resolved([(b"x-forwarded-proto", b"https")], kind="websocket")
    assert scope["scheme"] == "wss"


async def test_nobody_else_is_believed() -> None:
    said = [(b"x-forwarded-for", b"203.0.113.7"), (b"x-forwarded-proto", b"https"), (b"x-forwarded-host", b"evil")]
    scope = await resolved([*said, (b"host", b"here")], client="198.51.100.1")
    assert (scope["client"][0], scope["scheme"], scope["forwarded"]) == ("198.51.100.1", "http", True)
    assert scope["headers"] == [(b"host", b"here")]


async def test_addresses_that_the_client_wrote_itself_are_not_believed() -> None:
    scope = await resolved([(b"x-forwarded-for", b"127.0.0.1, 203.0.113.7, 10.1.1.1")])
    assert scope["client"][0] == "203.0.113.7"


async def test_a_mapped_address_of_a_trusted_proxy_is_trusted() -> None:
    scope = await resolved([(b"x-forwarded-for", b"203.0.113.7")], client="::ffff:10.0.0.1")
    assert scope["client"][0] == "203.0.113.7"


async def test_nonsense_from_a_trusted_proxy_leaves_the_proxys_address() -> None:
    scope = await resolved([(b"x-forwarded-for", b"unknown")])
    assert scope["client"][0] == "10.0.0.1"


async def transported(
    path: str, headers: list[tuple[bytes, bytes]], *, client: str = "10.0.0.1", https: bool = True
) -> tuple[int, Any]:
    """Status and body of the answer to a request that came by a proxy, where `https` is our address."""
    layers = ProxyHeadersMiddleware(TransportMiddleware(reads_everything, https=https), TRUSTED)
    answered = Client(b"")
    scope = {**http(path, headers), "client": [client, 1], "scheme": "http", "method": "GET"}
    await layers(scope, answered.receive, answered.send)
    return answered.status, answered.body


BY_TLS = [(b"x-forwarded-proto", b"https")]


@pytest.mark.parametrize("path", ["/api/v1/sessions", "/v1/models", "/chat/render"])
async def test_a_program_over_plain_http_learns_so_instead_of_a_redirect(path: str) -> None:
    without_proto = [(b"x-forwarded-for", b"203.0.113.7")]
    for headers, client in (([], "10.0.0.1"), (without_proto, "10.0.0.1"), (BY_TLS, "198.51.100.1")):
        status, body = await transported(path, headers, client=client)
        assert (status, (body.get("error") or body)["code"]) == (400, "https_required")
        assert "X-Forwarded-Proto" in str(body)
    assert (await transported(path, BY_TLS))[0] == 200
    assert (await transported(path, [], https=False))[0] == 200
    assert (await transported("/login/", []))[0] == 200, "people are redirected"


async def test_the_log_names_the_header_that_a_proxy_lacks_once() -> None:
    app = ProxyHeadersMiddleware(TransportMiddleware(reads_everything, https=True), TRUSTED)
    with capture_logs() as logs:
        for client in ("198.51.100.1", "10.0.0.1", "10.0.0.2"):
            answered = Client(b"")
            scope = {**http("/api/v1/agents"), "client": [client, 1], "scheme": "http", "method": "GET"}
            await app(scope, answered.receive, answered.send)
    [line] = [entry for entry in logs if entry["event"] == "proxy_header.not_found"]
    assert (line["header"], line["proxy"]) == ("X-Forwarded-Proto", "10.0.0.1")


async def test_a_plain_request_for_a_websocket_learns_what_it_needs() -> None:
    status, body = await transported("/ws/sessions/1/", BY_TLS)
    assert (status, body["code"]) == (426, "upgrade_required")
    assert "needs Upgrade" in body["detail"]


async def test_every_answer_carries_the_id_that_the_application_saw() -> None:
    seen: list[uuid.UUID | None] = []

    async def app(scope: Message, receive: Any, send: Any) -> None:
        seen.append(current_request_id())
        await reads_everything(scope, receive, send)

    client = Client(b"")
    await RequestIdMiddleware(app)(http(headers=[(b"x-request-id", b"chosen-by-client")]), client.receive, client.send)
    assert dict(client.sent[0]["headers"])[b"x-request-id"].decode() == str(seen[0])
    assert current_request_id() is None


async def test_parts_start_in_order_and_stop_backwards_past_an_error() -> None:
    said: list[str] = []

    def hook(word: str, error: bool = False) -> Any:
        async def run() -> None:
            said.append(word)
            if error:
                raise RuntimeError(word)

        return run

    lifecycle = Lifecycle()
    lifecycle.register("a", start=hook("+a"), stop=hook("-a"))
    lifecycle.register("b", start=hook("+b"), stop=hook("-b", error=True))
    client = Client()
    client.incoming = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    await Lifespan(reads_everything, lifecycle)({"type": "lifespan"}, client.receive, client.send)
    assert said == ["+a", "+b", "-b", "-a"]
    assert [message["type"] for message in client.sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert lifecycle.draining


async def test_a_part_that_does_not_start_ends_the_start() -> None:
    async def broken() -> None:
        raise RuntimeError

    lifecycle = Lifecycle()
    lifecycle.register("a", start=broken)
    client = Client()
    client.incoming = [{"type": "lifespan.startup"}]
    await Lifespan(reads_everything, lifecycle)({"type": "lifespan"}, client.receive, client.send)
    assert client.sent[0]["type"] == "lifespan.startup.failed"


def test_several_sockets_share_a_port_that_others_cannot_take() -> None:
    with listening_socket("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with listening_socket("127.0.0.1", port), pytest.raises(AddressError, match=f"PORT: .*127.0.0.1:{port}"):
            check_free("127.0.0.1", port)
    check_free("127.0.0.1", port)


def test_a_client_that_is_gone_without_a_word_is_noticed() -> None:
    with listening_socket("127.0.0.1", 0) as server, socket.create_connection(server.getsockname()):
        server.setblocking(True)
        connection, _ = server.accept()
        with connection:
            assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            idle = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
            assert idle + connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) / 1000 <= 90


async def test_parts_are_told_once_that_the_end_is_near_before_any_is_stopped() -> None:
    said: list[str] = []

    def hook(word: str) -> Any:
        async def run() -> None:
            said.append(word)
            if word == "~b":
                raise RuntimeError(word)

        return run

    lifecycle = Lifecycle()
    for name in "ab":
        lifecycle.register(name, drain=hook(f"~{name}"), stop=hook(f"-{name}"))
    await lifecycle.start()
    await lifecycle.drain()
    assert (said, lifecycle.draining) == (["~b", "~a"], True)
    await lifecycle.stop()
    assert said == ["~b", "~a", "-b", "-a"]


@pytest.mark.parametrize("host", ["203.0.113.7", "not a host"])
def test_an_address_of_another_machine_is_named(host: str) -> None:
    with pytest.raises(AddressError, match="HOST: "):
        check_free(host, 0)


@pytest.mark.parametrize(
    ("cookies", "kept"),
    [
        ("a=1; b=2", "a=1; b=2"),
        ('a=1; b="' + "\\" * 16_000 + '"; c=3', "a=1; c=3"),
        ('a="\\054"', ""),
    ],
)
async def test_cookies_that_take_long_to_read_are_dropped(cookies: str, kept: str) -> None:
    seen: list[Any] = []

    async def app(scope: Message, receive: Any, send: Any) -> None:
        seen.extend(scope["headers"])

    headers = [(b"host", b"a\\b"), (b"cookie", cookies.encode())]
    await CookieFilterMiddleware(app)(http(headers=headers), Client().receive, Client().send)
    assert seen == [(b"host", b"a\\b"), (b"cookie", kept.encode())]


async def test_requests_are_counted_until_their_response_begins_and_websockets_while_they_are_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counters = RequestCounters()
    monkeypatch.setattr(requests, "request_counters", counters)
    seen: list[dict[str, Any]] = []

    async def app(scope: Message, receive: Any, send: Any) -> None:
        seen.append(counters.figures())
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": int(scope["path"][1:]), "headers": []})
            await send({"type": "http.response.body", "body": b""})

    for scope in (http("/200"), http("/404"), http("/503"), {**http(), "type": "websocket"}):
        client = Client(b"")
        await RequestIdMiddleware(app)(scope, client.receive, client.send)
    assert [(found["queue_length"], found["open_websockets"]) for found in seen] == [(1, 0), (1, 0), (1, 0), (0, 1)]
    found = counters.figures()
    assert (found["requests_total"], found["errors_total"]) == (3, 1)
    assert (found["queue_length"], found["open_websockets"]) == (0, 0)
    assert 0 <= found["seconds_total"] < 10
