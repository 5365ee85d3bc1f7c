"""What a client on the network meets: the product's processes on the test database, and a proxy that loses replies."""

from __future__ import annotations

import signal
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from django.conf import settings

from tests.chaos.program import Program
from tests.support.surroundings import database_url, environment, free_port

T = TypeVar("T")

START_SECONDS = 60.0


def until(look: Callable[[], T], *, what: str, seconds: float = 20.0) -> T:
    """What `look` returns as soon as it is true."""
    ends_at = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < ends_at, f"there was never {what}"
        time.sleep(0.02)
    return found


class Installation:
    """Two web processes, one runner on the offline model."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._env = environment(
            DATABASE_URL=database_url(settings.DATABASES["default"]["NAME"]),
            BANDSTAND_DATA_DIR=str(folder),
            HOST="127.0.0.1",
            BANDSTAND_LEASE_SECONDS="3",
            BANDSTAND_HEARTBEAT_SECONDS="1",
            BANDSTAND_RUNNING_TURNS_PER_USER="100",
            BANDSTAND_REQUESTS_PER_MINUTE="1000000",
            BANDSTAND_MESSAGES_PER_MINUTE="1000000",
            BANDSTAND_MESSAGES_PER_SESSION_PER_MINUTE="1000000",
        )
        self.ports = [free_port(), free_port()]
        self.webs = [self.start_web(port) for port in self.ports]
        self.runner = self.start_runner()
        for port in self.ports:
            until(lambda port=port: _takes(port), what="a web process", seconds=START_SECONDS)  # type: ignore[misc]

    def start_web(self, port: int) -> Program:
        return self._start(f"web-{port}", "runweb", PORT=str(port))

    def start_runner(self) -> Program:
        return self._start("runner", "runagents")

    def replace_runner(self) -> None:
        """SIGKILL, and another one."""
        self.runner.kill()
        self.runner = self.start_runner()

    def address(self, number: int = 0) -> str:
        return f"http://127.0.0.1:{self.ports[number]}"

    def stop(self) -> None:
        for program in (*self.webs, self.runner):
            program.signal(signal.SIGCONT)
            program.kill()

    def _start(self, name: str, command: str, **env: str) -> Program:
        return Program(name, ["tests.chaos.child", command], env={**self._env, **env}, log=self._folder / f"{name}.log")


class LossyProxy:
    """Passes connections on to `port`. A reply that it was told to lose never arrives: the connection is reset."""

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._to_lose = 0
        self.lost = 0
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def lose(self, replies: int = 1) -> None:
        """Lose the next replies when their first bytes come."""
        self._to_lose += replies

    def cut(self) -> None:
        """Reset every connection as it is."""
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for one in pair:
                _reset(one)

    def close(self) -> None:
        self._server.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
                server = socket.create_connection(("127.0.0.1", self._upstream))
            except OSError:
                return
            self._pairs.append((client, server))
            for source, target, replies in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._pump, args=(source, target, replies), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, replies: bool) -> None:
        try:
            while data := source.recv(65536):
                if replies and self._to_lose:
                    self._to_lose -= 1
                    self.lost += 1
                    break
                target.sendall(data)
        except OSError:
            pass
        _reset(source)
        _reset(target)


def _reset(one: socket.socket) -> None:
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.shutdown(socket.SHUT_RDWR)
        one.close()
    except OSError:
        pass


def _takes(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
