"""A turn that is stopped: by a person, by a drain, or because it was lost."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from django.db import OperationalError, transaction

from agents.domain.message_parts import text_part, tool_call_part
from agents.domain.states import TurnStatus
from agents.engine import turn as engine
from agents.engine.context import load_context
from agents.engine.turn import StopReason, TurnRun, UnfinishedTurn
from agents.journal.fenced_writes import FinishedTurn, LostTurn
from agents.journal.locked_writes import lock_session
from agents.llm.errors import TransientModelError
from agents.runner.reaper import reap
from agents.sessions import cancel_turn
from foundation.db_threads import in_db_thread
from tests.support.conversations import OTHER_RUNNER, Conversation, claimed, lease_is_over
from tests.support.scripted import Outcome, calls, for_ever, says, scripted
from tests.support.turns import (
    A_WHILE,
    Running,
    answer_of,
    begin,
    breaks,
    claim_run,
    log,
    marked,
    pause,
    start,
    steps,
    stop,
    turn_of,
    works,
)

pytestmark = pytest.mark.usefixtures("transactional_db")


async def test_a_stop_closes_the_stream_and_keeps_the_text_that_was_said() -> None:
    ada = await begin()
    reached = asyncio.Event()
    services, model, _ = scripted(says("Let me ", "see", marked(reached)))
    running = await start(services)
    await asyncio.wait_for(reached.wait(), A_WHILE)
    await stop(ada, running)
    ended = await running.ended()
    assert isinstance(ended, FinishedTurn)
    assert ended.status is TurnStatus.CANCELLED
    assert await answer_of(ada) == ([text_part("Let me see")], True)
    assert (model.open, model.left) == (0, 1)
    assert await steps() == [(1, "model", "failed", "offline:")]
    turn = await turn_of(ada)
    assert (turn.status, turn.error_class) == ("cancelled", "")
    assert (await log(ada))[-1] == "turn.cancelled"


async def test_a_stop_among_tools_says_which_outcomes_are_unknown() -> None:
    ada = await begin()
    reached = asyncio.Event()

    async def notes(_: str) -> Outcome:
        reached.set()
        await for_ever()
        return Outcome("never")

    services, *_ = scripted(
        calls(("c1", "clock", "{}"), ("c2", "notes", "{}"), ("c3", "search", "{}")),
        tools={"clock": works("noon"), "notes": notes, "search": lambda _: for_ever()},
        idempotent=frozenset({"search"}),
    )
    running = await start(services)
    await asyncio.wait_for(reached.wait(), A_WHILE)
    while ("tool", "done", "c1") not in [step[1:] for step in await steps()]:  # noqa: ASYNC110 - a row is no event
        await asyncio.sleep(0.01)
    await stop(ada, running)
    await running.ended()
    assert [step[1:] for step in await steps()] == [
        ("model", "done", "offline:"), ("tool", "done", "c1"), ("tool", "unknown", "c2"), ("tool", "failed", "c3"),
    ]  # fmt: skip
    assert (await turn_of(ada)).status == "cancelled"
    await log(ada)


async def test_a_drain_ends_nothing_and_writes_nothing_more() -> None:
    ada = await begin()
    reached = asyncio.Event()
    running = await start(scripted(says("Hel", marked(reached)))[0])
    await asyncio.wait_for(reached.wait(), A_WHILE)
    running.run.stop(StopReason.DRAIN)
    assert await running.ended() is UnfinishedTurn.DRAINED
    assert (await turn_of(ada)).status == "running"
    before = await log(ada)
    await asyncio.sleep(0.1)  # longer than the pump's beat
    assert await log(ada) == before


async def test_a_lost_lease_ends_the_work_and_writes_nothing_more() -> None:
    ada = await begin()
    reached = asyncio.Event()
    services, model, _ = scripted(says("Hel", marked(reached)))
    running = await start(services)
    await asyncio.wait_for(reached.wait(), A_WHILE)
    running.run.stop(StopReason.LOST)
    with pytest.raises(LostTurn):
        await running.ended()
    before = await log(ada)
    assert before in ([], ["message.delta"])
    assert model.open == 0
    await asyncio.sleep(0.1)
    assert await log(ada) == before


async def test_a_run_that_lost_its_turn_finds_out_at_its_next_write() -> None:
    ada = await begin()
    speaking, taken = asyncio.Event(), asyncio.Event()

    async def speak() -> None:
        # Nothing that reads twice: the first words may be written in between.
        while "message.delta" not in [event.type for event in await in_db_thread(ada.events)]:
            """They hold the session's lock until then."""
        speaking.set()
        await taken.wait()

    services, model, _ = scripted(says("Hel", speak, "lo", for_ever))
    running = await start(services)

    def take() -> None:
        lease_is_over(ada.turn().pk)
        assert reap() == 1
        claimed(runner=OTHER_RUNNER)

    await asyncio.wait_for(speaking.wait(), A_WHILE)
    await in_db_thread(take)
    taken.set()
    with pytest.raises(LostTurn):
        await running.ended()
    assert model.open == 0
    assert (await turn_of(ada)).status == "running"
    texts = [event.data["text"] for event in await in_db_thread(ada.events) if event.type == "message.delta"]
    assert "lo" not in "".join(texts)


class Held:
    """Somebody who holds the session's lock, so that a write under way stays under way."""

    def __init__(self, ada: Conversation) -> None:
        self._ada = ada
        self._locked, self._release = asyncio.Event(), threading.Event()
        self._loop = asyncio.get_running_loop()

    async def __aenter__(self) -> Held:
        self._task = asyncio.ensure_future(in_db_thread(self._hold))
        await asyncio.wait_for(self._locked.wait(), A_WHILE)
        return self

    def _hold(self) -> None:
        with transaction.atomic():
            lock_session(self._ada.session_id)
            self._loop.call_soon_threadsafe(self._locked.set)
            self._release.wait(1.5)  # less than the lock timeout of the others

    async def __aexit__(self, *_: object) -> None:
        self._release.set()
        await self._task


@pytest.mark.parametrize("why", [StopReason.CANCELLED, StopReason.DRAIN])
async def test_a_stop_while_a_failure_waits_for_its_last_flush_does_not_leave_the_turn_without_an_owner(
    why: StopReason,
) -> None:
    ada = await begin()
    failing = asyncio.Event()

    async def fail() -> None:
        failing.set()
        raise TransientModelError

    services, *_ = scripted(says("Hel", pause(0), pause(0), pause(0.01), fail))
    context = await in_db_thread(lambda: load_context(claimed()))
    async with Held(ada):
        running = Running(TurnRun(context, services))
        await asyncio.wait_for(failing.wait(), A_WHILE)
        for _ in range(10):
            await asyncio.sleep(0)
        running.run.stop(why)
        for _ in range(10):
            await asyncio.sleep(0)
        assert not running.task.done(), "it waits for the flush"
    ended = await running.ended()
    assert isinstance(ended, FinishedTurn)
    assert ended.status is TurnStatus.FAILED
    assert await answer_of(ada) == ([text_part("Hel")], True)
    await log(ada)


@pytest.mark.parametrize("ticks", range(0, 40, 4))
async def test_a_stop_at_any_moment_has_one_end(ticks: int) -> None:
    ada = await begin()
    services, model, _ = scripted(
        calls(("c1", "clock", "{}"), ("c2", "notes", "{}"), text="Wait."),
        says("So it", pause(0.001), " is noon."),
        tools={"clock": works("noon"), "notes": breaks("full")},
    )
    turn_id = (await turn_of(ada)).pk
    running = await start(services)
    for _ in range(ticks):
        await asyncio.sleep(0.001)
    await in_db_thread(cancel_turn, ada.actor, turn_id=turn_id)
    running.run.stop(StopReason.CANCELLED)
    ended = await running.ended()
    assert isinstance(ended, FinishedTurn)
    assert ended.status in (TurnStatus.CANCELLED, TurnStatus.COMPLETED)
    assert (await turn_of(ada)).status == ended.status
    assert model.open == 0
    assert not [step for step in await steps() if step[2] == "intent"]
    await log(ada)


async def test_a_stop_while_tool_calls_are_committed_keeps_the_text_once_and_leaves_no_open_step() -> None:
    ada = await begin()
    services, _, tools = scripted(calls(("c1", "clock", "{}"), text="Wait."), tools={"clock": works("noon")})
    context = await in_db_thread(lambda: load_context(claimed()))
    await in_db_thread(cancel_turn, ada.actor, turn_id=context.claim.turn_id)
    async with Held(ada):
        running = Running(TurnRun(context, services))
        for _ in range(50):
            await asyncio.sleep(0.001)
        running.run.stop(StopReason.CANCELLED)
        for _ in range(10):
            await asyncio.sleep(0)
        assert not running.task.done(), "it waits for the commit"
    ended = await running.ended()
    assert isinstance(ended, FinishedTurn)
    assert ended.status is TurnStatus.CANCELLED
    parts = [text_part("Wait."), tool_call_part(call_id="c1", name="clock", arguments="{}")]
    assert await answer_of(ada) == (parts, True)
    assert tools.called == []
    assert not [step for step in await steps() if step[2] == "intent"]
    await log(ada)


async def test_a_stop_that_comes_before_the_work_begins_is_not_forgotten() -> None:
    ada = await begin()
    services, model, _ = scripted(says("Hel", for_ever))
    run = await claim_run(services)
    run.stop(StopReason.DRAIN)
    assert await asyncio.wait_for(run.run(), A_WHILE) is UnfinishedTurn.DRAINED
    assert model.requests == []
    assert (await turn_of(ada)).status == "running"


async def test_a_stop_after_the_end_leaves_the_caller_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    await begin()

    def down(*_: Any, **__: Any) -> int:
        raise OperationalError("the connection is lost")

    monkeypatch.setattr(engine, "finish", down)
    run = await claim_run(scripted(says("Hello"))[0])

    async def caller() -> str:
        with pytest.raises(OperationalError):
            await run.run()
        run.stop(StopReason.CANCELLED)
        await asyncio.sleep(0)  # as giving back waits for the database
        return "given back"

    assert await asyncio.create_task(caller()) == "given back"
