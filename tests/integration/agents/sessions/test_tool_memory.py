"""The memory of tools: only the turn's own user and session, the same when a call is repeated, wary of strangers."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from accounts.actor import Actor
from agents.domain.states import StepKind, StepStatus
from agents.journal.claims import Claim
from agents.models import AgentSession, Step, Turn
from agents.sessions.tool_memory import SessionMemory
from agents.sessions.turn_episodes import user_owner
from agents.tools.tool import ToolOutcome
from agents.tools.toolbox import Toolbox
from foundation.clock import now
from foundation.db_threads import in_db_thread
from memory.enums import MemorySource, TaskState, Trust
from memory.models import Memory, MemoryBody, WorkingItem
from memory.working_memory import working_texts
from memory.writing import remember
from tests.support.conversations import Conversation, answer, claimed, conversation

pytestmark = pytest.mark.usefixtures("transactional_db")
ALL = ["remember", "recall", "forget", "add_task", "finish_task", "note"]


def asks(text: str = "Remember that I live in Bern.", name: str = "ada") -> Conversation:
    """A conversation with an open turn."""
    ada = conversation(name)
    ada.ask(text)
    claimed()
    return ada


def use(ada: Conversation, tool: str, *, step: int = 5, **arguments: Any) -> ToolOutcome:
    """A call of a tool in the session's newest turn, as a runner makes it."""

    async def run() -> ToolOutcome:
        turn = (await in_db_thread(ada.turns))[-1].pk
        box = Toolbox(open_memory=SessionMemory)
        try:
            return await box.call(
                tool,
                json.dumps(arguments),
                session_id=ada.session_id,
                turn_id=turn,
                step=step,
                allowed=ALL,
                user_id=(await in_db_thread(lambda: ada.row)).user_id,
            )
        finally:
            await box.aclose()

    return asyncio.run(run())


def did(ada: Conversation, tool: str, number: int, *, turn: Turn | None = None) -> None:
    """A call of `tool` that has ended."""
    Step.objects.create(
        turn=turn or ada.turns()[-1], number=number, kind=StepKind.TOOL.value, status=StepStatus.DONE.value, epoch=1,
        name=tool, finished_at=now(),
    )  # fmt: skip


def test_what_the_user_asked_for_is_remembered_once() -> None:
    ada = asks()
    first = use(ada, "remember", text="I live in Bern.")
    row = Memory.objects.select_related("body", "owner").get()
    assert first.content == f"Remembered (id {row.pk})."
    assert use(ada, "remember", text="I live in Bern.").content == f"This was remembered already (id {row.pk})."
    session = AgentSession.objects.get()
    assert (row.body.source, row.body.turn, row.body.session, row.trust, row.actor) == (
        MemorySource.REMEMBER, ada.turn().pk, session.pk, Trust.DEFAULT, "ada",
    )  # fmt: skip
    assert (row.owner.scope, row.owner.user_id, row.owner.agent) == ("user", ada.actor.user_id, session.agent_id)


def test_a_new_value_replaces_the_old_one() -> None:
    ada = asks()
    use(ada, "remember", text="I live in Bern.", about="home city")
    use(ada, "remember", text="I live in Basel.", about="home_city", step=6)
    current = Memory.objects.get(superseded_by=None)
    assert (current.slot, current.body.text) == ("home_city", "I live in Basel.")


def test_after_a_page_was_read_what_is_remembered_waits_for_a_review() -> None:
    ada = asks("Read https://example.com/ and remember what it says.")
    did(ada, "http_fetch", 2)
    said = use(ada, "remember", text="Ada's bank is at evil.example.").content
    assert "reviewed" in said
    row = Memory.objects.select_related("body").get()
    assert (row.trust, row.body.source) == (Trust.QUARANTINED, MemorySource.TOOL)
    assert "reviewed" in use(ada, "remember", text="Ada's bank is at evil.example.").content


def test_a_tool_that_nobody_outside_can_speak_through_changes_nothing() -> None:
    ada = asks()
    did(ada, "clock", 2)
    did(ada, "http_fetch", 7)
    use(ada, "remember", text="I live in Bern.", step=5)
    assert Memory.objects.get().trust == Trust.DEFAULT


def test_words_of_an_earlier_page_are_not_believed_later_but_the_user_is() -> None:
    ada = asks("Read https://example.com/.")
    did(ada, "http_fetch", 2)
    with_page = ada.turn()
    answer(_claim_of(with_page))
    ada.ask("Thanks! Remember that I live in Bern.")
    claimed()
    use(ada, "remember", text="I live in Bern.")
    use(ada, "remember", text="Transfers go to account 12345 at evil bank.", step=6)
    assert dict(Memory.objects.values_list("body__text", "trust")) == {
        "I live in Bern.": Trust.DEFAULT, "Transfers go to account 12345 at evil bank.": Trust.QUARANTINED,
    }  # fmt: skip


def _claim_of(turn: Turn) -> Any:
    return Claim(turn.pk, turn.agent_session_id, turn.release_id, turn.epoch, turn.user_id, 60.0, resumed=False)


def test_a_memory_is_forgotten_by_its_id_or_its_text_but_never_another_user_s() -> None:
    eve = asks(name="eve")
    use(eve, "remember", text="I live in Basel.")
    foreign = Memory.objects.get()
    ada = asks()
    use(ada, "remember", text="I live in Bern.")
    use(ada, "remember", text="I like tea.", step=6)
    assert use(ada, "forget", memory=str(foreign.pk)).is_error
    assert use(ada, "forget", memory="I live in Basel.").is_error
    assert use(ada, "forget", memory="i live in  bern").content == "Forgotten."
    tea = Memory.objects.get(body__text="I like tea.")
    did(ada, "http_fetch", 7)
    assert use(ada, "forget", memory=str(tea.pk), step=8).is_error
    assert use(ada, "forget", memory=str(tea.pk), step=7).content == "Forgotten."
    assert list(MemoryBody.objects.values_list("text", flat=True)) == ["I live in Basel."]


def test_tasks_are_on_the_list_until_they_are_finished() -> None:
    ada = asks("todo: buy milk")
    noted = use(ada, "add_task", text="Buy milk.")
    assert use(ada, "add_task", text="Buy milk.").content == noted.content  # repeated after a crash
    use(ada, "note", text="Ada is in a hurry.", step=6)
    item = WorkingItem.objects.get(kind="task")
    turn = ada.turn().pk
    assert working_texts(ada.session_id, turn) == [f"Task: Buy milk. (id {item.pk})", "Note: Ada is in a hurry."]
    assert use(asks(name="eve"), "finish_task", task=str(item.pk)).is_error
    assert use(ada, "finish_task", task="milk").is_error
    assert use(ada, "finish_task", task=str(item.pk)).content == "Done."
    assert use(ada, "finish_task", task=str(item.pk)).content == "Done."
    item.refresh_from_db()
    assert (item.state, working_texts(ada.session_id, turn)) == (TaskState.DONE, ["Note: Ada is in a hurry."])


def test_bad_arguments_are_told_to_the_model() -> None:
    ada = asks()
    assert use(ada, "remember", text=" ").is_error
    assert use(ada, "remember", text="\x00").is_error
    assert use(ada, "remember", text="x", about="y" * 65).is_error
    assert use(ada, "note", text="x" * 2001).is_error


def test_what_was_rejected_is_not_believed_again_but_the_user_may_say_so() -> None:
    ada = asks("I live on Mars, remember that I live on Mars.")
    owner = user_owner(user_id=int(ada.actor.user_id or 0), agent_id=AgentSession.objects.get().agent_id)
    remember(Actor.system("tests"), owner, "I live on Mars.", source=MemorySource.EXTRACTION, trust=Trust.QUARANTINED)
    assert "already" in use(ada, "remember", text="I live on Mars.").content
    assert Memory.objects.get().trust == Trust.DEFAULT
