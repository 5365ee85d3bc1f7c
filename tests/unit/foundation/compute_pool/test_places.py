"""People take turns at the places of the compute pool."""

import asyncio

from foundation.compute_pool.places import Places


async def acquired(places: Places, *requesters: str) -> tuple[list[str], list[asyncio.Task[None]]]:
    """Who has got a place at once, of these in this order, and the tasks of all."""
    tasks = [asyncio.create_task(places.acquire(requester)) for requester in requesters]
    await asyncio.sleep(0)
    return [who for who, task in zip(requesters, tasks, strict=True) if task.done()], tasks


async def test_nobody_has_more_than_half_of_the_places_and_those_who_wait_take_turns() -> None:
    places = Places(4)
    at_once, tasks = await acquired(places, *["greedy"] * 100, "ada", "bob", "ada")
    assert at_once == ["greedy", "greedy", "ada", "bob"]
    places.release("bob")
    await asyncio.sleep(0)
    assert tasks[-1].done(), "of ada; the greedy one has half"
    places.release("greedy")
    await asyncio.sleep(0)
    assert [task.done() for task in tasks[:4]] == [True, True, True, False]
    for task in tasks[3:100]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_place_of_who_was_cancelled_goes_to_the_next() -> None:
    places = Places(1)
    _, tasks = await acquired(places, "a", "b", "c", "d")
    tasks[1].cancel()
    places.release("a")  # to b, who has not noticed yet that it was cancelled
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert tasks[1].cancelled()
    assert tasks[2].done()
    tasks[3].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    places.release("c")
    assert (await acquired(places, "e"))[0] == ["e"]
