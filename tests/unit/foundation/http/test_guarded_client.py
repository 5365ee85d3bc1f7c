"""The guarded HTTP client against the list of attacks: what others choose never reaches our own walls."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from foundation.http import AddressRefused, GuardedClient, Unreachable, allowed_origin, parse_target
from foundation.http.addresses import is_public_text

PUBLIC = "93.184.216.34"


class AttackersNames:
    """A name server in the attacker's hand: each look-up gets the next answer, the last one for ever."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def resolve(self, host: str) -> list[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class Dialled:
    """Opens no connection: writes down where it would have gone."""

    def __init__(self) -> None:
        self.addresses: list[str] = []

    def __call__(self, info: Any) -> socket.socket:
        self.addresses.append(info[4][0])
        raise OSError("nobody is dialled in this test")


class Inside:
    """A server on loopback that reads one request and gives the same bytes to everybody; `None`: it never answers."""

    def __init__(self, answer: bytes | None) -> None:
        self.answer = answer
        self.connections = 0
        self.requests = 0
        self.port = 0
        self.handlers: set[asyncio.Task[None]] = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.handlers.add(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = b""
        while not request.endswith(b"\r\n\r\n") and (more := await reader.read(4096)):
            request += more
        if request:
            self.requests += 1
            if self.answer is None:
                await reader.read()
            else:
                writer.write(self.answer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@asynccontextmanager
async def inside(answer: bytes | None) -> AsyncIterator[Inside]:
    there = Inside(answer)
    server = await asyncio.start_server(there.accept, "127.0.0.1", 0)
    there.port = server.sockets[0].getsockname()[1]
    try:
        yield there
    finally:
        server.close()
        await server.wait_closed()
        await asyncio.gather(*there.handlers)


def client_for(there: Inside) -> GuardedClient:
    return GuardedClient(allow_origins=frozenset({f"127.0.0.1:{there.port}"}))


def ok(body: bytes = b"fine", headers: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n%bContent-Length: %d\r\n\r\n%b" % (
        headers,
        len(body),
        body,
    )


def redirect(location: str) -> bytes:
    return b"HTTP/1.1 302 Found\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % location.encode()


@pytest.mark.parametrize(
    "address",
    [
        "",
        "example.com",
        "//example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "javascript:alert(1)",
        "http:/example.com",
        "http:///example.com",
        "http://",
        "http:// example.com/",
        " http://example.com/",
        "http://example.com/\n",
        "http://example.com/a b",
        "http://example.com/\r\nHost: inside",
        "http://example.com/\x00",
        "http://exam\tple.com/",
        "http://example.com\\@127.0.0.1/",
        "http://user@example.com/",
        "http://user:secret@example.com/",
        "http://example.com@127.0.0.1/",
        "http://example.com%40127.0.0.1/",
        "http://%31%32%37.0.0.1/",
        "http://example.com:0/",
        "http://example.com:/",
        "http://example.com:080/",
        "http://example.com:65536/",
        "http://example.com:8o80/",
        "http://example..com/",
        "http://.example.com/",
        "http://example.com./",
        "http://-example.com/",
        "http://" + "a" * 64 + ".com/",
        "http://" + "a." * 130 + "com/",
        "http://bücher.de/",
        "http://\uff45xample.com/",
        "http://127。0。0。1/",
        "http://①②⑦.0.0.1/",
        "http://exa\u200bmple.com/",
        "http://ex\u00ad.com/",
        "http://0177.0.0.1/",
        "http://0x7f.0.0.1/",
        "http://0x7f000001/",
        "http://2130706433/",
        "http://127.1/",
        "http://127.0.1/",
        "http://127.0.0.1./",
        "http://127.0.0.01/",
        "http://127.0.0.256/",
        "http://1.2.3.4.5/",
        "http://example.0x1/",
        "http://example.123/",
        "http://[::1%25lo]/",
        "http://[0:0:0:0:0:0:0:1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[::1",
        "http://::1/",
        "http://[127.0.0.1]/",
        "http://example.com/" + "a" * 5000,
        "http://example.com/\ud800",
    ],
)
def test_an_address_that_is_not_plain_is_refused(address: str) -> None:
    with pytest.raises(AddressRefused):
        parse_target(address)


@pytest.mark.parametrize(
    ("address", "origin", "url"),
    [
        ("http://example.com", "example.com:80", "http://example.com/"),
        ("HTTPS://Example.COM/a?b=c#d", "example.com:443", "https://example.com/a?b=c"),
        ("http://example.com?q=1", "example.com:80", "http://example.com/?q=1"),
        ("http://example.com#part", "example.com:80", "http://example.com/"),
        ("http://xn--bcher-kva.de:8080/ü", "xn--bcher-kva.de:8080", "http://xn--bcher-kva.de:8080/%C3%BC"),
        ("http://my_model:11434/v1", "my_model:11434", "http://my_model:11434/v1"),
        ("http://[2606:4700::1111]/", "[2606:4700::1111]:80", "http://[2606:4700::1111]/"),
        ("http://8.8.8.8/", "8.8.8.8:80", "http://8.8.8.8/"),
    ],
)
def test_a_plain_address_is_read_in_its_canonical_form(address: str, origin: str, url: str) -> None:
    target = parse_target(address)

    assert (target.origin, str(target.url)) == (origin, url)


CLOSED = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::808:808",
    "::ffff:7f00:1",
    "::ffff:808:808",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd12:3456:789a::1",
    "fe80::1",
    "fe80::1%lo",
    "2606:4700::1111%lo",
    "fec0::1",
    "ff02::1",
    "not an address",
]


@pytest.mark.parametrize("address", CLOSED)
def test_an_address_that_is_not_an_ordinary_public_host_is_closed(address: str) -> None:
    assert not is_public_text(address)


@pytest.mark.parametrize("address", ["8.8.8.8", PUBLIC, "2606:4700::1111", "2a00:1450:4001:81b::200e"])
def test_an_ordinary_public_host_is_open(address: str) -> None:
    assert is_public_text(address)


@pytest.mark.parametrize("address", [a for a in CLOSED if " " not in a and "%" not in a])
async def test_a_closed_address_is_not_dialled_as_a_literal(address: str) -> None:
    dialled = Dialled()
    literal = f"[{address}]" if ":" in address else address
    async with GuardedClient(socket_factory=dialled) as client:
        with pytest.raises(AddressRefused):
            await client.fetch(f"http://{literal}/")
        with pytest.raises(AddressRefused):
            async with client.session().get(f"http://{literal}/"):
                pass

    assert dialled.addresses == []


@pytest.mark.parametrize("address", [a for a in CLOSED if " " not in a])
async def test_a_name_that_resolves_to_a_closed_address_is_not_dialled(address: str) -> None:
    dialled = Dialled()
    async with GuardedClient(resolver=AttackersNames([address]), socket_factory=dialled) as client:
        with pytest.raises(AddressRefused):
            await client.fetch("http://inside.test/")

    assert dialled.addresses == []


async def test_one_closed_address_among_public_ones_refuses_the_name() -> None:
    dialled = Dialled()
    async with GuardedClient(resolver=AttackersNames([PUBLIC, "127.0.0.1"]), socket_factory=dialled) as client:
        with pytest.raises(AddressRefused):
            await client.fetch("http://mixed.test/")

    assert dialled.addresses == []


async def test_a_rebinding_name_is_resolved_once_and_only_the_checked_address_is_dialled() -> None:
    dialled = Dialled()
    names = AttackersNames([PUBLIC], ["127.0.0.1"])
    async with GuardedClient(resolver=names, socket_factory=dialled) as client:
        with pytest.raises(Unreachable):
            await client.fetch("http://rebinding.test/")

    assert names.asked == ["rebinding.test"]
    assert dialled.addresses == [PUBLIC]


async def test_a_connection_that_ends_at_a_closed_peer_gets_no_request() -> None:
    async with inside(ok()) as there:

        class Diverted(socket.socket):
            def connect(self, address: Any) -> None:
                super().connect(("127.0.0.1", there.port))

        def divert(info: Any) -> socket.socket:
            diverted = Diverted(socket.AF_INET, socket.SOCK_STREAM)
            diverted.setblocking(False)
            return diverted

        async with GuardedClient(resolver=AttackersNames([PUBLIC]), socket_factory=divert) as client:
            with pytest.raises(AddressRefused, match="connection led"):
                await client.fetch("http://diverted.test/")

    assert (there.connections, there.requests) == (1, 0)


@pytest.mark.parametrize("port", [1, 22, 25, 5432, 6379, 11434, 65535])
async def test_ports_that_are_not_the_webs_are_refused(port: int) -> None:
    dialled = Dialled()
    async with GuardedClient(resolver=AttackersNames([PUBLIC]), socket_factory=dialled) as client:
        with pytest.raises(AddressRefused, match="port"):
            await client.fetch(f"http://public.test:{port}/")

    assert dialled.addresses == []


async def test_an_allowed_origin_is_reached_on_loopback_by_name_and_by_address() -> None:
    async with inside(ok(b"hello")) as there:
        origins = frozenset({allowed_origin(f"http://model.test:{there.port}/v1"), f"127.0.0.1:{there.port}"})
        async with GuardedClient(allow_origins=origins, resolver=AttackersNames(["127.0.0.1"])) as client:
            by_name = await client.fetch(f"http://model.test:{there.port}/")
            by_address = await client.fetch(f"http://127.0.0.1:{there.port}/")

    assert (by_name.status, by_name.content_type, by_name.charset, by_name.body) == (
        200,
        "text/plain",
        "utf-8",
        b"hello",
    )
    assert by_address.body == b"hello"


async def test_an_allowed_origin_opens_no_other_port_and_no_other_name() -> None:
    async with inside(ok()) as there:
        origins = frozenset({"model.test:1"})
        async with GuardedClient(allow_origins=origins, resolver=AttackersNames(["127.0.0.1"])) as client:
            for address in (f"http://model.test:{there.port}/", "http://model.test/", "http://other.test:8080/"):
                with pytest.raises(AddressRefused):
                    await client.fetch(address)

    assert there.connections == 0


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:{port}/",
        "http://127.0.0.1/",
        "http://second.test:8080/",
        "//second.test:8080/",
        "http://2130706433/",
        "http://user@second.test/",
        "file:///etc/passwd",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[",
    ],
)
async def test_a_redirect_is_checked_like_the_first_address(location: str) -> None:
    async with inside(ok(b"secret")) as secret, inside(redirect(location.format(port=secret.port))) as first:
        origins = frozenset({f"first.test:{first.port}"})
        async with GuardedClient(allow_origins=origins, resolver=AttackersNames(["127.0.0.1"])) as client:
            with pytest.raises(AddressRefused):
                await client.fetch(f"http://first.test:{first.port}/", max_redirects=5)

    assert (first.connections, secret.connections) == (1, 0)


async def test_no_redirect_is_followed_unless_asked_for() -> None:
    async with inside(ok()) as second, inside(redirect(f"http://127.0.0.1:{second.port}/")) as first:
        origins = frozenset({f"127.0.0.1:{first.port}", f"127.0.0.1:{second.port}"})
        async with GuardedClient(allow_origins=origins) as client:
            with pytest.raises(AddressRefused, match="redirects"):
                await client.fetch(f"http://127.0.0.1:{first.port}/")
            followed = await client.fetch(f"http://127.0.0.1:{first.port}/", max_redirects=1)

    assert followed.body == b"fine"
    assert followed.url == f"http://127.0.0.1:{second.port}/"


async def test_a_loop_of_redirects_ends() -> None:
    async with inside(redirect("/again")) as there, client_for(there) as client:
        with pytest.raises(AddressRefused, match="redirects"):
            await client.fetch(f"http://127.0.0.1:{there.port}/", max_redirects=3)

    assert there.connections == 4


async def test_a_large_body_is_cut_and_said_to_be_cut() -> None:
    async with inside(ok(b"x" * 300_000)) as there, client_for(there) as client:
        fetched = await client.fetch(f"http://127.0.0.1:{there.port}/", max_bytes=1000)

    assert (fetched.body, fetched.truncated) == (b"x" * 1000, True)


async def test_no_more_of_a_body_is_read_than_is_wanted() -> None:
    endless = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1000000000\r\n\r\n" + b"x" * 300_000
    async with inside(endless) as there, client_for(there) as client:
        fetched = await client.fetch(f"http://127.0.0.1:{there.port}/", max_bytes=1000)

    assert (fetched.body, fetched.truncated) == (b"x" * 1000, True)


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Encoding: gzip\r\n",
        b"Content-Encoding: identity\r\nContent-Encoding: gzip\r\n",
        b"Content-Encoding: gzip\r\nContent-Encoding: identity\r\n",
        b"Content-Encoding: identity, gzip\r\n",
        b"content-encoding: GZIP\r\n",
        b"Content-Encoding: identity\r\nContent-Encoding: deflate\r\n",
    ],
)
async def test_a_compressed_answer_that_nobody_asked_for_is_not_unpacked(headers: bytes) -> None:
    bomb = gzip.compress(bytes(1024 * 1024))
    async with inside(ok(bomb, headers)) as there, client_for(there) as client:
        with pytest.raises(Unreachable, match="compressed"):
            await client.fetch(f"http://127.0.0.1:{there.port}/")


@pytest.mark.parametrize("headers", [b"", b"Content-Encoding: identity\r\n", b"Content-Encoding: Identity\r\n" * 2])
async def test_an_answer_that_is_not_compressed_is_taken_as_it_is(headers: bytes) -> None:
    packed = gzip.compress(b"x")
    async with inside(ok(packed, headers)) as there, client_for(there) as client:
        assert (await client.fetch(f"http://127.0.0.1:{there.port}/")).body == packed


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-hello\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nshort"])
async def test_an_answer_that_is_not_http_or_is_cut_is_unreachable(answer: bytes) -> None:
    async with inside(answer) as there, client_for(there) as client:
        with pytest.raises(Unreachable):
            await client.fetch(f"http://127.0.0.1:{there.port}/")


async def test_a_server_that_never_answers_meets_the_deadline() -> None:
    async with inside(None) as there, client_for(there) as client:
        with pytest.raises(Unreachable, match="in time"):
            await client.fetch(f"http://127.0.0.1:{there.port}/", total_seconds=0.05)


async def test_the_environments_proxy_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with inside(ok(b"proxied")) as proxy, inside(ok(b"direct")) as there:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        async with GuardedClient(allow_origins=frozenset({f"127.0.0.1:{there.port}"})) as client:
            fetched = await client.fetch(f"http://127.0.0.1:{there.port}/")

    assert (fetched.body, proxy.connections) == (b"direct", 0)
