"""Requests in progress: so many of one requester, and who is next."""

from __future__ import annotations

import asyncio

import pytest

from foundation.errors import RateLimited, Unavailable
from rest import request_turns
from rest.request_turns import RequestTurns, TooManySearches


def turns(at_work: int = 2, share: int = 1) -> RequestTurns:
    return RequestTurns(at_work=at_work, share=share, refusal=TooManySearches)


def test_one_over_the_limit_is_refused_until_another_leaves() -> None:
    ours = turns()
    first, _ = ours.enter("u:1", 2), ours.enter("u:1", 2)
    with pytest.raises(TooManySearches) as refused:
        ours.enter("u:1", 2)
    assert isinstance(refused.value, RateLimited)
    assert refused.value.retry_after_seconds == 1.0
    ours.enter("u:2", 2)
    first.leave()
    first.leave()  # twice is once
    ours.enter("u:1", 2)
    with pytest.raises(TooManySearches):
        ours.enter("u:1", 2)
    assert [ours.enter("u:3", 0) for _ in range(1000)], "0 is no limit"


async def test_requesters_take_turns_and_the_one_who_leaves_wakes_the_next() -> None:
    ours, order = turns(at_work=1), list[str]()

    async def work(requester: str) -> None:
        turn = ours.enter(requester, 0)
        await turn.wait()
        order.append(requester)
        await asyncio.sleep(0)
        turn.leave()

    first = ours.enter("greedy", 0)
    await first.wait()
    waiting = [asyncio.create_task(work(requester)) for requester in ("greedy", "greedy", "ada", "bob")]
    await asyncio.sleep(0)
    first.leave()
    async with asyncio.timeout(5):
        await asyncio.gather(*waiting)
    assert order == ["greedy", "ada", "bob", "greedy"]


async def test_a_request_that_leaves_while_it_waits_takes_nobodys_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_turns, "WAIT_SECONDS", 0.01)
    ours = turns(at_work=1)
    first, second, third = (ours.enter("u:1", 0) for _ in range(3))
    await first.wait()
    with pytest.raises(Unavailable):
        await second.wait()
    second.leave()
    waiting = asyncio.create_task(third.wait())
    await asyncio.sleep(0)
    first.leave()
    async with asyncio.timeout(5):
        await waiting
    third.rest()
    last = ours.enter("u:1", 0)
    await last.wait()


async def test_two_pages_of_the_console_are_at_work_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_turns, "WAIT_SECONDS", 0.01)
    first, second, third = (request_turns.enter_console(f"u:{number}") for number in (1, 2, 3))
    await first.wait()
    await second.wait()
    with pytest.raises(Unavailable):
        await third.wait()
    for page in (first, second, third):
        page.leave()
