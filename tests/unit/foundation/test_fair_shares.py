"""Who works next: everybody in turns, and nobody more than a share."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from foundation.fair_shares import FairShares


def test_one_key_never_has_more_than_its_share() -> None:
    shares: FairShares[int] = FairShares(8, 4)
    assert [shares.add("a", n) for n in range(10)] == [True] * 4 + [False] * 6
    assert [shares.add("b", n) for n in range(2)] == [True] * 2
    assert shares.finish("a") == 4, "in the order in which they came"


def test_a_key_with_a_thousand_items_delays_another_by_one() -> None:
    shares: FairShares[str] = FairShares(1, 1)
    for n in range(1000):
        shares.add("greedy", f"greedy {n}")
    shares.add("ada", "ada 0")
    shares.add("ada", "ada 1")
    shares.add("bob", "bob 0")
    order = [shares.finish("greedy"), shares.finish("greedy"), shares.finish("ada"), shares.finish("bob")]
    assert order == ["greedy 1", "ada 0", "bob 0", "greedy 2"]


def test_the_system_is_first_in_line_and_has_no_share() -> None:
    shares: FairShares[str] = FairShares(2, 1)
    assert [shares.add(None, "s"), shares.add(None, "s")] == [True, True]
    assert not shares.add("ada", "ada")
    assert not shares.add(None, "beat")
    assert shares.finish(None) == "beat"
    assert shares.finish(None) == "ada"


def test_what_is_removed_is_not_worked_on() -> None:
    shares: FairShares[str] = FairShares(1, 1)
    for item in ("one", "two", "three"):
        shares.add("a", item)
    shares.remove("a", "two")
    assert shares.finish("a") == "three"
    assert shares.finish("a") is None
    assert shares.add("a", "four")


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c", None]), st.booleans()), max_size=200))
def test_room_is_never_left_empty_while_somebody_may_use_it(steps: list[tuple[str | None, bool]]) -> None:
    shares: FairShares[tuple[str | None, int]] = FairShares(4, 2)
    at_work: list[str | None] = []
    waiting: list[tuple[str | None, int]] = []
    for number, (key, is_end) in enumerate(steps):
        if is_end and at_work:
            ended = at_work.pop(0)
            if (following := shares.finish(ended)) is not None:
                waiting.remove(following)
                at_work.append(following[0])
        elif shares.add(key, (key, number)):
            at_work.append(key)
        else:
            waiting.append((key, number))
        assert len(at_work) <= 4
        assert all(at_work.count(one) <= 2 for one in "abc")
        may_begin = [one for one, _ in waiting if one is None or at_work.count(one) < 2]
        assert len(at_work) == 4 or not may_begin
