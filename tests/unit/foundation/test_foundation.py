"""Ids, the clock, the tree of errors, and work in database threads (without a database)."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import Context
from datetime import UTC, datetime, timedelta
from inspect import cleandoc
from typing import Any
from uuid import RFC_4122, UUID

import pytest

from foundation import db_threads, errors
from foundation.clock import now
from foundation.db_threads import (
    bind_requester,
    close_db_threads,
    in_db_thread,
    start_in_db_thread,
    start_in_probe_thread,
)
from foundation.errors import BandstandError, InvalidInput, NotFound, RateLimited, TooLarge, Unavailable
from foundation.ids import derive_id, lowest_id, new_id


def test_ids_are_version_7_unique_and_sort_by_their_time() -> None:
    ids = [new_id() for _ in range(2000)]
    assert {one.version for one in ids} == {7}
    assert len(set(ids)) == 2000
    assert ids == sorted(ids)
    assert abs((ids[0].int >> 80) / 1000 - time.time()) < 60


def test_ids_of_several_threads_are_unique() -> None:
    made: list[Any] = []
    threads = [threading.Thread(target=lambda: made.extend(new_id() for _ in range(500))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 4000


def test_now_is_aware_and_in_utc() -> None:
    assert now().utcoffset() == timedelta(0)


def test_every_error_has_a_message_and_a_code_of_its_own() -> None:
    codes: dict[str, type[BandstandError]] = {}
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, BandstandError):
            assert kind().detail == str(kind()) == cleandoc(kind.__doc__ or "") != ""
            assert codes.setdefault(kind.code, kind) is kind, "a transport maps codes, so each means one thing"
    assert len(codes) > 10


def test_an_error_carries_what_a_transport_needs() -> None:
    error = RateLimited("Slow down.", pointer="/a", retry_after_seconds=2.5, account="x")
    assert (error.detail, error.pointer, error.retry_after_seconds, error.context) == (
        "Slow down.", "/a", 2.5, {"account": "x"},
    )  # fmt: skip
    assert {kind.retryable for kind in (RateLimited, Unavailable)} == {True}
    assert {kind.retryable for kind in (InvalidInput, NotFound, TooLarge)} == {False}


@pytest.fixture(autouse=True)
def no_threads_left() -> Iterator[None]:
    yield
    close_db_threads()


async def test_work_runs_in_a_thread_of_the_pool_and_returns_or_raises() -> None:
    assert await in_db_thread(int, "11", base=2) == 3
    assert (await in_db_thread(threading.current_thread)).name.startswith("database")
    with pytest.raises(ZeroDivisionError):
        await in_db_thread(lambda: 1 // 0)


async def test_work_goes_on_when_its_caller_is_cancelled() -> None:
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go_on.wait(10)
        ended.set()

    caller = asyncio.ensure_future(in_db_thread(work))
    await asyncio.to_thread(begun.wait, 10)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    go_on.set()
    assert await asyncio.to_thread(ended.wait, 10)


async def test_no_more_work_runs_at_a_time_than_there_are_threads() -> None:
    limit = threading.Barrier(db_threads.DATABASE_THREADS)
    running, most = 0, 0
    lock = threading.Lock()

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        limit.wait(10)
        with lock:
            running -= 1

    async def gather() -> None:
        await asyncio.gather(*(in_db_thread(work) for _ in range(2 * db_threads.DATABASE_THREADS)))

    # Tests share a context: an earlier one may have bound a requester, who has half of the threads.
    await asyncio.create_task(gather(), context=Context())
    assert most == db_threads.DATABASE_THREADS


async def test_one_requester_has_a_share_of_the_threads_and_others_find_one() -> None:
    go_on, at_work, most, lock = threading.Event(), 0, 0, threading.Lock()

    def block() -> None:
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        go_on.wait(10)
        with lock:
            at_work -= 1

    async def work_for(requester: str, work: Callable[[], object]) -> object:
        bind_requester(requester)
        return await in_db_thread(work)

    greedy = [asyncio.create_task(work_for("u:1", block)) for _ in range(50)]
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        assert await asyncio.create_task(work_for("u:2", lambda: "served")) == "served"
        assert await in_db_thread(lambda: "so is the system") == "so is the system"
    go_on.set()
    await asyncio.gather(*greedy)
    assert most == db_threads.THREADS_PER_REQUESTER


async def test_work_that_is_cancelled_before_its_turn_is_not_done() -> None:
    go_on, done = threading.Event(), list[int]()
    blocking = [asyncio.create_task(in_db_thread(go_on.wait, 10)) for _ in range(db_threads.DATABASE_THREADS)]
    await asyncio.sleep(0)
    waiting = asyncio.create_task(in_db_thread(done.append, 1))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    go_on.set()
    await asyncio.gather(*blocking)
    assert not done
    await in_db_thread(done.append, 2)
    assert done == [2]


async def test_the_probes_thread_answers_while_all_others_are_busy() -> None:
    close_db_threads()  # those of earlier tests may have a connection, which this one may not look at
    go_on = threading.Event()
    blocking = [asyncio.create_task(in_db_thread(go_on.wait, 10)) for _ in range(2 * db_threads.DATABASE_THREADS)]
    await asyncio.sleep(0)
    probe = start_in_probe_thread(threading.current_thread)
    assert (await asyncio.wait_for(asyncio.wrap_future(probe), 5)).name.startswith("database-probe")
    go_on.set()
    await asyncio.gather(*blocking)


def test_what_nobody_waits_for_is_logged_when_it_fails(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise RuntimeError("nobody hears this")

    with caplog.at_level(logging.ERROR):
        start_in_db_thread(fail).exception(timeout=10)
        assert start_in_db_thread(lambda: 7).result(timeout=10) == 7
        close_db_threads()
    [record] = [record for record in caplog.records if "database_thread.failed" in record.message]
    assert record.exc_info


def test_the_pool_begins_again_after_its_end() -> None:
    first = start_in_db_thread(threading.get_ident).result(timeout=10)
    close_db_threads()
    close_db_threads()
    assert start_in_db_thread(threading.get_ident).result(timeout=10)
    assert first


def test_an_id_that_is_derived_is_the_same_again_and_another_for_another_time_or_seed() -> None:
    at, seed = datetime(2026, 11, 30, 7, 0, tzinfo=UTC), UUID(int=1)
    made = derive_id(at, seed)
    assert derive_id(at, seed) == made
    assert (made.version, made.variant) == (7, RFC_4122)
    assert lowest_id(at) <= made < lowest_id(at + timedelta(milliseconds=1))
    others = {derive_id(at + timedelta(hours=hours), UUID(int=number)) for hours in range(30) for number in range(30)}
    assert len(others) == 900
