"""What a turn is given to read: its release, the way back through the conversation, its journal."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.actor import Actor
from agents.domain.configuration import ContextPolicy, TurnLimits
from agents.domain.message_parts import plain_text
from agents.domain.states import StepKind, StepStatus
from agents.domain.steps import StepRecord
from agents.engine.context import TurnContext, load_context
from agents.journal import fenced_writes, sql
from agents.journal.fenced_writes import StepOutcome
from agents.journal.listen_connection import open_listen_connection
from agents.journal.queries import fetch
from agents.models import AgentSession, Message
from agents.releases import publish
from agents.runner.reaper import release_claim
from agents.sessions.turn_episodes import session_owner
from foundation.ids import new_id
from memory.enums import TaskState, WorkingKind
from memory.working_memory import add_item, update_item
from tests.support.conversations import (
    Conversation,
    answer,
    claimed,
    conversation,
    done,
    fail,
    say,
    tool_intent,
)
from tests.support.people import agent, write_draft

pytestmark = pytest.mark.usefixtures("transactional_db")


def configured(**draft: object) -> Conversation:
    """A session whose agent has these limits, tools or policy."""
    demo = agent("special")
    write_draft(demo, **draft, version=2)
    publish(Actor.system("tests"), agent_id=demo.pk, expected_version=2)
    return conversation(slug="special")


def seen(context: TurnContext) -> list[tuple[str, str]]:
    return [(item.author, plain_text(item.parts)) for item in context.history]


def turn(ada: Conversation, question: str, reply: str) -> None:
    ada.ask(question)
    answer(claimed(), reply)


def test_no_more_of_a_long_past_is_read_than_any_window_holds() -> None:
    ada = conversation()
    for n in range(4):
        turn(ada, str(n), "x" * (sql.HISTORY_BYTES // 2 - 500))
    ada.ask("Now?")
    work = claimed()
    rows = fetch(sql.HISTORY, {"turn": work.turn_id, "messages": 30, "bytes": sql.HISTORY_BYTES})
    assert len(rows) == 6, "the question, and what is read until there is more than enough"
    assert [text for _, text in seen(load_context(work))][-1] == "Now?"


def test_a_first_turn_sees_its_question() -> None:
    ada = conversation()
    accepted = ada.ask("Hi")
    context = load_context(claimed())
    assert seen(context) == [("user", "Hi")]
    assert context.question_id == accepted.message_id


def test_a_turn_sees_the_conversation_up_to_its_question() -> None:
    ada = conversation()
    turn(ada, "One", "1")
    turn(ada, "Two", "2")
    ada.ask("Three")
    assert seen(load_context(claimed())) == [
        ("user", "One"), ("agent", "1"), ("user", "Two"), ("agent", "2"), ("user", "Three"),
    ]  # fmt: skip


def test_a_message_queued_behind_a_running_turn_sees_its_answer_in_its_place() -> None:
    ada = conversation()
    ada.asks(3)
    expected = []
    for number in (1, 2, 3):
        work = claimed()
        expected.append(("user", f"Question {number}"))
        assert seen(load_context(work)) == expected
        answer(work, f"Answer {number}")
        expected.append(("agent", f"Answer {number}"))
    ada.ask("And then?")
    assert seen(load_context(claimed())) == [*expected, ("user", "And then?")]


def test_a_message_queued_behind_a_running_turn_keeps_what_came_before_it() -> None:
    ada = conversation()
    turn(ada, "One", "1")
    ada.ask("Two")
    work = claimed()
    ada.ask("Three")
    answer(work, "2")
    assert [text for _, text in seen(load_context(claimed()))] == ["One", "1", "Two", "2", "Three"]


def test_the_answer_of_the_turn_itself_is_never_its_history() -> None:
    ada = conversation()
    ada.ask("One")
    work = claimed()
    answer(work, "1")
    assert seen(load_context(work)) == [("user", "One")]


def test_what_a_broken_turn_showed_is_seen_and_a_question_without_an_answer_stays() -> None:
    ada = conversation()
    ada.asks(3)
    fail(claimed(), text="Hel")
    fail(claimed())
    assert seen(load_context(claimed())) == [
        ("user", "Question 1"), ("agent", "Hel"), ("user", "Question 2"), ("user", "Question 3"),
    ]  # fmt: skip


def test_a_branch_sees_its_own_way_back_only() -> None:
    ada = conversation()
    turn(ada, "One", "1")
    first_answer = ada.messages()[-1].pk
    turn(ada, "Two", "2")
    ada.ask("Two, better", parent=first_answer)
    work = claimed()
    assert [text for _, text in seen(load_context(work))] == ["One", "1", "Two, better"]
    answer(work, "2, better")
    turn(ada, "Three", "3")
    ada.ask("Four")
    texts = [text for _, text in seen(load_context(claimed()))]
    assert texts == ["One", "1", "Two, better", "2, better", "Three", "3", "Four"]


def test_a_second_root_sees_nothing() -> None:
    ada = conversation()
    turn(ada, "One", "1")
    ada.ask("Afresh", parent=None)
    assert seen(load_context(claimed())) == [("user", "Afresh")]


def test_two_branches_of_one_question_do_not_see_each_other() -> None:
    ada = conversation()
    turn(ada, "One", "1")
    parent = ada.messages()[-1].pk
    ada.ask("Left", parent=parent)
    ada.ask("Right", parent=parent)
    answer(claimed(), "left")
    work = claimed()
    assert [text for _, text in seen(load_context(work))] == ["One", "1", "Right"]
    answer(work, "right")
    assert ada.row.head_message_id == ada.messages()[-1].pk, "the newest branch goes on"


def test_what_a_human_said_is_part_of_the_way_back() -> None:
    ada = conversation()
    turn(ada, "One", "1")
    AgentSession.objects.update(controller="human")
    ada.ask("Hello, human")
    session = ada.row
    reply = Message.objects.create(
        agent_session=session, ordinal=session.next_ordinal, author="human", parent_id=session.head_message_id,
        parts=[{"type": "text", "text": "Hello"}],
    )  # fmt: skip
    AgentSession.objects.update(controller="agent", head_message_id=reply.pk, next_ordinal=session.next_ordinal + 1)
    ada.ask("Back again")
    assert seen(load_context(claimed())) == [
        ("user", "One"), ("agent", "1"), ("user", "Hello, human"), ("human", "Hello"), ("user", "Back again"),
    ]  # fmt: skip


def test_the_way_back_is_bounded_however_long_the_conversation_is() -> None:
    ada = configured(context_policy={"history_messages": 4})
    for number in range(6):
        turn(ada, f"Q{number}", f"A{number}")
    ada.ask("Last")
    work = claimed()
    texts = [text for _, text in seen(load_context(work))]
    assert texts[-5:] == ["Q4", "A4", "Q5", "A5", "Last"]
    assert len(texts) <= 6
    Message.objects.filter(agent_session_id=ada.session_id, ordinal=1).update(parts=[])
    with connection.cursor() as cursor, CaptureQueriesContext(connection) as queries:
        load_context(work)
        assert len(queries) == 1
        cursor.execute("SELECT 1")


def test_a_long_conversation_is_read_from_the_same_message_on_for_many_turns() -> None:
    ada = configured(context_policy={"history_messages": 30})
    firsts = []
    for number in range(24):
        ada.ask(f"Q{number}")
        work = claimed()
        context = load_context(work)
        assert len(context.history) >= min(2 * number + 1, 20)
        assert [item.ordinal for item in context.history] == sorted(item.ordinal for item in context.history)
        firsts.append(seen(context)[0][1])
        answer(work, f"A{number}")
    assert len(set(firsts)) <= 4


def test_questions_queued_in_a_row_are_bounded_too() -> None:
    ada = configured(context_policy={"history_messages": 2})
    ada.asks(5)
    for number in range(1, 5):
        answer(claimed(), f"Answer {number}")
    texts = [text for _, text in seen(load_context(claimed()))]
    assert texts == ["Question 3", "Answer 3", "Question 4", "Answer 4", "Question 5"]


def test_a_circle_of_parents_ends_at_the_bound() -> None:
    ada = conversation()
    turn(ada, "One", "1")
    ada.ask("Two")
    question, reply, *_ = ada.messages()
    Message.objects.filter(pk=question.pk).update(parent=reply.pk)
    assert len(load_context(claimed()).history) <= 2 * ContextPolicy().history_messages + 2


# --- the release ---


def test_a_release_is_read_with_its_limits_and_kept() -> None:
    ada = configured(
        model_chain=["openai:x", "offline:"], instructions="Be brief.", tools=["clock"],
        limits={"steps": 2, "turn_seconds": 9}, context_policy={"answer_tokens": 5},
    )  # fmt: skip
    ada.ask()
    work = claimed()
    release = load_context(work).release
    assert release.model_chain == ("openai:x", "offline:")
    assert (release.instructions, release.tools) == ("Be brief.", ("clock",))
    assert release.limits == TurnLimits(steps=2, turn_seconds=9)
    assert release.context_policy == ContextPolicy(answer_tokens=5)
    with CaptureQueriesContext(connection) as queries:
        assert load_context(work).release is release
    assert len(queries) == 1, "the history, and nothing else"


# --- the journal ---


def test_a_new_turn_begins_with_the_intent_that_its_claim_wrote() -> None:
    ada = conversation()
    ada.ask()
    [step] = load_context(claimed()).steps
    assert step == StepRecord(1, StepKind.MODEL, StepStatus.INTENT, idempotent=True)


def test_a_turn_that_somebody_began_comes_with_its_journal() -> None:
    ada = conversation()
    ada.ask()
    work = claimed()
    say(work, "Let me see")
    calls = [{"id": "call_1", "name": "clock", "arguments": "{}"}]
    fenced_writes.advance(
        work,
        outcomes=[StepOutcome(1, StepStatus.DONE, {"text": "Let me see", "tool_calls": calls})],
        intents=[tool_intent(2), tool_intent(3, "call_2")],
    )
    fenced_writes.advance(work, outcomes=[StepOutcome(3, StepStatus.FAILED, {"content": "no", "is_error": True})])
    release_claim(session_id=work.session_id, turn_id=work.turn_id, epoch=1, without_progress=False)
    context = load_context(claimed())
    assert context.claim.epoch == 2
    assert [(step.number, step.kind, step.status, step.call_id) for step in context.steps] == [
        (1, "model", "done", ""), (2, "tool", "intent", "call_1"), (3, "tool", "failed", "call_2"),
    ]  # fmt: skip
    model, tool, _ = context.steps
    assert model.result == {"text": "Let me see", "tool_calls": calls}
    assert (tool.request, tool.result, tool.idempotent) == ("{}", None, False)


def test_the_runner_s_own_connection_reads_the_same() -> None:
    ada = conversation()
    ada.ask("Hi")
    work = claimed()
    fenced_writes.advance(work, outcomes=[done(1)], intents=[tool_intent(2)])
    release_claim(session_id=work.session_id, turn_id=work.turn_id, epoch=1, without_progress=False)
    work = claimed()
    with open_listen_connection() as direct:
        assert load_context(work, on=direct) == load_context(work)


def test_another_session_s_messages_are_never_seen() -> None:
    ada, bob = conversation(), conversation("bob")
    turn(bob, "Secret", "s")
    ada.ask("Hi")
    assert seen(load_context(claimed())) == [("user", "Hi")]
    assert new_id() not in {message.pk for message in bob.messages()}


def test_open_items_of_working_memory_are_the_task_of_an_agent_that_has_some() -> None:
    ada = configured(tools=["add_task", "note"])
    accepted = ada.ask("Hi")
    owner = session_owner(user_id=int(ada.actor.user_id or 0), agent_id=ada.row.agent_id, session_id=ada.session_id)
    note = add_item(owner, WorkingKind.NOTE, "Ada is in a hurry.")
    task = add_item(owner, WorkingKind.TASK, "Buy milk.", turn_id=accepted.turn_id)
    add_item(owner, WorkingKind.TASK, "Of another turn.", turn_id=new_id())
    update_item(owner, add_item(owner, WorkingKind.GOAL, "Done already.").pk, state=TaskState.DONE)
    context = load_context(claimed())
    assert [(block.id, block.text) for block in context.task] == [
        (str(task.pk), f"Task: Buy milk. (id {task.pk})"), (str(note.pk), "Note: Ada is in a hurry."),
    ]  # fmt: skip
