"""What is sent to make a server misread, wait or die: raw bytes to a real one, which lives on."""

import contextlib
import json
import select
import socket
import time
from collections.abc import Iterator

import pytest

from tests.end_to_end.bandstand.web.test_server import Web

# Answered, the connection ends; that is how the tests know that all was said.
EVIL = b"GET /evil HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
CHUNK = b"5\r\nhello\r\n0\r\n\r\n"


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    process = Web()
    yield process
    assert process.end() == 0


def said(web: Web, raw: bytes) -> bytes:
    """All that the server says to `raw` until it hangs up or falls silent, as when it waits for more."""
    with web.connect() as client:
        client.settimeout(1.0)
        received = b""
        with contextlib.suppress(OSError):
            client.sendall(raw)
            while data := client.recv(65536):
                received += data
        return received


def alive(web: Web) -> None:
    assert web.ask("GET /echo HTTP/1.1")[0] == 200


def head(*lines: bytes, first: bytes = b"POST /echo HTTP/1.1") -> bytes:
    """Of a request after which the connection stays open: what follows would be read as another."""
    return b"\r\n".join([first, b"Host: x", *lines]) + b"\r\n\r\n"


# Two readers of one connection (a proxy and we) may take the end of these for different places.
SMUGGLED = {
    "two lengths": head(b"Content-Length: 5", b"Content-Length: 6") + b"hello" + EVIL,
    "two equal lengths and more": head(b"Content-Length: 5", b"Content-Length: 5") + b"hello" + EVIL,
    "a list of lengths": head(b"Content-Length: 5, 6") + b"hello" + EVIL,
    "length and chunks": head(b"Content-Length: 5", b"Transfer-Encoding: chunked") + CHUNK + EVIL,
    "chunks and length": head(b"Transfer-Encoding: chunked", b"Content-Length: 5") + CHUNK + EVIL,
    "two codings": head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity") + CHUNK + EVIL,
    "an unknown coding": head(b"Transfer-Encoding: xchunked") + CHUNK + EVIL,
    "a coding with a tab": head(b"Transfer-Encoding:\x0bchunked") + CHUNK + EVIL,
    "a space before the colon": head(b"Transfer-Encoding : chunked") + CHUNK + EVIL,
    "a negative length": head(b"Content-Length: -1") + EVIL,
    "a signed length": head(b"Content-Length: +5") + b"hello" + EVIL,
    "a hexadecimal length": head(b"Content-Length: 0x5") + b"hello" + EVIL,
    "a length with an underscore": head(b"Content-Length: 1_0") + b"hello" + EVIL,
    "no number at all": head(b"Content-Length: five") + b"hello" + EVIL,
    "a chunk of negative size": head(b"Transfer-Encoding: chunked") + b"-5\r\nhello\r\n0\r\n\r\n" + EVIL,
    "a chunk with an extension": head(b"Transfer-Encoding: chunked")
    + b"5;"
    + b"x" * 100_000
    + b"\r\nhello\r\n0\r\n\r\n",
    "a chunk of endless size": head(b"Transfer-Encoding: chunked") + b"f" * 40 + b"\r\nhello",
    "a chunk that is no number": head(b"Transfer-Encoding: chunked") + b"zz\r\nhello\r\n0\r\n\r\n",
}

BROKEN = {
    "nothing": b"",
    "noise": bytes(range(256)) * 10,
    "a TLS greeting": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 500,
    "no version": b"GET /\r\n\r\n",
    "an unknown version": b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a long request line": b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "a long header": head(b"X: " + b"a" * 200_000),
    "10,000 headers": head(*[b"X-%d: 1" % number for number in range(10_000)]),
    "a header without a colon": head(b"nonsense"),
    "a header without a name": head(b": x"),
    "NUL in a header": head(b"X: a\x00b"),
    "a lone CR in a header": head(b"X: a\rSet-Cookie: evil=1"),
    "no host": b"GET /echo HTTP/1.1\r\nConnection: close\r\n\r\n",
    "two hosts": b"GET /echo HTTP/1.1\r\nHost: x\r\nHost: evil\r\nConnection: close\r\n\r\n",
    "a whole address": b"GET http://evil.test/echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "bytes in the path": b"GET /\xff\xfe\x00 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "a half escape": b"GET /%f%zz%00 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "a websocket without a key": head(b"Upgrade: websocket", b"Connection: Upgrade", first=b"GET / HTTP/1.1"),
    "a websocket of version 99": head(
        b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Key: x", b"Sec-WebSocket-Version: 99",
        first=b"GET / HTTP/1.1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", SMUGGLED)
def test_no_second_request_hides_in_a_first(web: Web, what: str) -> None:
    answer = said(web, SMUGGLED[what])
    assert answer.count(b"HTTP/1.1 ") <= 1, answer
    alive(web)


def test_two_honest_requests_on_one_connection_are_both_answered(web: Web) -> None:
    answer = said(web, head(b"Content-Length: 5") + b"hello" + EVIL)
    assert answer.count(b"HTTP/1.1 200") == 2, "or the tests above would prove nothing"


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_no_request_is_refused_and_breaks_nothing(web: Web, what: str) -> None:
    answer = said(web, BROKEN[what])
    assert b" 500 " not in answer.split(b"\r\n", 1)[0], answer
    assert b"Set-Cookie" not in answer
    alive(web)


# What is larger than we read, with the status of its refusal; sent whole before a byte of the answer is read.
TOO_LARGE = {
    "a line of 17 KB": (b"GET /api/x?" + b"a" * 17_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    "a line of just over 16 KB": (b"GET /api/" + b"a" * (16_384 - 17) + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    "a line of 900 KB": (b"GET /api/x?" + b"a" * 900_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    "a line that does not end": (b"GET /api/x?" + b"a" * 17_000, 414),
    "a header of 17 KB": (head(b"X: " + b"a" * 17_000, first=b"GET /api/x HTTP/1.1"), 431),
    "a header of 900 KB": (head(b"X: " + b"a" * 900_000, first=b"GET /api/x HTTP/1.1"), 431),
    "17 KB of headers": (head(*[b"X: " + b"a" * 1_000] * 17, first=b"GET /api/x HTTP/1.1"), 431),
    "501 headers": (head(*[b"X: 1"] * 501, first=b"GET /api/x HTTP/1.1"), 431),
    "a body behind a header of 17 KB": (
        head(b"Content-Length: 500000", b"X: " + b"a" * 17_000, first=b"POST /api/x HTTP/1.1") + b"b" * 500_000,
        431,
    ),
    "no request": (b"nonsense\r\n\r\n" + b"b" * 500_000, 400),
}  # fmt: skip


@pytest.mark.parametrize("what", TOO_LARGE)
def test_what_is_too_large_to_read_is_answered_before_the_connection_closes(web: Web, what: str) -> None:
    request, status = TOO_LARGE[what]
    answer = said(web, request)
    start, _, body = answer.partition(b"\r\n\r\n")
    assert start.startswith(b"HTTP/1.1 %d " % status), answer
    assert b"connection: close" in start
    assert b"content-length: %d\r\n" % len(body) in start
    assert answer.count(b"HTTP/1.1 ") == 1
    if status != 400:
        assert json.loads(body)["status"] == status
    alive(web)


def test_the_second_request_of_a_connection_may_be_too_long(web: Web) -> None:
    long = b"GET /" + b"a" * 17_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"
    with web.connect() as client:
        client.sendall(b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
        client.sendall(long)
        assert client.recv(65536).startswith(b"HTTP/1.1 414")
    assert [
        line.split(b" ")[1] for line in said(web, EVIL.replace(b"close", b"keep-alive") + long).split(b"HTTP/1.1")[1:]
    ] == [b"200", b"414"]
    alive(web)


def test_who_goes_on_sending_after_a_refusal_is_dropped(web: Web) -> None:
    with web.connect() as client:
        client.sendall(b"a" * 17_000)
        sent = 0
        with contextlib.suppress(OSError):
            # More than what the server discards, and what the system keeps for it.
            while sent < 100_000_000:
                sent += client.send(b"a" * 65_536)
        assert sent < 100_000_000
    alive(web)


def test_who_only_waits_after_a_refusal_is_dropped(web: Web) -> None:
    with web.connect() as client:
        client.sendall(b"a" * 17_000)
        dropped = select.poll()
        dropped.register(client, 0)  # reports a reset
        assert dropped.poll(20_000)
    alive(web)


def test_who_sends_a_byte_at_a_time_holds_up_nobody(web: Web) -> None:
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(web.connect()) for _ in range(200)]
        for client in slow:
            client.sendall(b"GET /echo HTTP/1.1\r\nX: ")
        began = time.monotonic()
        for number in range(20):
            slow[number].sendall(b"a")
            alive(web)
        assert time.monotonic() - began < 10


def test_a_request_that_trickles_in_is_dropped_in_time() -> None:
    impatient = Web("1.0")
    try:
        began = time.monotonic()
        starts = (b"GET /ec", b"POST /echo HTTP/1.1\r\nHost: x\r\nX: ", head(b"Content-Length: 100") + b"x")
        slow = [impatient.connect() for _ in starts]
        for client, start in zip(slow, starts, strict=True):
            client.settimeout(0.2)
            client.sendall(start)
        while slow:
            assert time.monotonic() - began < 5, len(slow)
            slow = [client for client in slow if _trickles(client)]
        assert time.monotonic() - began > 0.9
        with impatient.connect() as kept:  # who has asked may take their time for the next one
            kept.sendall(b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n")
            kept.recv(4096)
            time.sleep(1.2)
            kept.sendall(b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n")
            assert kept.recv(4096).startswith(b"HTTP/1.1 200")
        alive(impatient)
    finally:
        assert impatient.end() == 0


def _trickles(client: socket.socket) -> bool:
    """Send one more byte; whether the connection is still there."""
    try:
        client.sendall(b"a")
        return client.recv(1) != b""
    except TimeoutError:
        return True
    except OSError:
        client.close()
        return False
