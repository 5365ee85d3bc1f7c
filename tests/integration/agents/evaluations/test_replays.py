"""Recorded turns that are answered again, by a runner before a real provider."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from agents.domain.evaluations import RunState
from agents.domain.recordings import Recording
from agents.evaluations.evaluation_runs import stop_run
from agents.models import AgentSession, EvaluationResult, EvaluationRun, Event, Step, TestCase, Turn
from foundation.db_threads import in_db_thread
from memory.models import Memory
from tests.provider import Provider
from tests.provider.fixture import provider  # noqa: F401
from tests.support.candidates import add_release
from tests.support.evaluations import (
    SYSTEM,
    ask,
    begin,
    ended,
    make_agent,
    make_test_set,
    results,
    run_ended,
    until_true,
    working,
)
from tests.support.people import person

pytestmark = pytest.mark.usefixtures("transactional_db")

CALCULATE = '[[provider tool=calculator args={"expression":"6*7"} text=It_is_42.]]'
NOTE = '[[provider tool=notebook_add args={"text":"milk"} text=Noted.]]'
PLAIN: dict[str, Any] = {"model_chain": ["openai:fake.text-Hello"]}
WITH_TOOLS: dict[str, Any] = {"model_chain": ["openai:fake"], "tools": ["calculator", "notebook_add"]}


async def recorded(provider: Provider, folder: Path, *texts: str, **configuration: Any) -> Any:  # noqa: F811
    """An agent, somebody, and a test set of the turns that these questions got."""
    ada = await in_db_thread(person, "ada")
    demo = await in_db_thread(lambda: make_agent(**configuration))
    turns = await in_db_thread(ask, ada, "helper", *texts)
    async with working(provider, folder):
        await ended(*turns)
    tests = await in_db_thread(make_test_set, demo, turns)
    return demo, ada, tests, turns


def hashes(turn_id: UUID | None) -> list[str]:
    steps = Step.objects.filter(turn_id__in=[turn_id], kind="model").order_by("number")
    return [step.details["request"]["hash"] for step in steps]


def files_below(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def connections() -> Iterator[list[Any]]:
    """Where this process connects to. (A hook cannot be removed, so it falls silent.)"""
    seen: list[Any] = []
    is_on = [True]

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if is_on[0] and event == "socket.connect":
            seen.append(arguments[1])

    sys.addaudithook(hook)
    yield seen
    is_on[0] = False


async def test_the_same_release_in_the_same_world_does_the_same(
    provider: Provider,  # noqa: F811
    tmp_path: Path,
    connections: list[Any],
) -> None:
    demo, ada, tests, turns = await recorded(provider, tmp_path, "Hi", CALCULATE, NOTE, **WITH_TOOLS)
    notes = files_below(tmp_path)
    assert notes, "the tool writes"
    run = await in_db_thread(begin, tests, ada, demo.live_release)
    connections.clear()
    async with working(provider, tmp_path):
        run = await run_ended(run)
    assert (run.state, run.report["passed"]) == (RunState.DONE, True)
    found = await results(run)
    assert len(found) == 6
    for (position, _), result in found.items():
        assert (result.status, result.differs) == ("done", False)
        assert await in_db_thread(hashes, result.turn_id) == await in_db_thread(hashes, turns[position - 1])
    # Nothing was run: the notebook is as it was.
    assert files_below(tmp_path) == notes
    # Nothing but the provider (and the database's own socket) was spoken to.
    ports = {address[1] for address in connections if isinstance(address, tuple)}
    assert ports == {int(provider.base_url.split(":")[2].split("/")[0])}
    assert "Nothing" not in run.report["sentence"]


async def test_their_sessions_are_nobodys_chats_and_remember_nothing(provider: Provider, tmp_path: Path) -> None:  # noqa: F811
    demo, ada, tests, _ = await recorded(
        provider, tmp_path, "I like tea.", **PLAIN, memory={"recall": True, "remember_turns": True}
    )
    before = await in_db_thread(Memory.objects.count)
    run = await in_db_thread(begin, tests, ada, demo.live_release)
    async with working(provider, tmp_path):
        await run_ended(run)
    sessions = await in_db_thread(lambda: list(AgentSession.objects.filter(purpose="evaluation")))
    assert [(session.listed, session.user_id) for session in sessions] == [(False, ada.pk)] * 2
    # They have the words of others: those do not outlive their entry by long.
    assert all(session.expires_at is not None for session in sessions)
    assert await in_db_thread(Memory.objects.count) == before


async def test_memories_are_those_that_were_sent_then(provider: Provider, tmp_path: Path) -> None:  # noqa: F811
    demo, ada, tests, _ = await recorded(provider, tmp_path, "Hi", **PLAIN)
    recording = {"memories": [{"id": "m", "text": "Ada likes tea.", "score": 0.0}], "summary": "They said hello."}
    await in_db_thread(TestCase.objects.update, recording=recording)
    await in_db_thread(
        TestCase.objects.update,
        history=[{"author": "user", "parts": [{"type": "text", "text": "Before"}]},
                 {"author": "agent", "parts": [{"type": "text", "text": "Yes?"}]}],
    )  # fmt: skip
    run = await in_db_thread(begin, tests, ada, demo.live_release)
    seen = provider.count
    async with working(provider, tmp_path):
        await run_ended(run)
    assert provider.count == seen + 2
    sent = json.dumps(provider.requests[-1].body["messages"])
    assert "Ada likes tea." in sent
    assert "They said hello." in sent
    assert "Before" in sent
    assert sent == json.dumps(provider.requests[-2].body["messages"])
    session = (await results(run))[1, "candidate"].session_id
    seqs = await in_db_thread(lambda: list(Event.objects.filter(agent_session=session).values_list("seq", flat=True)))
    assert sorted(seqs) == list(range(1, len(seqs) + 1))


async def test_a_tool_that_is_called_otherwise_diverges_and_runs_nothing(provider: Provider, tmp_path: Path) -> None:  # noqa: F811
    demo, ada, tests, _ = await recorded(provider, tmp_path, CALCULATE, **WITH_TOOLS)
    stored = await in_db_thread(lambda: TestCase.objects.get().recording)
    [call] = stored["calls"]
    assert (call["name"], call["content"]) == ("calculator", "42")
    await in_db_thread(TestCase.objects.update, recording={"calls": [call | {"arguments": '{"expression": "6*8"}'}]})
    run = await in_db_thread(begin, tests, ada, demo.live_release)
    async with working(provider, tmp_path):
        run = await run_ended(run)
    for result in (await results(run)).values():
        assert result.status == "diverged"
        assert result.detail == 'It called calculator({"expression":"6*7"}).'
    turn = await in_db_thread(lambda: Turn.objects.filter(agent_session__purpose="evaluation").first())
    assert turn is not None
    assert (turn.status, turn.error_class) == ("failed", "diverged")
    # In both lanes: it is not the candidate's doing.
    assert run.report["passed"] is True


async def test_what_a_recorded_call_returned_is_what_the_model_reads(provider: Provider, tmp_path: Path) -> None:  # noqa: F811
    demo, ada, tests, _ = await recorded(provider, tmp_path, CALCULATE, **WITH_TOOLS)
    stored = await in_db_thread(lambda: TestCase.objects.get().recording)
    # Whatever the order and the spaces of its arguments.
    stored["calls"][0] |= {"content": "forty-two", "arguments": '{ "expression" : "6*7" }'}
    await in_db_thread(TestCase.objects.update, recording=stored)
    run = await in_db_thread(begin, tests, ada, demo.live_release)
    async with working(provider, tmp_path):
        await run_ended(run)
    assert provider.requests[-1].body["messages"][-1]["content"] == "forty-two"


async def test_a_worse_candidate_fails_and_the_report_says_where(provider: Provider, tmp_path: Path) -> None:  # noqa: F811
    demo, ada, tests, _ = await recorded(provider, tmp_path, "Hi", "Again", **PLAIN)
    await in_db_thread(TestCase.objects.filter(position=2).update, checks=[{"kind": "contains", "value": "hello"}])
    candidate = await in_db_thread(lambda: add_release(demo, model_chain=["openai:fake.text-Goodbye"]))
    run = await in_db_thread(lambda: begin(tests, ada, candidate, demo.live_release))
    async with working(provider, tmp_path):
        run = await run_ended(run)
    found = await results(run)
    assert [found[2, lane].passed for lane in ("baseline", "candidate")] == [True, False]
    assert found[2, "candidate"].checks == [
        {"check": "contains “hello”", "passed": False, "detail": "It is not in the answer."}
    ]
    assert found[1, "candidate"].passed is None
    assert found[1, "candidate"].differs is True
    assert (run.report["worse"], run.report["passed"]) == (1, False)
    assert run.report["sentence"].startswith("Failed: 1 of 2 entries is worse on release 3 than on release 2.")


async def test_a_model_judges_by_the_rubric_and_its_cost_counts(provider: Provider, tmp_path: Path) -> None:  # noqa: F811
    demo, ada, tests, _ = await recorded(provider, tmp_path, "Hi", **PLAIN)
    await in_db_thread(
        type(tests).objects.update,
        judge_chain=["openai:fake.echo-yes"],
        rubric='{"pass": false, "reason": "Too curt."}',
    )
    run = await in_db_thread(begin, tests, ada, demo.live_release)
    async with working(provider, tmp_path):
        run = await run_ended(run)
    found = await results(run)
    assert [result.passed for result in found.values()] == [False, False]
    assert found[1, "candidate"].checks[-1] == {"check": "meets the rubric", "passed": False, "detail": "Too curt."}


async def test_a_run_stops_at_its_money_and_keeps_what_was_done(provider: Provider, tmp_path: Path) -> None:  # noqa: F811
    demo, ada, tests, _ = await recorded(
        provider, tmp_path, *(f"Question {number}" for number in range(12)), model_chain=["openai:dear"]
    )
    run = await in_db_thread(lambda: begin(tests, ada, demo.live_release, max_cost_usd=Decimal(4)))
    async with working(provider, tmp_path):
        run = await run_ended(run)
    assert run.state == RunState.STOPPED
    assert run.reason.startswith("It has spent $")
    statuses = [result.status for result in (await results(run)).values()]
    assert set(statuses) == {"done", "pending"}
    spent = await in_db_thread(lambda: sum(row.cost_usd or 0 for row in EvaluationResult.objects.filter(run=run)))
    assert run.cost_usd == spent


async def test_a_runner_that_dies_in_the_middle_is_followed_by_another(provider: Provider, tmp_path: Path) -> None:  # noqa: F811
    demo, ada, tests, _ = await recorded(provider, tmp_path, *["Hi"] * 6, CALCULATE, **WITH_TOOLS)
    run = await in_db_thread(begin, tests, ada, demo.live_release)
    for _ in range(3):
        async with working(provider, tmp_path, drain_seconds=0):
            pass
    async with working(provider, tmp_path):
        run = await run_ended(run)
    found = await results(run)
    assert {result.status for result in found.values()} == {"done"}
    turns = await in_db_thread(lambda: Turn.objects.filter(agent_session__purpose="evaluation").count())
    assert turns == len(found) == 14


async def test_a_run_that_is_stopped_cancels_its_open_turns(provider: Provider, tmp_path: Path) -> None:  # noqa: F811
    demo, ada, tests, _ = await recorded(provider, tmp_path, "Hi", **PLAIN)
    slow = await in_db_thread(lambda: add_release(demo, model_chain=["openai:fake.fault-hang"]))
    run = await in_db_thread(begin, tests, ada, slow)
    async with working(provider, tmp_path):
        await until_true(lambda: EvaluationResult.objects.filter(status="running").exists(), "a lane that is open")
        await in_db_thread(partial(stop_run, SYSTEM, run_id=run.pk))
        await until_true(
            lambda: not Turn.objects.filter(agent_session__purpose="evaluation", finished_at=None).exists(),
            "no open turn",
        )
        await until_true(lambda: not EvaluationResult.objects.filter(status="running").exists(), "settled lanes")
    assert (await run_ended(run)).state == RunState.STOPPED


async def test_a_run_that_cannot_go_on_ends_and_does_not_stop_the_others(provider: Provider, tmp_path: Path) -> None:  # noqa: F811
    demo, ada, tests, _ = await recorded(provider, tmp_path, "Hi", **PLAIN)
    broken = await in_db_thread(begin, tests, ada, demo.live_release)
    # What no version of the product writes.
    await in_db_thread(TestCase.objects.update, history=5)
    broken = await _after_work(provider, tmp_path, broken)
    assert (broken.state, broken.reason) == (RunState.FAILED, "It cannot go on: the log of the runners says why.")
    await in_db_thread(TestCase.objects.update, history=[])
    good = await in_db_thread(begin, tests, ada, demo.live_release)
    assert (await _after_work(provider, tmp_path, good)).state == RunState.DONE


async def _after_work(provider: Provider, folder: Path, run: EvaluationRun) -> EvaluationRun:  # noqa: F811
    async with working(provider, folder):
        return await run_ended(run)


def test_a_recording_is_read_as_it_was_written() -> None:
    stored = {
        "calls": [{"name": "clock", "arguments": "{}", "content": "now", "is_error": False}],
        "memories": [{"id": "m", "text": "x", "score": 0.0, "is_trusted": True}],
        "tasks": [{"id": "t", "text": "y"}],
        "summary": "z",
        "client_options": {"stop": ["."]},
        "missing": ["1 memories"],
    }
    assert Recording.parse(stored).dump() == stored
    assert Recording.parse({}).dump() == {}
