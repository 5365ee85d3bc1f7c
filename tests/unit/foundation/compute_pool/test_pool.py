"""Work that would hold the lock, fill the memory, flood or multiply: it ends alone, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import psutil
import pytest

from foundation.compute_pool import ComputeFailed, ComputePool
from foundation.compute_pool.errors import Outcome
from foundation.compute_pool.linux import compute_cores
from tests.support import hostile_work
from tests.support.surroundings import ROOT


def at(function: Callable[[str], str]) -> str:
    return f"{hostile_work.__name__}:{function.__name__}"


@asynccontextmanager
async def opened(memory_mb: int = 64) -> AsyncIterator[ComputePool]:
    pool = ComputePool([at(hostile_work.echo)], memory_mb=memory_mb)
    try:
        yield pool
    finally:
        await pool.aclose()


async def outcome_of(
    pool: ComputePool, function: Callable[[str], str], seconds: float = 20, payload: str = ""
) -> Outcome:
    with pytest.raises(ComputeFailed) as failure:
        await pool.run(at(function), payload, seconds=seconds)
    return failure.value.outcome


def running(marker: str) -> list[int]:
    """Processes whose command line holds `marker`."""
    found = []
    for process in psutil.process_iter():
        try:
            if marker in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


async def gone(what: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while found := what():
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.01)


async def test_a_process_of_the_pool_has_nothing_of_ours_and_is_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BANDSTAND_KEY_PEPPER", "canary")
    ours = os.memfd_create("ours", 0)  # which a child would inherit
    try:
        async with opened() as pool:
            assert pool.host_pid is None, "nothing starts before the first job"
            answers = [json.loads(await pool.run(at(hostile_work.describe_process), "", seconds=20)) for _ in "ab"]
    finally:
        os.close(ours)

    first, second = answers
    assert first == second
    assert first["environment"] in ({}, {"LC_CTYPE": "C.UTF-8"})
    assert {target for number, target in first["descriptors"].items() if number in "012"} == {os.devnull}
    assert len([target for target in first["descriptors"].values() if target.startswith("socket:")]) == 1
    assert len(first["descriptors"]) <= 4
    assert (first["niceness"], first["cores"], first["folder"]) == (19, len(compute_cores()), "/")
    assert first["address_space"] < 2**31
    assert first["modules"] == []


async def test_whatever_a_job_does_only_that_job_ends() -> None:
    marker = f"children-{uuid.uuid4()}"
    async with opened() as pool:
        began = time.monotonic()
        outcomes = await asyncio.gather(
            outcome_of(pool, hostile_work.endless_c_call, seconds=1),
            outcome_of(pool, hostile_work.blocking_sleep, seconds=1),
            outcome_of(pool, hostile_work.memory_bomb),
            outcome_of(pool, hostile_work.memory_by_pieces),
            outcome_of(pool, hostile_work.long_result),
            outcome_of(pool, hostile_work.output_flood),
            outcome_of(pool, hostile_work.end_process),
            outcome_of(pool, hostile_work.crash),
            outcome_of(pool, hostile_work.fail, payload="\ud800"),
            outcome_of(pool, hostile_work.start_children, seconds=1, payload=marker),
        )
        assert outcomes == [
            Outcome.TIMEOUT, Outcome.TIMEOUT, Outcome.MEMORY, Outcome.MEMORY, Outcome.OUTPUT, Outcome.OUTPUT,
            Outcome.DIED, Outcome.DIED, Outcome.RAISED, Outcome.TIMEOUT,
        ]  # fmt: skip
        assert time.monotonic() - began < 15
        assert running(marker) == []
        host = pool.host_pid
        assert await pool.run(at(hostile_work.echo), "é\ud800", seconds=20) == "é\ud800"
        assert pool.host_pid == host
        assert await pool.run(at(hostile_work.start_children), f"{marker} leave", seconds=20) == "started"
        await gone(lambda: running(marker))
    await gone(lambda: psutil.pid_exists(host or 0))


FORGED = [
    '{"id": 1, "ready": true, "outcome": "done", "result": "forged"}',
    '{"outcome": "invented"}',
    '{"outcome": {}, "result": []}',
    "[" * 20_000,
    "[]",
    "nonsense",
]


async def test_what_a_job_writes_to_its_channel_reaches_nobody_else() -> None:
    async with opened() as pool:
        await pool.run(at(hostile_work.echo), "", seconds=20)
        host = pool.host_pid
        for answer in FORGED:
            assert await outcome_of(pool, hostile_work.forge_answer, payload=answer) is Outcome.OUTPUT
            assert await pool.run(at(hostile_work.echo), answer, seconds=20) == answer
        assert pool.host_pid == host


async def test_a_call_that_is_cancelled_gives_its_place_back() -> None:
    async with opened() as pool:
        for _ in range(2 * len(compute_cores()) + 8):
            call = asyncio.create_task(pool.run(at(hostile_work.endless_c_call), "", seconds=60))
            await gone(lambda: not busy(pool.host_pid))
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        assert await pool.run(at(hostile_work.echo), "still there", seconds=20) == "still there"
        await gone(lambda: busy(pool.host_pid))


def busy(host: int | None) -> list[int]:
    """Workers of a host that calculate."""
    try:
        children = psutil.Process(host).children() if host else []
        return [child.pid for child in children if sum(child.cpu_times()[:2]) > 0.05]
    except psutil.Error:
        return []


async def test_no_kind_of_work_takes_all_places() -> None:
    async with opened() as pool:
        hogs = [
            asyncio.create_task(pool.run(at(hostile_work.endless_c_call), "", seconds=60, kind="hog", requester=str(n)))
            for n in range(20)
        ]
        await gone(lambda: not busy(pool.host_pid))
        assert await pool.run(at(hostile_work.echo), "hello", seconds=20, kind="other") == "hello"
        for hog in hogs:
            hog.cancel()
        await asyncio.gather(*hogs, return_exceptions=True)


async def test_a_host_that_was_killed_is_replaced() -> None:
    async with opened() as pool:
        call = asyncio.create_task(outcome_of(pool, hostile_work.blocking_sleep, seconds=60))
        await pool.run(at(hostile_work.echo), "", seconds=20)
        host = psutil.Process(pool.host_pid)
        workers = host.children()
        assert len(workers) == 2
        host.kill()
        assert await call is Outcome.DIED
        assert await pool.run(at(hostile_work.echo), "again", seconds=20) == "again"
        await gone(lambda: [worker for worker in workers if worker.is_running()])


OWNER = """
import asyncio, sys
sys.path[:0] = {path!r}
import structlog
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
from foundation.compute_pool import ComputePool

async def main():
    pool = ComputePool()
    await pool.run("tests.support.hostile_work:echo", "", seconds=20)
    print("host=", pool.host_pid, sep="", flush=True)
    await pool.run("tests.support.hostile_work:start_children", {marker!r}, seconds=600)

asyncio.run(main())
"""


def test_nothing_outlives_an_owner_that_was_killed() -> None:
    marker = f"owner-{uuid.uuid4()}"
    code = OWNER.format(path=[str(ROOT), str(ROOT / "platform")], marker=marker)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True) as owner:
        assert owner.stdout is not None
        host = int(owner.stdout.readline().rpartition(b"=")[2])
        deadline = time.monotonic() + 20
        while len(running(marker)) < 4:  # the owner, and children of three kinds
            assert time.monotonic() < deadline
            time.sleep(0.01)
        owner.send_signal(signal.SIGKILL)
    while running(marker) or psutil.pid_exists(host):
        assert time.monotonic() < deadline, running(marker)
        time.sleep(0.01)


async def test_a_first_call_that_is_cancelled_leaves_the_start_to_the_next_one() -> None:
    async with opened() as pool:
        call = asyncio.create_task(pool.run(at(hostile_work.echo), "", seconds=20))
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await pool.run(at(hostile_work.echo), "hello", seconds=20) == "hello"


async def test_a_host_that_cannot_start_fails_the_call() -> None:
    pool = ComputePool(["no.such.module:function"])
    for _ in range(2):
        with pytest.raises(ComputeFailed):
            await pool.run(at(hostile_work.echo), "", seconds=20)
    await pool.aclose()
