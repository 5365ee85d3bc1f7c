"""The server itself: limits, flow control, close codes, and an orderly end."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from bandstand.web.body_limit import COMPLETION_BYTES, COMPLETIONS_PATH, MAX_COMPLETION_BYTES
from tests.support.surroundings import PYTHON_PATH, ROOT

# As `bandstand.web.http_protocol`, which cannot be imported here: it installs the reactor.
BUFFERED_BODY_BYTES = 1024 * 1024 + 1
LARGE_BODIES_BYTES = 64 * 1024 * 1024
BUFFERS = 16 * 1024 * 1024  # more than kernel and server keep for one connection


class Web:
    """The tiny application in a process of its own."""

    def __init__(self, *arguments: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "tests" / "support" / "tiny_web.py"), str(self.port), *arguments],
            env={**os.environ, "PYTHONPATH": PYTHON_PATH},
            stdout=subprocess.PIPE,
            text=True,
        )
        self.terminated = False
        self.wait_for("started")

    @property
    def address(self) -> str:
        return f"ws://127.0.0.1:{self.port}/"

    def wait_for(self, word: str) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.strip() == word:
                return
        raise AssertionError(f"ended without saying {word!r}")

    def terminate(self) -> None:
        self.terminated = True
        self.process.send_signal(signal.SIGTERM)

    def end(self) -> int:
        if not self.terminated and self.process.poll() is None:
            self.terminate()
        status = self.process.wait(20)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status

    def connect(self) -> socket.socket:
        deadline = time.monotonic() + 10
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                return socket.create_connection(("127.0.0.1", self.port), timeout=20)
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def ask(self, head: str, body: bytes = b"") -> tuple[int, dict[str, Any]]:
        with self.connect() as client:
            client.sendall(f"{head}\r\nHost: x\r\nConnection: close\r\n\r\n".encode() + body)
            return answer_of(client)


def answer_of(client: socket.socket) -> tuple[int, dict[str, Any]]:
    received = b"".join(iter(lambda: client.recv(65536), b""))
    head, _, body = received.partition(b"\r\n\r\n")
    if b"chunked" in head.lower():
        body = body.split(b"\r\n")[1]
    return int(head.split(b" ")[1]), json.loads(body)


def refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    """A server that the tests of this module share."""
    process = Web()
    yield process
    assert process.end() == 0


@pytest.fixture
def alone() -> Iterator[Web]:
    """A server of one test's own."""
    process = Web()
    yield process
    process.end()


@pytest.mark.parametrize(("status", "phrase"), [(422, "Unprocessable Entity"), (428, "Precondition Required")])
def test_every_status_has_its_name(web: Web, status: int, phrase: str) -> None:
    with web.connect() as client:
        client.sendall(f"GET /status?{status} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert client.makefile("rb").readline().decode() == f"HTTP/1.1 {status} {phrase}\r\n"


@pytest.mark.parametrize("size", [0, 1, 1024 * 1024])
def test_a_body_arrives_whole(web: Web, size: int) -> None:
    assert web.ask(f"POST /echo HTTP/1.1\r\nContent-Length: {size}", b"x" * size)[1]["size"] == size


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "multipart/form-data"])
def test_forms_are_left_to_the_application(web: Web, kind: str) -> None:
    status, body = web.ask(f"POST /echo HTTP/1.1\r\nContent-Type: {kind}\r\nContent-Length: 3", b"a=1")
    assert (status, body["size"]) == (200, 3), "the server itself would refuse a form without a boundary"


def test_a_large_body_is_read_to_its_end_and_answered_with_413(web: Web) -> None:
    size = 10 * 1024 * 1024
    status, problem = web.ask(f"POST /api/echo HTTP/1.1\r\nContent-Length: {size}", b"x" * size)
    assert (status, problem["code"]) == (413, "too_large")


def test_a_large_body_in_chunks_is_answered_with_413(web: Web) -> None:
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    status, problem = web.ask("POST /api/echo HTTP/1.1\r\nTransfer-Encoding: chunked", chunk * 17 + b"0\r\n\r\n")
    assert (status, problem["code"]) == (413, "too_large")


COMPLETION = f"POST {COMPLETIONS_PATH} HTTP/1.1"


def test_a_conversation_arrives_whole(web: Web) -> None:
    size = COMPLETION_BYTES
    assert web.ask(f"{COMPLETION}\r\nContent-Length: {size}", b"x" * size)[1]["size"] == size
    status, refusal = web.ask(f"{COMPLETION}\r\nContent-Length: {size + 1}", b"x" * (size + 1))
    assert (status, refusal["error"]["code"]) == (400, "context_length_exceeded")


def test_large_bodies_that_arrive_together_have_bounded_room(alone: Web) -> None:
    """Strangers without a key may send them, and take their time."""
    size = MAX_COMPLETION_BYTES
    head = f"{COMPLETION}\r\nHost: x\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n".encode()
    held = LARGE_BODIES_BYTES // (size - BUFFERED_BODY_BYTES)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(alone.connect()) for _ in range(held + 1)]
        for client in clients:
            client.sendall(head + b"x" * (size - 1))
        # The smaller ones of others are read meanwhile.
        assert alone.ask("POST /echo HTTP/1.1\r\nContent-Length: 9", b"x" * 9)[1]["size"] == 9
        refused = 0
        for client in clients:
            client.sendall(b"x")
            status, body = answer_of(client)
            refused += status == 503
            assert body["error"]["code"] == ("unavailable" if status == 503 else "context_length_exceeded")
        assert 1 <= refused < held
    status, _ = alone.ask(f"{COMPLETION}\r\nContent-Length: {COMPLETION_BYTES}", b"x" * COMPLETION_BYTES)
    assert status == 200, "the room is free again"


def test_a_client_cannot_move_the_application_to_another_path(web: Web) -> None:
    assert web.ask("GET /echo HTTP/1.1\r\nDaphne-Root-Path: /evil")[1]["root_path"] == ""


@pytest.mark.parametrize("began", [b"", b"HTTP/1.1 200"])
def test_an_answer_that_fails_is_refused_or_broken_off_and_so_is_the_next(web: Web, began: bytes) -> None:
    for after in (0, 2 if began else 1, 0):
        with web.connect() as client:
            client.settimeout(8)
            client.sendall(f"GET /fail?{after} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            received = bytearray()
            with contextlib.suppress(ConnectionResetError):
                while more := client.recv(65536):
                    received += more
        assert received.startswith(b"HTTP/1.1 500" if after == 0 else began)
        assert after == 0 or b"0\r\n\r\n" not in received, "a whole answer ends like this"


def test_a_stream_is_written_no_faster_than_it_is_read(alone: Web) -> None:
    before = alone.ask("GET /sent HTTP/1.1")[1]["sent"]
    with alone.connect() as client:
        client.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
        settled = growing = before
        while True:  # until the server has stopped writing
            time.sleep(0.3)
            settled, growing = growing, alone.ask("GET /sent HTTP/1.1")[1]["sent"]
            assert growing - before < BUFFERS
            if settled == growing > before:
                break
        received = 0
        while received < growing - before + BUFFERS:  # and goes on when it is read
            received += len(client.recv(65536))


async def test_a_websocket_is_written_no_faster_than_it_is_read(alone: Web) -> None:
    before = alone.ask("GET /sent HTTP/1.1")[1]["sent"]
    async with connect(alone.address, max_queue=1, close_timeout=0) as client:
        await client.send("flood")
        settled = growing = before
        while True:
            await asyncio.sleep(0.3)
            settled, growing = growing, (await asyncio.to_thread(alone.ask, "GET /sent HTTP/1.1"))[1]["sent"]
            assert growing - before < BUFFERS
            if settled == growing > before:
                break
        received = 0
        while received < growing - before + BUFFERS:
            received += len(await client.recv())
        client.transport.abort()


@pytest.mark.parametrize("code", [1000, 1011, 1012, 1013, 4401])
async def test_every_close_code_reaches_the_client(web: Web, code: int) -> None:
    async with connect(web.address) as client:
        await client.send(f"close {code}")
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_code == code


async def test_a_frame_just_over_the_applications_limit_reaches_it_and_a_larger_one_closes(web: Web) -> None:
    async with connect(web.address) as client:
        await client.send("x" * (256 * 1024 + 1))
        assert await client.recv() == str(256 * 1024 + 1)
        await client.send("x" * (260 * 1024))
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_code == 4413


async def test_compression_is_not_negotiated(web: Web) -> None:
    async with connect(web.address, compression="deflate") as client:
        assert client.protocol.extensions == []


async def test_a_connection_that_is_reset_with_words_unread_is_noticed(alone: Web) -> None:
    async with connect(alone.address, close_timeout=0) as client:
        connection: socket.socket = client.transport.get_extra_info("socket")
        alone.process.send_signal(signal.SIGSTOP)
        await client.send("said, and gone")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.transport.abort()
        await client.wait_closed()
        alone.process.send_signal(signal.SIGCONT)
    deadline = time.monotonic() + 10
    while (await asyncio.to_thread(alone.ask, "GET /echo HTTP/1.1"))[1]["open"]:
        assert time.monotonic() < deadline, "it would be kept until a ping is not answered"
        await asyncio.sleep(0.05)


async def test_at_the_end_sockets_are_closed_with_restart_and_answers_are_finished(alone: Web) -> None:
    async with connect(alone.address) as client:
        with alone.connect() as slow:
            slow.sendall(b"GET /slow?0.7 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            await asyncio.to_thread(alone.wait_for, "slow")
            alone.terminate()
            with pytest.raises(ConnectionClosed):
                await client.recv()
            assert client.close_code == 1012
            with pytest.raises((ConnectionRefusedError, InvalidStatus)):
                await connect(alone.address)
            assert answer_of(slow)[0] == 200
    await asyncio.to_thread(alone.wait_for, "stopped")
    assert alone.end() == 0


def test_at_the_end_streams_are_told_so_and_end_as_they_should(alone: Web) -> None:
    with alone.connect() as stream, alone.connect() as kept:
        stream.sendall(b"GET /watch HTTP/1.1\r\nHost: x\r\n\r\n")
        alone.wait_for("watch")
        kept.sendall(b"GET /slow?0.3 HTTP/1.1\r\nHost: x\r\n\r\n")
        alone.wait_for("slow")
        alone.terminate()
        received = b"".join(iter(lambda: stream.recv(65536), b""))
        assert received.endswith(b"7\r\ngoodbye\r\n0\r\n\r\n"), received
        answer = b"".join(iter(lambda: kept.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in answer.lower(), "its client would ask this process again"
    assert alone.end() == 0


@pytest.mark.parametrize("path", ["/api/slow", "/v1/slow", "/slow"])
def test_at_the_end_endless_streams_are_cut_and_endless_answers_refused(alone: Web, path: str) -> None:
    began = time.monotonic()
    with alone.connect() as slow, alone.connect() as stream:
        slow.sendall(f"GET {path}?60 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        stream.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
        stream.recv(100)
        alone.wait_for("slow")
        alone.terminate()
        with contextlib.suppress(ConnectionResetError):
            while stream.recv(65536):
                pass
        head, _, body = b"".join(iter(lambda: slow.recv(65536), b"")).partition(b"\r\n\r\n")
    lines = {line.lower() for line in head.split(b"\r\n")}
    assert {b"http/1.1 503 service unavailable", b"retry-after: 1", b"connection: close"} <= lines
    if path == "/slow":
        assert body.startswith(b"<!doctype html>")
    else:
        refusal = json.loads(body)
        assert refusal.get("error", refusal)["code"] == "server_stops"
    assert alone.end() == 0
    assert time.monotonic() - began < 15


@pytest.mark.parametrize("hosts", ["", "Host: x\r\nHost: y\r\n"])
def test_a_request_names_one_host(web: Web, hosts: str) -> None:
    with web.connect() as client:
        client.sendall(f"GET /api/echo HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n".encode())
        status, problem = answer_of(client)
    assert (status, problem["code"]) == (400, "malformed")


@pytest.mark.parametrize("path", ["/api/fail", "/v1/fail"])
def test_an_application_that_fails_is_told_in_the_shape_of_its_interface(web: Web, path: str) -> None:
    status, refusal = web.ask(f"GET {path}?0 HTTP/1.1")
    assert (status, refusal.get("error", refusal)["code"]) == (500, "internal")


def test_a_second_signal_does_not_wait(alone: Web) -> None:
    with alone.connect() as slow:
        slow.sendall(b"GET /slow?60 HTTP/1.1\r\nHost: x\r\n\r\n")
        alone.wait_for("slow")
        alone.terminate()
        while not refused(alone.port):
            time.sleep(0.02)
        began = time.monotonic()
        alone.terminate()
        assert alone.process.wait(20) == 0
    assert time.monotonic() - began < 4


# --- behind the proxies of docs/proxies.md ---

PROXIES = (ROOT / "docs" / "proxies.md").read_text(encoding="utf-8")
# What runs a file, and what makes the example one that a test can run: another port, our own certificate.
COMMANDS = {
    "nginx": ["nginx", "-e", "stderr", "-p", "{folder}", "-c", "{file}"],
    "caddy": ["caddy", "run", "--adapter", "caddyfile", "--config", "{file}"],
    "haproxy": ["haproxy", "-db", "-f", "{file}"],
}


def snippet(name: str) -> str:
    [found] = re.findall(rf"^```{name}\n(.*?)^```", PROXIES, re.MULTILINE | re.DOTALL)
    return str(found)


def runnable(name: str, port: int, web: Web, folder: Path) -> str:
    """The example with our ports and certificates."""
    text = snippet(name).replace("127.0.0.1:8000", f"127.0.0.1:{web.port}").replace("/etc/ssl", str(folder))
    if name == "nginx":
        text = text.replace("listen 443", f"listen 127.0.0.1:{port}")
        temporary = "".join(
            f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        return (
            f"daemon off;\nuser root;\npid {folder}/pid;\nerror_log stderr;\nevents {{}}\n"
            f"http {{\naccess_log off;\n{temporary}{text}}}\n"
        )
    if name == "caddy":
        key = f"    tls {folder}/bandstand.crt {folder}/bandstand.key\n"
        options = f"{{\n    admin off\n    auto_https disable_redirects\n    storage file_system {folder}\n}}\n"
        return options + text.replace(
            "bandstand.example {\n", f"https://127.0.0.1:{port} {{\n    bind 127.0.0.1\n{key}"
        )
    return text.replace("bind :443", f"bind 127.0.0.1:{port}")


@contextlib.contextmanager
def proxied(name: str, web: Web, folder: Path) -> Iterator[int]:
    """The port of a proxy in front of `web`."""
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(folder / "bandstand.key"), "-out", str(folder / "bandstand.crt")]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *subject, *files]
    subprocess.run(command, check=True, capture_output=True)
    both = "".join((folder / f"bandstand.{kind}").read_text() for kind in ("crt", "key"))
    (folder / "bandstand.pem").write_text(both)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    (folder / "config").write_text(runnable(name, port, web, folder))
    run = [word.format(folder=folder, file=folder / "config") for word in COMMANDS[name]]
    process = subprocess.Popen(run, env={**os.environ, "HOME": str(folder)}, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 20
        while refused(port):
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.communicate(timeout=20)


@pytest.mark.parametrize("name", COMMANDS)
async def test_what_the_documents_tell_of_a_proxy_works(name: str, alone: Web, tmp_path: Path) -> None:
    if shutil.which(name) is None or shutil.which("openssl") is None:
        pytest.skip(f"there is no {name}, or no openssl, on the PATH")
    with proxied(name, alone, tmp_path) as port:
        trust = ssl.create_default_context(cafile=str(tmp_path / "bandstand.crt"))
        address = f"https://127.0.0.1:{port}"
        read = urllib.request.build_opener(urllib.request.HTTPSHandler(context=trust)).open
        with await asyncio.to_thread(read, f"{address}/echo", timeout=10) as answer:
            headers = json.load(answer)["headers"]
        assert headers["host"] == f"127.0.0.1:{port}"
        assert (headers["x-forwarded-proto"], headers["x-forwarded-for"]) == ("https", "127.0.0.1")
        # A conversation of the largest size arrives whole.
        body = b"x" * COMPLETION_BYTES
        with await asyncio.to_thread(read, f"{address}{COMPLETIONS_PATH}", body, timeout=20) as answer:
            assert json.load(answer)["size"] == COMPLETION_BYTES
        # The first words of a stream arrive while it goes on.
        with await asyncio.to_thread(read, f"{address}/watch", timeout=10) as answer:
            assert await asyncio.to_thread(answer.read, 6) == b"hello "
        async with connect(f"wss://127.0.0.1:{port}/", ssl=trust) as client:
            await client.send("four")
            assert await client.recv() == "4"
