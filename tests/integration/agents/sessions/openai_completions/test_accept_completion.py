"""What OpenAI clients send: accepted once, however often it comes, into a session of its own or a durable one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import OperationalError, transaction

from accounts.actor import Actor, Scope
from agents import tasks
from agents.domain.client_options import ClientOptions
from agents.domain.context_window import fit
from agents.domain.message_parts import text_part
from agents.domain.model_messages import ChatMessage, JsonFormat
from agents.domain.prompt import Block, Source
from agents.engine.context import TurnContext, load_context
from agents.journal import fenced_writes
from agents.llm.routes import is_installed
from agents.models import AgentSession, CompletionRequest, Message, Turn
from agents.releases import publish
from agents.sessions import AcceptedCompletion, ModelNotFound, SessionNotFound, delete_session
from agents.sessions.openai_completions import accept_completion as verb
from foundation.clock import now
from foundation.errors import Forbidden, IdempotencyMismatch, InvalidInput
from tests.support.completions import CALL, LIGHT, client, complete, result, talk
from tests.support.conversations import (
    Stalled,
    answer,
    claim,
    claimed,
    conversation,
    ending,
    nothing_yet,
    replayed,
    side_by_side,
)
from tests.support.people import agent, write_draft

pytestmark = pytest.mark.usefixtures("transactional_db")

HISTORY: list[Any] = [
    ("user", [text_part("Light, please.")]),
    ("agent", [CALL]),
    ("user", [result()]),
    ("agent", [text_part("It is on.")]),
]


def handed_out(actor: Actor, session_id: Any) -> None:
    """The turn ends with a call for the client."""
    work = claimed()
    fenced_writes.finish(work, ending(work, parts=[text_part("Let me see."), CALL]))


def messages_of(context: TurnContext) -> tuple[ChatMessage, ...]:
    """What the model is sent first."""
    return fit([Block(Source.CLIENT, context.client.instructions)], context.history, (), None, len).messages


# --- a session of its own ---


def test_a_request_without_a_session_begins_one_with_what_was_said_before() -> None:
    ada = client()
    accepted = complete(ada, "And now?", history=HISTORY, instructions="Be brief.", metadata={"app": "x"})
    session = talk(ada, accepted.session_id)
    row = session.row
    assert (row.listed, row.metadata, row.state) == (False, {"app": "x"}, {})
    assert row.expires_at is not None
    assert timedelta(hours=23) < row.expires_at - now() < timedelta(hours=24)
    messages = session.messages()
    assert [(m.author, m.supplied_by_client) for m in messages] == [
        ("system", True), ("user", True), ("agent", True), ("user", True), ("agent", True), ("user", False),
    ]  # fmt: skip
    assert [m.parent_id for m in messages] == [None, *(m.pk for m in messages[:-1])]
    assert session.log() == ["message.created"] * 6 + ["turn.queued"]
    assert replayed(session, nothing_yet(session.snapshot()["session"])) == session.snapshot()


def test_the_model_reads_what_the_client_sent_below_what_the_release_says() -> None:
    ada = client()
    complete(ada, "And now?", history=HISTORY, instructions="Be brief.", tools=(LIGHT,), max_output_tokens=7)
    context = load_context(claimed())
    assert context.client == ClientOptions((LIGHT,), 7, "Be brief.")
    assert [item.author for item in context.history] == ["user", "agent", "user", "agent", "user"]
    sent = messages_of(context)
    assert [message.role for message in sent] == ["system", "user", "assistant", "tool", "assistant", "user"]


def test_a_plain_request_leaves_nothing_beside_its_turn() -> None:
    complete(client())
    turn = Turn.objects.get()
    assert turn.client_options is None
    assert load_context(claimed()).client == ClientOptions()


def test_an_agent_out_of_sight_is_no_model() -> None:
    with pytest.raises(ModelNotFound):
        complete(client(), model="absent")
    assert not AgentSession.objects.exists()


def test_a_tool_named_like_one_of_the_agents_is_refused() -> None:
    clock = type(LIGHT)("clock", "", {})
    with pytest.raises(InvalidInput, match="'clock'") as refused:
        complete(client(), tools=(clock,))
    assert refused.value.pointer == "/tools"
    assert not AgentSession.objects.exists()


def on_claude() -> None:
    made = agent("demo")
    write_draft(made, model_chain=["anthropic:claude-sonnet-5"], version=2)
    publish(Actor.system("tests"), agent_id=made.pk, expected_version=2)


@pytest.mark.skipif(not is_installed("anthropic"), reason="the libraries of the vendors are not installed")
def test_a_form_that_the_releases_model_is_known_not_to_give_is_refused_at_once() -> None:
    on_claude()
    with pytest.raises(InvalidInput, match="give one, as json_schema") as refused:
        complete(client(), json=JsonFormat())
    assert refused.value.pointer == "/response_format/type"
    assert not AgentSession.objects.exists()
    complete(client(), json=JsonFormat({"type": "object"}))


@pytest.mark.parametrize("scope", [Scope.CHAT, Scope.READ])
def test_both_scopes_are_needed(scope: Scope) -> None:
    ada = client()
    assert ada.user_id is not None
    with pytest.raises(Forbidden):
        complete(Actor.user(user_id=ada.user_id, name="ada", scopes=frozenset({scope})))
    assert not AgentSession.objects.exists()


# --- a durable session ---


def test_a_durable_session_goes_on_with_what_is_asked_and_stays_listed() -> None:
    session = conversation()
    session.ask("First")
    answer(claimed(), "1")
    accepted = complete(session.actor, "Second", session_id=session.session_id, history=HISTORY)
    assert accepted.session_id == session.session_id
    assert session.said() == [("user", "First"), ("agent", "1"), ("user", "Second")]
    assert session.row.listed
    assert session.row.expires_at is None


@pytest.mark.parametrize("instructions", ["", "Be brief."])
def test_a_chat_is_named_after_its_first_words_and_a_session_off_the_list_is_not(instructions: str) -> None:
    session = conversation()
    AgentSession.objects.update(title="")
    complete(session.actor, "Good morning", session_id=session.session_id, instructions=instructions)
    own = complete(session.actor, "Good morning", instructions=instructions)
    assert session.row.title == "Good morning"
    assert session.log().count("session.updated") == 1
    assert replayed(session, nothing_yet(session.snapshot()["session"])) == session.snapshot()
    assert talk(session.actor, own.session_id).row.title == ""


def test_instructions_are_kept_once_and_count_for_the_turns_that_sent_them() -> None:
    session = conversation()
    for words in ("Be brief.", "Be brief.", "Rhyme.", ""):
        complete(session.actor, session_id=session.session_id, instructions=words, body=words.encode())
        work = claimed()
        assert load_context(work).client.instructions == words
        answer(work)
    assert [text for author, text in session.said() if author == "system"] == ["Be brief.", "Rhyme."]
    assert session.log()


def test_a_session_that_ends_some_day_lives_on_with_each_request() -> None:
    ada = client()
    first = complete(ada)
    answer(claimed())
    AgentSession.objects.update(expires_at=now() + timedelta(minutes=1))
    complete(ada, session_id=first.session_id)
    expires_at = AgentSession.objects.get().expires_at
    assert expires_at is not None
    assert expires_at - now() > timedelta(hours=23)


def test_anothers_session_and_an_absent_one_look_the_same() -> None:
    eve, hers = client("eve"), conversation("ada")
    for session_id in (hers.session_id, uuid4()):
        with pytest.raises(SessionNotFound) as refused:
            complete(eve, session_id=session_id)
        assert refused.value.detail == SessionNotFound().detail
    assert hers.log() == []


def test_a_session_is_not_continued_with_another_agent() -> None:
    session = conversation()
    with pytest.raises(InvalidInput, match="'demo'") as refused:
        complete(session.actor, model="other", session_id=session.session_id)
    assert refused.value.pointer == "/model"


def test_while_a_person_answers_a_message_is_stored_once_without_a_turn() -> None:
    session = conversation()
    AgentSession.objects.update(controller="human")
    for attempt in (0, 1):
        accepted = complete(session.actor, session_id=session.session_id, attempt=attempt)
        assert (accepted.turn_id, accepted.replayed) == (None, attempt == 1)
    assert session.said() == [("user", "Hi")]


# --- results of the client's tools ---


def test_results_are_the_question_of_the_next_turn() -> None:
    ada = client()
    session_id = complete(ada, tools=(LIGHT,)).session_id
    handed_out(ada, session_id)
    complete(ada, result(), session_id=session_id, tools=(LIGHT,))
    context = load_context(claimed())
    sent = messages_of(context)
    assert [message.role for message in sent] == ["user", "assistant", "tool"]
    assert sent[2].text == "It is on."


@pytest.mark.parametrize("forged", [(result("forged"),), (result(), result("forged"))])
def test_a_result_of_a_call_that_nobody_made_is_refused(forged: Any) -> None:
    ada = client()
    session_id = complete(ada, tools=(LIGHT,)).session_id
    handed_out(ada, session_id)
    before = talk(ada, session_id).log()
    with pytest.raises(InvalidInput, match="'forged'"):
        complete(ada, *forged, session_id=session_id)
    assert talk(ada, session_id).log() == before


def test_a_result_comes_once() -> None:
    ada = client()
    session_id = complete(ada, tools=(LIGHT,)).session_id
    handed_out(ada, session_id)
    complete(ada, result(), session_id=session_id)
    answer(claimed())
    with pytest.raises(InvalidInput, match="no open tool call"):
        complete(ada, result(content="Again."), session_id=session_id)


def test_a_call_in_an_answer_that_was_stopped_waits_for_nothing() -> None:
    ada = client()
    session_id = complete(ada, tools=(LIGHT,)).session_id
    handed_out(ada, session_id)
    Message.objects.filter(author="agent").update(partial=True)
    with pytest.raises(InvalidInput, match="no open tool call"):
        complete(ada, result(), session_id=session_id)


def test_words_instead_of_results_are_taken_and_the_call_is_mended() -> None:
    ada = client()
    session_id = complete(ada, tools=(LIGHT,)).session_id
    handed_out(ada, session_id)
    complete(ada, "Never mind.", session_id=session_id)
    context = load_context(claimed())
    sent = messages_of(context)
    assert [message.role for message in sent] == ["user", "assistant", "tool", "user"]


# --- once ---


def one_turn(*accepted: Any) -> None:
    assert all(isinstance(one, AcceptedCompletion) for one in accepted), accepted
    assert {one.turn_id for one in accepted} == {Turn.objects.get().pk}
    assert AgentSession.objects.count() == 1
    assert [one.replayed for one in accepted].count(False) == 1


def test_a_key_brings_the_first_turn_back_and_refuses_another_body() -> None:
    ada = client()
    first = complete(ada, key="k")
    answer(claimed())
    again = complete(ada, key="k")
    one_turn(first, again)
    assert again.seq == first.seq
    with pytest.raises(IdempotencyMismatch):
        complete(ada, "Something else", key="k")


def test_a_key_in_a_session_is_the_same_one_that_rest_and_the_socket_know() -> None:
    session = conversation()
    first = complete(session.actor, session_id=session.session_id, key="k")
    one_turn(first, complete(session.actor, session_id=session.session_id, key="k"))
    with pytest.raises(IdempotencyMismatch):
        session.ask("Hi", key="k")


def test_a_key_is_ones_own() -> None:
    for name in ("ada", "eve"):
        assert not complete(client(name), key="k").replayed
    assert Turn.objects.count() == 2


def test_results_sent_again_with_their_key_are_no_second_result() -> None:
    ada = client()
    session_id = complete(ada, tools=(LIGHT,)).session_id
    handed_out(ada, session_id)
    first = complete(ada, result(), session_id=session_id, key="k")
    again = complete(ada, result(), session_id=session_id, key="k")
    assert (first.turn_id, again.replayed) == (again.turn_id, True)


def test_a_clients_own_retry_finds_its_first_attempt_even_when_that_is_answered() -> None:
    ada = client()
    first = complete(ada)
    answer(claimed())
    one_turn(first, complete(ada, attempt=1), complete(ada, attempt=2))


def test_a_retry_of_results_finds_its_first_attempt() -> None:
    ada = client()
    session_id = complete(ada, tools=(LIGHT,)).session_id
    handed_out(ada, session_id)
    first = complete(ada, result(), session_id=session_id)
    assert complete(ada, result(), session_id=session_id, attempt=1).turn_id == first.turn_id


def test_a_retry_whose_first_attempt_never_came_is_a_request() -> None:
    ada = client()
    one_turn(complete(ada, attempt=1), complete(ada, attempt=2))


def test_equal_requests_that_are_no_retries_are_two() -> None:
    ada = client()
    complete(ada)
    complete(ada)
    assert Turn.objects.count() == 2


def test_a_retry_finds_the_newest_of_equal_requests() -> None:
    ada = client()
    complete(ada)
    second = complete(ada)
    assert complete(ada, attempt=1).turn_id == second.turn_id


def test_a_retry_after_ten_minutes_or_of_another_body_or_by_another_is_a_request() -> None:
    ada = client()
    complete(ada)
    complete(ada, "Something else", attempt=1)
    complete(client("eve"), attempt=1)
    CompletionRequest.objects.update(created_at=now() - timedelta(minutes=11))
    complete(ada, attempt=1)
    assert Turn.objects.count() == 4


def test_a_first_attempt_that_comes_in_after_its_retry_is_that_retry_but_only_one_is() -> None:
    ada = client()
    one_turn(complete(ada, attempt=1), complete(ada, attempt=0))
    assert not complete(ada, attempt=0).replayed


def test_the_same_words_after_an_answered_retry_are_a_new_question() -> None:
    ada = client()
    complete(ada, attempt=1)
    answer(claimed())
    assert not complete(ada, attempt=0).replayed


@pytest.mark.parametrize("pair", [({"key": "k"}, {"key": "k"}), ({}, {"attempt": 1}), ({"attempt": 1}, {"attempt": 2})])
def test_two_at_once_give_one_turn(pair: tuple[dict[str, Any], dict[str, Any]]) -> None:
    ada = client()
    one_turn(*side_by_side(*(lambda more=more: complete(ada, **more) for more in pair)))


def test_of_two_late_arrivals_at_once_one_is_late_and_the_other_new() -> None:
    ada = client()
    complete(ada, attempt=1)
    late = side_by_side(lambda: complete(ada), lambda: complete(ada))
    assert sorted(one.replayed for one in late if isinstance(one, AcceptedCompletion)) == [False, True]


def test_first_attempts_do_not_wait_for_each_other() -> None:
    ada = client()
    with transaction.atomic():
        complete(ada)
        with_another = Stalled(lambda: complete(ada))
        assert isinstance(with_another.ended(), AcceptedCompletion)
        retry = Stalled(lambda: complete(ada, attempt=1))
        retry.until_it_waits()
    assert isinstance(retry.ended(), AcceptedCompletion)
    assert Turn.objects.count() == 2


def test_two_at_once_in_a_durable_session_give_one_turn() -> None:
    session = conversation()
    once = {"session_id": session.session_id}
    one_turn(*side_by_side(lambda: complete(session.actor, **once), lambda: complete(session.actor, **once, attempt=1)))
    assert session.said() == [("user", "Hi")]


@pytest.mark.parametrize("key", [None, "k"])
def test_a_reply_of_the_database_that_is_lost_after_the_commit_stores_nothing_twice(
    monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    ada, attempt, attempts = client(), verb._accept, []

    def cut(*given: Any) -> AcceptedCompletion:
        """The commit goes through and its acknowledgement is lost, once."""
        attempts.append(attempt(*given))
        if len(attempts) == 1:
            raise OperationalError("the connection is lost")
        return attempts[-1]

    monkeypatch.setattr(verb, "_accept", cut)
    accepted = complete(ada, key=key)
    assert attempts == [accepted, accepted]
    one_turn(accepted)


# --- afterwards ---


def test_a_session_that_is_deleted_takes_its_requests_along() -> None:
    ada = client()
    session_id = complete(ada).session_id
    answer(claimed())
    delete_session(ada, session_id=session_id, expected_version=1)
    assert not CompletionRequest.objects.exists()
    assert not complete(ada, attempt=1).replayed


def test_a_session_past_its_end_is_deleted_with_all_that_was_said() -> None:
    ada, kept = client(), conversation()
    kept.ask("Stay.")
    complete(ada, history=HISTORY)
    past = AgentSession.objects.filter(listed=False)
    past.update(expires_at=now() - timedelta(seconds=1), updated_at=now() - timedelta(hours=25))
    assert tasks.delete_expired() == 0, "its turn is still open"
    for work in claim(2):
        answer(work)
    assert tasks.delete_expired() == 1
    assert not past.exists()
    assert AgentSession.objects.get().pk == kept.session_id
    assert {message.agent_session_id for message in Message.objects.all()} == {kept.session_id}
    assert not CompletionRequest.objects.exists()


def test_a_message_by_another_way_in_keeps_a_clients_session_for_another_day() -> None:
    ada = client()
    session = talk(ada, complete(ada).session_id)
    answer(claimed())
    AgentSession.objects.update(expires_at=now() - timedelta(seconds=1), updated_at=now() - timedelta(hours=25))
    session.ask("By REST.")
    answer(claimed())
    assert tasks.delete_expired() == 0
    assert [author for author, _ in session.said()] == ["user", "agent"] * 2
    AgentSession.objects.update(updated_at=now() - timedelta(hours=25), controller="human")
    session.ask("To a person.")
    assert tasks.delete_expired() == 0
    AgentSession.objects.update(updated_at=now() - timedelta(hours=25))
    assert tasks.delete_expired() == 1


def test_a_session_before_its_end_stays_and_old_requests_are_forgotten() -> None:
    complete(client())
    answer(claimed())
    assert tasks.delete_expired() == 0
    tasks.purge_completions()
    assert CompletionRequest.objects.count() == 1
    CompletionRequest.objects.update(created_at=now() - timedelta(hours=49))
    tasks.purge_completions()
    assert not CompletionRequest.objects.exists()
