"""The unmodified `openai` package against real web processes and a runner: it knows an address and a key, no more."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from typing import Any
from uuid import UUID

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel
from pytest_django import DjangoDbBlocker

from accounts.actor import Actor
from accounts.api_keys import authenticate_key, revoke_api_key
from accounts.models import User
from accounts.permissions import user_actor
from accounts.roles import Role
from agents.domain.approvals import Decision
from agents.domain.message_parts import plain_text
from agents.models import AgentSession, Message, Turn
from agents.releases import publish
from agents.sessions import cancel_turn, create_session
from agents.sessions.approvals import decide_approval
from agents.sessions.handoff_control import claim_handoff, reply_as_human, resolve_handoff
from tests.chaos.program import ROOT
from tests.support.cleaning import real_commits
from tests.support.installation import Installation, LossyProxy, until
from tests.support.people import agent, key_of, person, write_draft

LIGHT: Any = {
    "type": "function",
    "function": {
        "name": "light",
        "description": "Switch a light.",
        "parameters": {"type": "object", "properties": {"on": {"type": "boolean"}}},
    },
}
CALLS_LIGHT = '[[offline tool=light args={"on": true} text="Let me see."]]'
CALLS_BOTH = '[[offline calls=[["clock", {}], ["light", {"on": true}]]]]'
SLOW = "[[offline words=40 pace_ms=50]]"

_numbers = count(1)


@pytest.fixture(scope="module")
def installation(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    with real_commits(django_db_blocker):
        agent(tools=["clock", "calculator"])
        asking = agent("asking")
        write_draft(asking, tools=["clock"], tool_rights={"clock": {"right": "ask"}}, version=2)
        publish(Actor.system("tests"), agent_id=asking.pk, expected_version=2)
        running = Installation(tmp_path_factory.mktemp("installation"))
        try:
            yield running
        finally:
            running.stop()


@dataclass
class World:
    """Somebody with a key. `client` retries nothing unless it is told to."""

    installation: Installation
    user: User
    key: str
    closing: ExitStack

    def client(self, *, port: int | None = None, retries: int = 0, **options: Any) -> OpenAI:
        address = f"http://127.0.0.1:{port}" if port else self.installation.address()
        options = {"api_key": self.key, "max_retries": retries, **options}
        return self.closing.enter_context(OpenAI(base_url=f"{address}/v1", **options))

    def ask(self, text: str = "Hi", **more: Any) -> Any:
        return self.client().chat.completions.create(model="demo", messages=[_user(text)], **more)

    @property
    def actor(self) -> Actor:
        return user_actor(self.user)

    def turns(self) -> list[Turn]:
        return list(Turn.objects.filter(user=self.user).order_by("id"))

    def messages(self) -> list[tuple[str, str]]:
        rows = Message.objects.filter(agent_session__user=self.user).order_by("agent_session", "ordinal")
        return [(row.author, plain_text(row.parts)) for row in rows]


@pytest.fixture
def transactional_db(installation: Installation) -> None:
    """In place of pytest-django's: real commits, and the rows stay while the processes run. Everybody here has a name
    of their own."""


@pytest.fixture
def world(installation: Installation, transactional_db: None) -> Iterator[World]:
    user = person(f"ada-{next(_numbers)}", Role.USER)
    with ExitStack() as closing:
        yield World(installation, user, key_of(user), closing)


def _user(text: str) -> Any:
    return {"role": "user", "content": text}


def words(chunks: Any) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


# --- plain ---


def test_a_client_that_knows_an_address_and_a_key_gets_its_answer(world: World) -> None:
    answer = world.ask()
    assert answer.object == "chat.completion"
    assert answer.model == "demo"
    [choice] = answer.choices
    assert (choice.finish_reason, choice.message.role) == ("stop", "assistant")
    assert choice.message.content.startswith("You said:\n\n> Hi")
    [turn] = world.turns()
    assert answer.id == f"chatcmpl-{turn.pk.hex}"
    assert abs(answer.created - turn.queued_at.timestamp()) < 5
    assert answer.usage.prompt_tokens == turn.input_tokens
    assert answer.usage.prompt_tokens > 0
    assert answer.usage.prompt_tokens_details.cached_tokens == 0
    assert answer.usage.completion_tokens_details.reasoning_tokens == 0
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert world.messages() == [("user", "Hi"), ("agent", choice.message.content)]


def test_agents_are_models(world: World) -> None:
    models = world.client().models.list()
    assert [model.id for model in models] == ["asking", "demo"]
    assert world.client().models.retrieve("demo").owned_by == "bandstand"
    with pytest.raises(openai.NotFoundError) as refused:
        world.client().models.retrieve("absent")
    assert refused.value.code == "model_not_found"


def test_what_the_client_sends_as_history_is_what_the_model_knows(world: World) -> None:
    answer = world.client().chat.completions.create(
        model="demo",
        messages=[
            {"role": "system", "content": "Be brief."},
            _user("My name is Ada."),
            {"role": "assistant", "content": "Hello, Ada."},
            {"role": "user", "content": [{"type": "text", "text": "What did I "}, {"type": "text", "text": "say?"}]},
        ],
    )
    assert "> My name is Ada." in (answer.choices[0].message.content or "")
    session = AgentSession.objects.get(user=world.user)
    assert (session.listed, session.expires_at is not None) == (False, True)


def test_the_session_of_an_answer_goes_on_by_its_header(world: World) -> None:
    raw = world.client().chat.completions.with_raw_response
    first = raw.create(model="demo", messages=[_user("My name is Ada.")])
    session = {"X-Session-Id": first.headers["X-Session-Id"]}
    second = raw.create(model="demo", messages=[_user("What did I say?")], extra_headers=session)
    assert "> My name is Ada." in (second.parse().choices[0].message.content or "")
    assert second.headers["X-Session-Id"] == first.headers["X-Session-Id"]
    assert second.headers["X-Turn-Id"] == str(world.turns()[1].pk)


def test_a_session_of_the_chat_goes_on_here(world: World) -> None:
    session = create_session(world.actor, agent_slug="demo")
    world.ask(extra_headers={"X-Session-Id": str(session.pk)})
    assert [author for author, _ in world.messages()] == ["user", "agent"]
    session.refresh_from_db()
    assert session.listed


def test_the_examples_in_the_documents_work(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs" / "openai.md").read_text(encoding="utf-8")
    python, shell = (re.search(rf"```{kind}\n(.*?)```", page, re.DOTALL) for kind in ("python", "sh"))
    assert python
    assert shell
    here = world.installation.address()
    program = python[1].replace("https://bandstand.example", here).replace("bs_…", world.key)
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    assert "> Hello" in capfd.readouterr().out
    command = shell[1].replace("https://bandstand.example", here).replace("curl ", "curl -sS --noproxy '*' ", 1)
    subprocess.run(["sh", "-c", command], env={**os.environ, "KEY": world.key}, check=True, timeout=60)
    assert capfd.readouterr().out.endswith("data: [DONE]\n\n")


# --- streamed ---


def test_a_stream_brings_the_words_as_they_come_and_its_chunks_belong_together(world: World) -> None:
    chunks = list(world.ask("[[offline words=30 pace_ms=20]]", stream=True))
    assert len({(chunk.id, chunk.created, chunk.model, chunk.object) for chunk in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    assert len(chunks) > 4, "not all at once"
    assert world.messages()[1] == ("agent", words(chunks))
    assert [c.choices[0].finish_reason for c in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert all(chunk.usage is None for chunk in chunks)


def test_reasoning_comes_in_a_field_of_its_own_and_may_be_sent_back(world: World) -> None:
    script = '[[offline reasoning="They greet me." text="Hello." pace_ms=20]]'
    chunks = list(world.ask(script, stream=True))
    reasoning = [getattr(chunk.choices[0].delta, "reasoning_content", None) or "" for chunk in chunks]
    assert ("".join(reasoning), words(chunks)) == ("They greet me.", "Hello.")
    assert world.messages()[1] == ("agent", "Hello.")
    message = world.ask(script).choices[0].message
    assert (message.reasoning_content, message.content) == ("They greet me.", "Hello.")
    history: Any = [_user("Hi"), message.model_dump(), _user("And now?")]
    again = world.client().chat.completions.create(model="demo", messages=history).choices[0]
    assert (again.finish_reason, getattr(again.message, "reasoning_content", None)) == ("stop", None)


@pytest.mark.parametrize("finish", ["length", "repetition"])
def test_an_answer_that_was_cut_off_says_so_in_openais_only_word(world: World, finish: str) -> None:
    assert world.ask(f"[[offline words=3 finish={finish}]]").choices[0].finish_reason == "length"


def test_a_stream_tells_its_usage_in_a_last_chunk_if_it_is_asked(world: World) -> None:
    chunks = list(world.ask(stream=True, stream_options={"include_usage": True}))
    [turn] = world.turns()
    assert chunks[-1].choices == []
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (
        turn.input_tokens, turn.output_tokens,
    )  # fmt: skip
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_usage_that_a_provider_does_not_report_is_null(world: World) -> None:
    assert world.ask("[[offline usage=no]]").usage is None
    chunks = list(world.ask("[[offline usage=no]] Anew", stream=True, stream_options={"include_usage": True}))
    assert (chunks[-1].choices, chunks[-1].usage) == ([], None)


def test_the_asynchronous_client_streams_several_at_once(world: World) -> None:
    async def run() -> list[str]:
        async with AsyncOpenAI(base_url=f"{world.installation.address(1)}/v1", api_key=world.key) as client:

            async def one(number: int) -> str:
                stream = await client.chat.completions.create(
                    model="demo", messages=[_user(f'[[offline text="Number {number}."]]')], stream=True
                )
                return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

            return await asyncio.gather(*(one(number) for number in range(8)))

    assert asyncio.run(run()) == [f"Number {number}." for number in range(8)]


def test_the_streaming_helper_of_the_package_accumulates_calls(world: World) -> None:
    with world.client().chat.completions.stream(model="demo", messages=[_user(CALLS_LIGHT)], tools=[LIGHT]) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion()
    [call] = final.choices[0].message.tool_calls or []
    assert (call.function.name, json.loads(call.function.arguments)) == ("light", {"on": True})
    assert final.choices[0].finish_reason == "tool_calls"
    assert final.choices[0].message.content == "Let me see."


# --- tools ---


def test_the_agents_own_tools_run_here_and_are_not_the_clients_business(world: World) -> None:
    answer = world.ask("calculate 2+3*4")
    assert "14" in answer.choices[0].message.content
    assert answer.choices[0].message.tool_calls is None
    assert answer.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("durable", [True, False], ids=["in its session", "with all messages sent again"])
def test_the_clients_tools_are_called_by_the_client(world: World, durable: bool) -> None:
    raw = world.client().chat.completions.with_raw_response
    asked = _user(CALLS_LIGHT)
    first = raw.create(model="demo", messages=[asked], tools=[LIGHT])
    choice = first.parse().choices[0]
    assert choice.finish_reason == "tool_calls"
    [call] = choice.message.tool_calls or []
    result: Any = {"role": "tool", "tool_call_id": call.id, "content": "It is on."}
    # As the package gives it out, with every null: that is what programs send back.
    before: Any = [] if durable else [asked, choice.message.model_dump()]
    headers = {"X-Session-Id": first.headers["X-Session-Id"]} if durable else {}
    second = raw.create(model="demo", messages=[*before, result], tools=[LIGHT], extra_headers=headers)
    assert second.parse().choices[0].message.content == "Let me see."  # the directive's words, after its one round
    assert second.parse().choices[0].finish_reason == "stop"
    assert (second.headers["X-Session-Id"] == first.headers["X-Session-Id"]) is durable


def test_calls_of_both_kinds_in_one_step_meet_again(world: World) -> None:
    raw: Any = world.client().chat.completions.with_raw_response
    first = raw.create(model="demo", messages=[_user(CALLS_BOTH)], tools=[LIGHT])
    [call] = first.parse().choices[0].message.tool_calls
    assert call.function.name == "light"
    parts = Message.objects.get(agent_session__user=world.user, author="agent").parts
    assert [part["type"] for part in parts] == ["tool_call", "tool_call", "tool_result"]
    headers = {"X-Session-Id": first.headers["X-Session-Id"]}
    result: Any = {"role": "tool", "tool_call_id": call.id, "content": "It is on."}
    second = raw.create(model="demo", messages=[result], tools=[LIGHT], extra_headers=headers)
    assert second.parse().choices[0].message.content == "Done."


def test_a_result_with_a_forged_id_is_refused(world: World) -> None:
    raw = world.client().chat.completions.with_raw_response
    first = raw.create(model="demo", messages=[_user(CALLS_LIGHT)], tools=[LIGHT])
    forged: Any = {"role": "tool", "tool_call_id": "forged", "content": "It is on."}
    headers = {"X-Session-Id": first.headers["X-Session-Id"]}
    with pytest.raises(openai.BadRequestError) as refused:
        raw.create(model="demo", messages=[forged], extra_headers=headers)
    assert refused.value.param == "messages"
    assert len(world.turns()) == 1


ON_AND_OFF = '[[offline calls=[["light", {"on": true}], ["light", {"on": false}]]]]'


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "light"}}])
def test_a_tool_that_must_be_called_is_called_before_the_agents_own(world: World, choice: Any) -> None:
    answer = world.ask("calculate 2+3*4", tools=[LIGHT], tool_choice=choice)
    [call] = answer.choices[0].message.tool_calls
    assert (call.function.name, answer.choices[0].finish_reason) == ("light", "tool_calls")
    assert isinstance(json.loads(call.function.arguments)["on"], bool)


def test_calls_come_one_at_a_time_if_that_is_asked_for(world: World) -> None:
    answers = [world.ask(ON_AND_OFF, tools=[LIGHT], parallel_tool_calls=parallel) for parallel in (True, False)]
    assert [len(answer.choices[0].message.tool_calls) for answer in answers] == [2, 1]


# --- the form of the answer ---


class City(BaseModel):
    name: str
    people: int
    mayor: str | None


class Light(BaseModel):
    """Switch a light."""

    on: bool


# The package's own words, when it writes down what it has parsed.
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_the_parsing_helper_of_the_package_gets_what_it_asks_for(world: World) -> None:
    completions = world.client().chat.completions
    first = completions.parse(model="demo", messages=[_user("Which city?")], response_format=City)
    assert isinstance(first.choices[0].message.parsed, City)
    # What the helper has put into the answer comes back to us.
    messages: Any = [_user("Which city?"), first.choices[0].message, _user("And now?")]
    again = completions.parse(model="demo", messages=messages, response_format=City)
    assert isinstance(again.choices[0].message.parsed, City)
    messages[1] = first.choices[0].message.model_dump()
    assert completions.create(model="demo", messages=messages).choices[0].message.content


def test_the_parsing_helper_parses_calls_too_and_they_come_back(world: World) -> None:
    completions = world.client().chat.completions
    tools: Any = [openai.pydantic_function_tool(Light, name="light")]
    asked = _user(CALLS_LIGHT)
    first = completions.parse(model="demo", messages=[asked], tools=tools)
    message = first.choices[0].message
    assert message.tool_calls
    assert isinstance(message.tool_calls[0].function.parsed_arguments, Light)
    result: Any = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "It is on."}
    for echo in (message, message.model_dump()):
        messages: Any = [asked, echo, result]
        assert completions.parse(model="demo", messages=messages, tools=tools).choices[0].finish_reason == "stop"


def test_the_streaming_helper_of_the_package_parses_what_it_gets(world: World) -> None:
    completions = world.client().chat.completions
    with completions.stream(model="demo", messages=[_user("Which city?")], response_format=City) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion()
    assert isinstance(final.choices[0].message.parsed, City)


def test_an_answer_in_json_may_come_after_calls_of_the_agents_own_tools(world: World) -> None:
    answer = world.ask("calculate 2+3*4", response_format={"type": "json_object"})
    assert "14" in json.loads(answer.choices[0].message.content)["answer"]


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_ends_before_the_text_that_ends_it(world: World, stream: bool) -> None:
    answer = world.ask('[[offline text="one two three" pace_ms=5]]', stop=[" three", "four"], stream=stream)
    text = words(answer) if stream else answer.choices[0].message.content
    assert text == "one two"
    assert world.turns()[0].client_options == {"stop": [" three", "four"]}


# --- retries ---


@pytest.fixture
def proxy(installation: Installation) -> Iterator[LossyProxy]:
    made = LossyProxy(installation.ports[0])
    yield made
    made.close()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("losses", [1, 2])
def test_a_reply_that_is_lost_is_asked_for_again_and_answered_once(
    world: World, proxy: LossyProxy, stream: bool, losses: int
) -> None:
    proxy.lose(losses)
    client = world.client(port=proxy.port, retries=2)
    answer: Any = client.chat.completions.create(model="demo", messages=[_user("Once, please.")], stream=stream)
    text = words(answer) if stream else answer.choices[0].message.content
    assert proxy.lost == losses
    assert world.messages() == [("user", "Once, please."), ("agent", text)]
    assert len(world.turns()) == 1


def test_a_connection_that_is_cut_while_the_turn_runs_comes_back_to_it(world: World, proxy: LossyProxy) -> None:
    session = create_session(world.actor, agent_slug="demo")
    answers: list[Any] = []
    client = world.client(port=proxy.port, retries=2)
    asking = threading.Thread(
        target=lambda: answers.append(
            client.chat.completions.create(
                model="demo", messages=[_user(SLOW)], extra_headers={"X-Session-Id": str(session.pk)}
            )
        )
    )
    asking.start()
    until(lambda: [turn for turn in world.turns() if turn.status == "running"], what="a running turn")
    proxy.cut()
    asking.join(30)
    assert world.messages() == [("user", SLOW), ("agent", answers[0].choices[0].message.content)]


def test_a_retry_may_meet_another_process(world: World, installation: Installation) -> None:
    body: Any = {"model": "demo", "messages": [_user("Once, please.")]}
    first = world.client().chat.completions.with_raw_response.create(**body)
    other = world.client(port=installation.ports[1]).chat.completions.with_raw_response
    again = other.create(**body, extra_headers={"x-stainless-retry-count": "1"})
    assert again.parse() == first.parse()
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(world.turns()) == 1


def test_a_timeout_of_the_client_is_retried_into_the_same_turn(world: World) -> None:
    client = world.client(retries=5, timeout=1.0)
    answer = client.chat.completions.create(model="demo", messages=[_user(SLOW)])
    assert world.messages() == [("user", SLOW), ("agent", answer.choices[0].message.content)]


def test_a_timeout_without_retries_is_the_clients_own_and_the_turn_goes_on(world: World) -> None:
    with pytest.raises(openai.APITimeoutError):
        world.client(timeout=0.5).chat.completions.create(model="demo", messages=[_user(SLOW)])
    until(lambda: [turn for turn in world.turns() if turn.status == "completed"], what="the end of the turn")


def test_a_key_of_ones_own_counts_without_a_time_limit(world: World) -> None:
    headers = {"Idempotency-Key": "mine"}
    first, again = (world.ask("Once.", extra_headers=headers) for _ in range(2))
    assert first == again
    with pytest.raises(openai.BadRequestError) as refused:
        world.ask("Twice.", extra_headers=headers)
    assert refused.value.code == "idempotency_mismatch"


# --- going away ---


def test_a_client_that_leaves_in_mid_stream_changes_nothing(world: World) -> None:
    stream = world.ask(SLOW, stream=True)
    next(stream)
    stream.close()
    until(lambda: [turn for turn in world.turns() if turn.status == "completed"], what="the end of the turn")
    assert len(world.messages()[1][1].split()) == 40


def test_a_runner_that_dies_in_mid_answer_ends_the_stream_with_an_error(world: World) -> None:
    stream = world.ask("[[offline words=100 pace_ms=40]]", stream=True)
    said = next(stream).choices[0].delta.content + next(stream).choices[0].delta.content
    assert said
    world.installation.replace_runner()
    with pytest.raises(openai.APIError) as broken:
        for _ in stream:
            pass
    assert broken.value.code == "answer_restarted"
    until(lambda: [turn for turn in world.turns() if turn.status == "completed"], what="the end of the turn")
    assert world.messages()[1][1].count("\n") == 0
    assert len(world.messages()) == 2


# --- people ---


def test_a_person_who_answers_is_an_error_that_no_retry_repeats_and_the_words_are_stored_once(world: World) -> None:
    dana = user_actor(person(f"dana-{next(_numbers)}", Role.OPERATOR))
    session = create_session(world.actor, agent_slug="demo")
    headers = {"X-Session-Id": str(session.pk)}
    completions = world.client(retries=2).chat.completions
    asked: Any = {"model": "demo", "extra_headers": headers}
    stream = completions.create(messages=[_user(SLOW)], stream=True, **asked)
    next(stream)
    claim_handoff(dana, session_id=session.pk)
    with pytest.raises(openai.APIError) as cut:
        list(stream)
    assert cut.value.code == "handed_off"
    for kind in (False, True):
        with pytest.raises(openai.ConflictError) as refused:
            completions.create(messages=[_user("Hello?")], stream=kind, **asked)
        assert (refused.value.code, refused.value.response.headers["X-Should-Retry"]) == ("handed_off", "false")
    headers["x-stainless-retry-count"] = "1"
    with pytest.raises(openai.ConflictError):
        completions.create(messages=[_user("Hello?")], stream=False, **asked)
    del headers["x-stainless-retry-count"]
    reply_as_human(dana, session_id=session.pk, text="Here I am.", key="1")
    resolve_handoff(dana, session_id=session.pk)
    completions.create(messages=[_user("Are you back?")], **asked)
    authors = [author for author, _ in world.messages()]
    assert authors == ["user", "agent", "user", "user", "human", "user", "agent"]
    assert [turn.status for turn in world.turns()] == ["cancelled", "completed"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_that_waits_for_an_approval_is_an_error_and_a_repeat_gets_the_answer(world: World, stream: bool) -> None:
    client = world.client(retries=2)
    asked: Any = {
        "model": "asking", "messages": [_user("[[offline tool=clock args={}]]")], "stream": stream,
        "extra_headers": {"Idempotency-Key": "k"},
    }  # fmt: skip
    with pytest.raises(openai.ConflictError) as waits:
        client.chat.completions.create(**asked)
    assert waits.value.code == "approval_required"
    assert waits.value.response.headers["X-Should-Retry"] == "false"
    error: Any = waits.value.body
    [approval] = error["approvals"]
    assert (approval["tool"], approval["who"]) == ("clock", "user")
    assert approval["path"] in waits.value.message
    decide_approval(world.actor, approval_id=UUID(approval["approval"]), decision=Decision.APPROVE)
    answer = client.chat.completions.create(**asked)
    assert (words(answer) if stream else answer.choices[0].message.content).endswith("Done.")
    [turn] = world.turns()
    assert (turn.status, str(turn.pk)) == ("completed", approval["turn"])


# --- errors ---


@pytest.mark.parametrize(
    ("more", "kind", "code", "param"),
    [
        ({"model": "absent"}, openai.NotFoundError, "model_not_found", "model"),
        ({"n": 2}, openai.BadRequestError, "unsupported_parameter", "n"),
        ({"extra_body": {"mystery": 1}}, openai.BadRequestError, "unknown_parameter", "mystery"),
        ({"messages": []}, openai.BadRequestError, "invalid", "messages"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            openai.BadRequestError, "invalid", "messages[0].content[0].type",
        ),
        ({"extra_headers": {"X-Session-Id": "x"}}, openai.BadRequestError, "invalid", "X-Session-Id"),
        (
            {"extra_headers": {"X-Session-Id": "01a2029b-0d95-70ab-8607-464b850af150"}},
            openai.NotFoundError, "session_not_found", None,
        ),
        ({"messages": [_user("x" * 60_000)] * 80}, openai.BadRequestError, "context_length_exceeded", None),
        ({"messages": [_user("x")] * 2001}, openai.BadRequestError, "context_length_exceeded", "messages"),
        ({"model": "openai/demo"}, openai.NotFoundError, "model_not_found", "model"),
    ],
)  # fmt: skip
def test_what_cannot_be_taken_is_an_error_of_its_kind(
    world: World, more: dict[str, Any], kind: type[openai.APIStatusError], code: str, param: str | None
) -> None:
    with pytest.raises(kind) as refused:
        world.client(retries=2).chat.completions.create(**{"model": "demo", "messages": [_user("Hi")], **more})
    assert (refused.value.code, refused.value.param) == (code, param)
    assert not world.turns()


@pytest.mark.parametrize(
    ("fails", "kind", "code"),
    [
        ("context_length", openai.BadRequestError, "context_length_exceeded"),
        ("content_filter", openai.BadRequestError, "content_filter"),
        ("rate_limit", openai.RateLimitError, "model_rate_limit"),
        ("transient", openai.InternalServerError, "transient"),
        ("auth", openai.InternalServerError, "auth"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_turn_that_fails_is_an_error_that_no_retry_repeats(
    world: World, fails: str, kind: type[openai.APIStatusError], code: str, stream: bool
) -> None:
    client = world.client(retries=2)
    with pytest.raises(kind) as failed:
        client.chat.completions.create(model="demo", messages=[_user(f"[[offline fail={fails}]]")], stream=stream)
    assert failed.value.code == code
    assert failed.value.response.headers["X-Should-Retry"] == "false"
    [turn] = world.turns()
    assert str(turn.error_id) in failed.value.message


def test_a_turn_that_fails_after_words_ends_the_stream_with_an_error(world: World) -> None:
    stream = world.ask("[[offline words=20 fail=auth cut=5 pace_ms=30]]", stream=True)
    said = []
    with pytest.raises(openai.APIError, match="error") as broken:
        said += [chunk.choices[0].delta.content for chunk in stream]
    assert broken.value.code == "auth"


def test_a_model_that_breaks_off_and_is_asked_again_ends_the_stream_since_words_cannot_be_taken_back(
    world: World,
) -> None:
    stream = world.ask("[[offline words=20 fail=transient cut=5 pace_ms=30]]", stream=True)
    with pytest.raises(openai.APIError) as broken:
        list(stream)
    assert broken.value.code == "answer_restarted"


def test_a_turn_that_somebody_stops_is_an_error(world: World) -> None:
    stream = world.ask(SLOW, stream=True)
    next(stream)
    cancel_turn(world.actor, turn_id=world.turns()[0].pk)
    with pytest.raises(openai.APIError) as broken:
        list(stream)
    assert broken.value.code == "turn_cancelled"


def test_a_wrong_key_and_a_revoked_one_are_refused(world: World) -> None:
    other = "y" if world.key.endswith("x") else "x"
    for key in ("sk-nothing", f"{world.key[:-1]}{other}"):
        with pytest.raises(openai.AuthenticationError) as refused:
            world.client(api_key=key).models.list()
        assert refused.value.code == "invalid_api_key"
    stream = world.ask("[[offline words=200 pace_ms=100]]", stream=True)
    next(stream)
    revoke_api_key(world.actor, key_id=UUID(str(authenticate_key(world.key).key_id)))
    with pytest.raises(openai.APIError) as ended:
        list(stream)
    assert ended.value.code == "invalid_api_key"
    cancel_turn(world.actor, turn_id=world.turns()[0].pk)


def test_a_bound_of_tokens_is_handed_on(world: World) -> None:
    answer = world.ask("[[offline words=3 finish=length]]", max_completion_tokens=3)
    assert answer.choices[0].finish_reason == "length"
    assert world.turns()[0].client_options == {"max_output_tokens": 3}
