"""Refusals are paced, in turns of those who are refused."""

import asyncio

from bandstand.web.paced_refusals import PacedRefusals
from tests.support.virtual_time import run


async def _seconds(refusals: PacedRefusals, requester: str) -> float:
    began = asyncio.get_running_loop().time()
    assert await refusals.wait(requester)
    return round(asyncio.get_running_loop().time() - began, 3)


async def _never() -> dict[str, str]:
    await asyncio.Event().wait()
    return {}


def test_who_is_refused_now_and_then_does_not_wait_behind_who_is_refused_all_the_time() -> None:
    async def main() -> None:
        refusals = PacedRefusals(per_second=10)
        greedy = [asyncio.create_task(_seconds(refusals, "u:1")) for _ in range(100)]
        await asyncio.sleep(0)
        assert await _seconds(refusals, "u:2") == 0.2, "after the one that is next"
        assert [await task for task in greedy[:4]] == [0.0, 0.1, 0.3, 0.4]
        assert await greedy[-1] == 10.0
        await asyncio.sleep(1)
        assert await _seconds(refusals, "u:1") == 0.0

    run(main())


def test_a_client_that_has_gone_leaves_its_place_to_the_next() -> None:
    async def main() -> None:
        refusals = PacedRefusals(per_second=10)
        goes = asyncio.Event()

        async def receive() -> dict[str, str]:
            if goes.is_set():
                return {"type": "http.disconnect"}
            goes.set()
            return {"type": "http.request"}

        assert await refusals.wait("u:1", _never)
        gone = asyncio.create_task(refusals.wait("u:1", receive))
        stays = asyncio.create_task(_seconds(refusals, "u:1"))
        assert not await gone
        assert await stays == 0.1

    run(main())


def test_no_more_wait_than_there_is_room_for() -> None:
    async def main() -> None:
        refusals = PacedRefusals(per_second=10, max_waiting=2)
        waits = await asyncio.gather(*(_seconds(refusals, f"u:{n}") for n in range(5)))
        assert waits == [0.0, 0.1, 0.2, 0.0, 0.0]

    run(main())
