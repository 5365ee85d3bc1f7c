"""What somebody tells the demo agent in one chat it knows in the next, with the model that needs no network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from accounts.actor import Actor
from accounts.models import User
from agents.engine.delta_writer import BatchingDeltaWriter
from agents.engine.ports import Services
from agents.llm.gateway import Gateway, GatewayConfig
from agents.releases.demo import ensure_demo_agent
from agents.runner.process import RunnerProcess
from agents.sessions import create_session
from agents.sessions.tool_memory import SessionMemory
from agents.tools.toolbox import Toolbox
from foundation.db_threads import in_db_thread
from memory.models import Memory
from memory.recall import arecall
from tests.chaos.waiting import until
from tests.support.conversations import Conversation
from tests.support.runners import become, serving

pytestmark = pytest.mark.usefixtures("transactional_db")


@asynccontextmanager
async def runner(data_dir: Path, *, recalls: bool = True) -> AsyncIterator[RunnerProcess]:
    gateway, toolbox = Gateway(GatewayConfig()), Toolbox(data_dir=data_dir, open_memory=SessionMemory)
    try:
        services = Services(gateway, toolbox, BatchingDeltaWriter(), memories=arecall if recalls else None)
        async with serving(services) as process:
            yield process
    finally:
        await toolbox.aclose()
        await gateway.aclose()


def chat(name: str = "ada") -> Conversation:
    """A new conversation with the demo agent of a first run."""
    ensure_demo_agent(["offline:"])
    user, _ = User.objects.get_or_create(username=name)
    actor = Actor.user(user_id=user.pk, name=name)
    return Conversation(actor, create_session(actor, agent_slug="demo", title="A test").pk)


async def ask(ada: Conversation, text: str, process: RunnerProcess) -> str:
    await in_db_thread(ada.ask, text)
    count = len(await in_db_thread(ada.turns))
    await become(ada, *["completed"] * count)

    async def is_idle() -> bool:
        return not process._tasks

    await until(is_idle, seconds=5, what="all that follows a turn")
    return (await in_db_thread(ada.said))[-1][1]


@pytest.mark.parametrize("recalls", [True, False], ids=["before the answer", "by the tool"])
async def test_it_remembers_in_the_next_chat_what_it_was_told_in_this_one(tmp_path: Path, recalls: bool) -> None:
    first, second = await in_db_thread(chat), await in_db_thread(chat)
    foreign = await in_db_thread(chat, "eve")
    async with runner(tmp_path, recalls=recalls) as process:
        assert "Remembered" in await ask(first, "Remember that I live in Bern.", process)
        assert "I live in Bern." in await ask(second, "Where do I live?", process)
        assert "Bern" not in await ask(foreign, "Where do I live?", process)
        assert "Forgotten" in await ask(second, "Forget that I live in Bern.", process)
        facts = await in_db_thread(lambda: list(Memory.objects.filter(tier="long_term")))
        assert facts == []
    # Written when the runner ends at the latest.
    assert await in_db_thread(lambda: Memory.objects.filter(hits__gt=0).exists())


async def test_what_was_only_said_is_found_too(tmp_path: Path) -> None:
    first, second = await in_db_thread(chat), await in_db_thread(chat)
    async with runner(tmp_path) as process:
        await ask(first, "My cat is called Minka and she sleeps all day.", process)
        assert "Minka" in await ask(second, "What is my cat called?", process)
