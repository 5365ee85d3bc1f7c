"""The pump of deltas: the first words at once, then batches; in order, nothing lost, nothing twice."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.domain.events import EventType
from agents.engine.delta_buffer import _EPSILON_SECONDS as SOON
from agents.engine.delta_buffer import FLUSH_BYTES, FLUSH_SECONDS, DeltaBuffer
from agents.engine.ticker import Ticker
from agents.journal.fenced_writes import NewEvent
from tests.support import virtual_time

TEXT, REASONING = EventType.MESSAGE_DELTA, EventType.REASONING_DELTA


class Broken(Exception):
    """The database is away."""


@dataclass
class Log:
    """Where flushes go. `seconds` is how long each takes, `breaks_at` the number of the one that fails."""

    seconds: Sequence[float] = ()
    breaks_at: int | None = None
    texts: list[str] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    begun: list[float] = field(default_factory=list)
    under_way: int = 0
    failures: int = 0
    beat: Ticker = field(default_factory=Ticker)

    async def flush(self, event: NewEvent) -> None:
        text = event.data["text"]
        assert self.under_way == 0, "two flushes at a time"
        assert text, "a flush of nothing"
        number = len(self.begun)
        self.begun.append(asyncio.get_running_loop().time())
        self.under_way += 1
        await asyncio.sleep(self.seconds[number % len(self.seconds)] if self.seconds else 0)
        self.under_way -= 1
        if number == self.breaks_at:
            raise Broken
        self.texts.append(text)
        self.types.append(event.type)

    def failed(self) -> None:
        self.failures += 1

    def pump(self) -> DeltaBuffer:
        return DeltaBuffer(self.flush, self.failed, self.beat)


def text_of(events: Sequence[NewEvent]) -> str:
    return "".join(event.data["text"] for event in events)


async def a_moment() -> None:
    """Until the event loop has nothing left to do at this very time."""
    for _ in range(6):
        await asyncio.sleep(0)


def test_the_first_text_goes_out_at_once() -> None:
    async def scene() -> None:
        log = Log()
        pump = log.pump()
        pump.feed("Hel")
        await a_moment()
        assert log.texts == ["Hel"]
        assert log.begun == [0.0]
        assert await pump.close() == []

    virtual_time.run(scene())


def test_an_answer_that_arrives_whole_is_left_for_the_commit_of_its_end() -> None:
    async def scene() -> None:
        log = Log()
        pump = log.pump()
        pump.feed("Hello")
        pump.feed(" world")
        assert text_of(await pump.close()) == "Hello world"
        await asyncio.sleep(1)
        assert log.texts == []

    virtual_time.run(scene())


def test_text_behind_a_flush_waits_for_the_next_beat_and_goes_together() -> None:
    async def scene() -> None:
        log = Log()
        pump = log.pump()
        for piece in "abcde":
            pump.feed(piece)
            await asyncio.sleep(0.010)
        await asyncio.sleep(1)
        assert log.texts == ["a", "bcd", "e"]
        assert log.begun == pytest.approx([0, FLUSH_SECONDS, 2 * FLUSH_SECONDS])

    virtual_time.run(scene())


def test_flushes_of_many_turns_fall_on_the_same_moments() -> None:
    async def scene() -> None:
        beat = Ticker()
        logs = [Log(beat=beat) for _ in range(5)]
        pumps = [log.pump() for log in logs]
        for pump in pumps:
            pump.feed("first words")
            await asyncio.sleep(0.007)
        for _ in range(30):
            for pump in pumps:
                pump.feed("more ")
                await asyncio.sleep(0.001)
        await asyncio.sleep(1)
        assert len({log.begun[0] for log in logs}) == 5, "the first words wait for nobody"
        assert len({tuple(log.begun[1:]) for log in logs}) == 1

    virtual_time.run(scene())


def test_a_kilobyte_does_not_wait_for_the_beat() -> None:
    async def scene() -> None:
        log = Log()
        pump = log.pump()
        pump.feed("a")
        await a_moment()
        pump.feed("b")
        await asyncio.sleep(0.001)
        assert log.texts == ["a"]
        pump.feed("c" * FLUSH_BYTES)
        await a_moment()
        assert log.texts == ["a", "b" + "c" * FLUSH_BYTES]

    virtual_time.run(scene())


def test_a_slow_flush_gathers_what_comes_meanwhile() -> None:
    async def scene() -> None:
        log = Log(seconds=[1.0])
        pump = log.pump()
        for piece in "abc":
            pump.feed(piece)
            await asyncio.sleep(0.3)
        assert log.begun == [0.0]
        assert text_of(await pump.close()) == "bc", "close waits for the flush under way"
        assert log.texts == ["a"]

    virtual_time.run(scene())


def test_a_flush_that_fails_is_reported_at_once_and_again_by_close() -> None:
    async def scene() -> None:
        log = Log(breaks_at=1)
        pump = log.pump()
        pump.feed("a")
        await asyncio.sleep(0.1)
        pump.feed("b")
        await asyncio.sleep(0.1)
        assert log.failures == 1
        pump.feed("c")
        await asyncio.sleep(1)
        assert log.texts == ["a"], "nothing goes out behind a gap"
        for _ in range(2):
            with pytest.raises(Broken):
                await pump.close()
        assert log.failures == 1

    virtual_time.run(scene())


def test_a_close_that_is_cancelled_can_be_repeated() -> None:
    async def scene() -> None:
        log = Log(seconds=[1.0])
        pump = log.pump()
        pump.feed("a")
        await a_moment()
        pump.feed("b")
        closing = asyncio.ensure_future(pump.close())
        await a_moment()
        closing.cancel()
        await asyncio.wait([closing])
        assert closing.cancelled()
        assert text_of(await pump.close()) == "b"
        assert log.texts == ["a"]

    virtual_time.run(scene())


def test_nothing_is_flushed_after_close() -> None:
    async def scene() -> None:
        log = Log()
        pump = log.pump()
        pump.feed("a")
        assert text_of(await pump.close()) == "a"
        pump.feed("late")
        await asyncio.sleep(1)
        assert log.texts == []

    virtual_time.run(scene())


def test_reasoning_and_text_stay_in_their_order_and_apart() -> None:
    async def scene() -> None:
        log = Log()
        pump = log.pump()
        pump.feed("Hm", REASONING)
        await a_moment()
        for word in ("m", ", let me", " see."):
            pump.feed(word, REASONING)
        pump.feed("Hel")
        pump.feed("lo")
        await asyncio.sleep(1)
        assert list(zip(log.types, log.texts, strict=True)) == [
            (REASONING, "Hm"), (REASONING, "m, let me see."), (TEXT, "Hello"),
        ]  # fmt: skip
        assert log.begun == pytest.approx([0, FLUSH_SECONDS, 2 * FLUSH_SECONDS])
        pump.feed("!")
        pump.feed("And", REASONING)
        assert await pump.close() == [NewEvent(TEXT, {"text": "!"}), NewEvent(REASONING, {"text": "And"})]

    virtual_time.run(scene())


@given(
    script=st.lists(st.tuples(st.sampled_from(["a", "bc", "d" * FLUSH_BYTES]), st.booleans(), st.booleans())),
    seconds=st.sampled_from([0.0, 0.1]),
)
def test_no_interleaving_mixes_reasoning_with_text(script: list[tuple[str, bool, bool]], seconds: float) -> None:
    log = Log([seconds])

    async def scene() -> list[NewEvent]:
        pump = log.pump()
        for piece, is_reasoning, wait in script:
            pump.feed(piece, REASONING if is_reasoning else TEXT)
            await asyncio.sleep(0.015 if wait else 0)
        return await pump.close()

    unsent = virtual_time.run(scene())
    flushed = [*zip(log.types, log.texts, strict=True), *((event.type, event.data["text"]) for event in unsent)]
    letters = [(event_type, letter) for event_type, text in flushed for letter in text]
    assert letters == [
        (REASONING if is_reasoning else TEXT, letter) for piece, is_reasoning, _ in script for letter in piece
    ]


pieces = st.sampled_from(["a", "bc", "ü", "d" * 400, "e" * FLUSH_BYTES])
waits = st.sampled_from([0.0, 0.001, 0.015, FLUSH_SECONDS, 0.3])
durations = st.sampled_from([0.0, 0.002, FLUSH_SECONDS, 0.1])


@given(
    script=st.lists(st.tuples(pieces, waits), max_size=25),
    seconds=st.lists(durations, min_size=1, max_size=4),
    breaks_at=st.none() | st.integers(0, 4),
)
def test_no_interleaving_loses_repeats_or_reorders_text(
    script: list[tuple[str, float]], seconds: list[float], breaks_at: int | None
) -> None:
    fed = "".join(piece for piece, _ in script)
    log = Log(seconds, breaks_at)

    async def scene() -> str | None:
        pump = log.pump()
        for piece, wait in script:
            pump.feed(piece)
            if wait:
                await asyncio.sleep(wait)
        try:
            return text_of(await pump.close())
        except Broken:
            return None

    unsent = virtual_time.run(scene())
    flushed = "".join(log.texts)
    if unsent is None:
        assert log.failures == 1
        assert fed.startswith(flushed)
        assert len(log.texts) == breaks_at
        return
    assert log.failures == 0
    assert flushed + unsent == fed
    for (earlier, later), text in zip(zip(log.begun, log.begun[1:], strict=False), log.texts[1:], strict=True):
        on_beat = abs(later / FLUSH_SECONDS - round(later / FLUSH_SECONDS)) < 1e-6
        assert on_beat or later - earlier >= FLUSH_SECONDS - SOON or len(text) >= FLUSH_BYTES, (
            "a batch goes out too soon"
        )


@given(script=st.lists(st.tuples(pieces, waits), min_size=1, max_size=25), seconds=durations)
def test_no_text_waits_longer_than_one_beat_and_the_flush_before_it(
    script: list[tuple[str, float]], seconds: float
) -> None:
    log = Log([seconds])
    fed: list[tuple[int, float]] = []

    async def scene() -> None:
        pump = log.pump()
        loop = asyncio.get_running_loop()
        for piece, wait in script:
            fed.append(((fed[-1][0] if fed else 0) + len(piece), loop.time()))
            pump.feed(piece)
            await asyncio.sleep(wait)
        await asyncio.sleep(10)

    virtual_time.run(scene())
    out = 0
    begun: dict[int, float] = {}
    for text, at in zip(log.texts, log.begun, strict=True):
        begun.update(dict.fromkeys(range(out + 1, out + len(text) + 1), at))
        out += len(text)
    for end, at in fed:
        assert begun[end] - at <= max(FLUSH_SECONDS, seconds) + SOON
