"""One turn from its claim to its end, with a model and tools that follow a script: what tests of the engine share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

from accounts.actor import Actor
from agents.domain.message_parts import Part
from agents.engine.context import load_context
from agents.engine.ports import Services
from agents.engine.turn import StopReason, TurnRun, UnfinishedTurn
from agents.journal.fenced_writes import FinishedTurn
from agents.models import Step, Turn
from agents.releases import publish
from agents.sessions import cancel_turn
from foundation.db_threads import in_db_thread
from tests.support.conversations import Conversation, claimed, conversation, nothing_yet, replayed
from tests.support.people import agent, write_draft
from tests.support.scripted import Outcome, calls, for_ever

A_WHILE = 10.0


def asked(text: str = "Hi", **draft: Any) -> Conversation:
    """A conversation with one question; `draft` changes the release it is on."""
    if draft:
        made = agent("special")
        write_draft(made, **draft, version=2)
        publish(Actor.system("tests"), agent_id=made.pk, expected_version=2)
    ada = conversation(slug="special" if draft else "demo")
    ada.ask(text)
    return ada


async def begin(text: str = "Hi", **draft: Any) -> Conversation:
    return await in_db_thread(asked, text, **draft)


async def claim_run(services: Services, **changes: Any) -> TurnRun:
    """The one turn that can be claimed, as a runner begins it."""
    context = await in_db_thread(lambda: load_context(claimed()))
    return TurnRun(replace(context, claim=replace(context.claim, **changes)), services)


async def run(services: Services, **changes: Any) -> FinishedTurn | UnfinishedTurn:
    return await (await claim_run(services, **changes)).run()


async def log(ada: Conversation, begin: int = 3) -> list[str]:
    """The types of the events since the claim, after a look at the replay law."""

    def read() -> list[str]:
        assert replayed(ada, nothing_yet(ada.snapshot()["session"])) == ada.snapshot()
        return ada.log()[begin:]

    return await in_db_thread(read)


async def answer_of(ada: Conversation) -> tuple[list[Part], bool]:
    message = (await in_db_thread(ada.messages))[-1]
    assert message.author == "agent"
    return message.parts, message.partial


async def turn_of(ada: Conversation) -> Turn:
    return await in_db_thread(ada.turn)


async def steps() -> list[tuple[int, str, str, str]]:
    """Number, kind, status and name or call id of every step."""

    def read() -> list[tuple[int, str, str, str]]:
        return [(s.number, s.kind, s.status, s.call_id or s.name) for s in Step.objects.order_by("number")]

    return await in_db_thread(read)


async def costs() -> list[Decimal | None]:
    return await in_db_thread(lambda: list(Step.objects.order_by("number").values_list("cost_usd", flat=True)))


async def end_of(ada: Conversation) -> dict[str, Any]:
    """The data of the last event."""
    data: dict[str, Any] = (await in_db_thread(ada.events))[-1].data
    return data


def works(content: str) -> Callable[[str], Awaitable[Outcome]]:
    async def tool(_: str) -> Outcome:
        return Outcome(content)

    return tool


def breaks(content: str) -> Callable[[str], Awaitable[Outcome]]:
    async def tool(_: str) -> Outcome:
        return Outcome(content, is_error=True)

    return tool


def pause(seconds: float) -> Callable[[], Awaitable[object]]:
    return lambda: asyncio.sleep(seconds)


def marked(mark: asyncio.Event) -> Callable[[], Awaitable[object]]:
    """An item of a reply: says that it was reached, and waits for ever."""

    async def item() -> None:
        mark.set()
        await for_ever()

    return item


TWO_CALLS = calls(("c1", "clock", "{}"), ("c2", "notes", '{"a": 1}'), text="Wait.")


class Running:
    """A run in a task of its own, which the test can wait for and stop."""

    def __init__(self, run: TurnRun) -> None:
        self.run = run
        self.task = asyncio.ensure_future(run.run())

    async def ended(self) -> FinishedTurn | UnfinishedTurn:
        return await asyncio.wait_for(self.task, A_WHILE)


async def start(services: Services) -> Running:
    return Running(await claim_run(services))


async def stop(ada: Conversation, running: Running) -> None:
    """As a person's stop reaches the runner."""
    turn_id = (await turn_of(ada)).pk
    await in_db_thread(cancel_turn, ada.actor, turn_id=turn_id)
    running.run.stop(StopReason.CANCELLED)
