"""A person takes over while a runner works: its model's stream is closed within a second, and nothing more is said."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agents.journal import handoff_writes, locked_writes
from agents.models import Step
from agents.sessions.handoff_control import reply_as_human, return_to_agent
from foundation.db_threads import in_db_thread
from tests.chaos.waiting import until
from tests.integration.agents.sessions.test_handoffs import operator, same
from tests.support.conversations import Conversation
from tests.support.runners import become, serving
from tests.support.scripted import Outcome, calls, for_ever, says, scripted
from tests.support.turns import begin, marked

pytestmark = pytest.mark.usefixtures("transactional_db")


async def take_over(ada: Conversation) -> None:
    olga = await in_db_thread(operator)
    await in_db_thread(lambda: reply_as_human(olga, session_id=ada.session_id, text="Here I am", key="k"))


@pytest.mark.parametrize("is_lost", [False, True], ids=["notified", "by a poll"])
async def test_the_stream_of_the_model_is_closed_within_a_second(
    monkeypatch: pytest.MonkeyPatch, is_lost: bool
) -> None:
    ada, reached = await begin(), asyncio.Event()
    services, model = scripted(says("Hel", marked(reached)))[:2]
    before = await in_db_thread(ada.snapshot)
    async with serving(services, heartbeat_seconds=4):
        await asyncio.wait_for(reached.wait(), 10)
        if is_lost:
            monkeypatch.setattr(handoff_writes, "notify", lambda *_: None)
            monkeypatch.setattr(locked_writes, "notify", lambda *_: None)
        await take_over(ada)

        async def is_closed() -> bool:
            return model.left == 1

        # A notification needs a moment; a poll, which comes each second, a moment more.
        await until(is_closed, seconds=2.5 if is_lost else 1.0, what="a closed stream")
    assert await in_db_thread(ada.log) == [
        "message.created", "turn.queued", "turn.started", "message.delta", "message.completed", "turn.cancelled",
        "handoff.opened", "session.updated", "message.created",
    ]  # fmt: skip
    await in_db_thread(same, before, ada)


async def test_a_tool_that_runs_meanwhile_is_stopped_and_its_result_is_dropped() -> None:
    ada, reached, cancelled = await begin(), asyncio.Event(), asyncio.Event()

    async def pays(_: str) -> Any:
        reached.set()
        try:
            await for_ever()
        except asyncio.CancelledError:
            cancelled.set()
            # What takes no notice of the end.
            return Outcome("paid")

    services = scripted(calls(("c1", "pay", "{}")), says("Back again."), tools={"pay": pays})[0]
    async with serving(services):
        await asyncio.wait_for(reached.wait(), 10)
        await take_over(ada)
        await asyncio.wait_for(cancelled.wait(), 2)
        olga_words = (await in_db_thread(ada.messages))[-1]
        assert olga_words.author == "human"
        step = await in_db_thread(Step.objects.get, number=2)
        assert (step.status, step.result) == ("unknown", None)
        await in_db_thread(lambda: return_to_agent(operator("oleg"), session_id=ada.session_id, take_over=True))
        await in_db_thread(ada.ask, "And now?")
        await become(ada, "cancelled", "completed")
    assert [author for author, _ in await in_db_thread(ada.said)] == ["user", "agent", "human", "user", "agent"]
    assert "tool.finished" not in await in_db_thread(ada.log)
