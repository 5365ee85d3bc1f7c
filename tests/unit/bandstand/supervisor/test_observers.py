"""What the watchdog sees of disks, beats and restarts; without a process."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from bandstand.supervisor.condition_episodes import Observation, Subject
from bandstand.supervisor.conditions import Condition
from bandstand.supervisor.observers import (
    ENDS_PAUSE_SECONDS,
    ENDS_WINDOW_SECONDS,
    BeatObserver,
    DatabaseObserver,
    DiskObserver,
    DiskUsage,
    Observer,
    RestartObserver,
    WebObserver,
    read_disk_usage,
)

GIGABYTE = 1024**3


async def look(observer: Observer) -> Observation:
    [observation] = (await observer.look()).values()
    return observation


async def test_a_disk_is_full_by_its_share_or_by_what_is_left_and_stays_so_for_a_margin(tmp_path: Path) -> None:
    usage = DiskUsage(100 * GIGABYTE, 50 * GIGABYTE)
    observer = DiskObserver(lambda: [tmp_path], full_percent=95, free_bytes=GIGABYTE, read=lambda _: usage)

    async def is_full(total: float, free: float) -> bool | None:
        nonlocal usage
        usage = DiskUsage(int(total * GIGABYTE), int(free * GIGABYTE))
        return (await look(observer)).is_bad

    assert not await is_full(100, 5.1)
    assert await is_full(100, 5)
    assert await is_full(100, 5.4)
    assert not await is_full(100, 5.6)
    assert await is_full(10, 0.9)
    assert await is_full(10, 1.05)
    assert not await is_full(10, 1.2)
    assert await is_full(0, 0)
    observation = await look(observer)
    assert observation.detail == f"{tmp_path} is 0 % full, 0 MB are free"


async def test_the_room_of_a_disk_is_what_programs_may_use(tmp_path: Path) -> None:
    usage = read_disk_usage(tmp_path)
    assert 0 < usage.free < usage.total
    status = os.statvfs(tmp_path)
    assert usage.total <= status.f_blocks * status.f_frsize

    def missing(_folder: Path) -> DiskUsage:
        raise FileNotFoundError

    observer = DiskObserver(lambda: [tmp_path], full_percent=95, free_bytes=0, read=missing)
    assert (await look(observer)).is_bad is None


async def test_one_file_that_is_touched_is_enough(tmp_path: Path) -> None:
    files = [tmp_path / "runner-1.alive", tmp_path / "runner-2.alive"]
    observer = BeatObserver(Condition.RUNNER_DOWN, files)
    assert (await look(observer)).is_bad
    for second in range(1, 4):
        files[1].touch()
        os.utime(files[1], (second, second))
        assert not (await look(observer)).is_bad
    assert (await look(observer)).is_bad


async def test_a_process_that_ends_thrice_keeps_ending_until_it_has_not_for_a_while() -> None:
    now = 0.0
    process = SimpleNamespace(failures=7)
    observer = RestartObserver({"web-1": process}, needs_database=True, clock=lambda: now)

    async def ends(number: int, *, at: float) -> bool | None:
        nonlocal now
        now = at
        process.failures += number
        return (await look(observer)).is_bad

    assert not await ends(2, at=1)
    assert not await ends(1, at=2 + ENDS_WINDOW_SECONDS)
    assert await ends(2, at=3 + ENDS_WINDOW_SECONDS)
    late = 3 + ENDS_WINDOW_SECONDS + ENDS_PAUSE_SECONDS
    assert await ends(0, at=late)
    assert not await ends(0, at=late + 1)
    process.failures += 5
    observer.forget()
    assert not await ends(0, at=late + 2)
    assert await observer.look() == {
        Subject(Condition.PROCESS_KEEPS_ENDING, "web-1"): Observation(is_bad=False, detail="web-1")
    }


@pytest.mark.parametrize("url", ["postgresql:///x?host=/no/such/place", "postgresql://u:canary@127.0.0.1:1/x"])
async def test_a_database_that_is_away_is_named_without_its_password(url: str) -> None:
    observation = await look(DatabaseObserver(lambda: url))
    assert observation.is_bad
    assert observation.detail
    assert "canary" not in observation.detail


async def test_a_database_that_accepts_and_says_nothing_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bandstand.supervisor.observers.LOOK_TIMEOUT_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"postgresql://u@127.0.0.1:{server.getsockname()[1]}/x"
        observation = await look(DatabaseObserver(lambda: url))
    assert observation.is_bad
    assert "no answer" in observation.detail


async def test_a_web_process_must_answer() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.0 200 OK\r\n\r\n{"status": "ok"}')
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    observer = WebObserver("127.0.0.1", server.sockets[0].getsockname()[1])
    assert not (await look(observer)).is_bad
    server.close()
    await server.wait_closed()
    assert (await look(observer)).is_bad


async def test_a_drive_that_does_not_answer_takes_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bandstand.supervisor.observers.LOOK_TIMEOUT_SECONDS", 0.02)
    answers, reads = threading.Event(), 0

    def read(_: Path) -> DiskUsage:
        nonlocal reads
        reads += 1
        answers.wait(10)
        return DiskUsage(100, 50)

    observer = DiskObserver(lambda: [tmp_path], full_percent=95, free_bytes=0, read=read)
    try:
        assert [(await look(observer)).is_bad for _ in range(4)] == [None] * 4
        assert reads == 1
    finally:
        answers.set()
    async with asyncio.timeout(10):
        while (await look(observer)).is_bad is not False:
            pass
