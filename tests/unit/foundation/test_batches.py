"""Work by batches, until there is no more of it or no more time."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from foundation import batches
from foundation.batches import work_in_batches


def test_it_ends_with_the_first_batch_that_is_not_full() -> None:
    sizes = iter([3, 3, 2, 3])
    assert work_in_batches(lambda _: next(sizes), seconds=60, full=3) == 8
    assert next(sizes) == 3


def test_it_ends_when_nothing_was_done() -> None:
    sizes = iter([5, 1, 0, 9])
    assert work_in_batches(lambda _: next(sizes), seconds=60) == 6


def test_no_batch_begins_when_the_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(batches, "time", SimpleNamespace(monotonic=lambda: clock.now))
    lefts: list[float] = []

    def step(left: float) -> int:
        lefts.append(left)
        clock.now += 4
        return 1

    assert work_in_batches(step, seconds=10) == 3
    assert lefts == [10, 6, 2], "each is told how much is left"


def test_without_time_nothing_is_done() -> None:
    assert work_in_batches(lambda _: 1, seconds=0) == 0
